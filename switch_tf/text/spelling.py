"""What a text has to say to be read as a word or piece of a vocabulary."""

from collections.abc import Sequence

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
