"""The front-ends that a `TextSpec` asks for: the one place where its tokenizer is looked at.

           strings                 bytes                       Python, of any runtime
words      from_strings.KerasText  from_bytes.NumericText      plain.PlainText
letters    StringCodePoints        spelt_words.NumericSpelling plain_spelling.PlainSpelling
unicode    StringCodePoints        unicode_words.NumericWords  plain_pieces.PlainPieces
wordpiece  StringCodePoints        pieces.NumericPieces        plain_pieces.PlainPieces
unigram    StringCodePoints        unigram.NumericUnigram      plain_unigram.PlainUnigram

"letters" stands for words with `unknown_words` = "letters", "unicode" for words with `lowercase` = "unicode".
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from switch_tf.text import packed_bytes
from switch_tf.text.code_points import CharacterText, StringCodePoints
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.from_strings import KerasText, adapt_vocabulary
from switch_tf.text.piece_files import read_pieces
from switch_tf.text.piece_learning import learn_pieces
from switch_tf.text.pieces import NumericPieces
from switch_tf.text.plain import plain_subwords
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.spec import TextSpec
from switch_tf.text.spelt_words import NumericSpelling, packed_spelling
from switch_tf.text.unicode_words import NumericWords
from switch_tf.text.unigram import NumericUnigram
from switch_tf.text.unigram_files import own_model, read_unigram
from switch_tf.text.unigram_learning import learn_unigram
from switch_tf.text.word_learning import frequent_words

StringFrontEnd = KerasText | StringCodePoints
BytesFrontEnd = NumericText | CharacterText
Graph = Callable[[tf.Tensor], tf.Tensor]


def choose_vocabulary(spec: TextSpec, batches: Iterable[np.ndarray]) -> list[str]:
    """The words or pieces that a model of these texts, string or object [batch] each, knows.

    Raises:
        DataError: the texts hold none, or one that cannot be kept.
        ConfigError: `spec.vocabulary_file` is none that the tokenizer takes, or what learns pieces is not installed.
    """
    if spec.tokenizer == "words":
        return adapt_vocabulary(spec, batches) if spec.by_bytes else frequent_words(spec, batches)
    if spec.tokenizer == "unigram":
        return learn_unigram(spec, batches) if spec.vocabulary_file is None else read_unigram(spec)
    return learn_pieces(spec, batches) if spec.vocabulary_file is None else read_pieces(spec)


def tokenizer_file(spec: TextSpec, vocabulary: Sequence[str]) -> bytes | None:
    """What the library that the tokenizer is named after reads as the model does; None where there is no such file."""
    return own_model(spec, vocabulary) if spec.tokenizer == "unigram" else None


def string_front_end(spec: TextSpec, vocabulary: Sequence[str]) -> StringFrontEnd:
    """What makes ids of strings.

    Raises:
        DataError: no front-end takes the vocabulary; see `switch_tf.text.vocabulary.check_vocabulary`.
    """
    if spec.by_strings:
        return KerasText(spec, vocabulary)
    if spec.spells:
        return StringCodePoints(NumericSpelling(spec, vocabulary))
    numeric: dict[str, Callable[[TextSpec, Sequence[str]], CharacterText]] = {
        "words": NumericWords,
        "wordpiece": NumericPieces,
        "unigram": NumericUnigram,
    }
    return StringCodePoints(numeric[spec.tokenizer](spec, vocabulary))


def bytes_front_end(spec: TextSpec, vocabulary: Sequence[str], strings: StringFrontEnd) -> BytesFrontEnd:
    """What makes ids of rows of bytes, where `strings` makes them of strings."""
    return strings.of_bytes if isinstance(strings, StringCodePoints) else NumericText(spec, vocabulary)


def reading_front_end(spec: TextSpec, vocabulary: Sequence[str]) -> KerasText | PlainSubwords:
    """The fastest for many texts in this process, which is what trainings read with."""
    return KerasText(spec, vocabulary) if spec.by_strings else plain_subwords(spec, vocabulary)


def traced(front_end: KerasText | PlainSubwords) -> Callable[[np.ndarray], np.ndarray]:
    """What reads texts, strings [batch], as `front_end` does: int32 [batch, sequence_length]."""
    if isinstance(front_end, PlainSubwords):
        return lambda texts: front_end.read_ids([text.encode() for text in texts])
    text = tf.TensorSpec([None], tf.string)
    tokenize = tf.function(front_end.__call__, autograph=False).get_concrete_function(text)
    return lambda texts: tokenize(tf.constant(texts, tf.string)).numpy()


def of_any_batch(front_end: BytesFrontEnd) -> Graph:
    """The front-end as LiteRT takes it in any batch: words at the cost of the texts, not of their rows."""
    if isinstance(front_end, CharacterText):
        return front_end
    if isinstance(front_end, NumericSpelling):
        return lambda rows: packed_spelling(front_end, rows)
    return lambda rows: packed_bytes.packed_ids(front_end, rows)


def arrays_of_any_batch(front_end: BytesFrontEnd) -> dict[str, np.ndarray]:
    """The constants of `of_any_batch` that follow from the specification or the vocabulary, by name: integers."""
    characters = isinstance(front_end, CharacterText)
    return front_end.stored_arrays() if characters else packed_bytes.stored_arrays(front_end)
