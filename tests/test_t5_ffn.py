"""The Switch layer in T5's form, by hand."""

import math

import numpy as np
import tensorflow as tf

from switch_tf.layers.t5_ffn import T5SwitchFFN


def layer(expert_capacity: int = 2, router_bias: bool = False) -> T5SwitchFFN:
    """Width 1: expert 0 doubles, expert 1 trebles; the router takes expert 1 for negative numbers, which relu drops."""
    made = T5SwitchFFN(expert_capacity, router_bias, num_experts=2, d_ff=1, name="ffn")
    made(tf.zeros([1, 3, 1]), tf.ones([1, 3], tf.bool))
    made.classifier.assign([[1.0, 0.0]])
    made.w_in.assign([[[1.0]], [[-1.0]]])
    made.w_out.assign([[[2.0]], [[3.0]]])
    return made


def gated(x: float, factor: float) -> float:
    probability = 1.0 / (1.0 + math.exp(-abs(x)))
    return abs(x) * factor * probability


def test_each_token_gets_its_expert_times_its_probability() -> None:
    y, report = layer()(tf.constant([[[1.0], [-2.0]]]), tf.ones([1, 2], tf.bool))
    np.testing.assert_allclose(y, [[[gated(1.0, 2.0)], [gated(-2.0, 3.0)]]], rtol=1e-6)
    assert report.logits.shape == [1, 2, 2]


def test_a_token_beyond_the_slots_adds_nothing_and_each_text_has_its_own() -> None:
    x = tf.constant([[[1.0], [1.0], [1.0]], [[1.0], [-1.0], [1.0]]])
    y, _ = layer()(x, tf.ones([2, 3], tf.bool))
    full = gated(1.0, 2.0)
    np.testing.assert_allclose(y[0, :, 0], [full, full, 0.0], rtol=1e-6)
    np.testing.assert_allclose(y[1, :, 0], [full, gated(-1.0, 3.0), full], rtol=1e-6)


def test_padding_takes_no_slot() -> None:
    mask = tf.constant([[True, False, False, True]])
    y, _ = layer(expert_capacity=2)(tf.ones([1, 4, 1]), mask)
    np.testing.assert_allclose(y[0, :, 0], [gated(1.0, 2.0), 0.0, 0.0, gated(1.0, 2.0)], rtol=1e-6)


def test_there_are_never_more_slots_than_tokens() -> None:
    assert layer(expert_capacity=64).capacity(10, training=False) == 10
    assert layer(expert_capacity=64).capacity(100, training=False) == 64


def test_a_bias_of_the_router_counts() -> None:
    with_bias = layer(router_bias=True)
    assert with_bias.classifier_bias is not None
    with_bias.classifier_bias.assign([0.0, 5.0])
    y, _ = with_bias(tf.constant([[[1.0]]]), tf.ones([1, 1], tf.bool))
    assert float(y[0, 0, 0]) == 0.0  # expert 1, whose hidden unit relu drops
    assert {each.name for each in with_bias.weights} == {
        "ffn/router:0",
        "ffn/router_bias:0",
        "ffn/w_in:0",
        "ffn/w_out:0",
    }


def test_a_step_is_a_text_of_one_token() -> None:
    random = np.random.default_rng(0)
    made = T5SwitchFFN(1, True, num_experts=4, d_ff=6)
    x = tf.constant(random.normal(size=[8, 5]), tf.float32)
    made(x[:, tf.newaxis], tf.ones([8, 1], tf.bool))
    for weight in made.weights:
        weight.assign(random.normal(size=weight.shape))
    whole, _ = made(x[:, tf.newaxis], tf.ones([8, 1], tf.bool))
    np.testing.assert_allclose(made.step(x), whole[:, 0], atol=1e-5)
