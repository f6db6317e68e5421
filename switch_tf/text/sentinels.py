"""Finds the sentinels of T5, `<extra_id_0>` and so on, in rows of bytes inside a graph.

A sentinel is read before anything else of a text is, and stands for a token of its own.
"""

import numpy as np
import tensorflow as tf

from switch_tf.text.graph_rows import before, part
from switch_tf.text.sentencepiece_model import SENTINEL
from switch_tf.text.utf8 import NOTHING


def with_sentinels(characters: tf.Tensor, rows: tf.Tensor, count: int, first: int) -> tf.Tensor:
    """Characters with one in place of each sentinel, whose number is below `count` and without a zero before it.

    Args:
        characters: int32 [batch, N], a number at the first byte of each.
        rows: uint8 [batch, N], the bytes.
        count: of the sentinels that there are.
        first: the number that stands for the first; behind it come those of the others.

    Returns:
        int32 [batch, N], `NOTHING` at the further bytes of a sentinel.
    """
    number, sizes = _found(rows, count)  # [batch, N] both
    begins = tf.cast(sizes > 0, tf.int32)
    ends = tf.zeros_like(begins)
    for size in range(len(SENTINEL) + 2, len(SENTINEL) + len(str(count - 1)) + 2):
        ends += before(tf.cast(tf.equal(sizes, size), tf.int32), size)
    inside = tf.cumsum(begins - ends, axis=1) > 0
    return tf.where(begins > 0, first + number, tf.where(inside, NOTHING, characters))


def _found(rows: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The number and the bytes of the sentinel that begins at each place, 0 bytes where none does: [batch, N] both."""
    width, digits = rows.shape[1], len(str(count - 1))
    padded = tf.pad(tf.cast(rows, tf.int32), [[0, 0], [0, len(SENTINEL) + digits]])
    begins = tf.equal(part(padded, 0, width), ord(SENTINEL[0]))
    for place, letter in enumerate(SENTINEL[1:], 1):
        begins = tf.logical_and(begins, tf.equal(part(padded, place, width), ord(letter)))
    value, number, sizes = (tf.zeros_like(part(padded, 0, width)) for _ in range(3))
    for place in range(len(SENTINEL), len(SENTINEL) + digits):
        digit = part(padded, place, width) - ord("0")
        begins = tf.logical_and(begins, tf.logical_and(digit >= 0, digit <= 9))
        if place > len(SENTINEL):
            begins = tf.logical_and(begins, value > 0)  # no zero stands before others
        value = value * 10 + digit
        closed = tf.equal(part(padded, place + 1, width), ord(">"))
        closed = tf.logical_and(tf.logical_and(begins, value < count), closed)
        number, sizes = tf.where(closed, value, number), tf.where(closed, np.int32(place + 2), sizes)
    return number, sizes
