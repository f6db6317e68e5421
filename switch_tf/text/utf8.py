"""Decodes rows of UTF-8 in a graph."""

import tensorflow as tf

from switch_tf.text.characters import REPLACEMENT

NO_LEAD = -1  # at the further bytes of a character


def code_points(rows: tf.Tensor, bad_byte: int = REPLACEMENT) -> tf.Tensor:
    """The code point of each character at its first byte, and `bad_byte` at every byte that is not UTF-8.

    Overlong forms, surrogates, what is beyond U+10FFFF and a character that the row cuts off are not UTF-8 (RFC 3629).

    Args:
        rows: uint8, or int32 of bytes, [batch, N].
        bad_byte: what stands for one; U+FFFD unless given.

    Returns:
        int32 [batch, N], `NO_LEAD` at the other bytes of a character.
    """
    width = rows.shape[1]
    first = tf.cast(rows, tf.int32)  # not cut out as those behind it: LiteRT takes rows of another width, and must fail
    padded = tf.pad(first, [[0, 0], [0, 3]])  # [batch, N + 3]
    second, third, fourth = (padded[:, start : start + width] for start in range(1, 4))  # [batch, N] each
    goes_on = _is_further(second)
    two = tf.logical_and(_within(first, 0xC2, 0xE0), goes_on)
    goes_on = tf.logical_and(goes_on, _is_further(third))
    of_three = (first - 0xE0) * 4096 + (second - 0x80) * 64 + third - 0x80
    three = tf.logical_and(_within(first, 0xE0, 0xF0), goes_on)
    three = tf.logical_and(three, tf.logical_or(_within(of_three, 0x800, 0xD800), of_three >= 0xE000))
    goes_on = tf.logical_and(goes_on, _is_further(fourth))
    of_four = (first - 0xF0) * 262_144 + (second - 0x80) * 4096 + (third - 0x80) * 64 + fourth - 0x80
    four = tf.logical_and(tf.logical_and(_within(first, 0xF0, 0xF5), goes_on), _within(of_four, 0x10000, 0x110000))

    beyond = tf.where(three, of_three, tf.where(four, of_four, bad_byte))
    lead = tf.where(first < 0x80, first, tf.where(two, (first - 0xC0) * 64 + second - 0x80, beyond))
    three_or_more = tf.logical_or(three, four)
    covered = _behind(tf.logical_or(two, three_or_more), 1) + _behind(three_or_more, 2) + _behind(four, 3)
    return tf.where(covered > 0, NO_LEAD, lead)


def _is_further(byte: tf.Tensor) -> tf.Tensor:
    return _within(byte, 0x80, 0xC0)


def _within(value: tf.Tensor, first: int, end: int) -> tf.Tensor:
    return tf.logical_and(value >= first, value < end)


def _behind(flags: tf.Tensor, places: int) -> tf.Tensor:
    """1 where the flag so many places before is set: bool [batch, N] -> int32 [batch, N]."""
    return tf.pad(tf.cast(flags, tf.int32), [[0, 0], [places, 0]])[:, : flags.shape[1]]
