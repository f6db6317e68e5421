"""What T5 attends with: RMS norm, biases by relative position, attention that does not scale its scores.

Source: Raffel et al. 2020, arXiv 1910.10683, section 2.1; the buckets are those of Mesh TensorFlow's `T5` layers.
"""

import math

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.layers.common import dropout

NEVER = -1e9  # added to a score that must not count


def length_of(x: tf.Tensor) -> int | tf.Tensor:
    """How many places [batch, length, ...] has: a number where it is known, else int32 []."""
    return tf.shape(x)[1] if x.shape[1] is None else x.shape[1]


class RMSNorm(keras.layers.Layer):
    """x / rms(x) times a scale, without a mean or a bias (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4)."""

    def __init__(self, epsilon: float, **kwargs: object):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        self.scale = self.add_weight("scale", [input_shape[-1]], initializer="ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [..., width] to the same."""
        mean_square = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)  # [..., 1]
        return self.scale * (x * tf.math.rsqrt(mean_square + self.epsilon))


def relative_buckets(queries: int, keys: int, bidirectional: bool, num_buckets: int, max_distance: int) -> np.ndarray:
    """The bucket of each key's distance from each query: one for each short distance, then ever wider ones.

    Args:
        queries: number of places that look.
        keys: number of places that are looked at.
        bidirectional: half of the buckets are for keys behind the query; otherwise those all share bucket 0.
        num_buckets: in all.
        max_distance: from which on all distances share the last bucket.

    Returns:
        int32 [queries, keys], from 0 and below `num_buckets`.

    >>> relative_buckets(3, 3, bidirectional=False, num_buckets=4, max_distance=8).tolist()
    [[0, 0, 0], [1, 0, 0], [2, 1, 0]]
    """
    behind = np.arange(keys)[np.newaxis] - np.arange(queries)[:, np.newaxis]  # [queries, keys]
    return buckets_of(behind, bidirectional, num_buckets, max_distance)


def buckets_of(behind: np.ndarray, bidirectional: bool, num_buckets: int, max_distance: int) -> np.ndarray:
    """As `relative_buckets`, of any distances: how far a key stands behind its query, negative before it."""
    if bidirectional:
        num_buckets //= 2
        first = np.where(behind > 0, num_buckets, 0)
        distance = np.abs(behind)
    else:
        first = np.zeros_like(behind)
        distance = np.maximum(-behind, 0)
    exact = num_buckets // 2
    # In float32 as elsewhere: a distance on the border of two buckets must fall on the same side.
    growth = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    wide = growth / np.float32(math.log(max_distance / exact)) * np.float32(num_buckets - exact)
    wide = np.minimum(exact + wide.astype(np.int64), num_buckets - 1)
    return (first + np.where(distance < exact, distance, wide)).astype(np.int32)


class RelativePositionBias(keras.layers.Layer):
    """What is added to the scores of each head for how far a key is from a query."""

    def __init__(self, heads: int, num_buckets: int, max_distance: int, bidirectional: bool, **kwargs: object):
        super().__init__(**kwargs)
        self.heads = heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def build(self, input_shape: object) -> None:
        self.embeddings = self.add_weight("embeddings", [self.num_buckets, self.heads], initializer="zeros")
        super().build(input_shape)

    def call(self, buckets: tf.Tensor) -> tf.Tensor:
        """int32 [queries, keys] of `relative_buckets` to float32 [1, heads, queries, keys]."""
        biases = tf.gather(self.embeddings, buckets)  # [queries, keys, heads]
        return tf.transpose(biases, [2, 0, 1])[tf.newaxis]  # [1, heads, queries, keys]

    def between(self, queries: int, keys: int) -> tf.Tensor:
        """Of so many places that look at so many: float32 [1, heads, queries, keys]."""
        return self(relative_buckets(queries, keys, self.bidirectional, self.num_buckets, self.max_distance))

    def at(self, behind: tf.Tensor) -> tf.Tensor:
        """The same of distances that are not known before: int32 [queries, keys], as in `buckets_of`."""
        reach = self.max_distance  # beyond it all distances are alike
        every = np.arange(-reach, reach + 1)
        table = buckets_of(every, self.bidirectional, self.num_buckets, self.max_distance)  # [2 * reach + 1]
        return self(tf.gather(table, tf.clip_by_value(behind, -reach, reach) + reach))


class RelativeAttention(keras.layers.Layer):
    """Multi-head attention whose heads may have any width together, whose scores are not scaled, without biases.

    Scores are not divided by the root of the width: T5 has that in its initial weights.
    """

    def __init__(self, heads: int, head_dim: int, d_model: int, rate: float = 0.0, **kwargs: object):
        super().__init__(**kwargs)
        self.heads = heads
        self.head_dim = head_dim
        self.rate = rate  # of dropout on the attention weights
        self.query, self.key, self.value = (
            keras.layers.Dense(heads * head_dim, use_bias=False, name=name) for name in ("query", "key", "value")
        )
        self.out = keras.layers.Dense(d_model, use_bias=False, name="out")

    def call(
        self, x: tf.Tensor, memory: tf.Tensor, bias: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Every place of `x` looks at those of `memory`.

        Args:
            x: float32 [batch, queries, d_model].
            memory: float32 [batch, keys, d_model].
            bias: float32, of a shape that broadcasts to [batch, heads, queries, keys], added to the scores.

        Returns:
            float32 [batch, queries, d_model].
        """
        return self.attend(x, *self.keys_and_values(memory), bias, training, seed)

    def keys_and_values(self, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of float32 [batch, keys, d_model], float32 [batch, heads, keys, head_dim] each."""
        return self._split(self.key, memory), self._split(self.value, memory)

    def attend(
        self,
        x: tf.Tensor,
        keys: tf.Tensor,
        values: tf.Tensor,
        bias: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """As `call`, with what `keys_and_values` gave before."""
        query = self._split(self.query, x)  # [batch, heads, queries, head_dim]
        weights = tf.nn.softmax(tf.matmul(query, keys, transpose_b=True) + bias)  # [batch, heads, queries, keys]
        weights = dropout(weights, self.rate, training, seed, 0)
        merged = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])  # [batch, queries, heads, head_dim]
        rows = self.out(tf.reshape(merged, [-1, self.heads * self.head_dim]))  # [batch * queries, d_model]
        return tf.reshape(rows, [-1, length_of(x), x.shape[-1]])  # [batch, queries, d_model]

    def _split(self, project: keras.layers.Dense, x: tf.Tensor) -> tf.Tensor:
        """float32 [batch, length, d_model] projected and cut into heads: [batch, heads, length, head_dim]."""
        rows = project(tf.reshape(x, [-1, x.shape[-1]]))  # [batch * length, heads * head_dim]
        heads = tf.reshape(rows, [-1, length_of(x), self.heads, self.head_dim])  # [batch, length, heads, head_dim]
        return tf.transpose(heads, [0, 2, 1, 3])
