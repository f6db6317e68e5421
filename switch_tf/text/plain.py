"""Turns texts into token ids in Python alone, for a graph that takes ids: the fourth front-end of a `TextSpec`.

No runtime is asked and NumPy is all that is loaded besides. Its ids are those of `KerasText`, to the bit.

>>> spec = TextSpec(sequence_length=6)
>>> PlainText(spec, ["fine", "film", "a", "dull"]).ids([b"Don't miss: a FINE film", b""])
array([[1, 1, 4, 2, 3, 0],
       [0, 0, 0, 0, 0, 0]], dtype=int32)
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.plain_spelling import PlainSpelling
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.plain_words import PlainWords
from switch_tf.text.spec import PADDING_ID, TextSpec

_FIELDS = tuple(field.name for field in dataclasses.fields(TextSpec))


class PlainText:
    """Bytes to ids by a dictionary.

    Attributes:
        length: ids of a text.
        width: the same, as all that stands for it.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: the vocabulary is one that no front-end takes; see `check_vocabulary`.
        """
        self.length = self.width = spec.sequence_length
        self._words = PlainWords(spec, vocabulary)

    def ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, sequence_length] of texts in UTF-8; any other bytes are out of vocabulary."""
        ids = np.full([len(texts), self.length], PADDING_ID, np.int32)
        for row, text in enumerate(texts):
            words = self._words.split(text, self.length)
            ids[row, : len(words)] = [self._words.id_of(word) for word in words]
        return ids


def read_plain_text(text: Any, words: Any) -> PlainText | PlainSubwords:
    """The front-end that an exported model describes.

    Args:
        text: its settings, as `TextSpec.as_dict` gives them; further ones are left out.
        words: its vocabulary.

    Raises:
        TypeError, ValueError: they are no such things.
        DataError: the vocabulary is one that no front-end takes; see `check_vocabulary`.
    """
    spec = read_spec(text)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TypeError("the vocabulary is no list of words")
    return PlainText(spec, words) if spec.by_strings else plain_subwords(spec, words)


def read_spec(text: Any) -> TextSpec:
    """What an exported model says of its texts; see `read_plain_text`.

    Raises:
        TypeError, ValueError: it is no such thing.
    """
    if not isinstance(text, dict):
        raise TypeError("the settings of the text are no table")
    return TextSpec(**{name: text[name] for name in _FIELDS if name in text})


def plain_subwords(spec: TextSpec, vocabulary: Sequence[str]) -> PlainSubwords:
    """The definition of what reads N bytes: as pieces, as words by Unicode's rules, or with letters of unknown words.

    Raises:
        DataError: it does not take the vocabulary.
    """
    if spec.spells:
        return PlainSpelling(spec, vocabulary)
    return PlainUnigram(spec, vocabulary) if spec.tokenizer == "unigram" else PlainPieces(spec, vocabulary)
