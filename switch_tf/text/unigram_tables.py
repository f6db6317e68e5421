"""The constants of a graph that reads unigram pieces: rules of normalisation over classes of characters, and two tries.

A code stands for a character of a normal text:

    0           white space
    1           U+2581, the mark
    2 ... U-1   a character of a piece, the most frequent first
    U           a character of no piece
    U+1 ...     a sentinel, where there are some: a token of its own, which no character stands for

There are a quarter of a million rules that replace several characters, most of them for the syllables of Hangul. What a
rule writes counts by its codes, so characters that all rules treat alike are one class, and a few thousand rules over
classes are left.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from switch_tf.text.double_array import Codes, DoubleArray, build_double_array, narrow
from switch_tf.text.normalization import BAD_BYTE, REPLACEMENT, Rules
from switch_tf.text.sentencepiece_file import MARK
from switch_tf.text.sequence_tables import Sequences, build_sequences
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.text.unigram_table import UnigramTable
from switch_tf.text.utf8 import byte_table

_CODE_POINTS = 0x110000
_SPACE, _MARK = 0, 1


@dataclass(frozen=True, eq=False)
class UnigramTables:
    """Attributes:
    characters: of `byte_table`: of each code point its class; 0 is no character's.
    bad: the class of a byte that is not UTF-8.
    last_joining: the classes up to it are those of characters that rules of several have.
    further: [classes], 1 where a rule has the class behind another.
    alone: [classes], the number of the sequence of codes that a character alone becomes.
    rules: trie of the rules of several characters, by their classes; values are numbers of sequences, from 1 on.
    sequences: the codes that characters become.
    trie: of the pieces, and of sentinels behind them; values are ids.
    first_sentinel: the class of the first sentinel; of the others, those behind it.
    sentinel_code: its code.
    """

    characters: np.ndarray
    bad: int
    last_joining: int
    further: np.ndarray
    alone: np.ndarray
    rules: DoubleArray
    sequences: Sequences
    trie: DoubleArray
    first_sentinel: int
    sentinel_code: int


class _Codes:
    """The numbering of characters and of sequences of them."""

    def __init__(self, pieces: Iterable[str]):
        counts = Counter(letter for piece in pieces for letter in piece if letter != MARK)
        known = {letter: number for number, (letter, _) in enumerate(counts.most_common(), _MARK + 1)}
        self._unknown = len(known) + _MARK + 1
        self._known = {" ": _SPACE, MARK: _MARK, **known}
        self.count = self._unknown + 1
        self.sequences: dict[Codes, int] = {(): 0}

    def of(self, text: str) -> Codes:
        return tuple(self._known.get(letter, self._unknown) for letter in text)

    def number(self, text: str) -> int:
        """Of the sequence that a text is."""
        return self.sequences.setdefault(self.of(text), len(self.sequences))

    def number_of_sentinel(self, sentinel: int) -> int:
        """The same of a sentinel; what stands behind it begins a word, as behind white space."""
        return self.sequences.setdefault((self.count + sentinel, _SPACE), len(self.sequences))

    def of_every_point(self) -> np.ndarray:
        """The number of the sequence that each character is by itself: int32 [code points]."""
        numbers = np.full(_CODE_POINTS, self.sequences.setdefault((self._unknown,), len(self.sequences)), np.int32)
        for letter in self._known:
            numbers[ord(letter)] = self.number(letter)
        return numbers


def build_unigram_tables(table: UnigramTable, rules: Rules, sentinels: int = 0) -> UnigramTables:
    """The constants for the pieces of a table and the rules by which texts become normal.

    Args:
        sentinels: tokens that no text is read as by these; their ids are those behind the pieces'.
    """
    codes = _Codes(table.ids)
    alone = codes.of_every_point()
    for letter, single in {**rules.single, "\0": " ", chr(BAD_BYTE): REPLACEMENT}.items():
        alone[ord(letter)] = codes.number(single)
    numbers = {written: codes.number(written) for written in dict.fromkeys(rules.becomes)}
    written = np.array([numbers[each] for each in rules.becomes], np.int64)
    joining, classes = _joining_classes(rules.several, written, alone)
    last = int(classes.max(initial=0))
    # Behind those come the characters that no such rule has, by what they become, bytes that are not UTF-8, sentinels.
    of_sequences, of_points = np.unique(alone, return_inverse=True)
    numbered = (of_points + last + 1).astype(np.int32)
    numbered[joining] = classes
    marked = [codes.number_of_sentinel(sentinel) for sentinel in range(sentinels)]
    bad = last + 1 + len(of_sequences)
    by_class = np.concatenate([np.zeros(last + 1, np.int32), of_sequences, alone[[BAD_BYTE]], marked]).astype(np.int32)
    by_class[classes] = alone[joining]
    further = np.zeros(len(by_class), np.int32)
    further[numbered[[ord(letter) for letter in rules.further]]] = 1
    sequences = build_sequences(list(codes.sequences))
    return UnigramTables(
        characters=byte_table(numbered, bad),
        bad=bad,
        last_joining=last,
        further=narrow(further),
        alone=narrow(sequences.numbers[by_class]),
        rules=_rules_of_classes(
            np.where(rules.several > 0, numbered[rules.several], 0), sequences.numbers[written], last
        ),
        sequences=sequences,
        trie=build_double_array([_ids(table, codes, sentinels)], codes.count + sentinels),
        first_sentinel=bad + 1,
        sentinel_code=codes.count,
    )


def _ids(table: UnigramTable, codes: _Codes, sentinels: int) -> dict[Codes, int]:
    """The id of each piece, and behind these that of each sentinel."""
    pieces = {codes.of(piece): number for piece, number in table.ids.items()}
    first = len(pieces) + FIRST_WORD_ID
    return pieces | {(codes.count + sentinel,): first + sentinel for sentinel in range(sentinels)}


def _rules_of_classes(keys: np.ndarray, written: np.ndarray, last: int) -> DoubleArray:
    """The trie of all rules, each once: int32 [rules, longest], [rules]."""
    _, firsts = np.unique(_numbered(*keys.T), return_index=True)
    values = {
        tuple(code for code in key if code): value + 1
        for key, value in zip(keys[firsts].tolist(), written[firsts].tolist(), strict=True)
    }
    return build_double_array([values], last + 1)


def _joining_classes(several: np.ndarray, written: np.ndarray, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The characters that rules of several have, and the class of each, from 1 on.

    Characters are of one class if they become the same alone and if what one has, the other has: a rule with the same
    classes around it, which writes the same. Classes are taken apart until that holds (Hopcroft 1971 refines states of
    an automaton so).

    Args:
        several: int32 [rules, longest] of code points, zeros behind them.
        written: int64 [rules], the sequence that each writes.
        alone: int32 [code points], the sequence that each becomes by itself.
    """
    joining = np.unique(several[several > 0])
    keys = np.where(several > 0, np.searchsorted(joining, several) + 1, 0)  # [rules, longest], numbers from 1 on
    is_further = np.isin(joining, several[:, 1:])
    classes = _numbered(alone[joining], is_further)
    while True:
        finer = _numbered(classes, _surroundings(keys, written, classes))
        if finer.max(initial=0) == classes.max(initial=0):
            return joining, classes
        classes = finer


