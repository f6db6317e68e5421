"""Texts that reach what samples miss: every word of a vocabulary, and every expert of every Switch layer.

>>> vocabulary_texts(TextSpec(sequence_length=2), ["film", "fine", "dull"]).together
[b'film fine', b'dull']
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from switch_tf.export.proof.reference import Visited, find_visited
from switch_tf.models.blocks import experts_of_layers
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.spelling import readable_ids, respellings, spellings, standing_apart

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

_TOKENS = {"words": 1, "wordpiece": 2, "unigram": 3}  # at most that a spelling is read as
_BATCH = 1024  # words or pairs of words routed at a time: they are one or two tokens long
_ROUNDS = 2  # of pairs, as many in each as there are words


class VocabularyTexts(NamedTuple):
    """Every word once by itself, and once between others, in texts that every front-end reads whole if it can."""

    alone: list[bytes]
    together: list[bytes]


def vocabulary_texts(spec: TextSpec, vocabulary: Sequence[str]) -> VocabularyTexts:
    """Texts of up to L words and N - 1 bytes; a word that is longer than that has a text of its own.

    Pieces that stand behind others are asked behind one, where the vocabulary has one that they can stand behind.
    Those that stand apart, as punctuation does, are asked twice without spaces besides: no neighbour may join them.
    By Unicode's rules each character that is read as letters of a word is asked in such a word.
    """
    words = [word.encode() for word in spellings(spec, vocabulary)]
    most = max(1, spec.sequence_length // _TOKENS[spec.tokenizer])
    twice = [2 * piece.encode() for piece in standing_apart(spec, vocabulary)]
    size = spec.num_bytes - 1
    others = [each.encode() for each in respellings(spec, vocabulary)]
    together = [*_joined(words, b" ", most, size), *_joined(twice, b"", most, size), *_joined(others, b" ", most, size)]
    return VocabularyTexts(words, together)


def _joined(words: Sequence[bytes], between: bytes, most: int, size: int) -> Iterator[bytes]:
    """Texts of up to `most` words and `size` bytes; a word that is longer than that has one of its own."""
    text, count = b"", 0
    for word in words:
        if count and (count == most or len(text) + len(between) + len(word) > size):
            yield text
            text, count = b"", 0
        text, count = text + between * (count > 0) + word, count + 1
    if count:
        yield text


def texts_that_visit(model: "TextClassifier", visited: Visited, seed: int = 0) -> list[bytes]:
    """Texts of one or two words of the vocabulary that the model routes to experts not yet visited, where there are.

    Args:
        visited: what other texts visited; the more, the less is searched.
    """
    import tensorflow as tf

    missing = {(layer, int(expert)) for layer, each in enumerate(visited) for expert in np.flatnonzero(~each)}
    experts = experts_of_layers(model.classifier.settings)
    texts: list[bytes] = []
    words = spellings(model.spec, model.vocabulary)
    for ids in _candidates(np.array(readable_ids(model.spec, model.vocabulary), np.int32), seed):  # [batch, 1 or 2]
        if not missing:
            break
        for layer, expert in sorted(missing):
            found = find_visited(model.classifier(tf.constant(ids)).reports, experts)[layer][:, expert]  # [batch]
            if found.any():
                row = ids[int(np.argmax(found))] - FIRST_WORD_ID
                texts.append(" ".join(words[index] for index in row).encode())
                missing.discard((layer, expert))
    return texts


def _candidates(ids: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """The ids of words, then of pairs of words in random order: int32 [batch, 1], then [batch, 2]."""
    random = np.random.default_rng(seed)
    rounds = [ids[:, np.newaxis]]
    rounds += [np.stack([ids, random.permutation(ids)], axis=1) for _ in range(_ROUNDS)]
    for each in rounds:
        for start in range(0, len(ids), _BATCH):
            yield each[start : start + _BATCH]
