"""Adam by hand: two steps of one weight, the rows of a table that a step touches, and those that it does not."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.config import TrainConfig
from switch_tf.training.lazy_adam import LazyAdam, RowGradient, schedule

RATES: dict[str, Any] = {
    "learning_rate": 0.1,
    "table_learning_rate": 0.2,
    "warmup_share": 0.0,
    "gradient_clip_norm": 0.0,
}


def optimizer(weights: list[float], rows: int = 3, total_steps: int = 4, **changes: float) -> LazyAdam:
    table = tf.Variable(np.arange(2.0 * rows).reshape(rows, 2), dtype=tf.float32)
    return LazyAdam([tf.Variable(weights)], [table], TrainConfig(**{**RATES, **changes}), total_steps)


def step(adam: LazyAdam, gradient: list[float], rows: list[int], of_rows: list[list[float]], number: int) -> None:
    row_gradient = RowGradient(tf.constant(rows), tf.constant(of_rows))
    adam.apply([tf.constant(gradient)], [row_gradient], tf.constant(number))


def test_two_steps_of_a_weight() -> None:
    adam = optimizer([1.0])
    step(adam, [0.5], [0], [[0.0, 0.0]], 0)
    # mean 0.05 / 0.1 = 0.5 and square 0.0025 / 0.01 = 0.25: a whole step, times (1 + cos(pi / 4)) / 2
    assert adam.weights[0].numpy()[0] == pytest.approx(1.0 - 0.1 * 0.8535534, abs=1e-6)
    step(adam, [0.0], [0], [[0.0, 0.0]], 1)
    # mean 0.045 / 0.19 = 0.2368421 and square 0.002475 / 0.0199 = 0.1243719, times (1 + cos(pi / 2)) / 2
    expected = 1.0 - 0.1 * 0.8535534 - 0.1 * 0.5 * 0.6715801
    assert adam.weights[0].numpy()[0] == pytest.approx(expected, abs=1e-6)


def test_rows_move_by_their_own_rate_and_others_stand_still() -> None:
    adam = optimizer([0.0])
    step(adam, [0.0], [2], [[-2.0, 0.0]], 0)
    expected = [[0.0, 1.0], [2.0, 3.0], [4.0 + 0.2 * 0.8535534, 5.0]]
    np.testing.assert_allclose(adam.tables[0].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(adam.means[1].numpy(), [[0.0, 0.0], [0.0, 0.0], [-0.2, 0.0]], atol=1e-7)
    before = adam.means[1].numpy()[2].copy(), adam.tables[0].numpy()[2].copy()
    step(adam, [0.0], [0], [[1.0, 1.0]], 1)
    np.testing.assert_array_equal(adam.means[1].numpy()[2], before[0])  # plain Adam would shrink it
    np.testing.assert_array_equal(adam.tables[0].numpy()[2], before[1])  # and push the row on


def test_weights_are_clipped_together_and_tables_are_not() -> None:
    adam = optimizer([0.0, 0.0], gradient_clip_norm=1.0)
    step(adam, [3.0, 4.0], [1], [[30.0, 40.0]], 0)
    np.testing.assert_allclose(adam.means[0].numpy(), [0.06, 0.08], rtol=1e-6)
    np.testing.assert_allclose(adam.means[1].numpy()[1], [3.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize(("t", "expected"), [(1.0, 0.4951963), (2.0, 0.9619398), (4.0, 0.8535534), (16.0, 0.0)])
def test_schedule_warms_up_and_falls_to_zero(t: float, expected: float) -> None:
    # of 16 steps an eighth warms up: t = 1 is half of (1 + cos(pi / 16)) / 2
    assert float(schedule(tf.constant(t), 16, 0.125)) == pytest.approx(expected, abs=1e-6)


def test_moments_come_in_one_order() -> None:
    adam = optimizer([1.0])
    assert [tuple(moment.shape) for moment in adam.moments] == [(1,), (3, 2), (1,), (3, 2)]
