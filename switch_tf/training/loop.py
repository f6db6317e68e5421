"""The training loop: from token ids and label indices to the best weights, a checkpoint after every epoch.

An epoch is a pure function of the weights, the settings and the epoch's number: shuffling and dropout are drawn from
(seed, epoch) and (seed, step). So a run that is killed and resumed ends with the weights of one that was not.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf import files
from switch_tf.config import Config, TrainConfig
from switch_tf.errors import RunError
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.weights import assign_weights, named_weights
from switch_tf.runs.folder import WEIGHTS
from switch_tf.text.spec import PADDING_ID
from switch_tf.training.optimizer import make_optimizer

CHECKPOINT = "checkpoint.safetensors"
_EVALUATION_BATCH = 256


class Encoded(NamedTuple):
    """Token ids, int32 [n, length], padded with 0 at the end, label indices, int32 [n], and weights, float32 [n]."""

    ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None  # of examples in the loss, above 0; None: all 1


class Progress(Protocol):
    """Told how training goes; `switch_tf.training.progress` shows it."""

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None: ...

    def step(self, totals: "Totals", seconds: float) -> None: ...

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None: ...


@dataclass
class Totals:
    """Sums over the steps of an epoch so far."""

    steps: int = 0
    examples: float = 0.0
    loss: float = 0.0  # cross-entropy, summed over examples
    correct: float = 0.0
    tokens: float = 0.0  # real ones, padding apart
    routed: float = 0.0  # tokens times Switch layers
    dropped: float = 0.0
    load: np.ndarray | None = None  # [experts], tokens that chose each expert, over all Switch layers

    def add(self, step: "StepResult") -> None:
        loss, correct, examples, tokens, load, dropped = (value.numpy() for value in step)
        self.steps += 1
        self.examples += float(examples)
        self.loss += float(loss) * float(examples)
        self.correct += float(correct)
        self.tokens += float(tokens)
        self.routed += float(load.sum())
        self.dropped += float(dropped)
        self.load = load.astype(np.float64) + (0.0 if self.load is None else self.load)

    def summary(self) -> dict[str, float]:
        """Means so far; `experts_in_use` counts experts that get at least a tenth of an even share."""
        load = np.zeros(0) if self.load is None else self.load
        in_use = int(np.sum(load * load.size >= 0.1 * max(self.routed, 1.0)))
        return {
            "loss": self.loss / max(self.examples, 1.0),
            "accuracy": self.correct / max(self.examples, 1.0),
            "experts_in_use": in_use,
            "dropped_share": self.dropped / max(self.routed, 1.0),
        }


class StepResult(NamedTuple):
    """What one step reports: mean loss, correct answers, examples, tokens, load [experts], dropped tokens."""

    loss: tf.Tensor
    correct: tf.Tensor
    examples: tf.Tensor
    tokens: tf.Tensor
    load: tf.Tensor
    dropped: tf.Tensor


def fit(
    training: Encoded,
    validation: Encoded,
    num_ids: int,
    num_classes: int,
    config: Config,
    folder: Path,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train, or go on from `folder`'s checkpoint, until the last epoch or until validation stops improving.

    Leaves the best weights in `folder`/weights.safetensors and returns one row of figures per epoch. What is better,
    `best_epoch` says.

    Raises:
        RunError: the checkpoint does not fit, or a loss is no longer a number.
    """
    settings = config.train
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.seed)
    steps = -(-len(training.ids) // settings.batch_size)
    trainer = Trainer(config, num_ids, num_classes, total_steps=steps * settings.epochs)
    history = trainer.restore(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else []
    lengths = np.maximum(np.sum(training.ids != PADDING_ID, axis=1), 1)  # [n]

    for epoch in range(len(history), settings.epochs):
        if best_epoch(history, settings.select_by) < len(history) - settings.patience:
            break
        progress.start_epoch(epoch + 1, settings.epochs, steps)
        totals, seconds = _run_epoch(trainer, training, lengths, epoch, settings, progress)
        loss, accuracy, macro_f1 = trainer.evaluate(validation)
        _refuse_lost(totals.summary()["loss"], loss, epoch, folder)
        history.append(
            {"epoch": epoch + 1, **totals.summary()}
            | {"validation_loss": loss, "validation_accuracy": accuracy, "validation_macro_f1": macro_f1}
            | {"seconds": seconds, "tokens_per_second": totals.tokens / seconds}
        )
        is_best = best_epoch(history, settings.select_by) == len(history) - 1
        if is_best:  # before the checkpoint: a kill in between repeats the epoch, with the same result
            files.write_tensors(folder / WEIGHTS, trainer.weights())
        trainer.save(folder / CHECKPOINT, history)
        progress.end_epoch(history[-1], is_best)
    return history


def _refuse_lost(loss: float, validation_loss: float, epoch: int, folder: Path) -> None:
    """
    Raises:
        RunError: a loss is no number: that of validation alone, if the very last step lost the weights.
    """
    if not np.isfinite([loss, validation_loss]).all():
        problem = f"The loss is {loss} in epoch {epoch + 1}, and {validation_loss} on validation"
        raise RunError(f"{problem}. Remove {folder} and train again at a lower train.learning_rate.")


def _run_epoch(
    trainer: "Trainer", training: Encoded, lengths: np.ndarray, epoch: int, settings: TrainConfig, progress: Progress
) -> tuple[Totals, float]:
    """All steps of an epoch, counted from 0, on texts of `lengths` tokens; sums over them and their seconds."""
    batches = epoch_batches(len(training.ids), settings.batch_size, settings.seed, epoch)
    started = time.perf_counter()
    totals = Totals()
    for number, rows in enumerate(batches):
        batch = _padded(training, rows, lengths, settings.batch_size)
        totals.add(trainer.step(*batch, tf.constant(epoch * len(batches) + number)))
        progress.step(totals, time.perf_counter() - started)
    return totals, time.perf_counter() - started


def epoch_batches(examples: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Which examples each step of an epoch sees: all of them once, in a random order, the last batch perhaps smaller.

    Sorting by length would save padding, but cost 1.5 points of accuracy on `reviews`.
    """
    order = np.random.default_rng([seed, epoch]).permutation(examples)
    return [order[start : start + batch_size] for start in range(0, examples, batch_size)]


def _padded(
    data: Encoded, rows: np.ndarray, lengths: np.ndarray, batch_size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A batch of `batch_size` rows cut to the longest text, in steps of an eighth of the sequence: few shapes to trace.

    Missing rows are empty texts of weight 0, which no expert sees.
    """
    full = data.ids.shape[1]
    eighth = -(-full // 8)
    length = min(full, -(-int(lengths[rows].max()) // eighth) * eighth)
    ids = np.full([batch_size, length], PADDING_ID, np.int32)
    labels = np.zeros([batch_size], np.int32)
    ids[: rows.size], labels[: rows.size] = data.ids[rows, :length], data.labels[rows]
    weights = (np.arange(batch_size) < rows.size).astype(np.float32)
    if data.weights is not None:
        weights[: rows.size] = data.weights[rows]
    return tf.constant(ids), tf.constant(labels), tf.constant(weights)


def best_epoch(history: list[dict[str, Any]], select_by: str = "accuracy") -> int:
    """The epoch, from 0, with the best validation; of equals the one with the lowest loss, then the earliest.

    `select_by` is accuracy, macro_f1 or log_loss. 0 for no epochs.
    """
    if not history:
        return 0
    losses = [row["validation_loss"] for row in history]
    scores = (
        [-loss for loss in losses] if select_by == "log_loss" else [row[f"validation_{select_by}"] for row in history]
    )
    return max(range(len(history)), key=lambda i: (scores[i], -losses[i]))


def balanced_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """float32 [n] of label indices int32 [n]: n / (classes x examples of the label), so that the mean is 1.

    >>> balanced_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]


def _macro_f1(expected: np.ndarray, answered: np.ndarray) -> float:
    classes = int(max(expected.max(), answered.max())) + 1
    right = np.bincount(expected[expected == answered], minlength=classes)
    either = np.bincount(expected, minlength=classes) + np.bincount(answered, minlength=classes)
    return float(np.mean(2 * right[either > 0] / either[either > 0]))


class Trainer:
    """The model, its optimizer and the compiled step."""

    def __init__(self, config: Config, num_ids: int, num_classes: int, total_steps: int):
        self.config = config
        self.num_classes = num_classes
        compute_dtype = "bfloat16" if config.train.mixed_precision else "float32"
        self.model = SwitchClassifier(config, num_ids, num_classes, compute_dtype)
        self.model.initialize()
        self.float_model = self.model
        if config.train.mixed_precision:  # validation computes as the finished model will
            self.float_model = SwitchClassifier(config, num_ids, num_classes)
            self.float_model.initialize()
        self.variables = self.model.trainable_variables
        self.optimizer = make_optimizer(config, total_steps)
        self.optimizer.build(self.variables)
        self._compiled = tf.function(self._step, autograph=False, jit_compile=config.train.jit_compile)
        self._steps: dict[int, Callable[..., StepResult]] = {}  # by length of the batch
        logits = tf.function(lambda ids: self.float_model(ids).logits, autograph=False)
        ids_of_any_batch = tf.TensorSpec([None, config.text.sequence_length], tf.int32)
        self._trace_logits = cache(lambda: logits.get_concrete_function(ids_of_any_batch))

    def step(self, ids: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, number: tf.Tensor) -> StepResult:
        """One update, as `_step` has it, traced once for each length that batches have."""
        length = ids.shape[1]
        if length not in self._steps:
            self._steps[length] = self._compiled.get_concrete_function(ids, labels, weights, number)
        return self._steps[length](ids, labels, weights, number)

    def weights(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in named_weights(self.model).items()}

    def save(self, path: Path, history: list[dict[str, Any]]) -> None:
        tensors = {f"weights/{name}": array for name, array in self.weights().items()}
        tensors |= {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(self.optimizer.variables)}
        files.write_tensors(path, tensors, {"history": json.dumps(history)})

    def restore(self, path: Path) -> list[dict[str, Any]]:
        tensors, metadata = files.read_tensors(path)
        weights = {name.removeprefix("weights/"): a for name, a in tensors.items() if name.startswith("weights/")}
        assign_weights(self.model, weights, str(path))
        try:
            for i, variable in enumerate(self.optimizer.variables):
                variable.assign(tensors[f"optimizer/{i}"])
            history: list[dict[str, Any]] = json.loads(metadata["history"])
        except (KeyError, ValueError) as error:  # an array or the history is missing, or of another shape
            raise RunError(f"{path} does not fit: {error}. Remove it to train from the start.") from error
        return history

    def evaluate(self, data: Encoded) -> tuple[float, float, float]:
        """Mean cross-entropy in nats, accuracy and macro-F1 over the labels that occur or are answered."""
        if self.float_model is not self.model:
            assign_weights(self.float_model, self.weights(), "the weights in training")
        logits_of = self._trace_logits()
        parts = [
            logits_of(tf.constant(data.ids[start : start + _EVALUATION_BATCH])).numpy()
            for start in range(0, len(data.ids), _EVALUATION_BATCH)
        ]
        logits = np.concatenate(parts).astype(np.float64)  # [n, classes]
        with np.errstate(invalid="ignore"):  # where training went wrong, the answer is NaN
            log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        picked = log_probabilities[np.arange(len(logits)), data.labels]
        answered = logits.argmax(axis=1)
        return float(-picked.mean()), float(np.mean(answered == data.labels)), _macro_f1(data.labels, answered)

    def _step(self, ids: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, number: tf.Tensor) -> StepResult:
        """One update; `weights` is above 0 for examples, 1 on average, and 0 for rows that fill up the batch."""
        model, settings = self.config.model, self.config.train
        targets = tf.one_hot(labels, self.num_classes)  # [batch, classes]
        targets = targets * (1.0 - settings.label_smoothing) + settings.label_smoothing / self.num_classes
        with tf.GradientTape() as tape:
            output = self.model(ids, training=True, seed=tf.stack([settings.seed, number]))
            each = tf.nn.softmax_cross_entropy_with_logits(targets, output.logits)  # [batch]
            real = tf.cast(weights > 0.0, tf.float32)  # [batch]
            cross_entropy = tf.reduce_sum(each * weights) / tf.reduce_sum(real)
            loss = cross_entropy
            for report in output.reports:
                loss += model.auxiliary_loss_weight * report.auxiliary_loss + model.z_loss_weight * report.z_loss
        gradients = tape.gradient(loss, self.variables)
        if settings.gradient_clip_norm > 0.0:
            gradients, _ = tf.clip_by_global_norm(gradients, settings.gradient_clip_norm)
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))

        correct = tf.cast(tf.argmax(output.logits, axis=-1, output_type=tf.int32) == labels, tf.float32)  # [batch]
        routed = [report.routing for report in output.reports]
        return StepResult(
            loss=cross_entropy,
            correct=tf.reduce_sum(correct * real),
            examples=tf.reduce_sum(real),
            tokens=tf.reduce_sum(tf.cast(ids != PADDING_ID, tf.float32)),
            load=tf.add_n([r.tokens_per_expert for r in routed]) if routed else tf.zeros([0]),
            dropped=tf.add_n([r.dropped for r in routed]) if routed else tf.zeros([]),
        )
