"""Turns rows of bytes into token ids as `switch_tf.text.from_bytes` does, at the cost of the texts, not of their rows.

Most rows are mostly zeros behind a text. Here the bytes of all texts of a batch stand in one list, then their letters,
then their words; only the first step sees the zeros, and only the last one the full length. The ids are the same to the
bit. The shapes depend on the texts, so it is for LiteRT on a CPU alone. For "I'm  in!" and "A", with letters for codes:

    codes     i - m _ _ i n -  a     int32 [bytes]: - is stripped, _ is whitespace
    place     0 1 2 3 4 5 6 7 11     int32 [bytes], in all rows, of N = 10 bytes and a zero each
    breaks    1 1 1 2 3 3 3 3  4     int32 [bytes]: how often a word ended so far, in whitespace or with the row
    letters   i m i n a              int32 [letters], of the words 0 0 1 1 2
    sums      i + m r, ...           int32 [words, primes]: of letters and powers of a root, see `word_keys`

One letter is read behind all rows, and its word forgotten: LiteRT's kernels refuse tensors of no elements. A word's sum
is that of its own letters, (largest code) (p - 1) N at most, so it stays below 2^31 as prefix sums do.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.text.byte_codes import FIRST_LETTER, SPACE
from switch_tf.text.from_bytes import NumericText, look_up


def stored_arrays(text: NumericText) -> dict[str, np.ndarray]:
    """Every constant of `packed_ids` that follows from the specification or the vocabulary, by name: integers."""
    arrays = {name: each for name, each in text.stored_arrays().items() if "powers" not in name}
    own = {"powers of all roots": _powers(text), "repeated codes": _repeated_codes(text)}
    return arrays | {f"bytes front-end/{name}": each for name, each in own.items()}


class Words(NamedTuple):
    """The letters and the words of a batch, text by text, and one letter and word behind the last.

    Attributes:
        letters: int32 [letters]. Codes.
        number: int32 [letters]. Of the word that each belongs to, rising without gaps.
        exponent: int32 [letters]. The place in the word.
        row: int32 [words]. Which text each word is of.
        place: int32 [words]. Its place among the words of the text.
        batch: int32 []. Texts.
    """

    letters: tf.Tensor
    number: tf.Tensor
    exponent: tf.Tensor
    row: tf.Tensor
    place: tf.Tensor
    batch: tf.Tensor


def packed_ids(text: NumericText, rows: tf.Tensor) -> tf.Tensor:
    """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
    words, ids = read_words(text, rows)
    return ids_of_texts(text, words, ids)


def read_words(text: NumericText, rows: tf.Tensor) -> tuple[Words, tf.Tensor]:
    """The words of rows as for `packed_ids`, and the id of each: int32 [words]."""
    batch, width = tf.shape(rows)[0], text.spec.num_bytes + 1
    ended = tf.concat([rows, tf.zeros_like(rows[:, :1])], axis=1)  # [batch, N + 1]
    line = tf.reshape(ended, [batch * width])  # not [-1]: LiteRT takes rows of another width, and must fail on them
    letter = np.frombuffer(b"0", np.uint8)  # whatever the standardizing
    letters, place, word = _letters(text, tf.concat([line, letter], axis=0))  # [letters] each
    begins = places(_differs(word))  # [words], the letter that each word begins with
    number = tf.cumsum(_differs(word)) - 1  # [letters], of the word
    exponent = tf.range(tf.shape(letters)[0]) - tf.gather(begins, number)  # [letters], the place in the word
    row = tf.gather(place, begins) // width  # [words]
    in_row = tf.math.unsorted_segment_sum(tf.ones_like(row), row, batch + 1)  # [batch + 1]
    in_text = tf.range(tf.shape(row)[0]) - tf.gather(tf.cumsum(in_row, exclusive=True), row)  # [words]
    words = Words(letters, number, exponent, row, in_text, batch)
    return words, _look_up_words(text, words)


