"""Limited-memory BFGS in float32, for smooth functions of millions of variables.

SciPy's works in float64: twice the memory, which is what costs the time here. Products are summed by NumPy itself and
not by BLAS, whose threads would make the sums depend on their number.

Source: Nocedal and Wright, "Numerical Optimization", 2nd edition, algorithms 7.4 and 7.5; section 3.1 for the length of
a step.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MEMORY = 8  # steps remembered; each takes two vectors
_SUFFICIENT = 1e-4  # share of the decrease that the slope promises, which a step must reach
_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a search ended.

    Attributes:
        x: float32 [variables].
        values: of the function, at the start and after every step.
        evaluations: how often the function was asked.
    """

    x: np.ndarray
    values: tuple[float, ...]
    evaluations: int


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, max_steps: int, tolerance: float
) -> Minimum:
    """Search the minimum of a smooth function from `start`, float32 [variables].

    Args:
        function: float32 [variables] to its value there and its gradient, float32 [variables].
        max_steps: stop after as many.
        tolerance: stop when two steps in a row each lower the value by less than this share of it.
    """
    x: np.ndarray = start.astype(np.float32)
    value, gradient = function(x)
    values, evaluations, small = [value], 1, 0
    memory: deque[_Step] = deque(maxlen=_MEMORY)
    while len(values) <= max_steps and small < 2:
        direction = _direction(memory, gradient)
        slope = _dot(direction, gradient)
        length = 1.0 if memory else 1.0 / max(1.0, float(np.abs(gradient).sum(dtype=np.float64)))
        for _ in range(_HALVINGS):
            candidate = x + np.float32(length) * direction
            candidate_value, candidate_gradient = function(candidate)
            evaluations += 1
            if candidate_value <= value + _SUFFICIENT * length * slope:
                break
            length /= 2.0
        else:
            break  # whatever is gained is lost in rounding
        _remember(memory, candidate - x, candidate_gradient - gradient)
        small = small + 1 if value - candidate_value <= tolerance * abs(value) else 0
        x, value, gradient = candidate, candidate_value, candidate_gradient
        values.append(value)
    return Minimum(x, tuple(values), evaluations)


@dataclass(frozen=True, eq=False)
class _Step:
    """A step, float32 [variables], how the gradient changed along it, and the product of the two."""

    step: np.ndarray
    change: np.ndarray
    product: float


def _remember(memory: deque[_Step], step: np.ndarray, change: np.ndarray) -> None:
    product = _dot(step, change)
    if product > 0.0:  # as it is for a convex function, but for rounding
        memory.append(_Step(step, change, product))


def _direction(memory: deque[_Step], gradient: np.ndarray) -> np.ndarray:
    """Algorithm 7.4, the newest step last in memory: float32 [variables]."""
    direction = -gradient
    if not memory:
        return direction
    shares, scratch = [], np.empty_like(direction)
    for past in reversed(memory):
        share = _dot(past.step, direction) / past.product
        direction -= np.multiply(past.change, np.float32(share), out=scratch)
        shares.append(share)
    newest = memory[-1]
    direction *= np.float32(newest.product / _dot(newest.change, newest.change))
    for past, share in zip(memory, reversed(shares), strict=True):
        share -= _dot(past.change, direction) / past.product
        direction += np.multiply(past.step, np.float32(share), out=scratch)
    return direction


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.einsum("i,i->", one, other))
