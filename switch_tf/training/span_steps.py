"""The training loop of span corruption: batches of cut-out spans, and the compiled step."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.data.span_corruption import corrupt, longest, random_mask
from switch_tf.errors import RunError
from switch_tf.models.seq2seq import Seq2Seq
from switch_tf.models.weights import arrays_of, assign_weights
from switch_tf.training.loop import best_epoch, epoch_batches
from switch_tf.training.optimizer import warmed_up_adamw
from switch_tf.training.span_settings import SpanSettings
from switch_tf.training.steps import dropped_and_routed, padded_length, with_router_losses

_CLIP = 1.0  # of the gradients' norm
_VALIDATION = -1  # the number of the epoch whose spans are cut out to validate


class SpanBatch(NamedTuple):
    """What a step takes.

    Attributes:
        inputs: int32 [batch, length], padding at the end.
        decoder_ids: int32 [batch, target_length]: the start's id, and all targets but the last.
        targets: int32 [batch, target_length], padding at the end.
        weights: float32 [batch, target_length], 1 at targets, 0 at padding.
    """

    inputs: tf.Tensor
    decoder_ids: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor


class SpanTrainer:
    """The model, its optimizer and the step, compiled once for each length that batches have."""

    def __init__(self, model: Seq2Seq, settings: SpanSettings, sentinels: Sequence[int], pieces: int):
        self._model, self._settings, self._sentinels = model, settings, sentinels
        steps = settings.epochs * -(-pieces // settings.batch_size)
        self._optimizer = warmed_up_adamw(settings.learning_rate, steps, settings.weight_decay)
        self._optimizer.build(model.trainable_variables)
        self._step = tf.function(self._update, autograph=False, reduce_retracing=False)
        self._ask = tf.function(self._sums, autograph=False, reduce_retracing=False)

    def fit(
        self, training: list[list[int]], validation: list[list[int]], best: Path, tell: Callable[[str], None]
    ) -> tuple[float, list[dict[str, Any]]]:
        """The loss on validation before, and a row for each epoch; the best epoch's weights are left in the model.

        Args:
            best: a file to keep them in meanwhile.

        Raises:
            RunError: a loss is no number, or the file cannot be written.
        """
        before = self.evaluate(validation)
        tell(f"Before: validation {before:.4f}")
        history: list[dict[str, Any]] = []
        for epoch in range(self._settings.epochs):
            row = self._run_epoch(training, validation, epoch)
            if not np.isfinite([row["loss"], row["validation_loss"]]).all():
                raise RunError(f"The loss is no number in epoch {epoch + 1}. Train again at a lower learning_rate.")
            history.append(row)
            if best_epoch(history, "log_loss") == epoch:
                files.write_tensors(best, arrays_of(self._model))
            tell(
                f"Epoch {epoch + 1} of {self._settings.epochs}: loss {row['loss']:.4f}, validation "
                f"{row['validation_loss']:.4f}, {row['seconds']:.0f} s"
            )
        assign_weights(self._model, files.read_tensors(best)[0], str(best))
        return before, history

    def evaluate(self, pieces: list[list[int]]) -> float:
        """Mean cross-entropy in nats of the ids that have to be written; the spans are the same each time."""
        sums = np.zeros(2)
        for start in range(0, len(pieces), self._settings.batch_size):
            rows = range(start, min(start + self._settings.batch_size, len(pieces)))
            sums += [float(each) for each in self._ask(self._batch(pieces, rows, _VALIDATION))]
        return float(sums[0] / sums[1])

    def _run_epoch(self, training: list[list[int]], validation: list[list[int]], epoch: int) -> dict[str, Any]:
        started = time.perf_counter()
        settings = self._settings
        sums = np.zeros(4)  # cross-entropy and number of targets; dropped and routed tokens
        batches = epoch_batches(len(training), settings.batch_size, settings.seed, epoch)
        for number, rows in enumerate(batches):
            batch = self._batch(training, rows.tolist(), epoch)
            sums += [float(each) for each in self._step(batch, tf.constant(epoch * len(batches) + number))]
        return {
            "epoch": epoch + 1,
            "loss": sums[0] / sums[1],
            "validation_loss": self.evaluate(validation),
            "dropped_share": sums[2] / max(sums[3], 1.0),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _batch(self, pieces: list[list[int]], rows: Sequence[int], epoch: int) -> SpanBatch:
        """Pieces with spans cut out, which depend on the seed, the epoch and the piece alone."""
        settings, model = self._settings, self._model.settings
        size = padded_length(max(len(pieces[row]) for row in rows), settings.length)
        length, target_length = longest(size, settings.rate, settings.mean_span)
        inputs = np.full([settings.batch_size, length], model.pad_token_id, np.int32)
        targets = np.full([settings.batch_size, target_length], model.pad_token_id, np.int32)
        weights = np.zeros([settings.batch_size, target_length], np.float32)
        for place, row in enumerate(rows):
            random = np.random.default_rng([settings.seed, epoch - _VALIDATION, row])
            mask = random_mask(len(pieces[row]), settings.rate, settings.mean_span, random)
            cut = corrupt(pieces[row], mask, self._sentinels, model.eos_token_id)
            inputs[place, : len(cut.inputs)] = cut.inputs
            targets[place, : len(cut.targets)] = cut.targets
            weights[place, : len(cut.targets)] = 1.0
        start = np.full([settings.batch_size, 1], model.decoder_start_token_id, np.int32)
        decoder_ids = np.concatenate([start, targets[:, :-1]], axis=1)
        return SpanBatch(*(tf.constant(each) for each in (inputs, decoder_ids, targets, weights)))

    def _losses(self, batch: SpanBatch, training: bool, seed: tf.Tensor | None) -> tuple[tf.Tensor, Any]:
        """Cross-entropy summed over targets, and the routers' reports."""
        logits, reports = self._model(
            batch.inputs, batch.decoder_ids, batch.weights > 0.0, training=training, seed=seed
        )  # [batch, target_length, vocab_size]
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(batch.targets, logits)  # [batch, target_length]
        return tf.reduce_sum(each * batch.weights), reports

    def _sums(self, batch: SpanBatch) -> tuple[tf.Tensor, tf.Tensor]:
        return self._losses(batch, training=False, seed=None)[0], tf.reduce_sum(batch.weights)

    def _update(self, batch: SpanBatch, number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        variables = self._model.trainable_variables
        count = tf.reduce_sum(batch.weights)
        with tf.GradientTape() as tape:
            cross_entropy, reports = self._losses(batch, True, tf.stack([self._settings.seed, number]))
            loss = with_router_losses(cross_entropy / count, reports, self._model.settings)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _CLIP)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return cross_entropy, count, *dropped_and_routed(reports)
