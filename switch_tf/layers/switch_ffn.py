"""The Switch feed-forward layer and its dense twin."""

from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers import dispatch, routing
from switch_tf.layers.common import activation, dropout, dtype_policy, fold_in, scaled


class RouterReport(NamedTuple):
    """What one Switch layer did with one batch.

    Attributes:
        logits: float32 [batch, length, experts], the router's.
        routing: where the tokens went.
        auxiliary_loss: float32 [], the load-balancing loss before its weight; 1 when balanced.
        z_loss: float32 [], the router z-loss before its weight.
    """

    logits: tf.Tensor
    routing: routing.Routing
    auxiliary_loss: tf.Tensor
    z_loss: tf.Tensor


class SwitchFFN(keras.layers.Layer):
    """A feed-forward layer of which each token visits one of `num_experts` copies (arXiv 2101.03961, section 2.1).

    The router, its softmax and the gate are float32 whatever `compute_dtype` the experts have (section 2.4).
    """

    def __init__(self, config: ModelConfig, sequence_length: int, expert_dtype: str = "float32", **kwargs: object):
        super().__init__(**kwargs)
        self.config = config
        self.expert_dtype = expert_dtype
        self.sequence_length = sequence_length

    def build(self, _input_shape: object) -> None:
        config = self.config
        experts, d_model, d_ff = config.num_experts, config.d_model, config.d_ff
        self.router = self.add_weight("router", [d_model, experts], initializer=scaled(d_model, config))
        self.w_in = self.add_weight("w_in", [experts, d_model, d_ff], initializer=scaled(d_model, config))
        self.b_in = self.add_weight("b_in", [experts, 1, d_ff], initializer="zeros")
        self.w_out = self.add_weight("w_out", [experts, d_ff, d_model], initializer=scaled(d_ff, config))
        self.b_out = self.add_weight("b_out", [experts, 1, d_model], initializer="zeros")
        super().build(_input_shape)

    def capacity(self, training: bool) -> int:
        """Slots of one expert for one example: a Python integer, from the configured length and not the tensor's."""
        config = self.config
        if not config.drop_tokens:
            return self.sequence_length
        factor = config.capacity_factor if training else config.eval_capacity_factor
        return routing.expert_capacity(self.sequence_length, config.num_experts, factor, config.min_capacity)

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, RouterReport]:
        """Route, dispatch, run the experts, combine.

        Args:
            x: float32 [batch, length, d_model].
            mask: bool [batch, length], True at real tokens.
            seed: int32 [2], needed when training.

        Returns:
            float32 [batch, length, d_model], zero for padding and dropped tokens, and the router's report.
        """
        config, experts = self.config, self.config.num_experts
        capacity = min(self.capacity(training), x.shape[1])  # no expert is chosen more often than there are tokens
        logits = self._router_logits(x, training, seed)  # [batch, length, experts]
        routed = routing.route(logits, mask, capacity)
        tokens = tf.cast(x, self.expert_dtype)  # [batch, length, d_model]
        if config.dispatch == "gather":
            slots = dispatch.assign_slots(routed, experts, capacity)
            rows = tf.reshape(tokens, [-1, config.d_model])  # [batch * length, d_model]
            hidden = dispatch.dispatch(rows, slots, experts, training)  # [experts, batch * capacity, d_model]
        else:
            matrix = dispatch.one_hot_slots(routed, experts, capacity, tokens.dtype)
            hidden = dispatch.dispatch_by_product(tokens, matrix, experts)  # [experts, batch * capacity, d_model]
        hidden = tf.matmul(hidden, self._weight(self.w_in)) + self._weight(self.b_in)  # [..., d_ff]
        hidden = activation(config.activation)(hidden)
        hidden = dropout(hidden, config.expert_dropout, training, seed, 1)
        hidden = tf.matmul(hidden, self._weight(self.w_out)) + self._weight(self.b_out)  # [..., d_model]
        if config.dispatch == "gather":
            y = dispatch.combine(hidden, slots, training)  # [batch * length, d_model]
        else:
            y = dispatch.combine_by_product(hidden, matrix, experts)  # [batch, length, d_model]
        y = tf.reshape(tf.cast(y, tf.float32), [-1, *x.shape[1:]])  # [batch, length, d_model]

        gate = routed.gate if config.scale_by_gate else routed.gate / tf.stop_gradient(routed.gate)
        return y * gate[..., tf.newaxis], RouterReport(
            logits=logits,
            routing=routed,
            auxiliary_loss=routing.load_balancing_loss(routed.tokens_per_expert, routed.mean_probability),
            z_loss=routing.router_z_loss(logits, mask),
        )

    def _router_logits(self, x: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        epsilon = self.config.router_jitter
        if training and epsilon > 0.0:
            x *= tf.random.stateless_uniform(tf.shape(x), fold_in(seed, 0), 1.0 - epsilon, 1.0 + epsilon)
        return tf.matmul(x, self.router)  # [batch, length, experts]

    def _weight(self, variable: tf.Variable) -> tf.Tensor:
        return tf.cast(variable, self.expert_dtype)


class DenseFFN(keras.layers.Layer):
    """The ordinary feed-forward layer: what each token computes in `SwitchFFN`, with one set of weights for all."""

    def __init__(self, config: ModelConfig, compute_dtype: str = "float32", **kwargs: object):
        super().__init__(**kwargs)
        self.config = config
        policy = dtype_policy(compute_dtype)
        self.w_in = keras.layers.Dense(
            config.d_ff, kernel_initializer=scaled(config.d_model, config), dtype=policy, name="w_in"
        )
        self.w_out = keras.layers.Dense(
            config.d_model, kernel_initializer=scaled(config.d_ff, config), dtype=policy, name="w_out"
        )

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, None]:
        """As `SwitchFFN.call`, without a router to report on; padding is computed and ignored by the pooling."""
        del mask
        rows = tf.reshape(x, [-1, x.shape[-1]])  # [batch * length, d_model]: Dense is one static matmul on rank 2 only
        hidden = activation(self.config.activation)(self.w_in(rows))  # [batch * length, d_ff]
        hidden = dropout(hidden, self.config.dropout, training, seed, 1)
        y = tf.cast(self.w_out(hidden), tf.float32)  # [batch * length, d_model]
        return tf.reshape(y, [-1, *x.shape[1:]]), None  # [batch, length, d_model]
