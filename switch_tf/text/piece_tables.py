"""The constants of a graph that reads pieces: what every code point becomes, and a trie of the pieces, as integers.

A code stands for a character of a normal text:

    0              white space, or nothing
    1              a character that stands apart and is in no piece
    2 ... P        one that stands apart and is a piece
    P + 1 ... U    a letter of a piece, the most frequent first
    U + 1 ... U+4  a letter of no piece, by the bytes of its UTF-8
    U + 5          a mark of no piece, where a rule tells marks from letters
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from switch_tf.text.characters import APART, ITSELF, LETTER, MARK, REPLACEMENT, SPACE, Characters
from switch_tf.text.double_array import Codes, DoubleArray, build_double_array
from switch_tf.text.plain_pieces import PieceTable
from switch_tf.text.sequence_tables import Sequences, build_sequences
from switch_tf.text.utf8 import byte_table

UNKNOWN_APART = 1
_UTF8_LENGTHS = (1, 2, 3, 4)
_UTF8_RANGES = ((0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))  # without surrogates


@dataclass(frozen=True, eq=False)
class GraphTables:
    """Attributes:
    characters: of `byte_table`: of each code point the number of its sequence of codes.
    bad: the number of the sequence of a byte that is not UTF-8.
    sequences: the codes that code points become.
    last_apart: P of the module.
    sizes: int32 [codes], what each code adds to the length of a word.
    marks: int32 [codes], 1 for marks.
    classes: int32 [codes], by which marks are put in order; zeros but for marks of pieces.
    trie: of the pieces, root 0 for those that begin a word and root 1 for the others; values are ids.
    """

    characters: np.ndarray
    bad: int
    sequences: Sequences
    last_apart: int
    sizes: np.ndarray
    marks: np.ndarray
    classes: np.ndarray
    trie: DoubleArray


class _Codes:
    """The numbering of characters."""

    def __init__(self, table: PieceTable):
        self._characters = table.characters
        counts = Counter(letter for piece in (*table.first, *table.further) for letter in piece)
        apart = sorted(letter for letter in counts if self._kind(letter) == APART)
        letters = [letter for letter, _ in counts.most_common() if self._kind(letter) != APART]
        self._known = {letter: number for number, letter in enumerate([*apart, *letters], UNKNOWN_APART + 1)}
        self.last_apart = UNKNOWN_APART + len(apart)
        self._last = UNKNOWN_APART + len(self._known)
        self._unknown_mark = self._last + len(_UTF8_LENGTHS) + 1
        self.count = self._unknown_mark + 1

    @property
    def letters(self) -> Iterable[str]:
        """The characters that pieces are made of."""
        return self._known

    def knows(self, letter: str) -> bool:
        return letter in self._known

    def of(self, letter: str) -> int:
        kind = self._kind(letter)
        if kind == SPACE:
            return 0
        unknown = {APART: UNKNOWN_APART, MARK: self._unknown_mark}.get(kind, self._last + len(letter.encode()))
        return self._known.get(letter, unknown)

    def of_all(self, pieces: dict[str, int]) -> dict[Codes, int]:
        return {tuple(map(self.of, piece)): number for piece, number in pieces.items()}

    def sizes(self) -> np.ndarray:
        counts_bytes = self._characters.counts_bytes
        sizes = np.ones(self.count, np.int32)
        sizes[0] = 0
        for letter, code in self._known.items():
            sizes[code] = self._characters.size(letter)
        sizes[self._last + 1 : self._unknown_mark] = _UTF8_LENGTHS if counts_bytes else 1
        return sizes

    def marks(self) -> np.ndarray:
        marks = np.zeros(self.count, np.int32)
        marks[self._unknown_mark] = 1
        marks[list(self._known.values())] = [self._kind(letter) == MARK for letter in self._known]
        return marks

    def classes(self) -> np.ndarray:
        """A word with a mark that is unknown is so in any order."""
        classes = np.zeros(self.count, np.int32)
        classes[list(self._known.values())] = list(map(self._characters.combining_class, self._known))
        return classes

    def _kind(self, letter: str) -> int:
        return int(self._characters.kinds[ord(letter)])


def build_graph_tables(table: PieceTable) -> GraphTables:
    """The constants for the pieces of a table."""
    codes = _Codes(table)
    numbers, known = _sequences(table.characters, codes)
    sequences = build_sequences([*known, known[numbers[REPLACEMENT]]])  # the last is that of what is not UTF-8
    bad = int(sequences.numbers[-1])
    return GraphTables(
        characters=byte_table(sequences.numbers[numbers], bad),
        bad=bad,
        sequences=sequences,
        last_apart=codes.last_apart,
        sizes=codes.sizes(),
        marks=codes.marks(),
        classes=codes.classes(),
        trie=build_double_array([codes.of_all(table.first), codes.of_all(table.further)], codes.count),
    )


def _sequences(characters: Characters, codes: _Codes) -> tuple[np.ndarray, list[Codes]]:
    """For every code point the number of what it becomes, int32 [code points], and what these are; 0 is nothing."""
    known: dict[Codes, int] = {(): 0}

    def number_of(text: Iterable[int]) -> int:
        return known.setdefault(tuple(codes.of(chr(code)) for code in text), len(known))

    numbers = np.zeros(len(characters.becomes), np.int32)
    for start, end in _UTF8_RANGES:  # as if no character were in a piece
        for kind in (LETTER, APART, SPACE, MARK):
            alike = np.flatnonzero((characters.becomes[start:end] == ITSELF) & (characters.kinds[start:end] == kind))
            stranger = next((code for code in (alike + start).tolist() if not codes.knows(chr(code))), None)
            if stranger is not None:
                numbers[alike + start] = number_of([stranger])
    for code in map(ord, codes.letters):
        numbers[code] = number_of([code])
    _, firsts, inverse = np.unique(characters.becomes, return_index=True, return_inverse=True)
    of_outcomes = np.array([number_of(characters.outcome(int(code))) for code in firsts], np.int32)
    return np.where(characters.becomes == ITSELF, numbers, of_outcomes[inverse]).astype(np.int32), list(known)
