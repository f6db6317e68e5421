"""Rows of bytes as token ids, and behind them the letters of unknown words, in a graph: `plain_spelling`, to the bit.

For "A b, cb" with the vocabulary a and film, N = 8 and L = 3, letters for their codes:

    letters   a b c b                int32 [batch, N + 1], as `switch_tf.text.from_bytes` moves them together
    first     1 1 1 0                where a word begins
    unknown   0 1 1 1                letters of the unknown ones among the first L words
    place     . 1 3 4                how many such letters and words stand before, the own one included
    spelt     0 b 0 c b 0 0 0 0 0    int32 [batch, N + 2], negative behind ids

The same of all texts of a batch in one list, for LiteRT on a CPU, is `packed_spelling`.
"""

import tensorflow as tf

from switch_tf.text import packed_bytes
from switch_tf.text.from_bytes import NumericText, scatter_rows
from switch_tf.text.graph_rows import gather_rows
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID


class NumericSpelling(NumericText):
    """Bytes to ids and letters; its constants are part of every graph it is traced into."""

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> int32 [batch, L + N + 2]."""
        ids, letters, first = self.read(rows)
        length = self.spec.sequence_length
        number = tf.cumsum(first, axis=1) - 1  # [batch, N + 1], of the word; as all below
        own = gather_rows(ids, tf.minimum(tf.maximum(number, 0), length - 1))
        unknown = tf.where(letters > 0, is_spelt(own, number, length), 0)
        place = tf.cumsum(unknown, axis=1) - 1 + tf.cumsum(unknown * first, axis=1)
        width = self.spec.num_bytes + 2
        spelt = scatter_rows(tf.where(unknown > 0, place, width), letters, width + 1)[:, :width]  # [batch, N + 2]
        return tf.concat([ids, -spelt], axis=1)


def is_spelt(ids: tf.Tensor, number: tf.Tensor, length: int) -> tf.Tensor:
    """1 for words that are unknown and are read: int32 of any one shape, their ids and their places in the text."""
    return tf.cast(tf.logical_and(tf.equal(ids, OUT_OF_VOCABULARY_ID), number < length), tf.int32)


def packed_spelling(text: NumericSpelling, rows: tf.Tensor) -> tf.Tensor:
    """`rows` uint8 [batch, byte_length], as `pack` makes them -> int32 [batch, L + N + 2]."""
    words, ids = packed_bytes.read_words(text, rows)
    length, width = text.spec.sequence_length, text.spec.num_bytes + 2
    is_unknown = is_spelt(ids, words.place, length)  # [words]
    unknown = tf.gather(is_unknown, words.number)  # [letters]
    row = tf.gather(words.row, words.number)  # [letters]
    before = tf.cumsum(unknown) - 1 + tf.gather(tf.cumsum(is_unknown), words.number)  # [letters], in all texts
    of_text = tf.math.unsorted_segment_sum(unknown, row, words.batch + 1)  # [batch + 1]
    of_text += tf.math.unsorted_segment_sum(is_unknown, words.row, words.batch + 1)
    place = before - tf.gather(tf.cumsum(of_text, exclusive=True), row) + row * width  # [letters]
    end = (words.batch + 1) * width  # where known letters go
    place = tf.where(unknown > 0, place, end)
    spelt = tf.scatter_nd(place[:, tf.newaxis], words.letters, [end + 1])
    spelt = tf.reshape(spelt[:-1], [-1, width])[:-1]  # [batch, N + 2]
    return tf.concat([packed_bytes.ids_of_texts(text, words, ids), -spelt], axis=1)
