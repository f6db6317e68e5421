"""Texts as ids, and behind them the letters of the words that are not in the vocabulary: the definition in Python.

A text is L ids, as `switch_tf.text.plain.PlainText` has them, and N + 2 integers, in which the unknown ones among its
first L words stand letter by letter, each word between zeros. Letters are numbered as `switch_tf.text.byte_codes` does,
and negative where they stand behind ids, so that none is taken for an id.

>>> spec = TextSpec(sequence_length=3, byte_length=8, unknown_words="letters")
>>> spelling = PlainSpelling(spec, ["a", "film"])
>>> spelling.ids([b"A b, cb"])
array([[  2,   1,   1,   0, -39,   0, -40, -39,   0,   0,   0,   0,   0]],
      dtype=int32)

Of a text the first N bytes are read, as `kept_bytes` says. Words of up to N bytes and the zeros between them fit into
N + 2 places, since white space stood between the words.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from switch_tf.text.byte_codes import byte_codes, kept_bytes
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.plain_words import PlainWords
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, TextSpec


class PlainSpelling(PlainSubwords):
    """Bytes to ids and letters by a dictionary.

    Attributes:
        length: ids of a text.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: the vocabulary is one that no front-end takes; see `check_vocabulary`.
        """
        super().__init__(spec, vocabulary)
        self._words = PlainWords(spec, vocabulary)
        self._codes = byte_codes(spec.standardize)

    def numbers(self, text: bytes, limit: int | None = None) -> list[int]:
        """The ids of all words of a text; `limit` counts characters, of which there are none here."""
        del limit
        return [self._words.id_of(word) for word in self._words.split(text)]

    def ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, L + N + 2], of what the inputs read of each text."""
        return with_letters(self.read_ids(texts), self.letters(texts))

    def letters(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, N + 2], above 0 where letters are."""
        rows = self._empty(len(texts))
        for row, text in zip(rows, texts, strict=True):
            words = self._words.split(kept_bytes(self._spec, text), self.length)
            _write(row, [self._codes[list(word)] for word in words if self._words.id_of(word) == OUT_OF_VOCABULARY_ID])
        return rows

    def respell(self, ids: np.ndarray, letters: np.ndarray, fewer: np.ndarray) -> np.ndarray:
        """The letters of texts of whose words some more are unknown.

        Args:
            ids: int32 [texts, L].
            letters: int32 [texts, N + 2], of the same.
            fewer: int32 [texts, L], `ids` with more unknown ones.

        Returns:
            int32 [texts, N + 2].
        """
        rows = self._empty(len(ids))
        for row, before, own, now in zip(rows, ids, letters, fewer, strict=True):
            words = iter(_read(own))
            unknown = before[now == OUT_OF_VOCABULARY_ID]
            _write(row, [next(words) if each == OUT_OF_VOCABULARY_ID else self._codes_of(each) for each in unknown])
        return rows

    def _codes_of(self, number: int) -> np.ndarray:
        """The letters of a known word."""
        return self._codes[list(self._names[number].encode())]

    def _empty(self, texts: int) -> np.ndarray:
        return np.zeros([texts, self.width - self.length], np.int32)


def with_letters(ids: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """What stands for texts as a whole: int32 [texts, L] and [texts, N + 2] -> [texts, L + N + 2]."""
    return np.concatenate([ids, -letters], axis=1)


def _write(row: np.ndarray, words: Sequence[np.ndarray]) -> None:
    """Words into a row of zeros, one zero before each."""
    place = 1
    for word in words:
        row[place : place + len(word)] = word
        place += len(word) + 1


def _read(row: np.ndarray) -> list[np.ndarray]:
    """What `_write` wrote."""
    ends = np.flatnonzero(row == 0)
    return [row[begin + 1 : end] for begin, end in itertools.pairwise(ends) if end - begin > 1]
