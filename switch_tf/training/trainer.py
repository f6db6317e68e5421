"""What the training loop turns: a model, its optimizer and the compiled step, saved and restored as one."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.config import Config
from switch_tf.data.spill import rows_of
from switch_tf.layers import replicas
from switch_tf.measuring.fusion import cross_entropy_of
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.weights import arrays_of, assign_weights, named_weights
from switch_tf.text.spec import PADDING_ID
from switch_tf.training.optimizer import make_optimizer, restore_state, save_state, summed_and_clipped
from switch_tf.training.reached import Reached
from switch_tf.training.steps import Encoded, StepResult, Taught, losses, padded_length, step_result

EVALUATION_BATCH = 256  # rows


class Start(NamedTuple):
    """What a training begins with, where that is not random.

    Attributes:
        weights: of a finished model, those with the names and shapes of the model in training; it need not have all.
        finished: True for a finished model that goes on learning: routes that are tables stay, what else routers were
            made of learns.
        pairs: int32 [pairs, 2], the words of those that have a vector, in the order of their rows; None for those that
            are frequent in the training texts.
    """

    weights: Mapping[str, np.ndarray]
    finished: bool = False
    pairs: np.ndarray | None = None


class Trainer:
    """The model, its optimizer and the compiled step.

    Made in the scope of a `tf.distribute` strategy, its steps share each batch between the strategy's replicas, and
    weights and figures are those of one device up to rounding (docs/decisions/0022-data-parallel-equals-one-device.md).
    """

    held: Sequence[bool] = ()  # as of `summed_and_clipped`: all weights are here
    needs_all = False  # whether what the chief alone does is done by all workers together

    def __init__(self, config: Config, num_ids: int, num_classes: int, total_steps: int, start: Start | None = None):
        self.config = config
        self.num_classes = num_classes
        self.strategy = tf.distribute.get_strategy()
        self.finished = start is not None and start.finished
        compute_dtype = "bfloat16" if config.train.mixed_precision else "float32"
        self.model = self.float_model = self._new_model(num_ids, compute_dtype)
        if config.train.mixed_precision:  # validation computes as the finished model will
            self.float_model = self._new_model(num_ids, "float32")
        if start is not None:
            begin_with(self.model, start.weights)
        self.variables = self.model.trainable_variables
        self.optimizer = make_optimizer(config, total_steps)
        self.optimizer.build(self.variables)
        self._compiled = tf.function(self._shared_step, autograph=False, jit_compile=config.train.jit_compile)
        self._steps: dict[int, Callable[..., StepResult]] = {}  # by length of the batch

    def _new_model(self, num_ids: int, compute_dtype: str) -> SwitchClassifier:
        model = SwitchClassifier(self.config, num_ids, self.num_classes, compute_dtype, finished=self.finished)
        model.initialize()
        return model

    @cached_property
    def _logits(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Traced once for all sizes; no function that TensorFlow would count traces of."""
        logits = tf.function(lambda ids: self.float_model(ids).logits, autograph=False)
        ids_of_any_batch = tf.TensorSpec([None, self.config.text.sequence_length], tf.int32)
        return logits.get_concrete_function(ids_of_any_batch)

    def step(
        self, ids: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, number: tf.Tensor, *taught: tf.Tensor
    ) -> StepResult:
        """One update, as `_step` has it, traced once for each length that batches have."""
        length = ids.shape[1]
        if length not in self._steps:
            self._steps[length] = self._compiled.get_concrete_function(ids, labels, weights, number, *taught)
        return self._steps[length](ids, labels, weights, number, *taught)

    def weights(self) -> dict[str, np.ndarray]:
        """Of the finished model."""
        learned = self._learned()
        return learned if self.finished else finish(learned, self.config.model)

    def keep(self, path: Path) -> None:
        """Write `weights`."""
        files.write_tensors(path, self.weights())

    def save(self, path: Path, reached: Reached) -> None:
        save_state(path, self.model, [self.optimizer], reached)

    def restore(self, path: Path) -> Reached:
        return restore_state(path, self.model, [self.optimizer])

    def train_on(self, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> StepResult:
        """One update on some examples.

        Args:
            rows: which ones.
            number: of the step, counted from the start of training.
        """
        del epoch
        batch_size = self.config.train.batch_size
        batch = _padded(data, rows, batch_size)
        return self.step(*batch, tf.constant(number), *data.taught_of(rows, batch_size))

    def evaluate(self, data: Encoded) -> tuple[float, float, float]:
        """Mean cross-entropy in nats, accuracy and macro-F1 over the labels that occur or are answered."""
        logits = self.logits(data)  # [n, classes]
        answered = logits.argmax(axis=1)
        loss = cross_entropy_of(logits, data.labels)
        return loss, float(np.mean(answered == data.labels)), _macro_f1(data.labels, answered)

    def logits(self, data: Encoded) -> np.ndarray:
        """What the weights of now answer, float64 [n, classes]."""
        if self.float_model is not self.model:
            assign_weights(self.float_model, self._learned(), "the weights in training")
        return logits_in_batches(self._logits, data.ids)

    def _learned(self) -> dict[str, np.ndarray]:
        return arrays_of(self.model)

    def _shared_step(self, *batch: Any) -> StepResult:
        """`_step` by each replica of the strategy on its part of a batch; by the only one on all of it."""
        if self.strategy.num_replicas_in_sync == 1:
            return self._step(*batch)
        figures = self.strategy.run(self._replica_step, batch)
        return StepResult(*(self.strategy.experimental_local_results(each)[0] for each in figures))

    def _replica_step(self, *batch: Any) -> StepResult:
        with replicas.sharing(replicas.here()) as part:
            return self._step(*self._part_of(batch, part))

    def _part_of(self, batch: Sequence[Any], part: replicas.Replicas) -> Sequence[Any]:
        """What a replica gets of the arguments of `_step`."""
        return [part.rows_of(each) for each in batch]

    def _step(
        self, ids: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, number: tf.Tensor, *taught: tf.Tensor
    ) -> StepResult:
        """One update; `weights` is above 0 for examples, 1 on average, and 0 for rows that fill up the batch.

        taught: of a `Taught`, where there is a teacher.
        """
        settings = self.config.train
        with tf.GradientTape() as tape:
            output = self.model(ids, training=True, seed=tf.stack([settings.seed, number]))
            loss, cross_entropy = losses(output, labels, weights, self.config, Taught(*taught) if taught else None)
        gradients = summed_and_clipped(tape.gradient(loss, self.variables), settings.gradient_clip_norm, self.held)
        moves = zip(gradients, self.variables, strict=True)
        self.optimizer.apply_gradients(moves, skip_gradients_aggregation=True)  # they are sums already
        self.model.balance(output.reports)

        return step_result(output, cross_entropy, labels, weights, ids != PADDING_ID)


def begin_with(model: SwitchClassifier, weights: Mapping[str, np.ndarray]) -> list[str]:
    """Give an initialized model those of the weights that have the name and shape of one of its own; their names."""
    taken = []
    for name, variable in named_weights(model).items():
        if name in weights and weights[name].shape == tuple(variable.shape):
            variable.assign(weights[name])
            taken.append(name)
    return taken


def _macro_f1(expected: np.ndarray, answered: np.ndarray) -> float:
    classes = int(max(expected.max(), answered.max())) + 1
    right = np.bincount(expected[expected == answered], minlength=classes)
    either = np.bincount(expected, minlength=classes) + np.bincount(answered, minlength=classes)
    return float(np.mean(2 * right[either > 0] / either[either > 0]))


def logits_in_batches(logits: Any, *inputs: np.ndarray) -> np.ndarray:
    """float64 [n, classes] of a compiled model, whose inputs are each [n, ...]."""
    parts = [
        logits(*(tf.constant(each[start : start + EVALUATION_BATCH]) for each in inputs)).numpy()
        for start in range(0, len(inputs[0]), EVALUATION_BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)


def _padded(data: Encoded, rows: np.ndarray, batch_size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A batch of `batch_size` rows, cut near the longest text; missing rows are empty texts of weight 0."""
    chosen = rows_of(data.ids, rows)
    length = padded_length(int(np.sum(chosen != PADDING_ID, axis=1).max()), data.ids.shape[1])
    ids = np.full([batch_size, length], PADDING_ID, np.int32)
    labels = np.zeros([batch_size], np.int32)
    ids[: rows.size], labels[: rows.size] = chosen[:, :length], data.labels[rows]
    return tf.constant(ids), tf.constant(labels), tf.constant(data.weights_of(rows, batch_size))
