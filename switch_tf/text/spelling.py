"""What a text has to say to be read as a word or piece of a vocabulary."""

import itertools
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.plain_pieces import PieceTable
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.unigram_spelling import UnigramSpelling
from switch_tf.text.unigram_table import piece_of

_MISSPELT = 40  # words of a vocabulary, the most frequent ones


def token_names(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """The words or pieces of a vocabulary, in their order, without what else it says of them.

    >>> token_names(TextSpec(tokenizer="unigram"), ["\\u2581film\\t-2.5"])
    ['▁film']
    """
    return [piece_of(each) for each in vocabulary] if spec.tokenizer == "unigram" else list(vocabulary)


def spellings(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """A text for each word or piece, in their order, in which it is read if it is in any.

    >>> spellings(TextSpec(tokenizer="wordpiece"), ["un", "a", "##film"])
    ['un', 'a', 'afilm']
    """
    if spec.tokenizer == "words":
        return list(vocabulary)
    if spec.tokenizer == "unigram":
        return _unigram(spec, tuple(vocabulary)).texts
    table = PieceTable(spec, vocabulary)
    return [table.text_of(piece) for piece in vocabulary]


def readable_ids(spec: TextSpec, vocabulary: Sequence[str]) -> list[int]:
    """The ids of what a text of nothing else is read as, where it says it as `spellings` does.

    >>> readable_ids(TextSpec(tokenizer="wordpiece"), ["un", "##film", "a"])
    [2, 4]
    """
    if spec.by_bytes:
        return list(range(FIRST_WORD_ID, FIRST_WORD_ID + len(vocabulary)))
    if spec.tokenizer == "unigram":
        return _unigram(spec, tuple(vocabulary)).whole
    return sorted(PieceTable(spec, vocabulary).first.values())


def standing_apart(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """The words or pieces that are so whatever stands beside them; none of words of bytes, or of unigram.

    >>> standing_apart(TextSpec(tokenizer="wordpiece"), ["un", "!", "##a", "a", "中"])
    ['!', '中']
    """
    if spec.by_bytes or spec.tokenizer == "unigram":
        return []
    characters = PieceTable(spec, vocabulary).characters
    return [piece for piece in vocabulary if characters.is_word(piece) and characters.words(2 * piece.encode())[1:]]


def respellings(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """Each other character that is read as letters of a vocabulary's word, in such a word; none but by Unicode's rules.

    >>> respellings(TextSpec(lowercase="unicode"), ["fi", "x"])[:5]
    ['Fi', 'fI', 'X', 'ˣ', 'fᴵ']
    """
    if spec.by_bytes or spec.tokenizer != "words":
        return []
    table = PieceTable(spec, vocabulary)
    characters = table.characters
    outcomes = {code: characters.text_of(code) for code in np.flatnonzero(characters.becomes).tolist()}
    holders = _holders(table.first, set(outcomes.values()))
    made = [
        (holders[outcome], holders[outcome].replace(outcome, chr(code), 1))
        for code, outcome in outcomes.items()
        if outcome in holders
    ]
    return [text for word, text in made if characters.words(text.encode()) == [word]]


def _holders(words: Iterable[str], parts: set[str]) -> dict[str, str]:
    """Of each part that is in some word the first such word."""
    sizes = sorted({len(part) for part in parts if part})
    found: dict[str, str] = {}
    for word in words:
        for start, size in itertools.product(range(len(word)), sizes):
            part = word[start : start + size]
            if part in parts:
                found.setdefault(part, word)
    return found


def hard_texts(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """Texts at the limits of how pieces are read, or of how the letters of unknown words are; none of other words.

    With "wordpiece", words of a letter's pieces that are as long as a word may be, and one letter longer; behind them
    the same with a last character that is in no piece, so that none of the word is read. Of "unigram", see
    `UnigramSpelling`.

    >>> [len(word) for word in hard_texts(TextSpec(tokenizer="wordpiece"), ["x", "##x", "é", "y"])]
    [100, 101, 100]
    """
    if spec.tokenizer == "words":  # a word ends where the vocabulary's longest does, whatever its length
        return _misspelt(spec, vocabulary) if spec.spells else []
    if spec.tokenizer == "unigram":
        return _unigram(spec, tuple(vocabulary)).hard_texts()
    table = PieceTable(spec, vocabulary)
    letters = [each for each in table.first if len(each) == 1 and each in table.further]
    most = {letter: LONGEST_WORD // table.characters.size(letter) for letter in letters[:2]}
    words = [letter * size for letter, longest in most.items() for size in (longest, longest + 1)]
    every = map(chr, range(sys.maxunicode))
    stranger = next(each for each in every if table.characters.is_word(each, True) and each not in table.further)
    return words + [letter * (longest - table.characters.size(stranger)) + stranger for letter, longest in most.items()]


def _misspelt(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """Words that are nearly known: several a text, around the last one that is read, alone, and known ones repeated.

    >>> _misspelt(TextSpec(sequence_length=2), ["film"])[:5]
    ['flim fil', 'fillm filmx', 'xfilm fifilm', 'film flim fil', 'film film flim fil']
    """
    length = spec.sequence_length
    wrong = [each for word in vocabulary[:_MISSPELT] for each in _near(word)]
    several = [" ".join(wrong[start : start + length]) for start in range(0, len(wrong), length)]
    known = [*itertools.islice(itertools.cycle(vocabulary), length)]
    last = [" ".join([*known[:count], *wrong[:2]]) for count in (length - 1, length)]
    repeated = [times * word for word in vocabulary[:2] for times in (2, 3, 40)]
    return [*several, *last, *wrong[:_MISSPELT], *repeated]


def _near(word: str) -> list[str]:
    """A word with letters traded, left out, doubled and added."""
    middle = len(word) // 2
    traded = word[: middle - 1] + word[middle : middle + 1] + word[middle - 1 : middle] + word[middle + 1 :]
    doubled = word[: middle + 1] + word[middle:]
    return [traded if middle else word + word, word[:-1] or "x", doubled, f"{word}x", f"x{word}", word[:middle] + word]


@lru_cache(maxsize=2)  # it reads every piece, and is asked for several times in a row
def _unigram(spec: TextSpec, vocabulary: tuple[str, ...]) -> UnigramSpelling:
    return UnigramSpelling(spec, vocabulary)
