"""Adam for weights of which a step touches all, and for tables of which it touches few rows: those alone move."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from switch_tf.config import TrainConfig
from switch_tf.layers import replicas
from switch_tf.training.optimizer import summed_and_clipped

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.99, 1e-8


class RowGradient(NamedTuple):
    """The gradient of some rows of a table: int32 [rows] without repetition, and float32 [rows, width]."""

    rows: tf.Tensor
    gradient: tf.Tensor


class LazyAdam(tf.Module):
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) with linear warm-up and cosine decay to zero.

    A table's rows without a gradient stand still, moments included; plain Adam would spend its time on them, and push
    words along that the batch has not seen.

    Args:
        weights: moved at `settings.learning_rate` by gradients that are clipped together to a global norm.
        tables: float32 [rows, width] each, moved at `settings.table_learning_rate`; their gradients are not clipped.
        total_steps: of the whole training.
    """

    def __init__(
        self, weights: Sequence[tf.Variable], tables: Sequence[tf.Variable], settings: TrainConfig, total_steps: int
    ):
        super().__init__(name="lazy_adam")
        self.settings, self.total_steps = settings, total_steps
        self.weights, self.tables = list(weights), list(tables)
        every = [*self.weights, *self.tables]
        self.means = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in every]
        self.squares = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in every]

    @property
    def moments(self) -> list[tf.Variable]:
        """All that it remembers between steps, in an order that does not change."""
        return [*self.means, *self.squares]

    def apply(self, gradients: Sequence[tf.Tensor], rows: Sequence[RowGradient], number: tf.Tensor) -> None:
        """One update.

        Args:
            gradients: of `weights`, in their order.
            rows: of `tables`, in their order.
            number: int32 [], of the step, from 0.
        """
        settings, count = self.settings, len(self.weights)
        t = tf.cast(number, tf.float32) + 1.0
        corrections = 1.0 - _BETA_1**t, 1.0 - _BETA_2**t
        scheduled = schedule(t, self.total_steps, settings.warmup_share)
        gradients = summed_and_clipped(gradients, settings.gradient_clip_norm)
        own = replicas.current().own  # replicas make the same update, each of its copy
        for i, gradient in enumerate(gradients):
            means, squares = own(self.means[i]), own(self.squares[i])
            mean, square, step = _moved(means, squares, gradient, corrections)
            means.assign(mean)
            squares.assign(square)
            own(self.weights[i]).assign_sub(scheduled * settings.learning_rate * step)
        for i, (touched, gradient) in enumerate(rows):
            means, squares = own(self.means[count + i]), own(self.squares[count + i])
            mean, square, step = _moved(tf.gather(means, touched), tf.gather(squares, touched), gradient, corrections)
            means.scatter_update(tf.IndexedSlices(mean, touched))
            squares.scatter_update(tf.IndexedSlices(square, touched))
            moved = scheduled * settings.table_learning_rate * step
            own(self.tables[i]).scatter_sub(tf.IndexedSlices(moved, touched))


def schedule(t: tf.Tensor, total_steps: int, warmup_share: float) -> tf.Tensor:
    """The share of the peak rate at step t (from 1): min(1, t / warm-up steps) x (1 + cos(pi t / steps)) / 2."""
    warmup = tf.minimum(1.0, t / max(warmup_share * total_steps, 1.0))
    return warmup * 0.5 * (1.0 + tf.cos(math.pi * t / total_steps))


def _moved(
    mean: tf.Tensor, square: tf.Tensor, gradient: tf.Tensor, corrections: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Both moments after a gradient, and the step at rate 1."""
    mean = _BETA_1 * mean + (1.0 - _BETA_1) * gradient
    square = _BETA_2 * square + (1.0 - _BETA_2) * tf.square(gradient)
    return mean, square, mean / corrections[0] / (tf.sqrt(square / corrections[1]) + _EPSILON)
