"""Uniform noise that follows from a seed; replicas that share a batch draw each its part of the batch's noise.

Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") counts: its stream is a function of seed and
place, four numbers to a count, so that a part of the stream is drawn without what is before it.
"""

from typing import Any

import tensorflow as tf

from switch_tf.layers import replicas

_PER_COUNT = 4  # numbers, of 16 or 32 bits
_PHILOX = 1


def uniform(
    shape: Any, seed: tf.Tensor, low: float = 0.0, high: float = 1.0, dtype: tf.DType = tf.float32, groups: int = 1
) -> tf.Tensor:
    """Numbers from `low` on and below `high`: those that `tf.random.stateless_uniform` draws for the whole batch.

    Args:
        shape: of this replica's part, int32 [rank].
        seed: int32 [2].
        groups: how many times rows of the batch are counted from the first: the experts of [experts, rows, width], 1
            where rows come first.
    """
    part = replicas.current()
    if part.count == 1:
        return tf.random.stateless_uniform(shape, seed, low, high, dtype)
    size = tf.reduce_prod(tf.cast(shape, tf.int64)) // groups  # numbers of a group
    drawn = [_from(seed, (group * part.count + part.index) * size, size, dtype) for group in range(groups)]
    span = tf.cast(high, dtype) - tf.cast(low, dtype)
    return tf.reshape(tf.concat(drawn, axis=0), shape) * span + tf.cast(low, dtype)


def _from(seed: tf.Tensor, first: tf.Tensor, size: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`size` numbers of the seed's stream, from the one numbered `first` on, both int64 []."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    begun = first % _PER_COUNT
    counter += tf.stack([tf.cast(first // _PER_COUNT, tf.uint64), tf.constant(0, tf.uint64)])
    numbers = tf.raw_ops.StatelessRandomUniformV2(
        shape=[size + begun], key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )
    return numbers[begun:]
