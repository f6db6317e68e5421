"""Turns strings into token ids inside TensorFlow, with the Keras TextVectorization layer that a `TextSpec` describes.

This is the front-end a model is trained with, and the reference for the numeric and the ONNX ones. Ids: 0 is padding,
1 is out of vocabulary ("[UNK]"), `vocabulary[i]` has id i + 2.

>>> spec = TextSpec(sequence_length=6)
>>> vocabulary = adapt_vocabulary(spec, [np.array(["A fine film. Fine!", "a dull film"], object)])
>>> vocabulary
['fine', 'film', 'a', 'dull']
>>> KerasText(spec, vocabulary)(tf.constant(["Don't miss: a FINE film", ""])).numpy()
array([[1, 1, 4, 2, 3, 0],
       [0, 0, 0, 0, 0, 0]], dtype=int32)

Source: the layer's documentation, https://www.tensorflow.org/api_docs/python/tf/keras/layers/TextVectorization.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import DataError
from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY, TextSpec
from switch_tf.text.vocabulary import check_vocabulary
from switch_tf.text.word_counts import WordCounts


class KerasText(tf.Module):
    """Strings to ids; its table is saved with every `tf.Module` that holds it, and loads without Python code."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """`vocabulary` holds neither "" nor "[UNK]".

        Raises:
            DataError: the vocabulary is empty, too long for `spec`, or has a word twice; see `check_vocabulary`.
        """
        super().__init__(name="keras_text")
        check_vocabulary(spec, vocabulary)
        self.length = spec.sequence_length
        # An array of objects: one of NumPy's own strings would give every word the room of the longest.
        self._vectorize = _layer(
            spec,
            output_mode="int",
            output_sequence_length=spec.sequence_length,
            vocabulary=np.array(vocabulary, dtype=object),
        )

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """`text` string [batch], any bytes -> ids int32 [batch, sequence_length]."""
        ids = self._vectorize(_nul_to_space(text))  # int64 [batch, sequence_length]
        return tf.cast(ids, tf.int32)


def adapt_vocabulary(spec: TextSpec, batches: Iterable[np.ndarray]) -> list[str]:
    """The most frequent words of `batches` (never of test texts), at most `spec.vocabulary_size - 2`.

    Each batch is an array of texts, string or object [batch]. Words of equal count stand in falling order of their
    bytes, as in `TextVectorization.adapt`, so the same texts always give the same vocabulary.

    Raises:
        DataError: the texts hold no word, or one of the words to keep is not UTF-8.
    """
    tokenize = _layer(spec, output_mode=None)
    counts: WordCounts[bytes] = WordCounts()
    for texts in batches:
        words = tokenize(_nul_to_space(tf.constant(texts, tf.string)))  # ragged string [batch, words]
        counts.count(words.flat_values.numpy().tolist())
    del counts[OUT_OF_VOCABULARY.encode()]
    most_frequent = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    vocabulary = [_decode(word) for word in most_frequent[: spec.vocabulary_size - FIRST_WORD_ID]]
    check_vocabulary(spec, vocabulary)
    return vocabulary


def _layer(spec: TextSpec, **settings: object) -> keras.layers.TextVectorization:
    standardize = None if spec.standardize == "none" else spec.standardize
    return keras.layers.TextVectorization(standardize=standardize, split="whitespace", **settings)


def _nul_to_space(text: tf.Tensor) -> tf.Tensor:
    """NUL is whitespace to a `TextSpec` but part of a word to the layer; all other bytes stay, UTF-8 or not."""
    return tf.strings.regex_replace(text, r"\x00", " ")


def _decode(word: bytes) -> str:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"The training texts hold {word!r}, which is not UTF-8. Convert them first.") from error
