"""What fine-tuning turns: an encoder with its head, an optimizer for each, and the compiled step.

An epoch's order and dropout are drawn from the seed and its number, and a checkpoint is kept after each, so that a
training that is killed and resumed ends with the weights of one that was not.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.data.spill import rows_of
from switch_tf.errors import RunError
from switch_tf.measuring.fusion import cross_entropy_of
from switch_tf.models.encoder_classifier import FineTunedClassifier
from switch_tf.models.weights import arrays_of, assign_weights
from switch_tf.runs.fine_tuned import BEST, CHECKPOINT, FineTuneSettings
from switch_tf.training.loop import best_epoch, epoch_batches
from switch_tf.training.optimizer import restore_state, save_state, warmed_up_adamw
from switch_tf.training.reached import Reached
from switch_tf.training.steps import Encoded, dropped_and_routed, padded_length, with_router_losses

_CLIP = 1.0  # of the gradients' norm


class FineTuner:
    """The model, its optimizers, and the step, compiled once for each length that batches have."""

    def __init__(
        self, classifier: FineTunedClassifier, trained: list[tf.Variable], settings: FineTuneSettings, examples: int
    ):
        self._classifier = classifier
        self._model = classifier.model
        self._settings = settings
        steps = settings.epochs * -(-examples // settings.batch_size)
        head = {id(variable) for variable in self._model.head.trainable_variables}
        self._groups = [
            (
                warmed_up_adamw(rate, steps, settings.weight_decay),
                [each for each in trained if (id(each) in head) == is_head],
            )
            for rate, is_head in ((settings.learning_rate, False), (settings.head_learning_rate, True))
        ]
        for optimizer, variables in self._groups:
            optimizer.build(variables)
        self._step = tf.function(self._update, autograph=False, reduce_retracing=False)

    def fit(
        self, training: Encoded, validation: Encoded, folder: Path, tell: Callable[[str], None]
    ) -> list[dict[str, Any]]:
        """Train, or go on from the folder's checkpoint.

        A row of figures for each epoch; the best epoch's weights are left in the folder and in the model.

        Raises:
            RunError: the checkpoint does not fit, or a loss is no number.
        """
        history = self._restore(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else []
        for epoch in range(len(history), self._settings.epochs):
            row = self._run_epoch(training, validation, epoch)
            if not np.isfinite([row["loss"], row["validation_loss"]]).all():
                remedy = f"Remove {folder} and train again at a lower learning_rate"
                raise RunError(f"The loss is no number in epoch {epoch + 1}. {remedy}.")
            history.append(row)
            if best_epoch(history) == epoch:  # before the checkpoint: a kill in between repeats the epoch
                files.write_tensors(folder / BEST, arrays_of(self._model))
            self._save(folder / CHECKPOINT, history)
            tell(
                f"Epoch {epoch + 1} of {self._settings.epochs}: loss {row['loss']:.4f}, validation "
                f"{row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f}, {row['seconds']:.0f} s"
            )
        assign_weights(self._model, files.read_tensors(folder / BEST)[0], str(folder / BEST))
        return history

    def _run_epoch(self, training: Encoded, validation: Encoded, epoch: int) -> dict[str, Any]:
        started = time.perf_counter()
        batches = epoch_batches(len(training.ids), self._settings.batch_size, self._settings.seed, epoch)
        sums = np.zeros(4)  # cross-entropy and right answers of examples; dropped and routed tokens
        for number, rows in enumerate(batches):
            sums += self._train_on(training, rows, epoch * len(batches) + number)
        logits = self._classifier.logits_of_ids(validation.ids)
        return {
            "epoch": epoch + 1,
            "loss": sums[0] / len(training.ids),
            "accuracy": sums[1] / len(training.ids),
            "validation_loss": cross_entropy_of(logits, validation.labels),
            "validation_accuracy": float(np.mean(logits.argmax(axis=1) == validation.labels)),
            "dropped_share": sums[2] / max(sums[3], 1.0),
            "seconds": time.perf_counter() - started,
        }

    def _train_on(self, data: Encoded, rows: np.ndarray, number: int) -> np.ndarray:
        padding, size = self._model.settings.pad_token_id, self._settings.batch_size
        chosen = rows_of(data.ids, rows)
        length = padded_length(int((chosen != padding).sum(axis=1).max()), data.ids.shape[1])
        ids = np.full([size, length], padding, np.int32)
        labels = np.zeros([size], np.int32)
        ids[: rows.size], labels[: rows.size] = chosen[:, :length], data.labels[rows]
        weights = data.weights_of(rows, size)
        answer = self._step(*(tf.constant(each) for each in (ids, labels, weights)), tf.constant(number))
        return np.array([float(each) for each in answer])

    def _update(
        self, ids: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """One update of both groups; weights is 0 for rows that fill up the batch."""
        variables = [variable for _, group in self._groups for variable in group]
        with tf.GradientTape() as tape:
            output = self._model(ids, training=True, seed=tf.stack([self._settings.seed, number]))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output.logits)  # [batch]
            loss = tf.reduce_sum(each * weights) / tf.reduce_sum(weights)
            loss = with_router_losses(loss, output.reports, self._model.settings)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _CLIP)
        for optimizer, group in self._groups:
            optimizer.apply_gradients(zip(gradients[: len(group)], group, strict=True))
            gradients = gradients[len(group) :]
        right = tf.cast(tf.argmax(output.logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
        return tf.reduce_sum(each * weights), tf.reduce_sum(right * weights), *dropped_and_routed(output.reports)

    def _save(self, path: Path, history: list[dict[str, Any]]) -> None:
        save_state(path, self._model, [optimizer for optimizer, _ in self._groups], Reached(history))

    def _restore(self, path: Path) -> list[dict[str, Any]]:
        return restore_state(path, self._model, [optimizer for optimizer, _ in self._groups]).history
