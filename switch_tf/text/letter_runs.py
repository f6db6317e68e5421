"""Runs of 3 to 5 letters, each found again by an exact name: what a model knows of words out of vocabulary.

The letters of unknown words stand in a row, as `switch_tf.text.plain_spelling` writes them, each word between zeros:

    0 c a t z 0 0    for catz

A run is 3 to 5 neighbours, the inner ones letters, and of the outer ones a letter at least: `0 c a`, `c a t`, `a t z 0`
and so on. So a word that is as short as a run with its two zeros is no run of itself. A run a b c, a b c d or a b c d e
is named by two integers,

    (u mod p) q + v mod q   and   (u mod q) p + v mod p,      u = a + 2^10 b + 2^20 c
                                                              v = 0, 1 + d, or 1 + d + 2^11 (1 + e)

with the primes of `switch_tf.text.ngrams`, which are different for different runs (the Chinese remainder theorem) and
below 2^31. What is no run has a name as well, which no run has: it is looked up like all others, and not found. All
that a graph does is gather, multiply, add, floormod, compare and select, so all runtimes agree to the bit. It does so
for the three lengths at once, since LiteRT takes a microsecond for any operator however little there is to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.errors import RunError
from switch_tf.text.ngrams import PRIMES, int32_array
from switch_tf.text.perfect_hash import build_perfect_hash

_ARRAYS = ("shifts", "first", "second", "rows")
_FOURTH, _FIFTH, _LONGER = (0, 1, 1), (0, 0, 2**11), (0, 1, 1 + 2**11)  # v = _FOURTH d + _FIFTH e + _LONGER, by length


@dataclass(frozen=True, eq=False)
class RunIndex:
    """Numbers the runs known from training: run number i has row i, and all others have row `num_runs`.

    The arrays may be NumPy's or, for `look_up`, TensorFlow variables of the same shapes.

    Attributes:
        num_runs: how many runs are known.
        shifts: int32 [groups], of the perfect hash.
        first: int32 [slots], of the two integers that name the run in each slot, 0 where there is none.
        second: int32 [slots], the other one.
        rows: int32 [slots], the row of the run in each slot, `num_runs` where there is none.
    """

    num_runs: int
    shifts: Any
    first: Any
    second: Any
    rows: Any

    def find(self, around: Sequence[np.ndarray]) -> np.ndarray:
        """The row of each run around places: five int32 of any one shape, as `names_around` has them -> [3, ...]."""
        first, second = names_around(around)
        slot = (first % len(self.rows) + self.shifts[second % len(self.shifts)]) % len(self.rows)
        known = (self.first[slot] == first) & (self.second[slot] == second)
        return np.where(known, self.rows[slot], np.int32(self.num_runs))

    def look_up(self, around: Sequence[tf.Tensor]) -> tf.Tensor:
        """What `find` does, in a graph."""
        names = names_around(around)
        first, second = names[0], names[1]  # [3, ...], as all below; ONNX Runtime's GPU has no split
        slots, groups = int(self.rows.shape[0]), int(self.shifts.shape[0])
        shift = tf.gather(self.shifts, tf.math.floormod(second, groups))
        slot = tf.math.floormod(tf.math.floormod(first, slots) + shift, slots)
        known = tf.equal(tf.gather(self.first, slot), first)
        known = tf.logical_and(known, tf.equal(tf.gather(self.second, slot), second))
        return tf.where(known, tf.gather(self.rows, slot), self.num_runs)

    def keep(self, num_runs: int) -> "RunIndex":
        """The index of the first runs alone."""
        used = self.rows < num_runs  # [slots]
        names = np.zeros([num_runs, 2], np.int64)
        names[self.rows[used]] = np.stack([self.first[used], self.second[used]], axis=1)
        return build_run_index(names)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` needs beside `num_runs`, all int32."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], num_runs: int, source: str) -> "RunIndex":
        """The index that `to_arrays` took apart.

        Args:
            source: where the arrays come from, for the message.

        Raises:
            RunError: an array is missing or could not be one of an index of `num_runs` runs.
        """
        found = shifts, first, second, rows = [int32_array(arrays, name, source) for name in _ARRAYS]
        shapes = [each.shape for each in found]
        fits = shifts.ndim == 1 and rows.ndim == 1 and shifts.size and rows.size and shapes[1:3] == [rows.shape] * 2
        if not fits or shifts.min() < 0 or shifts.max() >= len(rows) or rows.min() < 0 or rows.max() > num_runs:
            raise RunError(
                f"{source} holds an index of runs of letters of shapes {shapes}. Expected [groups] and three times "
                f"[slots], with shifts below the slots and rows up to {num_runs}. Restore the file, or train again."
            )
        return cls(num_runs, shifts, first, second, rows)


def build_run_index(names: np.ndarray) -> RunIndex:
    """The index of runs by their names, int [runs, 2] without repetition.

    Raises:
        KeyCollisionError: two are the same.
    """
    table = build_perfect_hash(np.asarray(names, np.int64).reshape(-1, 2), np.arange(len(names)), missing=len(names))
    first, second = (np.ascontiguousarray(column) for column in table.keys.T)
    return RunIndex(len(names), table.shifts.astype(np.int32), first, second, table.values.astype(np.int32))


def names_around(around: Sequence[Any]) -> Any:
    """The names of what begins one before a place and is three, four and five long. In NumPy or in a graph.

    Args:
        around: what stands one place before, at the place, and 1, 2 and 3 places behind; int32 of one shape.

    Returns:
        int32 [2, 3, ...], both integers of each length.
    """
    a, b, c, d, e = around
    fourth, fifth, longer = (_column(each, d) for each in (_FOURTH, _FIFTH, _LONGER))
    return _names(a + b * 2**10 + c * 2**20, d * fourth + e * fifth + longer)


def names_of(runs: np.ndarray) -> np.ndarray:
    """The names of runs: int [runs, 5], -1 behind one that is shorter -> int64 [runs, 2]."""
    a, b, c, d, e = np.asarray(runs, np.int64).T
    v = np.where(d < 0, 0, np.where(e < 0, d + 1, d + 1 + (e + 1) * 2**11))
    return _names(a + b * 2**10 + c * 2**20, v[np.newaxis])[:, 0].T


def _names(u: Any, v: Any) -> Any:
    """[...] and [lengths, ...] -> [2, lengths, ...]."""
    own, other = _column(PRIMES, v), _column(PRIMES[::-1], v)
    return u % own * other + v % other


def _column(values: Sequence[int], of: Any) -> np.ndarray:
    """Values one above the other, each for an array of the shape of `of`: int32 [values, 1, ...]."""
    return np.reshape(np.array(values, np.int32), [len(values)] + [1] * len(of.shape))
