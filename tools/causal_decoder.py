"""The small language model of tools/language_model.py: a decoder stack whose feed-forward layers are ours.

ids -> embeddings -> N pre-norm blocks of causal attention and a feed-forward layer -> norm -> the embeddings again

With experts the feed-forward layer is the Switch layer, without them its dense twin. What a decoder says of a token may
depend on earlier ones alone. Routing keeps to that where slots are given out in the order of the text, for then a token
only ever waits for those before it; `refuse_routing_that_looks_ahead` names what does not.
"""

import time

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config, ModelConfig
from switch_tf.errors import ConfigError
from switch_tf.layers.common import dropout, fold_in, truncated_normal
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.relative_attention import NEVER, RelativeAttention, RelativePositionBias, RMSNorm
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.routing import expert_capacity
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.layers.token_routes import Words
from switch_tf.training.optimizer import make_optimizer

_BUCKETS, _FARTHEST = 32, 128  # T5's own, of distances between a token and an earlier one
_EPSILON = 1e-6  # of the norms
_AT_ONCE = 64  # held-out windows in a batch


def refuse_routing_that_looks_ahead(settings: ModelConfig) -> None:
    """Refuse settings with which later tokens have a say in what happens to earlier ones.

    Raises:
        ConfigError: they have.
    """
    if settings.num_experts == 0:
        return
    remedy = "Expected routing in the order of the text, such as model.router = 'top1'"
    room = ", or room for every token, model.drop_tokens = false"
    if settings.router == "expert_choice":
        raise ConfigError(f"model.router = 'expert_choice' is not causal: experts choose among later tokens. {remedy}.")
    if settings.drop_tokens and settings.router == "top2":
        found = "model.router = 'top2' is not causal: a second choice waits for the first ones of later tokens"
        raise ConfigError(f"{found}. {remedy}{room}.")
    if settings.drop_tokens and settings.priority == "gate":
        found = "model.priority = 'gate' is not causal: a later token of a higher gate takes an earlier one's slot"
        raise ConfigError(f"{found}. Expected model.priority = 'position'{room}.")


