"""What the wide path says of words that are not in the vocabulary: the weights of their runs of letters, added up.

A known word stands for itself and its runs of letters, whose weights are folded into its row (`switch_tf.models.wide`).
Of an unknown word the runs are looked up as they stand in the text. With w the weights of a word's known runs r, each
as often as the word has it, and as for a known word that one training text has,

    row = idf of a rare word x sum of w[r] / sqrt(sum of idf[r]^2)    and beside it the squared idf of a rare word

which takes the place of the unknown word's row; a word without a known run keeps that. Weights are whole numbers from
-127 to 127 times a factor for each column, idf^2 whole numbers from 1 to 127, the root of their sum is looked up, and
the row is held within the largest numbers of the path's tables and cut to their grid. So all sums are exact in any
order, and the same in all runtimes.

Source: Bojanowski et al., "Enriching word vectors with subword information", TACL 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow as tf

from switch_tf.errors import RunError
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.letter_runs import RunIndex
from switch_tf.text.packed_bytes import places

_LARGEST = 127  # of the numbers that stand for weights and for idf^2
_ROOTS = 4096  # norms beyond are taken as the last; a word of 30 letters has less
_INVERSE_ROOTS = (1 / np.sqrt(np.maximum(np.arange(_ROOTS), 1))).astype(np.float32)
_AROUND = 5  # places that runs at a place are made of: one before, the place, and three behind
_OFFSETS = np.arange(-1, _AROUND - 1, dtype=np.int32)[:, np.newaxis]  # of those places
_BEHIND = np.array([0, 2, 0, 0, 0], np.int32)  # a word of one letter
_INDEX = "index/"
_TYPES = {"words": (np.int32, 1), "weights": (np.int8, 2), "factors": (np.float32, 1), "largest": (np.float32, 1)}
_TYPES |= {"steps": (np.float32, 1), "rare": (np.float32, 1)}


@dataclass(frozen=True, eq=False)
class Runs:
    """What a fit gives.

    Attributes:
        index: of the runs.
        words: int32 [runs], rising, as `LetterTables` has them.
        rows: float32 [runs, columns + 1], idf times weight of each run, and its idf^2.
        rare_idf: of a word that one training text has.
    """

    index: RunIndex
    words: np.ndarray
    rows: np.ndarray
    rare_idf: float


@dataclass(frozen=True, eq=False)
class LetterTables:
    """The arrays of a model; columns are those of the path's tables. The rows of runs rise with `words`.

    The arrays may be NumPy's or, for what computes in a graph, TensorFlow variables of the same shapes.

    Attributes:
        index: the row of each run.
        words: int32 [runs], the least id below or at which two words have the run; None in a graph.
        weights: int8 [runs + 1, columns + 1], of each run and in the last column its idf^2; zeros in the last row.
        factors: float32 [columns], what a sum of weights over its root is multiplied by to be in steps of the grid.
        largest: float32 [columns], what rows are held within; not in steps, which may be too many for float16.
        steps: float32 [columns], of the grid: powers of two.
        rare: float32 [1], idf^2 of a rare word.
    """

    index: RunIndex
    words: Any
    weights: Any
    factors: Any
    largest: Any
    steps: Any
    rare: Any

    def sums(self, letters: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """What letters add to the sums of texts, beside the rows of the unknown word.

        Args:
            letters: int32 [texts, n], of `switch_tf.text.plain_spelling`.
            unknown: float32 [columns + 1], the row of the unknown word.

        Returns:
            float32 [texts, columns + 1].
        """
        texts, width = letters.shape
        line = np.concatenate([letters.ravel(), _BEHIND])
        place = np.flatnonzero(line)  # [letters]
        around = line[place + _OFFSETS]  # [5, letters]
        runs = self.index.find(around)  # [3, letters]
        begins = around[0] == 0  # [letters]
        number = np.tile(np.cumsum(begins) - 1, len(runs))  # [3 letters], of the word
        shape = (int(begins.sum()), len(self.weights))
        counts = scipy.sparse.csr_matrix((np.ones(len(number), np.float32), (number, runs.ravel())), shape)
        rows = self._rows(counts @ self.weights.astype(np.float32), unknown)  # [words, columns + 1]
        text = place[begins] // width  # [words]
        ends = np.searchsorted(text, np.arange(texts + 1))
        ones = np.ones(ends[-1], np.float32)
        of_text = scipy.sparse.csr_matrix((ones, np.arange(ends[-1]), ends), (texts, len(rows)))
        return np.asarray(of_text @ rows)

    def _rows(self, sums: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """float32 [words, columns + 1], all 0 for words without a known run, to the same."""
        norm = sums[:, -1:]  # [words, 1]
        root = _INVERSE_ROOTS[np.minimum(norm, _ROOTS - 1).astype(np.int32)]  # [words, 1]
        rows = np.trunc(sums[:, :-1] * root * self.factors) * self.steps  # [words, columns]
        rows = np.clip(rows, -self.largest, self.largest)
        known = norm > 0  # [words, 1]
        rows = np.concatenate([rows, np.where(known, self.rare, np.float32(0))], axis=1)
        return rows - np.where(known, unknown, np.float32(0))

    def sums_in_graph(self, letters: tf.Tensor, words: int, unknown: tf.Tensor) -> tf.Tensor:
        """What `sums` does of texts of up to that many words: int32 [batch, n] -> float32 [batch, columns + 1]."""
        width = int(letters.shape[1])
        # Zeros on both sides by concatenation: a graph that pads integers would leave the GPU in ONNX Runtime.
        zeros = tf.zeros_like(letters[:, : _AROUND - 1])  # [batch, 4]
        padded = tf.concat([zeros[:, :1], letters, zeros[:, 1:]], axis=1)  # [batch, n + 4]
        counted = self._count([padded[:, offset : offset + width] for offset in range(_AROUND)])
        columns = int(counted.shape[-1])
        until = tf.reshape(tf.cumsum(counted, axis=1), [-1, columns])  # [batch n, columns + 1]
        ends = _ends(letters, words) + tf.range(tf.shape(letters)[0])[:, tf.newaxis] * width  # [batch, words + 1]
        until = tf.gather(until, ends)  # [batch, words + 1, columns + 1]
        return tf.reduce_sum(self._rows_in_graph(until[:, 1:] - until[:, :-1], unknown), axis=1)

    def packed_sums(self, letters: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
        """The same at the cost of the letters that there are, in shapes that depend on the texts; see `packed`."""
        batch, width = tf.shape(letters)[0], int(letters.shape[1])
        line = tf.concat([tf.reshape(letters, [-1]), _BEHIND], axis=0)
        place = places(line)  # [letters], as below
        around = tf.unstack(tf.gather(line, place + _OFFSETS))  # five [letters]
        begins = tf.equal(around[0], 0)
        number = tf.cumsum(tf.cast(begins, tf.int32)) - 1  # [letters], of the word
        rows = self._rows_in_graph(tf.math.segment_sum(self._count(around), number), unknown)  # [words, columns + 1]
        first = tf.gather(place, places(begins))  # [words], the place of each word's first letter
        return tf.math.unsorted_segment_sum(rows, first // width, batch + 1)[:-1]

    def _count(self, around: list[tf.Tensor]) -> tf.Tensor:
        """The weights of the runs at places, added up: int32 [...] five times -> float32 [..., columns + 1]."""
        found = tf.gather(self.weights, self.index.look_up(around))  # [3, ..., columns + 1]
        return tf.reduce_sum(tf.cast(found, tf.float32), axis=0)

    def _rows_in_graph(self, sums: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
        """As `_rows`: float32 [..., columns + 1]."""
        norm = sums[..., -1:]  # [..., 1]
        root = tf.gather(_INVERSE_ROOTS, tf.cast(tf.minimum(norm, _ROOTS - 1.0), tf.int32))  # [..., 1]
        in_steps = sums[..., :-1] * root * self.factors  # [..., columns]
        in_steps = tf.cast(tf.cast(in_steps, tf.int32), tf.float32)  # ONNX Runtime rounds on no GPU otherwise
        rows = tf.minimum(tf.maximum(in_steps * self.steps, -self.largest), self.largest)
        known = norm > 0  # [..., 1]
        rows = tf.concat([rows, tf.where(known, self.rare, 0.0)], axis=-1)
        return rows - tf.where(known, unknown, 0.0)

    def keep_ids(self, num_ids: int) -> "LetterTables":
        """The tables for ids below `num_ids` alone, without the runs that fewer than two of their words have."""
        kept = int(np.searchsorted(self.words, num_ids))
        weights = np.concatenate([self.weights[:kept], self.weights[-1:]])
        return replace(self, index=self.index.keep(kept), words=self.words[:kept], weights=weights)

    def graph_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that a graph needs beside the index, by name."""
        return {name: getattr(self, name) for name in _TYPES if name != "words"}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that `from_arrays` needs, by name."""
        index = {_INDEX + name: array for name, array in self.index.to_arrays().items()}
        return {name: getattr(self, name) for name in _TYPES} | index

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], columns: int, source: str) -> "LetterTables":
        """The tables that `to_arrays` took apart.

        Args:
            columns: of the path's tables, without the norm.
            source: where the arrays come from, for the message.

        Raises:
            RunError: an array is missing, or they do not fit together.
        """
        for name, (kind, rank) in _TYPES.items():
            array = arrays.get(name)
            if array is None or array.dtype != kind or array.ndim != rank:
                received = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                expected = f"{np.dtype(kind)} of rank {rank}"
                raise RunError(
                    f"{source} holds {received} as {name!r} of runs of letters. Expected {expected}. Restore it, or "
                    "train again."
                )
        found = [arrays[name].shape for name in _TYPES]
        runs = len(arrays["words"])
        wanted = [(runs,), (runs + 1, columns + 1), (columns,), (columns,), (columns,), (1,)]
        if found != wanted:
            raise RunError(
                f"{source} holds runs of letters of shapes {found}. Expected {wanted}. Restore it, or train again."
            )
        index = {name.removeprefix(_INDEX): array for name, array in arrays.items() if name.startswith(_INDEX)}
        return cls(RunIndex.from_arrays(index, runs, source), **{name: arrays[name] for name in _TYPES})


def letter_tables(runs: Runs, largest: np.ndarray, steps: np.ndarray) -> LetterTables:
    """The tables of runs, rounded; see the module.

    Args:
        largest: float32 [columns + 1], of the path's tables.
        steps: float32 [columns + 1], their grid.
    """
    rows = runs.rows
    scale = np.maximum(np.abs(rows[:, :-1]).max(axis=0, initial=0), np.finfo(np.float32).tiny) / _LARGEST  # [columns]
    weights = np.zeros([len(rows) + 1, rows.shape[1]], np.int8)
    weights[:-1, :-1] = np.round(rows[:, :-1] / scale)
    weights[:-1, -1] = np.where(rows[:, -1] > 0, np.clip(np.round(rows[:, -1]), 1, _LARGEST), 0)
    rare = np.round(runs.rare_idf**2 / steps[-1:]) * steps[-1:]
    factors = (scale * runs.rare_idf / steps[:-1]).astype(np.float32)
    largest = (np.floor(largest[:-1] / steps[:-1]) * steps[:-1]).astype(np.float32)
    steps, rare = steps[:-1].astype(np.float32), rare.astype(np.float32)
    return LetterTables(runs.index, runs.words, weights, factors, largest, steps, rare)


def _ends(letters: tf.Tensor, words: int) -> tf.Tensor:
    """The places of the zeros before and behind the first words, the last place for more: int32 [batch, words + 1]."""
    last = int(letters.shape[1]) - 1
    is_zero = tf.equal(letters, 0)  # [batch, n]
    rank = tf.cumsum(tf.cast(is_zero, tf.int32), axis=1) - 1  # [batch, n]
    place = tf.where(tf.logical_and(is_zero, rank <= words), rank, words + 1)  # [batch, n]
    from_end = tf.zeros_like(letters) + np.arange(last, -1, -1, dtype=np.int32)  # [batch, n]
    return last - scatter_rows(place, from_end, words + 2)[:, : words + 1]
