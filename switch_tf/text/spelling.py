"""What a text has to say to be read as a word or piece of a vocabulary."""

from collections.abc import Sequence

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.plain_pieces import PieceTable
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec


def spellings(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """A text for each word or piece, in their order, in which it is read if it is in any.

    >>> spellings(TextSpec(tokenizer="wordpiece"), ["un", "a", "##film"])
    ['un', 'a', 'afilm']
    """
    if spec.tokenizer == "words":
        return list(vocabulary)
    table = PieceTable(spec, vocabulary)
    return [table.text_of(piece) for piece in vocabulary]


def readable_ids(spec: TextSpec, vocabulary: Sequence[str]) -> list[int]:
    """The ids of what is read where a text says it as the vocabulary writes it.

    >>> readable_ids(TextSpec(tokenizer="wordpiece"), ["un", "##film", "a"])
    [2, 4]
    """
    if spec.tokenizer == "words":
        return list(range(FIRST_WORD_ID, FIRST_WORD_ID + len(vocabulary)))
    return sorted(PieceTable(spec, vocabulary).first.values())


def longest_words(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """Words of a letter's pieces that are as long as a word may be, and one letter longer; none where tokens are words.

    >>> [len(word) for word in longest_words(TextSpec(tokenizer="wordpiece"), ["x", "##x", "é", "y"])]
    [100, 101]
    """
    if spec.tokenizer == "words":
        return []
    table = PieceTable(spec, vocabulary)
    letters = [each for each in table.first if len(each) == 1 and each in table.further]
    most = {letter: LONGEST_WORD // table.characters.size(letter) for letter in letters[:2]}
    return [letter * size for letter, longest in most.items() for size in (longest, longest + 1)]
