"""Words of bytes in Python: how a text is split into them, and the id of each."""

import string
from collections.abc import Sequence

from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY_ID, TextSpec
from switch_tf.text.vocabulary import check_vocabulary

_NUL_TO_SPACE = bytes.maketrans(b"\0", b" ")
_LOWER = _NUL_TO_SPACE.lower()  # of bytes: ASCII alone
_PUNCTUATION = string.punctuation.encode()


class PlainWords:
    """Words and their ids by a dictionary.

    >>> words = PlainWords(TextSpec(), ["fine", "film"])
    >>> [words.id_of(word) for word in words.split(b"A fine, FINE film", 3)]
    [1, 2, 2]
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: the vocabulary is one that no front-end takes; see `check_vocabulary`.
        """
        check_vocabulary(spec, vocabulary)
        self._table = _LOWER if spec.standardize.startswith("lower") else _NUL_TO_SPACE
        self._dropped = _PUNCTUATION if spec.standardize.endswith("strip_punctuation") else b""
        self._number = {word.encode(): number for number, word in enumerate(vocabulary, FIRST_WORD_ID)}

    def split(self, text: bytes, most: int | None = None) -> list[bytes]:
        """The first words of a text, `most` of them, or all."""
        # Without a separator bytes split at 9-13 and 32, and drop what is empty.
        return text.translate(self._table, self._dropped).split(maxsplit=-1 if most is None else most)[:most]

    def id_of(self, word: bytes) -> int:
        """Its number, or that of all words out of vocabulary."""
        return self._number.get(word, OUT_OF_VOCABULARY_ID)
