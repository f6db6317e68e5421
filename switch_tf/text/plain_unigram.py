"""Turns texts into the ids of unigram pieces in Python alone: the definition that every graph is held against.

A text is made normal (see `switch_tf.text.normalization`), a mark takes the place of the white space before each word,
and what that gives is cut into the pieces whose scores add up highest. A character that is no piece is unknown, and its
score is below that of every piece by 10; several in a row are one id. Sums are rounded to float32 from the left, and of
equal ones the piece that begins first is taken: so does the library sentencepiece.

>>> spec = TextSpec(tokenizer="unigram", sequence_length=8)
>>> pieces = PlainUnigram(spec, ["\\u2581film\\t-3", "s\\t-4", "\\u2581a\\t-2", "\\u2581\\t-5"])
>>> pieces.read("A  Films")
[('▁a', 4), ('▁film', 2), ('s', 3)]
>>> pieces.ids(["films ☃☃".encode()])
array([[2, 3, 5, 1, 0, 0, 0, 0]], dtype=int32)

Source: Kudo 2018 (arXiv 1804.10959, section 3.2).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from switch_tf.text.normalization import read_normalization
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.sentencepiece_file import MARK, marked
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, TextSpec
from switch_tf.text.unigram_table import UnigramTable, piece_of

_REMEMBERED = 200_000  # words


class PlainUnigram(PlainSubwords):
    """Bytes to ids by dictionaries.

    Attributes:
        length: ids of a text.
        table: the pieces.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `UnigramTable`.
        """
        self.table = UnigramTable(spec, vocabulary)
        super().__init__(spec, map(piece_of, vocabulary))
        self._rules = read_normalization(spec.normalization)
        self._pieces = {piece: (self.table.ids[piece], score) for piece, score in self.table.scores.items()}
        self._longest = self.table.longest
        # Where no piece goes over the beginning of a word, and sums are exact, a word is cut as it is by itself.
        self._by_word = spec.unigram_sums == "exact" and not any(MARK in piece[1:] for piece in self._pieces)
        self._read: dict[str, list[int]] = {}

    def numbers(self, text: bytes, limit: int | None = None) -> list[int]:
        read = marked(self._rules.apply(text)[:limit])
        numbers = [number for part in self._parts(read) for number in self._of(part)]
        return [
            number
            for place, number in enumerate(numbers)
            if number != OUT_OF_VOCABULARY_ID or not place or numbers[place - 1] != OUT_OF_VOCABULARY_ID
        ]

    def _parts(self, text: str) -> list[str]:
        if not self._by_word or not text:
            return [text]
        return [f"{MARK}{word}" for word in text.split(MARK)[1:]]

    def _of(self, part: str) -> list[int]:
        if not self._by_word:
            return self._cut(part)
        found = self._read.get(part)
        if found is None:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            found = self._read[part] = self._cut(part)
        return found

    def _cut(self, text: str) -> list[int]:
        """The ids of the pieces whose scores add up highest."""
        best: list[tuple[float, int, int] | None] = [
            (0.0, 0, 0),
            *[None] * len(text),
        ]  # score, start and id of the last
        for start in range(len(text)):
            before = best[start]
            assert before is not None  # every character is a piece or unknown
            for end, number, score in self._from(text, start):
                total, known = float(np.float32(before[0] + score)), best[end]
                if known is None or total > known[0]:
                    best[end] = (total, start, number)
        ids, end = [], len(text)
        while end:
            last = best[end]
            assert last is not None
            ids.append(last[2])
            end = last[1]
        return ids[::-1]

    def _from(self, text: str, start: int) -> Iterator[tuple[int, int, int]]:
        """Every piece that stands at a place: where it ends, its id and its score; an unknown character last."""
        for end in range(start + 1, min(len(text), start + self._longest) + 1):
            found = self._pieces.get(text[start:end])
            if found is not None:
                yield end, *found
        if text[start] not in self._pieces:
            yield start + 1, OUT_OF_VOCABULARY_ID, self.table.unknown_score
