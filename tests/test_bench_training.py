"""The benchmark of training: both sides learn, the peer's layer answers as ours where nothing is dropped."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import bench_training

from switch_tf.layers import SwitchFFN


def test_the_peers_layer_drops_by_the_batch_and_multiplies_by_the_gate() -> None:
    """Experts that multiply by 10 and by 100; three of four tokens prefer the first, which has room for two."""
    router = keras.layers.Dense(2, use_bias=False, kernel_initializer=lambda shape, dtype: np.log(3.0) * np.eye(2))
    experts = [lambda rows, factor=factor: factor * rows for factor in (10.0, 100.0)]
    tokens = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    y, auxiliary = bench_training.switch_by_einsum(tokens, router, experts)
    np.testing.assert_allclose(y, [[7.5, 0.0], [7.5, 0.0], [0.0, 75.0], [0.0, 0.0]], rtol=1e-6)
    assert auxiliary.numpy() == pytest.approx(0.01 * 1.125)  # 2 (3/4 x 5/8 + 1/4 x 3/8)


def test_one_text_alone_is_answered_as_by_our_layer() -> None:
    layer = SwitchFFN(2, 6, capacity_factor=1.0, initializer_scale=1.0)
    x = tf.random.stateless_normal([1, 8, 4], [1, 2])
    expected = layer(x)

    def expert(number: int, rows: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(rows @ layer.w_in[number]) @ layer.w_out[number]

    experts = [lambda rows, number=number: expert(number, rows) for number in range(2)]
    y, _ = bench_training.switch_by_einsum(x[0], lambda tokens: tokens @ layer.router_kernel, experts)
    np.testing.assert_allclose(y, expected[0], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_it_times_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_training, "one_thread", lambda: None)  # TensorFlow has started with more
    (row,) = bench_training.measure(quick=True)
    assert (row["section"], row["what"]) == ("Training", "a step: 1 block, d=8, E=3, 4 x 12 tokens")
    assert row["ratio"] > 0 and row["milliseconds"] > 0 and row["peer_milliseconds"] > 0
    assert "texts/s" in row["note"] and "first step" in row["note"]
