"""The search finds minima that are known, and stops when it should."""

import itertools

import numpy as np
import pytest

from switch_tf.training.lbfgs import minimize


def quadratic(matrix: np.ndarray, shift: np.ndarray):
    """Half (x - shift) matrix (x - shift), which is 0 at its minimum, `shift`."""

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        slope = matrix @ (x - shift)
        return 0.5 * float((x - shift) @ slope), slope.astype(np.float32)

    return function


def test_a_parabola_in_one_variable() -> None:
    found = minimize(quadratic(np.array([[4.0]]), np.array([3.0])), np.array([0.0]), 50, 0.0)
    assert found.x.dtype == np.float32 and found.x.tolist() == pytest.approx([3.0], abs=1e-6)
    assert found.values[0] == 18.0 and found.values[-1] < 1e-9


def test_many_variables_of_very_different_curvature() -> None:
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.standard_normal([40, 40]))
    matrix = rotation @ np.diag(np.logspace(-2, 2, 40)) @ rotation.T
    shift = random.standard_normal(40)
    found = minimize(quadratic(matrix, shift), np.zeros(40), 400, 0.0)
    assert found.values[-1] < 1e-6 * found.values[0]
    np.testing.assert_allclose(found.x, shift, atol=0.02)


def test_values_never_rise() -> None:
    def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = x.astype(np.float64)
        value = (1 - a) ** 2 + 100 * (b - a * a) ** 2
        return value, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)], np.float32)

    found = minimize(rosenbrock, np.array([-1.2, 1.0]), 200, 0.0)
    assert list(found.values) == sorted(found.values, reverse=True)
    np.testing.assert_allclose(found.x, [1.0, 1.0], atol=1e-3)
    assert found.evaluations >= len(found.values)


def test_no_more_steps_than_allowed() -> None:
    function = quadratic(np.diag([1.0, 100.0]), np.array([3.0, 4.0]))
    assert [len(minimize(function, np.zeros(2), steps, 0.0).values) for steps in (0, 1, 3)] == [1, 2, 4]


def test_it_stops_after_two_small_steps_in_a_row() -> None:
    function = quadratic(np.diag([1.0, 10.0, 100.0]), np.array([3.0, 4.0, 5.0]))
    values = minimize(function, np.zeros(3), 100, 0.6).values
    small = "".join("s" if before - after <= 0.6 * before else "l" for before, after in itertools.pairwise(values))
    assert small.index("ss") == len(small) - 2


def test_at_the_minimum_it_stays() -> None:
    found = minimize(quadratic(np.eye(2), np.array([1.0, 2.0])), np.array([1.0, 2.0]), 10, 1e-4)
    assert found.x.tolist() == [1.0, 2.0] and len(found.values) <= 3
