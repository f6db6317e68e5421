"""RMS norm, buckets of distances and attention, on cases that can be checked by hand."""

import math

import numpy as np
import tensorflow as tf

from switch_tf.layers.relative_attention import (
    NEVER,
    RelativeAttention,
    RelativePositionBias,
    RMSNorm,
    relative_buckets,
)


def test_rms_norm_by_hand() -> None:
    norm = RMSNorm(epsilon=0.5)
    x = tf.constant([[3.0, -4.0]])  # mean square 12.5, with epsilon 13
    norm(x)
    norm.scale.assign([2.0, 1.0])
    np.testing.assert_allclose(norm(x), [[6.0 / math.sqrt(13), -4.0 / math.sqrt(13)]], rtol=1e-6)


class TestBuckets:
    def test_both_directions_by_hand(self) -> None:
        # 8 buckets, 4 for keys before and 4 behind: 0, 1, then 2-3 and from 4 on.
        buckets = relative_buckets(1, 9, bidirectional=True, num_buckets=8, max_distance=8)
        assert buckets.tolist() == [[0, 5, 6, 6, 7, 7, 7, 7, 7]]
        backwards = relative_buckets(9, 1, bidirectional=True, num_buckets=8, max_distance=8)
        assert backwards[:, 0].tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3]

    def test_looking_back_alone_puts_all_that_comes_in_bucket_0(self) -> None:
        buckets = relative_buckets(6, 6, bidirectional=False, num_buckets=4, max_distance=4)
        assert buckets.tolist() == [
            [0, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 0],
            [2, 1, 0, 0, 0, 0],
            [3, 2, 1, 0, 0, 0],
            [3, 3, 2, 1, 0, 0],
            [3, 3, 3, 2, 1, 0],
        ]

    def test_the_released_settings(self) -> None:
        # 16 buckets a side: 8 for one distance each, then 8 + floor(8 log(d / 8) / log(16)).
        buckets = relative_buckets(300, 1, bidirectional=True, num_buckets=32, max_distance=128)[:, 0]
        assert [int(np.flatnonzero(buckets == each)[0]) for each in range(16)] == [
            *(0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91)
        ]
        assert buckets[-1] == 15

    def test_a_bias_is_that_of_its_bucket_and_head(self) -> None:
        layer = RelativePositionBias(heads=2, num_buckets=4, max_distance=4, bidirectional=False)
        layer.between(2, 2)
        layer.embeddings.assign([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 13.0]])
        np.testing.assert_array_equal(layer.between(2, 2), [[[[0, 0], [1, 0]], [[10, 10], [11, 10]]]])


class TestAttention:
    @staticmethod
    def layer() -> RelativeAttention:
        layer = RelativeAttention(heads=1, head_dim=1, d_model=2)
        layer(tf.zeros([1, 1, 2]), tf.zeros([1, 1, 2]), tf.zeros([1, 1, 1, 1]))
        for part, kernel in ((layer.query, [[1.0], [0.0]]), (layer.key, [[1.0], [0.0]]), (layer.value, [[0.0], [1.0]])):
            part.kernel.assign(kernel)
        layer.out.kernel.assign([[1.0, -1.0]])
        return layer

    def test_by_hand_and_not_scaled(self) -> None:
        x = tf.constant([[[math.log(3.0), 5.0]]])
        memory = tf.constant([[[1.0, 4.0], [0.0, 8.0]]])
        # Scores log 3 and 0: weights 3/4 and 1/4 of 4 and 8.
        np.testing.assert_allclose(self.layer()(x, memory, tf.zeros([1, 1, 1, 2])), [[[5.0, -5.0]]], rtol=1e-6)

    def test_a_bias_is_added_to_the_scores(self) -> None:
        x, memory = tf.constant([[[0.0, 0.0]]]), tf.constant([[[1.0, 4.0], [0.0, 8.0]]])
        layer = self.layer()
        bias = tf.constant([[[[math.log(3.0), 0.0]]]])
        np.testing.assert_allclose(layer(x, memory, bias), [[[5.0, -5.0]]], rtol=1e-6)
        np.testing.assert_array_equal(layer(x, memory, tf.constant([[[[NEVER, 0.0]]]])), [[[8.0, -8.0]]])
