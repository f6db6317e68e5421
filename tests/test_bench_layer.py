"""The benchmark of the layer: contestants compute the same, rows have the keys of the page, ratios are of rounds."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import bench_layer

from switch_tf.layers import SwitchFFN


def test_all_experts_answer_as_the_layer_does_when_nothing_is_dropped() -> None:
    layer = SwitchFFN(3, 10, drop_tokens=False, initializer_scale=1.0)
    x = tf.random.stateless_normal([2, 7, 4], [1, 2])
    np.testing.assert_allclose(layer(x), bench_layer.all_experts(x, layer), rtol=1e-4, atol=1e-6)


def test_a_ratio_is_the_median_over_rounds_and_not_of_medians() -> None:
    taken = {bench_layer.OURS: [3.0, 8.0, 5.0], "theirs": [1.0, 4.0, 10.0]}  # 3, 2 and 1/2
    (row,) = bench_layer._rows("a shape", taken)
    assert row == {
        "section": "The layer",
        "what": "a shape",
        "ratio_to": "theirs",
        "ratio": 2.0,
        "milliseconds": 5.0,
        "peer_milliseconds": 4.0,
    }


def test_all_are_asked_once_a_round_and_the_first_round_does_not_count() -> None:
    asked: list[str] = []

    def step(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    taken = bench_layer.in_rounds({name: functools.partial(step, name) for name in "ab"}, 2)
    assert "".join(asked) == "ababab"
    assert taken == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


@pytest.mark.slow
def test_it_times_every_contestant_in_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_layer, "one_thread", lambda: None)  # TensorFlow has started with more
    rows = bench_layer.measure(quick=True)
    whats = [f"d=16, d_ff=32, E=4, 2 x 10 tokens, {kind}" for kind in ("forward", "with gradients")]
    others = [bench_layer.DENSE, bench_layer.PER_ROW, bench_layer.ALL]
    assert [(row["what"], row["ratio_to"]) for row in rows] == [(what, other) for what in whats for other in others]
    assert all(row["milliseconds"] > 0 and row["peer_milliseconds"] > 0 and row["ratio"] > 0 for row in rows)
