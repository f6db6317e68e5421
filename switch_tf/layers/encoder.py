"""The encoder block: attention and a feed-forward layer, each on the residual stream."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers.attention import MaskedAttention
from switch_tf.layers.common import dropout
from switch_tf.layers.reporting_ffn import feed_forward
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.layers.token_routes import TokenRoutes, Words


class EncoderBlock(keras.layers.Layer):
    """Pre-norm masked self-attention, then a feed-forward layer, each added to the residual stream."""

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
        self.config = config
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = MaskedAttention(config, compute_dtype, name="attention")
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
        rate = self.config.dropout
        h = self.attention(self.attention_norm(x), mask)  # [batch, length, d_model]
        x += dropout(h, rate, training, seed, 2)
        h, report = self.feed_forward(self.feed_forward_norm(x), mask, training=training, seed=seed, words=words)
        return x + dropout(h, rate, training, seed, 3), report
