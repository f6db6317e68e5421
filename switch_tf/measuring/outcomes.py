"""What became of labelled texts: all that figures are computed from, 16 bytes a text however many classes there are.

So that any number of texts can be measured as they stream through a model. Sums over more than a million texts are sums
of sums, and their temporaries stay small.
"""

from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

_PIECE = 2**20  # texts that are summed at a time


class Outcomes(NamedTuple):
    """Texts with the label that they have and the one that a model finds most probable.

    Attributes:
        expected: label indices, int [n]; `classes` is the reject label.
        best: the most probable class, int [n].
        confidence: its probability, float [n].
        picked: the probability of the expected class, float [n]; 0 where that is the reject label.
        classes: how many there are.
    """

    expected: np.ndarray
    best: np.ndarray
    confidence: np.ndarray
    picked: np.ndarray
    classes: int

    def pieces(self) -> Iterator["Outcomes"]:
        """A million texts at a time."""
        for start in range(0, len(self.expected), _PIECE):
            yield self.where(slice(start, start + _PIECE))

    def where(self, rows: slice | np.ndarray) -> "Outcomes":
        """Those of some rows."""
        return Outcomes(self.expected[rows], self.best[rows], self.confidence[rows], self.picked[rows], self.classes)


def outcomes(probabilities: np.ndarray, expected: np.ndarray) -> Outcomes:
    """Outcomes of probabilities, float [n, classes], and label indices, int [n].

    >>> found = outcomes(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([0, 2]))
    >>> found.best, found.confidence, found.picked
    (array([1, 0]), array([0.75, 1.  ]), array([0.25, 0.  ]))
    """
    count, classes = probabilities.shape
    picked = probabilities[np.arange(count), np.minimum(expected, classes - 1)]
    picked = np.where(expected < classes, picked, 0).astype(probabilities.dtype)
    return Outcomes(expected, probabilities.argmax(axis=1), probabilities.max(axis=1, initial=0.0), picked, classes)


class Gathered:
    """Outcomes that come a batch at a time, as int32 and float32."""

    def __init__(self, classes: int):
        self._classes = classes
        self._columns: list[array[Any]] = [array(kind) for kind in "iiff"]

    def add(self, probabilities: np.ndarray, expected: np.ndarray) -> None:
        """Take a batch: float32 [n, classes] and int [n]."""
        found = outcomes(probabilities, expected)
        for column, values in zip(self._columns, found[:4], strict=True):
            column.frombytes(values.astype(np.dtype(column.typecode)).tobytes())

    def all(self) -> Outcomes:
        """All of them, without a copy; nothing is added after this."""
        expected, best, confidence, picked = (
            np.frombuffer(column, np.dtype(column.typecode)) for column in self._columns
        )
        return Outcomes(expected, best, confidence, picked, self._classes)
