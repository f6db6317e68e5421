"""What a training step takes and reports, whatever the model: encoded texts, targets, figures and their sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.config import Config
from switch_tf.layers import replicas
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.models.classifier import ClassifierOutput
from switch_tf.models.huggingface import T5Settings


class Taught(NamedTuple):
    """What a teacher answers, to be learnt beside the labels: soft targets (Hinton et al. 2015, arXiv 1503.02531).

    Attributes:
        probabilities: float32 [n, classes], of its logits over the temperature.
        share: float32 [n]. Of the teacher in an example's loss, 0 to 1; the rest is the label's.
        temperature: float32 []. What the student's logits are divided by where it learns these.
    """

    probabilities: Any
    share: Any
    temperature: Any


class Encoded(NamedTuple):
    """Token ids, int32 [n, length], padded with 0 at the end, label indices, int32 [n], and weights, float32 [n].

    `letters`, int32 [n, some], are those of unknown words, of texts that a wide path is asked which tells these apart.
    """

    ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None  # of examples in the loss, above 0; None: all 1
    taught: Taught | None = None  # None: the labels alone
    letters: np.ndarray | None = None

    def weights_of(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Those of `rows`, float32 [batch_size], and 0 for what fills up the batch."""
        weights = (np.arange(batch_size) < rows.size).astype(np.float32)
        if self.weights is not None:
            weights[: rows.size] = self.weights[rows]
        return weights

    def taught_of(self, rows: np.ndarray, batch_size: int) -> tuple[tf.Tensor, ...]:
        """What a teacher says of `rows`, with zeros for what fills up the batch, as tensors; empty without one."""
        if self.taught is None:
            return ()
        missing = (0, batch_size - rows.size)
        probabilities = np.pad(self.taught.probabilities[rows], [missing, (0, 0)])
        each = Taught(probabilities, np.pad(self.taught.share[rows], missing), np.float32(self.taught.temperature))
        return tuple(tf.constant(array, tf.float32) for array in each)


class StepResult(NamedTuple):
    """What one step reports: mean loss, correct answers, examples, tokens; and of each Switch layer some more.

    That is how often tokens chose each expert, [layers, experts], the tokens that no expert took, [layers], and the
    mean entropy of the router's probabilities in nats, [layers].
    """

    loss: tf.Tensor
    correct: tf.Tensor
    examples: tf.Tensor
    tokens: tf.Tensor
    load: tf.Tensor
    dropped: tf.Tensor
    entropy: tf.Tensor


