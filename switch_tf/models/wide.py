"""The wide path: a linear model of a text's words, pairs of words and character grams, folded into two tables.

    logits = bias + (sum of words[id] + sum of pairs[row]) / sqrt(sum of their squared norms)

The sums run over the words of a text and over its pairs known from training (`switch_tf.text.ngrams`), each as often as
it occurs. What character grams say of a word is part of the word's row, since the grams of a known word are known. The
last column of both tables holds the squared norms, so a text costs one gather and one sum a table. With
`text.unknown_words` = "letters" the grams of other words are looked up (`switch_tf.models.letters`).

`switch_tf.training.wide_fit` makes the tables. They hold one column a class, but one column in all for two classes:
only the difference of two logits matters, and so that of the first class is the bias alone, 0. A third of the numbers
is saved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import RunError
from switch_tf.models.letters import LetterTables
from switch_tf.text.letter_runs import RunIndex
from switch_tf.text.ngrams import PairIndex, build_pair_index
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID

TINY = 1e-6  # below the squared norm of any text that has a word, which is 1 at least
_TEXTS = 4096  # whose rows are summed at a time
_PARTS = ("words", "pairs", "bias")
_INDEX, _LETTERS = "index/", "letters/"  # before the names of their arrays


@dataclass(frozen=True, eq=False)
class WideTables:
    """The wide path as NumPy arrays; columns are the classes, or one for two classes, and then the squared norm.

    Attributes:
        words: float32 [num_ids, columns + 1], zeros for padding.
        pairs: float32 [num_pairs + 1, columns + 1], zeros in the last row, which is that of unknown pairs.
        bias: float32 [classes].
        index: the row of each pair.
        letters: what is known of the letters of unknown words; None where these are all alike.
    """

    words: np.ndarray
    pairs: np.ndarray
    bias: np.ndarray
    index: PairIndex
    letters: LetterTables | None = None

    def logits(self, ids: np.ndarray, letters: np.ndarray | None = None) -> np.ndarray:
        """int32 [texts, length], padded with 0, to float32 [texts, classes]; the bias for a text without words.

        Args:
            letters: int32 [texts, n], of unknown words; needed with tables of `letters`.
        """
        starts = range(0, len(ids), _TEXTS)
        some = [None if letters is None else letters[start : start + _TEXTS] for start in starts]
        parts = [self._some_logits(ids[start : start + _TEXTS], each) for start, each in zip(starts, some, strict=True)]
        return np.concatenate(parts) if parts else np.zeros([0, len(self.bias)], np.float32)

    def _some_logits(self, ids: np.ndarray, letters: np.ndarray | None) -> np.ndarray:
        sums = _sum_rows(self.words, ids) + _sum_rows(self.pairs, self.index.find(ids))  # [texts, columns + 1]
        if self.letters is not None and letters is not None:
            sums += self.letters.sums(letters, self.words[OUT_OF_VOCABULARY_ID])
        scores = sums[:, :-1] / np.sqrt(np.maximum(sums[:, -1:], np.float32(TINY)))  # [texts, columns]
        return scores * _per_class(len(self.bias)) + self.bias  # [texts, classes]

    def keep_ids(self, num_ids: int) -> "WideTables":
        """The tables for ids below `num_ids` alone, when the words of the others become out of vocabulary."""
        pairs = self.index.pairs
        kept = (pairs < num_ids).all(axis=1)  # [num_pairs]
        index = build_pair_index(pairs[kept], num_ids)
        letters = None if self.letters is None else self.letters.keep_ids(num_ids)
        return WideTables(self.words[:num_ids], self.pairs[np.append(kept, True)], self.bias, index, letters)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that `from_arrays` needs, by name, to be kept in a file."""
        index = {_INDEX + name: array for name, array in self.index.to_arrays().items()}
        letters = {} if self.letters is None else self.letters.to_arrays()
        index |= {_LETTERS + name: array for name, array in letters.items()}
        return {"words": self.words, "pairs": self.pairs, "bias": self.bias} | index

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], source: str) -> "WideTables":
        """The tables that `to_arrays` took apart.

        Args:
            source: where the arrays come from, for the message.

        Raises:
            RunError: an array is missing, or they do not fit together.
        """
        found = {name: (array.dtype.name, array.ndim) for name, array in arrays.items() if name in _PARTS}
        expected = {"words": ("float32", 2), "pairs": ("float32", 2), "bias": ("float32", 1)}
        if found != expected:
            raise RunError(f"{source} holds {found} of a wide path. Expected {expected}. Restore it, or train again.")
        words, pairs, bias = (arrays[name] for name in _PARTS)
        width = _columns(len(bias)) + 1
        if words.shape[1] != width or pairs.shape[1] != width or not len(pairs) or len(bias) < 2:
            raise RunError(
                f"{source} holds tables of {words.shape} and {pairs.shape} for {len(bias)} classes. Expected {width} "
                "columns in both. Restore the file, or train again."
            )
        index, spelt = (
            {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            for prefix in (_INDEX, _LETTERS)
        )
        letters = LetterTables.from_arrays(spelt, width - 1, source) if spelt else None
        return cls(words, pairs, bias, PairIndex.from_arrays(index, len(words), len(pairs) - 1, source), letters)


class WidePath(keras.layers.Layer):
    """The wide path in a graph. Its weights are fitted beforehand, so an optimizer is not to touch them.

    Args:
        tables: the weights.
    """

    def __init__(self, tables: WideTables, name: str = "wide"):
        super().__init__(name=name, trainable=False)
        self.words = self._weight("words", tables.words)
        self.pairs = self._weight("pairs", tables.pairs)
        self.bias = self._weight("bias", tables.bias)
        arrays = {name: self._weight(_INDEX + name, array) for name, array in tables.index.to_arrays().items()}
        self.pair_index = PairIndex(tables.index.num_ids, tables.index.num_pairs, **arrays)
        self.letters = None if tables.letters is None else self._letter_weights(tables.letters)

    def call(self, ids: tf.Tensor, rows: tf.Tensor | None = None, letters: tf.Tensor | None = None) -> tf.Tensor:
        """int32 [batch, length] to logits, float32 [batch, classes].

        rows: of `pair_rows`, where they are known already.
        letters: int32 [batch, n], of unknown words; without them these are all alike.
        """
        rows = self.pair_rows(ids) if rows is None else rows  # [batch, length + 1]
        sums = tf.reduce_sum(tf.gather(self.words, ids), axis=1)  # [batch, columns + 1]
        sums += tf.reduce_sum(tf.gather(self.pairs, rows), axis=1)  # [batch, columns + 1]
        if self.letters is not None and letters is not None:
            sums += self.letters.sums_in_graph(letters, int(ids.shape[1]), self.unknown)
        return self.logits_of_sums(sums)

    @property
    def unknown(self) -> tf.Tensor:
        """The row of the unknown word: float32 [columns + 1]."""
        return tf.gather(self.words, OUT_OF_VOCABULARY_ID)

    def logits_of_sums(self, sums: tf.Tensor) -> tf.Tensor:
        """The sums of a text's rows to its logits: float32 [batch, columns + 1] -> [batch, classes]."""
        scores = sums[:, :-1] * tf.math.rsqrt(tf.maximum(sums[:, -1:], TINY))  # [batch, columns]
        return scores * _per_class(int(self.bias.shape[0])) + self.bias  # [batch, classes]

    def pair_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """The row of every pair: int32 [batch, length] -> int32 [batch, length + 1]."""
        return self.pair_index.look_up(ids)

    def rows_of_pairs(self, previous: tf.Tensor, this: tf.Tensor) -> tf.Tensor:
        """The same for pairs that the caller has made, int32 of any one shape."""
        return self.pair_index.look_up_pairs(previous, this)

    def _letter_weights(self, tables: LetterTables) -> LetterTables:
        kept = {name: self._weight(_LETTERS + name, array) for name, array in tables.graph_arrays().items()}
        arrays = tables.index.to_arrays()
        index = {name: self._weight(_LETTERS + _INDEX + name, array) for name, array in arrays.items()}
        return replace(tables, index=RunIndex(tables.index.num_runs, **index), words=None, **kept)

    def _weight(self, name: str, value: np.ndarray) -> tf.Variable:
        weight = self.add_weight(f"{self.name}/{name}", value.shape, value.dtype, initializer="zeros", trainable=False)
        weight.assign(value)
        return weight


def _columns(classes: int) -> int:
    return 1 if classes == 2 else classes


def _per_class(classes: int) -> np.ndarray:
    """What the columns are multiplied with: float32 [1, columns or classes]."""
    return np.array([[0.0, 1.0]], np.float32) if classes == 2 else np.ones([1, classes], np.float32)


def _sum_rows(table: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The sum of each text's rows.

    Args:
        table: float32 [rows, width].
        numbers: int32 [texts, n], of rows.

    Returns:
        float32 [texts, width].
    """
    texts, count = numbers.shape
    ends = np.arange(0, texts * count + 1, count)  # [texts + 1]
    ones = np.ones(texts * count, np.float32)
    return scipy.sparse.csr_matrix((ones, numbers.ravel(), ends), (texts, len(table))) @ table