def _look_up_words(text: NumericText, words: Words) -> tf.Tensor:
    """int32 [words]."""
    terms = tf.gather(_repeated_codes(text), words.letters) * tf.gather(_powers(text), words.exponent)
    sums = tf.math.unsorted_segment_sum(terms, words.number, tf.shape(words.row)[0])  # [words, primes]
    residues = tf.math.floormod(sums, np.array([text.keys.primes]))  # [words, primes]
    return look_up(text.table, text.keys.pair_up(tf.unstack(residues, axis=1)))


def ids_of_texts(text: NumericText, words: Words, ids: tf.Tensor) -> tf.Tensor:
    """The ids of words at their places in texts: int32 [words] -> int32 [batch, sequence_length]."""
    length = text.spec.sequence_length
    target = tf.minimum(words.place, length) + words.row * (length + 1)  # what stands behind the last shares one place
    grid = tf.scatter_nd(target[:, tf.newaxis], ids, [(words.batch + 1) * (length + 1)])
    return tf.reshape(grid, [-1, length + 1])[:-1, :length]  # [batch, length]


def _letters(text: NumericText, line: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of rows that stand in one line, each with a zero behind it, and the letter behind the last: int32 [letters] all.

    Returns:
        codes.
        places in the line.
        the word of each: its number is rising, with gaps.
    """
    place = places(line)  # [bytes]
    codes = tf.gather(text.keys.codes, tf.cast(tf.gather(line, place), tf.int32))  # [bytes]
    before = tf.concat([[-2], place[:-1]], axis=0)  # [bytes]
    ended = tf.logical_or(tf.equal(codes, SPACE), tf.not_equal(place - before, 1))  # a NUL or another row is between
    breaks = tf.cumsum(tf.cast(ended, tf.int32))  # [bytes]
    is_letter = codes >= FIRST_LETTER
    if text.spec.truncation == "drop":
        is_letter = tf.logical_and(is_letter, tf.logical_not(_may_go_on(place, breaks, line, text.spec.num_bytes)))
    kept = places(is_letter)  # [letters]
    return tf.gather(codes, kept), tf.gather(place, kept), tf.gather(breaks, kept)


def _may_go_on(place: tf.Tensor, breaks: tf.Tensor, line: tf.Tensor, num_bytes: int) -> tf.Tensor:
    """Whether a byte belongs to a word that reaches the end of its row: bool [bytes]."""
    row = place // (num_bytes + 1)  # [bytes]
    is_last = tf.equal(place - row * (num_bytes + 1), num_bytes - 1)  # [bytes]
    rows = tf.shape(line)[0] // (num_bytes + 1)
    is_last = tf.logical_and(is_last, row < rows)  # the letter behind the last row stays, if rows are one byte long
    last = tf.math.unsorted_segment_max(tf.where(is_last, breaks, -1), row, rows + 1)  # [rows + 1]
    return tf.equal(tf.gather(last, row), breaks)


def _differs(values: tf.Tensor) -> tf.Tensor:
    """1 where a value is not the one before it, and at the first: int32 [n] -> int32 [n]."""
    return tf.cast(tf.not_equal(values, tf.concat([[-1], values[:-1]], axis=0)), tf.int32)


def places(flags: tf.Tensor) -> tf.Tensor:
    """Where a list is not 0: [n] -> int32 [m]. Reshaped, since LiteRT takes a column of one ten times as long."""
    return tf.cast(tf.reshape(tf.where(tf.cast(flags, tf.bool)), [-1]), tf.int32)


def _powers(text: NumericText) -> np.ndarray:
    """int32 [N + 1, primes]."""
    return np.ascontiguousarray(text.keys.powers.T)


def _repeated_codes(text: NumericText) -> np.ndarray:
    """Each code once for each prime, int32 [codes, primes]: LiteRT is slow to repeat what it multiplies."""
    codes = np.arange(int(text.keys.codes.max()) + 1, dtype=np.int32)
    return np.repeat(codes[:, np.newaxis], len(text.keys.primes), axis=1)