@dataclass
class Totals:
    """Sums over the steps of an epoch so far."""

    steps: int = 0
    examples: float = 0.0
    loss: float = 0.0  # cross-entropy, summed over examples
    correct: float = 0.0
    tokens: float = 0.0  # real ones, padding apart
    load: np.ndarray | None = None  # [layers, experts], how often tokens chose each expert
    dropped: np.ndarray | None = None  # [layers], tokens that no expert took
    entropy: np.ndarray | None = None  # [layers], times tokens

    def add(self, step: StepResult) -> None:
        loss, correct, examples, tokens, load, dropped, entropy = (value.numpy() for value in step)
        self.steps += 1
        self.examples += float(examples)
        self.loss += float(loss) * float(examples)
        self.correct += float(correct)
        self.tokens += float(tokens)
        self.load = load.astype(np.float64) + (0.0 if self.load is None else self.load)
        self.dropped = dropped.astype(np.float64) + (0.0 if self.dropped is None else self.dropped)
        self.entropy = entropy.astype(np.float64) * tokens + (0.0 if self.entropy is None else self.entropy)

    def to_dict(self) -> dict[str, Any]:
        """All of them, as JSON can hold them."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Totals":
        """
        Raises:
            TypeError, ValueError: these are not what `to_dict` gave.
        """
        arrays: dict[str, Any] = {
            name: np.array(value, np.float64) for name, value in values.items() if isinstance(value, list)
        }
        return cls(**{**values, **arrays})

    def summary(self) -> dict[str, Any]:
        """Means so far; `experts_in_use` counts experts that get at least a tenth of an even share.

        `layers` has the same of each Switch layer: shares of the load, mean entropy, share of dropped tokens.
        """
        load = np.zeros([0, 0]) if self.load is None else self.load  # [layers, experts]
        all_load = load.sum(axis=0)  # [experts]
        in_use = int(np.sum(all_load * all_load.size >= 0.1 * max(all_load.sum(), 1.0)))
        layers = self.layers()
        return {
            "loss": self.loss / max(self.examples, 1.0),
            "accuracy": self.correct / max(self.examples, 1.0),
            "experts_in_use": in_use,
            "dropped_share": sum(each["dropped_share"] for each in layers) / max(len(layers), 1),
            "layers": layers,
        }

    def layers(self) -> list[dict[str, Any]]:
        """Of each Switch layer: {"load": [experts], "entropy": nats, "dropped_share"}, rounded to be read."""
        if self.load is None or self.dropped is None or self.entropy is None:
            return []
        tokens = max(self.tokens, 1.0)
        return [
            {
                "load": np.round(load / max(load.sum(), 1.0), 4).tolist(),
                "entropy": round(float(entropy) / tokens, 4),
                "dropped_share": float(dropped) / tokens,
            }
            for load, entropy, dropped in zip(self.load, self.entropy, self.dropped, strict=True)
        ]


def losses(
    output: ClassifierOutput, labels: tf.Tensor, weights: tf.Tensor, config: Config, taught: Taught | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """What is minimised, and the cross-entropy in it, both float32 []; of replicas that share a batch, their parts.

    Args:
        labels: int32 [batch].
        weights: float32 [batch], above 0 for examples, 1 on average, and 0 for rows that fill up the batch.
        taught: what a teacher says of the batch: with its share s, temperature T and probabilities q the cross-entropy
            of an example is (1 - s) H(label, p) + s T^2 H(q, softmax(logits / T)), where T^2 keeps the gradients of
            both alike (arXiv 1503.02531, section 2).
    """
    model, smoothing = config.model, config.train.label_smoothing
    num_classes = output.logits.shape[-1]
    targets = tf.one_hot(labels, num_classes) * (1.0 - smoothing) + smoothing / num_classes  # [batch, classes]
    each = tf.nn.softmax_cross_entropy_with_logits(targets, output.logits)  # [batch]
    if taught is not None:
        cooled = output.logits / taught.temperature  # [batch, classes]
        soft = tf.nn.softmax_cross_entropy_with_logits(taught.probabilities, cooled)  # [batch]
        each = (1.0 - taught.share) * each + taught.share * tf.square(taught.temperature) * soft
    examples = replicas.current().sum(tf.reduce_sum(tf.cast(weights > 0.0, tf.float32)))
    cross_entropy = tf.reduce_sum(each * weights) / examples
    loss = cross_entropy
    for report in output.reports:
        loss += model.auxiliary_loss_weight * report.auxiliary_loss + model.z_loss_weight * report.z_loss
    return loss, cross_entropy


def taught_specs(batch_size: int, num_classes: int) -> Taught:
    """The tensors that `Encoded.taught_of` gives."""
    return Taught(
        tf.TensorSpec([batch_size, num_classes], tf.float32),
        tf.TensorSpec([batch_size], tf.float32),
        tf.TensorSpec([], tf.float32),
    )


def step_result(
    output: ClassifierOutput, cross_entropy: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, mask: tf.Tensor
) -> StepResult:
    """The figures of a step, of all replicas that share it; mask: bool [batch, length], True at real tokens."""
    correct = tf.cast(tf.argmax(output.logits, axis=-1, output_type=tf.int32) == labels, tf.float32)  # [batch]
    real = tf.cast(weights > 0.0, tf.float32)  # [batch]
    routed = [report.routing for report in output.reports]
    contributed = StepResult(
        loss=cross_entropy,
        correct=tf.reduce_sum(correct * real),
        examples=tf.reduce_sum(real),
        tokens=tf.reduce_sum(tf.cast(mask, tf.float32)),
        load=tf.stack([each.tokens_per_expert for each in routed]) if routed else tf.zeros([0, 0]),
        dropped=tf.stack([each.dropped for each in routed]) if routed else tf.zeros([0]),
        entropy=tf.stack([each.entropy for each in routed]) if routed else tf.zeros([0]),
    )
    return StepResult(*replicas.current().sums(contributed))


def with_router_losses(loss: tf.Tensor, reports: Sequence[RouterReport], settings: T5Settings) -> tf.Tensor:
    """The loss and, with the weights that a checkpoint has for them, the routers' auxiliary loss and z-loss."""
    for report in reports:
        loss += settings.router_aux_loss_coef * report.auxiliary_loss
        loss += settings.router_z_loss_coef * report.z_loss
    return loss


def dropped_and_routed(reports: Sequence[RouterReport]) -> tuple[tf.Tensor, tf.Tensor]:
    """How many tokens found no slot, and how many were routed, in all Switch layers together; both float32 []."""
    routed = [report.routing for report in reports]
    if not routed:
        return tf.zeros([]), tf.zeros([])
    return tf.add_n([each.dropped for each in routed]), tf.add_n(
        [tf.reduce_sum(each.tokens_per_expert) for each in routed]
    )


def padded_length(longest: int, sequence_length: int) -> int:
    """Where a batch is cut: at its longest text, in steps of an eighth of the sequence, so that few shapes are traced.

    >>> padded_length(9, 64), padded_length(60, 62)
    (16, 62)
    """
    eighth = -(-sequence_length // 8)
    return min(sequence_length, -(-max(longest, 1) // eighth) * eighth)
