"""Batches for a model of composed embeddings: which tokens a step sees, and which rows of the tables they need.

Tokens that are left out leave their place too, so that a step computes what is left and no padding in between.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from switch_tf.data import spill
from switch_tf.text.spec import PADDING_ID
from switch_tf.training.steps import Encoded, padded_length

_TEXTS = 4096  # whose pairs are looked up at a time


class Sample(NamedTuple):
    """A batch in terms of the rows it needs; `length` is that of its longest text, padded.

    Attributes:
        words: int32 [batch, length]. 1 + the place in `word_ids`; 0 at padding and where the word is left out.
        pairs: int32 [batch, length]. 1 + the place in `pair_rows`; 0 where there is no known pair or it is left out.
        labels: int32 [batch].
        weights: float32 [batch]. Above 0 for examples, 0 for rows that fill up the batch.
        word_ids: int32 [some], increasing.
        pair_rows: int32 [some], increasing.
        gram_rows: int32 [some], increasing: all grams of these words.
        gram_owners: int32 [links]. For each gram of each word, the place of the word.
        gram_places: int32 [links]. And that of the gram.
        gram_weights: float32 [links].
    """

    words: np.ndarray
    pairs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    word_ids: np.ndarray
    pair_rows: np.ndarray
    gram_rows: np.ndarray
    gram_owners: np.ndarray
    gram_places: np.ndarray
    gram_weights: np.ndarray


class KnownPairs:
    """Pairs of neighbouring words that are frequent in training, found by binary search.

    Attributes:
        pairs: int32 [pairs, 2], by first and second id; the first is 0 at the start of a text.
    """

    def __init__(self, ids: np.ndarray, num_ids: int, min_count: int):
        self.num_ids = num_ids
        starts = range(0, max(len(ids), 1), _TEXTS)
        parts = [self._codes(some)[some != PADDING_ID] for some in (ids[start : start + _TEXTS] for start in starts)]
        codes, counts = np.unique(np.concatenate(parts), return_counts=True)
        self.codes = codes[counts >= min_count] if min_count else codes[:0]
        self.pairs = np.stack([self.codes // num_ids, self.codes % num_ids], axis=1).astype(np.int32)

    @classmethod
    def given(cls, pairs: np.ndarray, num_ids: int) -> "KnownPairs":
        """Those that another training has found, int [pairs, 2], in its order."""
        known = cls(np.zeros([0, 1], np.int32), num_ids, 0)
        known.pairs = pairs.astype(np.int32)
        known.codes = pairs[:, 0].astype(np.int64) * num_ids + pairs[:, 1]
        return known

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The row of each token and the one before it, the number of pairs if unknown: int32 [n, length] to the same.

        The number of pairs is also that at padding.
        """
        if not self.codes.size:
            return np.zeros(ids.shape, np.int32)
        return spill.computed(ids.shape, np.int32, lambda some: self._some_rows(ids[some]))

    def _some_rows(self, ids: np.ndarray) -> np.ndarray:
        codes = self._codes(ids)
        place = np.minimum(np.searchsorted(self.codes, codes), self.codes.size - 1)
        found = (self.codes[place] == codes) & (ids != PADDING_ID)
        return np.where(found, place, self.codes.size).astype(np.int32)

    def _codes(self, ids: np.ndarray) -> np.ndarray:
        previous = np.pad(ids[:, :-1], [[0, 0], [1, 0]]).astype(np.int64)
        return previous * self.num_ids + ids  # int64 [n, length]


def scale_grams(grams: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Each word's grams times 1 / sqrt(their number): a sum of as many random vectors has the length of one."""
    number = np.asarray(grams.sum(axis=1)).ravel()
    scale = scipy.sparse.diags((1.0 / np.sqrt(np.maximum(number, 1.0))).astype(np.float32))
    scaled = (scale @ grams).tocsr()
    scaled.sort_indices()
    return scaled


def sample(
    data: Encoded,
    pair_rows: np.ndarray,
    num_pairs: int,
    grams: scipy.sparse.csr_matrix,
    rows: np.ndarray,
    batch_size: int,
    dropout: tuple[float, float],
    seed: list[int],
) -> Sample:
    """The batch of the examples `rows`, words and pairs each left out at random.

    Args:
        pair_rows: int32 [n, length], from `KnownPairs.rows`.
        grams: float32 [num_ids, grams], from `scale_grams`.
        dropout: shares of words and of pairs to leave out.
        seed: of what is left out; equal seeds leave out the same.
    """
    random = np.random.default_rng(seed)
    ids = spill.rows_of(data.ids, rows)
    longest = int(np.sum(ids != PADDING_ID, axis=1).max())
    ids, pairs = ids[:, :longest], spill.rows_of(pair_rows, rows)[:, :longest]  # [rows, longest] both
    has_word = (ids != PADDING_ID) & (random.random(ids.shape, np.float32) >= dropout[0])
    has_pair = (pairs < num_pairs) & (random.random(ids.shape, np.float32) >= dropout[1])
    seen = has_word | has_pair  # [rows, longest]
    counts = seen.sum(axis=1)  # [rows]
    row = np.repeat(np.arange(rows.size), counts)
    column = np.arange(row.size) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (batch_size, padded_length(int(counts.max()), data.ids.shape[1]))

    word_ids, words = _places(ids, has_word, seen)
    needed, pair_places = _places(pairs, has_pair, seen)
    links = grams[word_ids]
    gram_rows, gram_places = np.unique(links.indices, return_inverse=True)
    return Sample(
        words=_placed(words, row, column, shape),
        pairs=_placed(pair_places, row, column, shape),
        labels=np.pad(data.labels[rows], (0, batch_size - rows.size)).astype(np.int32),
        weights=data.weights_of(rows, batch_size),
        word_ids=word_ids,
        pair_rows=needed,
        gram_rows=gram_rows.astype(np.int32),
        gram_owners=np.repeat(np.arange(word_ids.size, dtype=np.int32), np.diff(links.indptr)),
        gram_places=gram_places.astype(np.int32),
        gram_weights=links.data.astype(np.float32),
    )


def _places(values: np.ndarray, present: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct present values, and for each seen token 1 + the place of its own among them, or 0."""
    distinct, place = np.unique(values[present], return_inverse=True)
    places = np.zeros(values.shape, np.int32)
    places[present] = place + 1
    return distinct.astype(np.int32), places[seen]


def _placed(values: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    placed = np.zeros(shape, np.int32)
    placed[row, column] = values
    return placed
