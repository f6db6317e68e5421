"""The training loop: from token ids and label indices to the best weights, with a checkpoint after every epoch.

`train.checkpoint_steps` asks for more of them. An epoch is a pure function of the weights, the settings and the epoch's
number: shuffling and dropout are drawn from (seed, epoch) and (seed, step). So a run that is killed and resumed ends
with the weights of one that was not, whichever checkpoint it goes on from.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config, config_to_dict
from switch_tf.data import spill
from switch_tf.errors import RunError
from switch_tf.runs.folder import WEIGHTS
from switch_tf.training.composed import ComposedTrainer
from switch_tf.training.reached import Reached
from switch_tf.training.sharded import ShardedTrainer, exchange_of
from switch_tf.training.steps import Encoded, Totals
from switch_tf.training.team import Team
from switch_tf.training.trainer import Start, Trainer

CHECKPOINT = "checkpoint.safetensors"
_RELIEVED = 65_536  # texts that are learnt from between two times that what is on disk leaves memory
_MEASURED = 2000  # training texts, on which the figures of an epoch are measured


class Progress(Protocol):
    """Told how training goes; `switch_tf.training.progress` shows it."""

    def stage(self, name: str) -> None: ...

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None: ...

    def step(self, totals: "Totals", seconds: float) -> None: ...

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None: ...


def fit(
    training: Encoded,
    validation: Encoded,
    num_ids: int,
    num_classes: int,
    config: Config,
    folder: Path,
    progress: Progress,
    grams: scipy.sparse.csr_matrix | None = None,
    start: Start | None = None,
    lessons: Encoded | None = None,
    team: Team | None = None,
) -> list[dict[str, Any]]:
    """Train, or go on from `folder`'s checkpoint, until the last epoch or until validation stops improving.

    Leaves the best weights in `folder`/weights.safetensors and returns one row of figures per epoch. What is better,
    `best_epoch` says. A row's loss and accuracy on training texts are those of the epoch's weights on a sample, with
    nothing dropped out, so that they compare with those on validation.

    Args:
        grams: of `switch_tf.text.ngrams.word_grams`, needed for `model.character_grams`.
        start: what to begin with; None for random weights.
        lessons: what is learnt in place of `training`, which still says what is known and what is measured.
        team: those that train together, of which the chief alone writes; None for this process alone.

    Raises:
        ConfigError: settings that exclude each other.
        RunError: the checkpoint does not fit, a loss is no longer a number, or the workers do not train the same.
    """
    settings, team = config.train, Team() if team is None else team
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.seed)
    lessons = training if lessons is None else lessons
    total_steps = -(-len(lessons.ids) // settings.batch_size) * settings.epochs
    trainer: Trainer
    with team.scope():
        if config.model.context == "mean":
            trainer = ComposedTrainer(config, training.ids, num_ids, num_classes, total_steps, grams, start)
        elif settings.shard_experts and team.workers.in_cluster:
            exchange = exchange_of(team.workers, team.strategy)
            trainer = ShardedTrainer(config, num_ids, num_classes, total_steps, exchange)
        else:
            trainer = Trainer(config, num_ids, num_classes, total_steps, start)
    checkpoint = folder / CHECKPOINT
    reached = trainer.restore(checkpoint) if checkpoint.exists() else Reached()
    team.agree(lambda: _digest(config, lessons, (num_ids, num_classes), reached))
    return _Fitting(trainer, folder, progress, team).go_on(reached, lessons, validation, training)


def _digest(config: Config, lessons: Encoded, sizes: tuple[int, int], reached: Reached) -> bytes:
    """Of what a training follows from; SHA-256."""
    digest = hashlib.sha256(json.dumps([config_to_dict(config), sizes, reached.to_metadata()]).encode())
    for array in (lessons.ids, lessons.labels, lessons.weights):
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.digest()


class _Fitting:
    """A training from where it was cut off, if it was."""

    def __init__(self, trainer: Trainer, folder: Path, progress: Progress, team: Team):
        self.trainer, self.folder, self.progress, self.team = trainer, folder, progress, team
        self.settings = trainer.config.train
        self.takes_part = team.is_chief or trainer.needs_all

    def go_on(self, reached: Reached, lessons: Encoded, validation: Encoded, training: Encoded) -> list[dict[str, Any]]:
        """A row of figures for each epoch, those before `reached` included."""
        settings, history = self.settings, reached.history
        seen = measured_sample(training, settings.seed)
        for epoch in range(len(history), settings.epochs):
            if best_epoch(history, settings.select_by) < len(history) - settings.patience:
                break
            totals, seconds = self._run_epoch(lessons, reached)
            loss, accuracy, macro_f1, training_loss, training_accuracy = self._measured(validation, seen)
            _refuse_lost(totals.summary()["loss"], loss, epoch, self.folder)
            history.append(
                {"epoch": epoch + 1, **totals.summary(), "loss": training_loss, "accuracy": training_accuracy}
                | {"validation_loss": loss, "validation_accuracy": accuracy, "validation_macro_f1": macro_f1}
                | {"seconds": seconds, "tokens_per_second": totals.tokens / seconds}
            )
            is_best = best_epoch(history, settings.select_by) == len(history) - 1
            reached = Reached(history)
            if self.takes_part:
                if is_best:  # before the checkpoint: a kill in between repeats the epoch, with the same result
                    self.trainer.keep(self.folder / WEIGHTS)
                self.trainer.save(self.folder / CHECKPOINT, reached)
            self.progress.end_epoch(history[-1], is_best)
        return history

    def _measured(self, validation: Encoded, seen: Encoded) -> list[float]:
        """Loss, accuracy and macro-F1 on validation, loss and accuracy on training texts: the chief's, for all."""

        def figures() -> list[float]:
            return [*self.trainer.evaluate(validation), *self.trainer.evaluate(seen)[:2]]

        if not self.trainer.needs_all:
            return self.team.from_chief(figures, 5)
        measured = figures()
        return self.team.from_chief(lambda: measured, 5)

    def _run_epoch(self, lessons: Encoded, reached: Reached) -> tuple[Totals, float]:
        """The steps of an epoch that are left: sums over all of them, and the seconds that they took."""
        settings, epoch, totals = self.settings, len(reached.history), reached.totals
        batches = epoch_batches(len(lessons.ids), settings.batch_size, settings.seed, epoch)
        every = max(1, _RELIEVED // settings.batch_size)
        self.progress.start_epoch(epoch + 1, settings.epochs, len(batches))
        started = time.perf_counter() - reached.seconds
        for number, rows in enumerate(spill.relieving(batches[totals.steps :], every), start=totals.steps):
            step = epoch * len(batches) + number
            totals.add(self.trainer.train_on(lessons, rows, epoch, step))
            seconds = time.perf_counter() - started
            self.progress.step(totals, seconds)
            due = settings.checkpoint_steps is not None and (step + 1) % settings.checkpoint_steps == 0
            if due and number + 1 < len(batches) and self.takes_part:  # the last one's comes with the figures
                self._keep(Reached(reached.history, totals, seconds))
        return totals, time.perf_counter() - started

    def _keep(self, reached: Reached) -> None:
        """
        Raises:
            RunError: the loss is no number any more; the checkpoint before that stays.
        """
        _refuse_lost(reached.totals.loss, None, len(reached.history), self.folder)
        self.trainer.save(self.folder / CHECKPOINT, reached)


def _refuse_lost(loss: float, validation_loss: float | None, epoch: int, folder: Path) -> None:
    """
    Raises:
        RunError: a loss is no number: that of validation alone, if the very last step lost the weights.
    """
    if not np.isfinite([loss, 0.0 if validation_loss is None else validation_loss]).all():
        measured = "" if validation_loss is None else f", and {validation_loss} on validation"
        problem = f"The loss is {loss} in epoch {epoch + 1}{measured}"
        raise RunError(f"{problem}. Remove {folder} and train again at a lower train.learning_rate.")


def epoch_batches(examples: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Which examples each step of an epoch sees: all of them once, in a random order, the last batch perhaps smaller.

    Sorting by length would save padding, but cost 1.5 points of accuracy on `reviews`.
    """
    order = np.random.default_rng([seed, epoch]).permutation(examples)
    return [order[start : start + batch_size] for start in range(0, examples, batch_size)]


def measured_sample(training: Encoded, seed: int) -> Encoded:
    """The training texts that every epoch is measured on: at most 2,000 of them, the same ones each time."""
    if len(training.ids) <= _MEASURED:
        return training
    rows = np.sort(np.random.default_rng(seed).permutation(len(training.ids))[:_MEASURED])
    return Encoded(spill.rows_of(training.ids, rows), training.labels[rows])


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

    >>> balanced_weights(np.array([0, 0, 1, 1, 1, 1, 1, 1]), 2)[:3].tolist()[::2]
    [2.0, 0.6666666865348816]
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]
