"""Learns WordPiece pieces from texts: characters first, then again and again the most frequent pair of neighbours.

Neighbouring pieces of a word are counted in all texts; the pair seen most often becomes a piece, in every word, and the
next pair is counted after that. So the pieces stand in the order in which they were made, and the first few thousand of
a vocabulary are the vocabulary that so few would have been.

>>> texts = np.array(["low lower lowest", "new newer"], object)
>>> learn_pieces(TextSpec(tokenizer="wordpiece", vocabulary_size=18), [texts])
['e', '##e', 'w', '##w', 'l', '##l', 'o', '##o', 'n', '##n', 'r', '##r', '##er', '##ew', '##ow', 'low']

Source: Sennrich et al. 2016 (arXiv 1508.07909, algorithm 1), with the pieces written as Devlin et al. 2018 do.
"""

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from switch_tf.errors import DataError
from switch_tf.text.characters import Characters
from switch_tf.text.plain_pieces import CONTINUES
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.unicode_characters import characters_of
from switch_tf.text.word_counts import WordCounts

_LEAST = 2  # times that a pair or character was seen
_CHARACTERS = 0.75  # of the room at most
_LONGEST = 24  # characters of a piece: a graph takes as many steps

Pair = tuple[str, str]


def learn_pieces(spec: TextSpec, batches: Iterable[np.ndarray]) -> list[str]:
    """At most `spec.vocabulary_size - 2` pieces; the same texts always give the same.

    Args:
        batches: texts, string or object [batch] each.

    Raises:
        DataError: the texts hold no character of which two were seen.
    """
    characters = characters_of(spec)
    words = WordCounts[str]()
    for texts in batches:
        for text in texts:
            words.count(characters.words(text if isinstance(text, bytes) else str(text).encode()))
    room = spec.vocabulary_size - FIRST_WORD_ID
    alphabet = _alphabet(characters, words, room)
    if not alphabet:
        raise DataError("The vocabulary is empty. Expected training texts with at least one character twice.")
    return [*alphabet, *_merges(words, set(alphabet), room - len(alphabet))]


def _alphabet(characters: Characters, words: Counter[str], room: int) -> list[str]:
    """The most frequent characters; letters both at the beginning of a word and behind it."""
    counts = Counter[str]()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    alphabet: list[str] = []
    for letter in sorted(counts, key=lambda letter: (-counts[letter], letter)):
        forms = [letter] * characters.is_word(letter) + [CONTINUES + letter] * characters.is_word(letter, behind=True)
        if counts[letter] < _LEAST or len(alphabet) + len(forms) > max(1, int(_CHARACTERS * room)):
            break
        alphabet += forms
    return alphabet


def _merges(words: Counter[str], alphabet: set[str], room: int) -> list[str]:
    """The pieces that pairs become, in their order."""
    pairs = _Pairs(words, alphabet)
    made: dict[str, None] = {}
    while len(made) < room:
        pair = pairs.most_frequent()
        if pair is None:
            break
        made[pairs.merge(pair)] = None
    return list(made)


class _Pairs:
    """How often pieces stand side by side, kept up to date while pairs are merged."""

    def __init__(self, words: Counter[str], alphabet: set[str]):
        self._words: list[list[str]] = []
        self._counts: list[int] = []
        self._seen = Counter[Pair]()
        self._where: dict[Pair, set[int]] = defaultdict(set)
        for word, count in sorted(words.items()):
            pieces = [word[0], *(CONTINUES + letter for letter in word[1:])]
            if len(pieces) > 1 and alphabet.issuperset(pieces):
                self._count(len(self._words), pieces, count)
                self._words.append(pieces)
                self._counts.append(count)
        self._queue = [(-count, pair) for pair, count in self._seen.items()]
        heapq.heapify(self._queue)

    def most_frequent(self) -> Pair | None:
        """Of those seen equally often the first in the order of their characters; None where all are rare."""
        while self._queue:
            negative, pair = heapq.heappop(self._queue)
            if -negative != self._seen[pair]:
                continue  # counted anew since, and in the queue again
            if -negative >= _LEAST and len(_joined(pair)) <= _LONGEST:
                return pair
        return None

    def merge(self, pair: Pair) -> str:
        """Make one piece of two, wherever they stand side by side."""
        piece = _joined(pair)
        changed: set[Pair] = set()
        for index in sorted(self._where.pop(pair)):
            before, count = self._words[index], self._counts[index]
            after = list(_merged(before, pair, piece))
            if len(after) == len(before):  # it was there once, and another merge has taken it
                continue
            changed.update(self._count(index, before, -count))
            changed.update(self._count(index, after, count))
            self._words[index] = after
        for each in changed:
            if each != pair and self._seen[each] >= _LEAST:
                heapq.heappush(self._queue, (-self._seen[each], each))
        return piece

    def _count(self, index: int, pieces: Sequence[str], count: int) -> Iterable[Pair]:
        """Add a word's pairs, or take them away with a count below 0."""
        pairs = list(itertools.pairwise(pieces))
        for pair in pairs:
            self._seen[pair] += count
            if count > 0:
                self._where[pair].add(index)
        return pairs


def _joined(pair: Pair) -> str:
    return pair[0] + pair[1].removeprefix(CONTINUES)


def _merged(pieces: Sequence[str], pair: Pair, piece: str) -> Iterator[str]:
    place = 0
    while place < len(pieces):
        found = tuple(pieces[place : place + 2]) == pair
        yield piece if found else pieces[place]
        place += 2 if found else 1
