"""How many pieces texts have, and how many bytes: what the preset `auto` fits `text.sequence_length` to.

They are counted with the vocabulary that the model reads by. Nothing else tells: of few texts a learnt piece is a
letter or two, of many a word or more, and a vocabulary from a file may be of another language.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from switch_tf.data.examples import Examples
from switch_tf.text.byte_codes import kept_bytes
from switch_tf.text.plain import plain_subwords
from switch_tf.text.spec import TextSpec

_SAMPLE = 10_000  # texts
_CHARACTERS = 2**22  # of all of them, which take seconds
_LOOKED_AT = 2**14  # characters of a text: far more than 512 pieces have
_BATCH, _SEED = 1024, 0


class PieceLengths(NamedTuple):
    """Of each text that was counted.

    Attributes:
        pieces: int64 [texts].
        sizes: bytes, int64 [texts].
    """

    pieces: np.ndarray
    sizes: np.ndarray

    def sizes_of(self, length: int) -> np.ndarray:
        """Bytes that the first `length` pieces take, float64 [texts], as if all pieces of a text were equally long.

        >>> PieceLengths(np.array([4, 10]), np.array([20, 40])).sizes_of(5).tolist()
        [20.0, 20.0]
        """
        return self.sizes * np.minimum(1.0, length / np.maximum(self.pieces, 1))


def piece_lengths(examples: Examples, spec: TextSpec, vocabulary: Sequence[str]) -> PieceLengths:
    """Counts of a sample of the texts: of all where they are few, and the same for the same texts.

    Where `spec.byte_length` is set, what stands behind so many bytes is not counted, for it is not read.

    Raises:
        DataError: no front-end takes the vocabulary.
    """
    reader, limit = plain_subwords(spec, vocabulary), spec.byte_length or None
    pieces, sizes = array("q"), array("q")
    for texts in sample_of(examples).text_batches(_BATCH):
        for text in texts:
            read = text[:_LOOKED_AT].encode()
            read = read if limit is None else kept_bytes(spec, read)
            pieces.append(len(reader.numbers(read, limit)))
            sizes.append(len(read))
    return PieceLengths(np.array(pieces), np.array(sizes))


def sample_of(examples: Examples, texts: int = _SAMPLE, characters: int = _CHARACTERS) -> Examples:
    """At most so many of the examples, drawn at random, and fewer where their beginnings have more characters."""
    if len(examples) > texts:
        drawn = np.random.default_rng(_SEED).choice(len(examples), texts, replace=False)
        examples = examples.take(np.sort(drawn))
    looked_at = pc.sum(pc.min_element_wise(pc.utf8_length(examples.texts), _LOOKED_AT)).as_py()
    every = -(-looked_at // characters)
    return examples.take(np.arange(0, len(examples), every)) if every > 1 else examples
