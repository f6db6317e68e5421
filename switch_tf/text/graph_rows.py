"""Steps on rows of integers that the graphs of all kinds of pieces are made of; all shapes but the batch are static.

Parts are cut out by `tf.slice`: LiteRT copies them as a whole, where it would take what `[:, a:b]` is one by one.
"""

import numpy as np
import tensorflow as tf

from switch_tf.text.double_array import DoubleArray
from switch_tf.text.from_bytes import scatter_rows


def row_starts(of: tf.Tensor, width: int) -> tf.Tensor:
    """Where each row of so many values begins if they stand one behind the other: [batch, n] -> int32 [batch, 1]."""
    return tf.reshape(tf.range(tf.shape(of)[0]) * width, [-1, 1])


def gather_rows(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Of each row its values at places in it: [batch, n], int32 [batch, m] -> [batch, m]."""
    return tf.gather(tf.reshape(values, [-1]), places + row_starts(values, values.shape[1]))


def part(row: tf.Tensor, start: int, width: int) -> tf.Tensor:
    """So many values from a place on: [batch, n] -> [batch, width]."""
    return tf.slice(row, [0, start], [-1, width])


def before(row: tf.Tensor, places: int = 1) -> tf.Tensor:
    """What stands so many places before, 0 at the first: int32 [batch, N] -> int32 [batch, N]."""
    return part(tf.pad(row, [[0, 0], [places, 0]]), 0, row.shape[1])


def behind(row: tf.Tensor) -> tf.Tensor:
    """What stands one place further, 0 at the last: int32 [batch, N] -> int32 [batch, N]."""
    return part(tf.pad(row, [[0, 0], [0, 1]]), 1, row.shape[1])


def set_before(flags: tf.Tensor) -> tf.Tensor:
    """The flag one place before, False at the first: bool [batch, N] -> bool [batch, N]."""
    return before(tf.cast(flags, tf.int32)) > 0


def look_up(table: np.ndarray, places: tf.Tensor) -> tf.Tensor:
    """The integers at places of a table, which may hold them in 16 bits: int32 [...] -> int32 [...]."""
    return tf.cast(tf.gather(table, places), tf.int32)


def child_of(trie: DoubleArray, node: tf.Tensor | int, codes: tf.Tensor, nowhere: int | None = None) -> tf.Tensor:
    """Where each place of a trie leads by one code more: int32 [...] twice -> int32 [...].

    Args:
        node: one for all codes, such as a root, may be an integer.
        nowhere: the place where a walk ends that has no such step; the dead one unless given.
    """
    slot = codes + (int(trie.base[node]) if isinstance(node, int) else look_up(trie.base, node))
    return tf.where(tf.equal(look_up(trie.labels, slot), codes), slot, trie.dead if nowhere is None else nowhere)


def write_sequences(numbers: tf.Tensor, lengths: np.ndarray, codes: np.ndarray, room: int) -> tf.Tensor:
    """Sequences of codes one behind the other, cut at N, zeros behind them: int32 [batch, N] -> int32 [batch, N].

    The arguments are those of `switch_tf.text.sequence_tables.Sequences`, of which `numbers` has one at each place.
    """
    width = numbers.shape[1]
    ended = tf.pad(numbers, [[0, 0], [0, 1]], constant_values=room)  # [batch, N + 1]: zeros behind the last
    length = look_up(lengths, ended)
    start = tf.cumsum(length, axis=1, exclusive=True)
    place = tf.where(length > 0, tf.where(start < width, start, width), width)
    source = part(scatter_rows(place, ended, width + 1), 0, width)  # [batch, N], as all below; 0 inside a sequence
    reach = 1
    while reach < room:
        source = tf.where(source < room, before(source, reach) + reach, source)
        reach *= 2
    return look_up(codes, source)
