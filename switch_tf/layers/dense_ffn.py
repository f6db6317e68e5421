"""The dense twin of the Switch layer."""

import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers.common import activation, dropout, dtype_policy, scaled
from switch_tf.layers.token_routes import TokenRoutes, Words


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
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | TokenRoutes | None = None,
    ) -> tuple[tf.Tensor, None]:
        """As `SwitchFFN.route`, without a router to report on; padding is computed and ignored by the pooling."""
        del mask, words
        rows = tf.reshape(x, [-1, x.shape[-1]])  # [batch * length, d_model]: Dense is one static matmul on rank 2 only
        return tf.reshape(self.of_rows(rows, training, seed), [-1, *x.shape[1:]]), None  # [batch, length, d_model]

    def of_rows(self, rows: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Tokens in any order, [tokens, d_model], to float32 of the same shape."""
        hidden = activation(self.config.activation)(self.w_in(rows))  # [tokens, d_ff]
        hidden = dropout(hidden, self.config.dropout, training, seed, 1)
        return tf.cast(self.w_out(hidden), tf.float32)
