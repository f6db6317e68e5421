"""A block that tells each token its text by the mean of the text's vectors: linear in the length, no attention."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers.common import masked_pool, scaled
from switch_tf.layers.reporting_ffn import feed_forward
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.layers.token_routes import TokenRoutes, Words


class MeanContextBlock(keras.layers.Layer):
    """x + FFN(norm(x + mean(x) U)), the mean over the real tokens of the text.

    What attention with equal weights would compute, at O(length): on sets of a few thousand short texts it is no less
    accurate than attention that has to be learned.
    """

    def __init__(
        self,
        config: ModelConfig,
        sequence_length: int,
        use_switch: bool,
        compute_dtype: str = "float32",
        router: str | None = None,
        expert_map: Sequence[int] | None = None,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        self.context = keras.layers.Dense(
            config.d_model, use_bias=False, kernel_initializer=scaled(config.d_model, config), name="context"
        )
        self.feed_forward_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="feed_forward_norm")
        self.feed_forward = feed_forward(config, sequence_length, use_switch, compute_dtype, router, expert_map)

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | TokenRoutes | None = None,
    ) -> tuple[tf.Tensor, RouterReport | None]:
        """float32 [batch, length, d_model] to the same, and what the router did if there is one."""
        context = self.context(masked_pool(x, mask, "mean"))  # [batch, d_model]
        h = self.feed_forward_norm(x + context[:, tf.newaxis])  # [batch, length, d_model]
        h, report = self.feed_forward(h, mask, training=training, seed=seed, words=words)
        return x + h, report
