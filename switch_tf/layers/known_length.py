"""The length of a layer's input, which the experts' slots are counted from: it has to be known, or can be made so."""

import tensorflow as tf

from switch_tf.errors import ArgumentError


def known_length(name: str, length: int | None, sequence_length: int | None) -> int:
    """The length of an input, as the layer of this name takes it.

    Args:
        length: of the input, None where it is unknown.
        sequence_length: the longest that may come; None for any.

    Raises:
        ArgumentError: it is unknown, or longer than what may come.
    """
    if length is None:
        raise ArgumentError(
            f"{name} received an input of unknown length, which the experts' slots are counted from. "
            "Expected a static one: give the layer sequence_length=, the longest that may come."
        )
    if sequence_length is not None and length > sequence_length:
        raise ArgumentError(
            f"{name} received an input of length {length}. Expected at most sequence_length="
            f"{sequence_length}: cut the input, or give the layer a larger sequence_length."
        )
    return length


def to_known_length(
    name: str, sequence_length: int | None, x: tf.Tensor, mask: tf.Tensor, words: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """An input of unknown length filled up to `sequence_length` with padding, which changes no token's answer.

    Args:
        x: [batch, length, d_model].
        mask: bool [batch, length].
        words: of the shape of `x`, or None.

    Raises:
        ArgumentError: neither length is known.
        tf.errors.InvalidArgumentError: where it runs, the input is longer.
    """
    if x.shape[1] is not None:
        return x, mask, words
    full = known_length(name, sequence_length, sequence_length)
    length = tf.shape(x)[1]
    refusal = f"{name}: the input is longer than sequence_length={full}; cut it, or give a larger one."
    with tf.control_dependencies([tf.debugging.assert_less_equal(length, full, refusal)]):
        missing = full - tf.identity(length)
    x, words = (
        each if each is None else tf.ensure_shape(tf.pad(each, [[0, 0], [0, missing], [0, 0]]), [None, full, width])
        for each, width in ((x, x.shape[-1]), (words, None if words is None else words.shape[-1]))
    )
    return x, tf.ensure_shape(tf.pad(mask, [[0, 0], [0, missing]]), [None, full]), words
