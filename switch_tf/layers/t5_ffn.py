"""The feed-forward layers of a Switch-Transformer in T5's form: no biases, a fixed number of slots for each expert."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from switch_tf.layers.common import dropout, fold_in
from switch_tf.layers.switch_ffn import RouterReport, SwitchFFN


class T5DenseFFN(keras.layers.Layer):
    """relu(x W_in) W_out for every token."""

    def __init__(self, d_model: int, d_ff: int, rate: float = 0.0, **kwargs: object):
        super().__init__(**kwargs)
        self.rate = rate  # of dropout on the hidden units
        self.w_in = keras.layers.Dense(d_ff, activation="relu", use_bias=False, name="w_in")
        self.w_out = keras.layers.Dense(d_model, use_bias=False, name="w_out")

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        longest: int | None = None,
    ) -> tuple[tf.Tensor, None]:
        """float32 [batch, length, d_model] to the same; there is no router to report on."""
        del mask, longest
        hidden = self.w_in(tf.reshape(x, [-1, x.shape[-1]]))  # [batch * length, d_ff]
        rows = self.w_out(dropout(hidden, self.rate, training, seed, 1))  # [batch * length, d_model]
        return tf.reshape(rows, tf.shape(x)) if x.shape[1] is None else tf.reshape(rows, [-1, *x.shape[1:]]), None

    def step(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [batch, d_model], one token of each text, to the same."""
        return self.w_out(self.w_in(x))


class T5SwitchFFN(SwitchFFN):
    """`SwitchFFN` as the released Switch-Transformers have it: biases in the router at most, slots given as a number.

    Args:
        expert_capacity: slots that an expert has for each text, whatever its length.
        router_bias: whether the router has one.
        **kwargs: as for `SwitchFFN`.
    """

    keeps_seed = False

    def __init__(self, expert_capacity: int, router_bias: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.expert_capacity = expert_capacity
        self.has_router_bias = router_bias

    def build(self, input_shape: tf.TensorShape) -> None:
        d_model = int(input_shape[-1])
        self.router_bias = None  # of balancing by a bias, which these layers do without
        self.classifier = self.add_weight("router", [d_model, self.num_experts])
        self.classifier_bias = self.add_weight("router_bias", [self.num_experts]) if self.has_router_bias else None
        self.w_in = self.add_weight("w_in", [self.num_experts, d_model, self.d_ff])
        self.w_out = self.add_weight("w_out", [self.num_experts, self.d_ff, d_model])
        keras.layers.Layer.build(self, input_shape)

    def capacity(self, length: int, training: bool) -> int:
        """Slots of one expert for one text: never more than the text has tokens."""
        return min(length, self.expert_capacity)

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        longest: int | None = None,
    ) -> tuple[tf.Tensor, RouterReport]:
        """float32 [batch, length, d_model] to the same, and the router's report; padding takes no slot.

        Where the length is not known, the text is filled up to `longest` places meanwhile, and must not be longer.
        """
        if inputs.shape[1] is not None:
            return self.route(inputs, mask, training, seed)
        length = tf.shape(inputs)[1]
        padding = [[0, 0], [0, longest - length]]
        x = tf.ensure_shape(tf.pad(inputs, [*padding, [0, 0]]), [None, longest, inputs.shape[-1]])
        y, report = self.route(x, tf.ensure_shape(tf.pad(mask, padding), [None, longest]), training, seed)
        return y[:, :length], report

    def step(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [batch, d_model], one token of each text, to the same: a lone token always finds room.

        Each token's own expert is gathered, where `call` would multiply by all of them: 4 instead of 84 ms for one
        token at 32 experts of 768 x 3072.
        """
        logits = self._router_logits(x, training=False, seed=None)  # [batch, experts]
        expert = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [batch]
        gate = tf.reduce_max(tf.nn.softmax(logits), axis=-1, keepdims=True)  # [batch, 1]
        hidden = tf.nn.relu(tf.matmul(x[:, tf.newaxis], tf.gather(self.w_in, expert)))  # [batch, 1, d_ff]
        return tf.matmul(hidden, tf.gather(self.w_out, expert))[:, 0] * gate  # [batch, d_model]

    def _router_logits(self, x: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        if training and self.router_jitter > 0.0:
            low, high = 1.0 - self.router_jitter, 1.0 + self.router_jitter
            x *= tf.random.stateless_uniform(tf.shape(x), fold_in(seed, 0), low, high)
        rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), self.classifier)  # [tokens, experts]
        rows = rows if self.classifier_bias is None else rows + self.classifier_bias
        return tf.reshape(rows, [-1, *x.shape[1:-1], self.num_experts])  # [batch, length, experts]

    def _run_experts(self, hidden: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        """Each expert on its own slots: [experts, batch * capacity, d_model] to the same."""
        hidden = tf.nn.relu(tf.matmul(hidden, self.w_in))  # [experts, batch * capacity, d_ff]
        return tf.matmul(dropout(hidden, self.expert_dropout, training, seed, 1), self.w_out)
