"""Steps on rows of integers that the graphs of all kinds of pieces are made of; all shapes but the batch are static."""

import numpy as np
import tensorflow as tf

from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.piece_tables import PAGE


def gather_rows(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Of each row its values at places in it: [batch, n], int32 [batch, m] -> [batch, m]."""
    width = values.shape[1]
    row_start = tf.range(tf.shape(values)[0])[:, tf.newaxis] * width  # [batch, 1]
    return tf.gather(tf.reshape(values, [-1]), places + row_start)


def before(row: tf.Tensor) -> tf.Tensor:
    """What stands one place before, 0 at the first: int32 [batch, N] -> int32 [batch, N]."""
    return tf.pad(row, [[0, 0], [1, 0]])[:, : row.shape[1]]


def behind(row: tf.Tensor) -> tf.Tensor:
    """What stands one place further, 0 at the last: int32 [batch, N] -> int32 [batch, N]."""
    return tf.pad(row, [[0, 0], [0, 1]])[:, 1:]


def set_before(flags: tf.Tensor) -> tf.Tensor:
    """The flag one place before, False at the first: bool [batch, N] -> bool [batch, N]."""
    return before(tf.cast(flags, tf.int32)) > 0


def look_up(table: np.ndarray, places: tf.Tensor) -> tf.Tensor:
    """The integers at places of a table, which may hold them in 16 bits: int32 [...] -> int32 [...]."""
    return tf.cast(tf.gather(table, places), tf.int32)


def look_up_point(pages: np.ndarray, rows: np.ndarray, points: tf.Tensor) -> tf.Tensor:
    """What a table of pages says of code points, as `page_tables` made it: int32 [...] -> int32 [...]."""
    return look_up(rows, look_up(pages, points // PAGE) * PAGE + tf.math.floormod(points, PAGE))


def write_sequences(numbers: tf.Tensor, lengths: np.ndarray, offsets: np.ndarray, codes: np.ndarray) -> tf.Tensor:
    """Sequences of codes one behind the other, cut at N, zeros behind them: int32 [batch, N] -> int32 [batch, N].

    Args:
        numbers: of a sequence at each place; number 0 has no codes.
        lengths: codes of each sequence.
        offsets: where each begins in `codes`.
        codes: of all sequences.
    """
    width = numbers.shape[1]
    length = look_up(lengths, numbers)
    start = tf.cumsum(length, axis=1, exclusive=True)
    used = tf.logical_and(length > 0, start < width)
    rank = tf.cumsum(tf.cast(used, tf.int32), axis=1, exclusive=True)
    # Of each sequence that is used, what leads from a place in the row to one in `codes`, side by side.
    shift = scatter_rows(tf.where(used, rank, width), look_up(offsets, numbers) - start, width + 1)
    begins = scatter_rows(tf.where(used, start, width), tf.ones_like(start), width + 1)[:, :width]
    number = tf.cumsum(begins, axis=1) - 1  # of the sequence that a place belongs to
    source = gather_rows(shift, tf.maximum(number, 0)) + np.arange(width, dtype=np.int32)
    written = np.arange(width, dtype=np.int32) < start[:, -1:] + length[:, -1:]
    return tf.where(written, look_up(codes, tf.where(written, source, 0)), 0)