class DecoderBlock(keras.layers.Layer):
    """Pre-norm causal self-attention, then a feed-forward layer, each added to the residual stream."""

    def __init__(self, settings: ModelConfig, length: int, **kwargs: object):
        super().__init__(**kwargs)
        self.rate = settings.dropout
        width, heads = settings.d_model, settings.num_heads
        self.attention_norm = RMSNorm(_EPSILON, name="attention_norm")
        self.attention = RelativeAttention(heads, width // heads, width, name="attention")
        # The scores are not scaled, so the queries begin that much smaller.
        self.attention.query.kernel_initializer = truncated_normal(width * (width // heads), 1.0)
        self.feed_forward_norm = RMSNorm(_EPSILON, name="feed_forward_norm")
        self.feed_forward = (
            ReportingSwitchFFN.from_settings(settings, length, name="switch_ffn", router=settings.router)
            if settings.num_experts
            else DenseFFN(settings, name="dense_ffn")
        )

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | None = None,
    ) -> tuple[tf.Tensor, RouterReport | None]:
        """float32 [batch, length, d_model] to the same, and what the router did if there is one.

        Args:
            bias: float32 [1, heads, length, length], added to the scores.
        """
        normed = self.attention_norm(x)
        x += dropout(self.attention(normed, normed, bias), self.rate, training, seed, 2)
        everything = tf.ones(tf.shape(x)[:2], tf.bool)  # [batch, length]: windows of a text have no padding
        h, report = self.feed_forward(
            self.feed_forward_norm(x), everything, training=training, seed=seed, words=words
        )  # [batch, length, d_model]
        return x + dropout(h, self.rate, training, seed, 3), report


class Decoder(keras.Model):
    """What comes next behind each token.

    Args:
        settings: `num_experts` = 0 for the dense model.
        symbols: ids in use.
        length: of every window.

    Raises:
        ConfigError: the routing is not causal.
    """

    def __init__(self, settings: ModelConfig, symbols: int, length: int):
        super().__init__(name="decoder")
        refuse_routing_that_looks_ahead(settings)
        self.settings, self.symbols, self.length = settings, symbols, length
        width = settings.d_model
        self.tokens = keras.layers.Embedding(symbols, width, truncated_normal(width, 1.0), name="tokens")
        self.distances = RelativePositionBias(settings.num_heads, _BUCKETS, _FARTHEST, False, name="distances")
        self.blocks = [DecoderBlock(settings, length, name=f"block_{i}") for i in range(settings.num_blocks)]
        self.norm = RMSNorm(_EPSILON, name="norm")

    def call(
        self, ids: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, list[RouterReport]]:
        """int32 [batch, length] to logits, float32 [batch, length, symbols], and a report per Switch layer.

        Args:
            seed: int32 [2], of the step; needed in training.
        """
        width, length = self.settings.d_model, self.length
        x = self.tokens(ids) * width**0.5  # [batch, length, d_model]
        words = Words(x, tf.ones(tf.shape(ids), tf.bool)) if self.settings.router == "token" else None
        later = 1.0 - tf.linalg.band_part(tf.ones([length, length]), -1, 0)  # [length, length], 1 above the diagonal
        bias = self.distances.between(length, length) + NEVER * later  # [1, heads, length, length]
        reports = []
        for number, block in enumerate(self.blocks):
            drawn = fold_in(seed, number) if training else None
            x, report = block(x, bias, training=training, seed=drawn, words=words)
            reports += [] if report is None else [report]
        rows = tf.reshape(self.norm(x), [-1, width])  # [batch * length, d_model]
        logits = tf.matmul(rows, self.tokens.embeddings, transpose_b=True)  # [batch * length, symbols]
        return tf.reshape(logits, [-1, length, self.symbols]), reports

    def balance(self, reports: list[RouterReport]) -> None:
        """Let each Switch layer even out the loads of a step, if `balance_rate` says so."""
        for block, report in zip(self.blocks, reports, strict=False):  # a dense model has no reports
            block.feed_forward.balance(report.routing.tokens_per_expert)


def flops_per_token(settings: ModelConfig, symbols: int, length: int, empty_slots: bool = True) -> int:
    """Of one token forward, a multiplication and an addition as two: the matrix products, and nothing else.

    Those of attention count with all places of the window, as they are computed, and those of the experts with the
    slots that stay empty, unless `empty_slots` is False. Norms, softmax, sums and what brings tokens to experts are
    left out. Training takes three times as many: a product has two in its gradient.
    """
    width, experts = settings.d_model, settings.num_experts
    attention = 8 * width**2 + 4 * length * width
    computed = 1.0  # by the experts, for each token
    if experts and empty_slots:
        slots = experts * expert_capacity(length, experts, settings.capacity_factor, settings.min_capacity)
        computed = slots / length if settings.drop_tokens else float(experts)
    choices = 2 if settings.router == "top2" and experts and not empty_slots else 1
    feed_forward = 4 * width * settings.d_ff * computed * choices + 2 * width * experts
    return round(settings.num_blocks * (attention + feed_forward)) + 2 * width * symbols


class Learner:
    """A decoder and its optimizer; `learn` and `held_out` take windows, int32 [n, length + 1].

    Args:
        config: of which `text.sequence_length`, `model` and `train` are used.
        symbols: ids in use.
        seed: of the initial weights, and of what is drawn in training.
        steps: that the learning rate falls over.
    """

    def __init__(self, config: Config, symbols: int, seed: int, steps: int):
        keras.utils.set_random_seed(seed)
        self.settings, self.clip, self.seed = config.model, config.train.gradient_clip_norm, seed
        self.model = Decoder(config.model, symbols, config.text.sequence_length)
        self.model(tf.zeros([1, config.text.sequence_length], tf.int32))  # makes the weights
        self.weights = self.model.trainable_weights
        self.optimizer = make_optimizer(config, steps)
        self.optimizer.build(self.weights)
        self._learn = tf.function(self._step, autograph=False)
        self._ask = tf.function(self._answers, autograph=False)

    def learn(self, windows: np.ndarray, number: int) -> float:
        """The step of that number, and the milliseconds of processor time that it took."""
        started = time.process_time()
        self._learn(tf.constant(windows), tf.constant(number))
        return 1000 * (time.process_time() - started)

    def held_out(self, windows: np.ndarray) -> tuple[float, float]:
        """The loss in nats a token, and the share of tokens that no expert had room for, the mean over layers."""
        batches = [windows[first : first + _AT_ONCE] for first in range(0, len(windows), _AT_ONCE)]
        answers = [[float(each) for each in self._ask(tf.constant(batch))] for batch in batches]
        loss, dropped = np.average(answers, axis=0, weights=[len(batch) for batch in batches])
        return float(loss), float(dropped)

    def _step(self, windows: tf.Tensor, number: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits, reports = self.model(windows[:, :-1], training=True, seed=tf.stack([self.seed, number]))
            loss = cross_entropy(logits, windows[:, 1:])
            for report in reports:
                loss += self.settings.auxiliary_loss_weight * report.auxiliary_loss
                loss += self.settings.z_loss_weight * report.z_loss
        gradients = [tf.convert_to_tensor(each) for each in tape.gradient(loss, self.weights)]
        if self.clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip)
        self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))
        self.model.balance(reports)

    def _answers(self, windows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss, float32 [], and the share of tokens that were dropped, float32 []."""
        logits, reports = self.model(windows[:, :-1])
        tokens = tf.cast(tf.size(windows[:, 1:]), tf.float32)
        dropped = [report.routing.dropped / (tokens * len(reports)) for report in reports]
        return cross_entropy(logits, windows[:, 1:]), tf.add_n(dropped) if dropped else tf.zeros([])


def cross_entropy(logits: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """The mean over tokens, in nats: float32 [batch, length, symbols] and int32 [batch, length] to float32 []."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(answers, logits))
