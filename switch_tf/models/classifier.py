"""The classifier from token ids to logits, built from a `Config`.

ids -> token + position embeddings -> N pre-norm blocks with attention -> norm -> masked pooling -> logits
ids -> token + pair embeddings -> N blocks with the text's mean as context -> masked pooling -> logits

`context` says which of the two. One block with mean pooling and a deep stack are settings of this one builder; so is
the dense twin (`num_experts = 0`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config
from switch_tf.layers import noise
from switch_tf.layers.common import dropout, masked_pool
from switch_tf.layers.encoder import EncoderBlock
from switch_tf.layers.mean_context import MeanContextBlock
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.layers.token_routes import TokenRoutes, TokenTable, Words
from switch_tf.models.blocks import has_switch, map_of_block
from switch_tf.models.finished import ROUTERS
from switch_tf.models.weights import named_weights
from switch_tf.runs.rejection import Rejection
from switch_tf.text.spec import PADDING_ID


class ClassifierOutput(NamedTuple):
    """Logits, float32 [batch, classes], and one report per Switch layer, first layer first."""

    logits: tf.Tensor
    reports: tuple[RouterReport, ...]


def answer_of(logits: tf.Tensor, rejection: Rejection | None) -> dict[str, tf.Tensor]:
    """What models answer: float32 [batch, classes] to `probabilities`, of the same shape, and `label`, int64 [batch].

    The label is an index, which is the number of classes where the text is rejected.
    """
    probabilities, label = tf.nn.softmax(logits), tf.argmax(logits, axis=-1)
    if rejection is not None:
        unsure = tf.reduce_max(probabilities, axis=-1) < np.float32(rejection.threshold)  # [batch]
        label = tf.where(unsure, tf.constant(logits.shape[-1], tf.int64), label)
    return {"probabilities": probabilities, "label": label}


class SwitchClassifier(keras.Model):
    """A text classifier over token ids.

    Args:
        config: of which `text` and `model` are used.
        num_ids: ids in use, padding and OOV included; at most `config.text.vocabulary_size`.
        num_classes: at least two.
        compute_dtype: "float32", or "bfloat16" to train experts and attention in it. Weights are float32 always.
        num_pairs: pairs of neighbouring words that have a vector; with `context = "mean"` only.
        finished: True where nothing is learned any more, for the weights that `switch_tf.models.finished` makes.
    """

    def __init__(
        self,
        config: Config,
        num_ids: int,
        num_classes: int,
        compute_dtype: str = "float32",
        num_pairs: int = 0,
        finished: bool = False,
    ):
        super().__init__(name="classifier")
        model = config.model
        self.settings = model
        self.tokens = keras.layers.Embedding(num_ids, model.d_model, name="tokens")
        self.length = config.text.sequence_length
        self.num_pairs = num_pairs
        with_attention = model.context == "attention"
        self.positions = self.norm = self.pairs = None
        if with_attention:
            self.positions = self.add_weight("positions", [self.length, model.d_model], initializer="uniform")
            self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        elif num_pairs:  # the last row is that of all other pairs, and stays zero
            self.pairs = keras.layers.Embedding(num_pairs + 1, model.d_model, name="pairs")
        router = ROUTERS.get(model.router) if finished else None
        block = EncoderBlock if with_attention else MeanContextBlock
        self.blocks = [
            block(
                model,
                self.length,
                use_switch=has_switch(model, i),
                compute_dtype=compute_dtype,
                router=router,
                expert_map=map_of_block(model, i),
                name=f"block_{i}",
            )
            for i in range(model.num_blocks)
        ]
        self.routes = [
            TokenTable(num_ids, model.num_experts, name=f"routes_{i}")
            if router == "table" and has_switch(model, i)
            else None
            for i in range(model.num_blocks)
        ]
        self.head = keras.layers.Dense(num_classes, name="head")

    def initialize(self) -> None:
        """Create every weight, by a first call, of one token: attention takes the square of the length."""
        nothing = tf.zeros([1, 1], tf.int32)
        self(nothing, pair_rows=nothing if self.num_pairs else None)

    def call(
        self,
        ids: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        pair_rows: tf.Tensor | None = None,
    ) -> ClassifierOutput:
        """int32 [batch, length] to logits; length may be shorter than the configured one, and then only pads less.

        Args:
            seed: int32 [2], needed when training: the same seed drops the same units.
            pair_rows: int32 [batch, length], needed if there are pairs: the row of each token and the one before it;
                `num_pairs` or more where the two are no known pair.
        """
        if training:
            ids = self._drop_tokens(ids, seed)
        x = vectors = self.tokens(ids)  # [batch, length, d_model]
        if self.positions is not None:
            x += self.positions[: ids.shape[1]]
            x = dropout(x, self.settings.dropout, training, seed, 1)
        if self.pairs is not None:
            x += self.pairs(tf.minimum(pair_rows, self.num_pairs))
        mask = ids != PADDING_ID  # [batch, length]
        routes = [None if table is None else table(ids) for table in self.routes]
        return self.classify(x, mask, training, seed, Words(vectors, mask), routes)

    def classify(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | None = None,
        routes: Sequence[TokenRoutes | None] = (),
    ) -> ClassifierOutput:
        """Everything behind the embeddings: float32 [batch, length, d_model] and bool [batch, length] to logits.

        Args:
            words: needed with `router = "token"` while it learns.
            routes: of each block, needed with `router = "token"` in a finished model.
        """
        reports = []
        given: list[Words | TokenRoutes | None] = [None] * len(self.blocks)
        if self.settings.router == "token":
            given = list(routes) if any(routes) else [words] * len(self.blocks)
        for i, block in enumerate(self.blocks):
            block_seed = tf.random.fold_in(seed, 100 + i) if training else None
            x, report = block(x, mask, training=training, seed=block_seed, words=given[i])
            if report is not None:
                reports.append(report)
        x = x if self.norm is None else self.norm(x)
        pooled = masked_pool(x, mask, self.settings.pooling)  # [batch, d_model]
        logits = self.head(dropout(pooled, self.settings.dropout, training, seed, 2))  # [batch, classes]
        return ClassifierOutput(logits, tuple(reports))

    def router_weights(self) -> list[np.ndarray]:
        """The matrices of each Switch layer's router, float32 [..., experts or dimensions]; no tables."""
        names = "/router", "/router_projection"
        return [variable.numpy() for name, variable in named_weights(self).items() if name.endswith(names)]

    def balance(self, reports: Sequence[RouterReport]) -> None:
        """Let each Switch layer even out the loads of a step, if `balance_rate` says so."""
        for layer, report in zip(self.switch_layers(), reports, strict=True):
            layer.balance(report.routing.tokens_per_expert)

    def switch_layers(self) -> list[ReportingSwitchFFN]:
        """First layer first."""
        return [block.feed_forward for block in self.blocks if isinstance(block.feed_forward, ReportingSwitchFFN)]

    def _drop_tokens(self, ids: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Turn a share of the tokens into padding, as if the text lacked them.

        Making them OOV instead would train on texts unlike those to come: at a share of 0.6 that took the test accuracy
        on imdb from 0.86 to 0.84.
        """
        share = self.settings.token_dropout
        if share == 0.0:
            return ids
        drawn = noise.uniform(tf.shape(ids), tf.random.fold_in(seed, 3))  # [batch, length]
        return tf.where(drawn < share, PADDING_ID, ids)
