"""AdamW by hand: a constant that is off by a little still trains, only worse."""

import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from test_exchange import Meeting

from switch_tf.layers.exchange import Exchange
from switch_tf.training.optimizer import make_optimizer, summed_and_clipped, warmed_up_adamw

LONG = 10**9  # steps over which the rate stays at its peak, 0.01


def after(gradients: list[float], decay: float = 0.0, start: float = 0.0, name: str = "kernel") -> float:
    """A weight after steps with these gradients, at a constant rate of 0.01."""
    config = tiny_config("train.learning_rate=0.01", "train.warmup_share=0.0", f"train.weight_decay={decay}")
    optimizer, variable = make_optimizer(config, LONG), tf.Variable([start], name=name)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant([gradient]), variable)])
    return float(variable.numpy()[0])


@pytest.mark.parametrize("gradient", [1.0, -3.0])
def test_the_first_step_is_as_long_as_the_rate(gradient: float) -> None:
    assert after([gradient]) == pytest.approx(-math.copysign(0.01, gradient), rel=1e-4)


def test_the_second_moment_decays_by_0_98_and_the_first_by_0_9() -> None:
    # A gradient of 1 and then 0: with the bias taken out, 0.9 / 1.9 is left of the mean and 0.98 / 1.98 of the square.
    # 0.47368421 / sqrt(0.49494949) = 0.67330035
    assert after([1.0, 0.0]) == pytest.approx(-0.01 - 0.0067330035, rel=1e-4)


def test_a_ten_millionth_is_added_to_the_root_of_the_second_moment() -> None:
    # Of a gradient of 1e-6 the root is sqrt(0.02) 1e-6 = 1.414e-7: the step is 1.414 / 2.414 of the rate.
    assert after([1e-6]) == pytest.approx(-0.005857864, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "left"),
    [("kernel", 0.995), ("w_in", 0.995), ("router", 0.995)]
    + [(name, 1.0) for name in ("bias", "gamma", "beta", "b_in", "b_out")],
)
def test_matrices_alone_decay_by_the_rate_times_the_decay(name: str, left: float) -> None:
    assert after([0.0], decay=0.5, start=1.0, name=name) == pytest.approx(left, rel=1e-6)


def test_the_rate_by_hand() -> None:
    """Ten steps up and ninety down a half cosine."""
    rate = make_optimizer(tiny_config("train.learning_rate=0.01", "train.warmup_share=0.1"), 100)._learning_rate
    # cos(pi / 3) = 1/2 a third of the way down, 0 half of it, -1/2 at two thirds
    expected = {0: 0.0, 1: 0.001, 5: 0.005, 10: 0.01, 40: 0.0075, 55: 0.005, 70: 0.0025, 100: 0.0, 120: 0.0}
    np.testing.assert_allclose([float(rate(step)) for step in expected], list(expected.values()), rtol=1e-4, atol=1e-8)


def test_neither_norms_nor_biases_of_a_checkpoint_decay() -> None:
    optimizer = warmed_up_adamw(0.1, steps=10, weight_decay=0.5)
    variables = [tf.Variable([1.0], name=f"layer/{name}") for name in ("kernel", "bias", "scale", "positions")]
    optimizer.build(variables)
    for _ in range(2):  # the first is the warm-up's, whose rate is 0
        optimizer.apply_gradients([(tf.zeros([1]), each) for each in variables])
    assert [round(float(each[0]), 6) for each in variables] == [0.95, 1.0, 1.0, 1.0]


def clipped_by_two(limit: float, held: tuple[bool, ...]) -> list[list[float]]:
    """Of two replicas with the gradients 1 and 4, and 2 and 12."""

    def work(exchange: Exchange) -> list[float]:
        gradients = [tf.constant([1.0 + exchange.replica]), tf.constant([4.0 + 8.0 * exchange.replica])]
        return [float(each[0]) for each in summed_and_clipped(gradients, limit, held)]

    return Meeting(2).all(work)


def test_a_gradient_that_one_replica_holds_counts_in_the_norm_of_all() -> None:
    """1 + 2 = 3 is everywhere, 4 and 12 are each in one place: the norm is 13, whose tenth is left of each."""
    first, second = clipped_by_two(1.3, (False, True))
    assert first == pytest.approx([0.3, 0.4]) and second == pytest.approx([0.3, 1.2])
    assert clipped_by_two(0.0, (False, True)) == clipped_by_two(13.5, (False, True)) == [[3.0, 4.0], [3.0, 12.0]]


def test_gradients_of_what_all_have_are_summed() -> None:
    assert clipped_by_two(0.0, ()) == [[3.0, 16.0]] * 2
