"""The layers of the classifier: the Switch feed-forward layer, its dense twin, and the encoder block around them.

Layers are given `training` and `seed` in every call. All randomness is stateless, drawn from that seed, so a step is a
pure function of its inputs: the same after a restart and on every run. Compiled by XLA it draws other numbers, and
those on every run.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from switch_tf import routing
from switch_tf.config import ModelConfig


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
            slots = routing.assign_slots(routed, experts, capacity)
            rows = tf.reshape(tokens, [-1, config.d_model])  # [batch * length, d_model]
            hidden = routing.dispatch(rows, slots, experts, training)  # [experts, batch * capacity, d_model]
        else:
            matrix = routing.one_hot_slots(routed, experts, capacity, tokens.dtype)
            hidden = routing.dispatch_by_product(tokens, matrix, experts)  # [experts, batch * capacity, d_model]
        hidden = tf.matmul(hidden, self._weight(self.w_in)) + self._weight(self.b_in)  # [..., d_ff]
        hidden = activation(config.activation)(hidden)
        hidden = dropout(hidden, config.expert_dropout, training, seed, 1)
        hidden = tf.matmul(hidden, self._weight(self.w_out)) + self._weight(self.b_out)  # [..., d_model]
        if config.dispatch == "gather":
            y = routing.combine(hidden, slots, training)  # [batch * length, d_model]
        else:
            y = routing.combine_by_product(hidden, matrix, experts)  # [batch, length, d_model]
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
            x *= tf.random.stateless_uniform(tf.shape(x), _fold(seed, 0), 1.0 - epsilon, 1.0 + epsilon)
        return tf.matmul(x, self.router)  # [batch, length, experts]

    def _weight(self, variable: tf.Variable) -> tf.Tensor:
        return tf.cast(variable, self.expert_dtype)


class DenseFFN(keras.layers.Layer):
    """The ordinary feed-forward layer: what each token computes in `SwitchFFN`, with one set of weights for all."""

    def __init__(self, config: ModelConfig, compute_dtype: str = "float32", **kwargs: object):
        super().__init__(**kwargs)
        self.config = config
        policy = _policy(compute_dtype)
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


class MaskedAttention(keras.layers.Layer):
    """Multi-head self-attention over the real tokens (Vaswani et al. 2017, arXiv 1706.03762, section 3.2).

    Keras' MultiHeadAttention computes the same by einsum; with plain matmuls it took 42 instead of 111 ms forward, and
    141 instead of 217 ms with gradients (64 x 256 tokens, width 64, 4 heads, 2 cores), and every exporter gets 4-D
    matmuls without transposed copies of the scores.
    """

    def __init__(self, config: ModelConfig, compute_dtype: str = "float32", **kwargs: object):
        super().__init__(**kwargs)
        self.heads = config.num_heads
        self.head_dim = config.d_model // config.num_heads
        self.query, self.key, self.value, self.out = (
            keras.layers.Dense(
                config.d_model,
                kernel_initializer=scaled(config.d_model, config),
                dtype=_policy(compute_dtype),
                name=name,
            )
            for name in ("query", "key", "value", "out")
        )

    def call(self, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """float32 [batch, length, d_model] to the same; no token looks at padding.

        mask: bool [batch, length]. With no real token at all every score gets the same penalty: finite, and ignored.
        """
        rows = tf.reshape(x, [-1, x.shape[-1]])  # [batch * length, d_model]: Dense is one static matmul on rank 2 only
        query, key, value = (
            self._split(rows, project, length=x.shape[1]) for project in (self.query, self.key, self.value)
        )  # [batch, heads, length, head_dim] each
        query *= self.head_dim**-0.5
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)  # [batch, heads, length, length]
        scores += tf.where(mask, 0.0, -1e9)[:, tf.newaxis, tf.newaxis, :]
        attended = tf.matmul(tf.cast(tf.nn.softmax(scores), value.dtype), value)  # [batch, heads, length, head_dim]
        merged = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, x.shape[-1]])  # [batch * length, d_model]
        return tf.reshape(tf.cast(self.out(merged), tf.float32), [-1, *x.shape[1:]])  # [batch, length, d_model]

    def _split(self, rows: tf.Tensor, project: keras.layers.Dense, length: int) -> tf.Tensor:
        """Tokens projected and cut into heads: [batch * length, d_model] to [batch, heads, length, head_dim]."""
        heads = tf.reshape(project(rows), [-1, length, self.heads, self.head_dim])  # [batch, length, heads, head_dim]
        return tf.transpose(heads, [0, 2, 1, 3])


class EncoderBlock(keras.layers.Layer):
    """Pre-norm masked self-attention, then a feed-forward layer, each added to the residual stream."""

    def __init__(
        self,
        config: ModelConfig,
        sequence_length: int,
        use_switch: bool,
        compute_dtype: str = "float32",
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = MaskedAttention(config, compute_dtype, name="attention")
        self.feed_forward_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="feed_forward_norm")
        self.feed_forward = (
            SwitchFFN(config, sequence_length, compute_dtype, name="switch_ffn")
            if use_switch
            else DenseFFN(config, compute_dtype, name="dense_ffn")
        )

    def call(
        self, x: tf.Tensor, mask: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, RouterReport | None]:
        """float32 [batch, length, d_model] to the same, and what the router did if there is one."""
        rate = self.config.dropout
        h = self.attention(self.attention_norm(x), mask)  # [batch, length, d_model]
        x += dropout(h, rate, training, seed, 2)
        h, report = self.feed_forward(self.feed_forward_norm(x), mask, training=training, seed=seed)
        return x + dropout(h, rate, training, seed, 3), report


def dropout(x: tf.Tensor, rate: float, training: bool, seed: tf.Tensor | None, place: int) -> tf.Tensor:
    """Stateless dropout; `place` tells apart the places that share a seed."""
    if not training or rate == 0.0:
        return x
    return tf.nn.experimental.stateless_dropout(x, rate, seed=_fold(seed, place), rng_alg="philox")


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The activation function of that name; gelu is exact and written with erf, which every exporter has."""
    if name == "relu":
        return tf.nn.relu
    return lambda x: 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0)))


def scaled(fan_in: int, config: ModelConfig) -> keras.initializers.Initializer:
    """Truncated normal of standard deviation sqrt(initializer_scale / fan_in) (section 2.4 of the paper).

    Written out since Keras' VarianceScaling would take the experts of a [experts, in, out] weight for inputs.
    """
    of_truncated = 0.87962566103423978  # standard deviation of a unit normal cut at two of its own
    return keras.initializers.TruncatedNormal(stddev=math.sqrt(config.initializer_scale / fan_in) / of_truncated)


def _fold(seed: tf.Tensor | None, place: int) -> tf.Tensor:
    if seed is None:
        raise ValueError("A seed, int32 [2], is needed when training=True. Received: None.")
    return tf.random.fold_in(seed, place)


def _policy(compute_dtype: str) -> keras.mixed_precision.Policy:
    """Weights in float32, computation in `compute_dtype`."""
    return keras.mixed_precision.Policy("float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}")