def _numbered(*columns: np.ndarray) -> np.ndarray:
    """The number of each row among those that differ, from 1 on: integers [n] each -> int32 [n]."""
    packed = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        packed = np.unique(packed, return_inverse=True)[1] * (int(column.max(initial=0)) + 1) + column
    return np.unique(packed, return_inverse=True)[1].astype(np.int32) + 1


def _surroundings(keys: np.ndarray, written: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A number for the set of rules that each character is in, by the classes around it: int [characters]."""
    by_class = np.concatenate([[0], classes])[keys]  # [rules, longest]
    size, (count, longest) = int(classes.max(initial=0)) + 1, keys.shape
    members, rows = [], []
    for place in range(longest):
        packed = written * longest + place
        for other in range(longest):
            if other != place:
                packed = packed * size + by_class[:, other]
        members.append(keys[:, place])
        rows.append(packed)
    numbers = np.unique(np.concatenate(rows), return_inverse=True)[1]
    pairs = np.unique(np.concatenate(members).astype(np.int64) * (longest * count + 1) + numbers)
    member, row = np.divmod(pairs, longest * count + 1)
    drawn = np.random.default_rng(0).integers(-(2**62), 2**62, longest * count + 1)
    sums = np.zeros(len(classes) + 1, np.int64)
    np.add.at(sums, member, drawn[row])  # of sets that differ they differ too, but for one chance in 2^62
    return np.unique(sums[1:], return_inverse=True)[1]
