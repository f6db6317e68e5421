"""The encoder block and its attention."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from test_layers import LENGTH, SEED, WEIGHTS, WIDTH, assert_same, assert_scaled, inputs, settings, switch_layer

from switch_tf.layers.attention import MaskedAttention
from switch_tf.layers.common import activation
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.encoder import EncoderBlock


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def test_initial_weights_of_the_whole_block_have_the_papers_scale() -> None:
    config = settings(d_model=48, d_ff=96, num_experts=0)
    block = EncoderBlock(config, LENGTH, use_switch=False)
    block(tf.zeros([1, LENGTH, 48]), tf.fill([1, LENGTH], True))
    kernels = {v.name.split("/", 1)[1]: v.numpy() for v in block.trainable_variables if "kernel" in v.name}
    fan_in = {f"attention/{name}/kernel:0": 48 for name in ("query", "key", "value", "out")}
    fan_in |= {"dense_ffn/w_in/kernel:0": 48, "dense_ffn/w_out/kernel:0": 96}
    assert kernels.keys() == fan_in.keys()
    for name, kernel in kernels.items():
        assert_scaled(kernel, math.sqrt(0.1 / fan_in[name]))
    assert not np.array_equal(kernels["attention/query/kernel:0"], kernels["attention/key/kernel:0"])


@pytest.mark.parametrize("use_switch", [False, True])
def test_a_bfloat16_block_keeps_weights_and_residual_stream_in_float32(use_switch: bool) -> None:
    x, mask = inputs()
    block = EncoderBlock(settings(), LENGTH, use_switch)
    half = EncoderBlock(settings(), LENGTH, use_switch, compute_dtype="bfloat16")
    y, _ = block(x, mask)
    half(x, mask)
    half.set_weights(block.get_weights())
    rounded, _ = half(x, mask)
    assert rounded.dtype == tf.float32
    assert {variable.dtype for variable in half.weights} == {tf.float32}
    assert np.abs(rounded - y).max() < 0.05
    assert np.any(rounded != y)


def attention_and_keras_own() -> tuple[MaskedAttention, keras.layers.MultiHeadAttention]:
    """Ours and Keras' layer with the same weights, biases too."""
    ours = MaskedAttention(settings(num_heads=2))
    theirs = keras.layers.MultiHeadAttention(2, WIDTH // 2)
    x, mask = inputs()
    ours(x, mask)
    theirs(x, x)
    random = np.random.default_rng(3)
    ours.set_weights([random.normal(size=weight.shape) for weight in ours.get_weights()])
    for weight, same in zip(ours.weights, theirs.weights, strict=True):
        same.assign(tf.reshape(weight, same.shape))
    return ours, theirs


def test_attention_answers_and_learns_as_keras_own() -> None:
    ours, theirs = attention_and_keras_own()
    x, mask = inputs()
    upstream = tf.random.stateless_normal(x.shape, [1, 1]) * tf.cast(mask, tf.float32)[..., tf.newaxis]
    answers, gradients = [], []
    for layer, call in ((ours, lambda: ours(x, mask)), (theirs, lambda: theirs(x, x, attention_mask=mask[:, None, :]))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call()
        answers.append(y[mask])
        found = tape.gradient(y, [x, *layer.trainable_variables], output_gradients=upstream)
        gradients.append([np.ravel(tf.convert_to_tensor(gradient)) for gradient in found])
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)
    for received, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4)


def test_attention_without_a_question_is_the_mean_of_the_real_values() -> None:
    attention = MaskedAttention(settings(num_heads=2))
    x, mask = inputs()
    attention(x, mask)
    nothing, identity, bias = np.zeros([WIDTH, WIDTH]), np.eye(WIDTH), np.zeros(WIDTH)
    attention.set_weights([nothing, bias, nothing, bias, identity, bias, identity, bias])
    y = attention(x, mask).numpy()
    for b in range(4):
        expected = x[b].numpy()[mask[b]].mean(axis=0)
        np.testing.assert_allclose(y[b], np.tile(expected, [LENGTH, 1]), rtol=1e-5, atol=1e-6)
    assert np.all(np.isfinite(y[4]))  # nothing but padding


def test_dense_twin_computes_what_one_expert_does() -> None:
    layer = switch_layer(settings(num_experts=1, drop_tokens=False, activation="gelu"))
    dense = DenseFFN(settings(num_experts=0, activation="gelu"))
    x, mask = inputs()
    dense(x, mask)
    for variable, name in zip(dense.trainable_variables, WEIGHTS[1:], strict=True):
        variable.assign(tf.reshape(getattr(layer, name), variable.shape))
    (y, report), (expected, _) = dense(x, mask), layer(x, mask)
    assert report is None
    np.testing.assert_allclose(y[mask], expected[mask], rtol=1e-5, atol=1e-6)


def test_dense_twin_has_the_parameters_that_a_token_meets() -> None:
    switch, dense = switch_layer(settings(num_experts=3)), DenseFFN(settings(num_experts=0))
    dense(*inputs())
    router = WIDTH * 3
    assert dense.count_params() == WIDTH * 10 + 10 + 10 * WIDTH + WIDTH
    assert switch.count_params() == router + 3 * dense.count_params()


def test_dense_twin_drops_hidden_units_at_the_ordinary_rate() -> None:
    dense = DenseFFN(settings(d_ff=WIDTH, num_experts=0, dropout=0.25, expert_dropout=0.9))
    x, mask = tf.zeros([100, LENGTH, WIDTH]), tf.fill([100, LENGTH], True)
    dense(x, mask)
    dense.set_weights([np.zeros([WIDTH, WIDTH]), np.ones(WIDTH), np.eye(WIDTH), np.zeros(WIDTH)])
    y = dense(x, mask, training=True, seed=SEED)[0].numpy()
    np.testing.assert_allclose(np.unique(y), [0.0, 4 / 3], rtol=1e-6)
    assert np.mean(y == 0.0) == pytest.approx(0.25, abs=0.02)


def test_gelu_is_the_exact_one() -> None:
    x = np.linspace(-6.0, 6.0, 121)
    expected = [0.5 * value * (1.0 + math.erf(value / math.sqrt(2.0))) for value in x]
    np.testing.assert_allclose(activation("gelu")(tf.constant(x, tf.float32)), expected, atol=1e-6)
    assert activation("relu")(tf.constant([-2.0, 0.0, 3.0])).numpy().tolist() == [0.0, 0.0, 3.0]


@pytest.mark.parametrize("use_switch", [False, True])
def test_real_tokens_do_not_see_what_stands_at_padding(use_switch: bool) -> None:
    block = EncoderBlock(settings(), LENGTH, use_switch)
    x, mask = inputs()
    y, _ = block(x, mask)
    other, _ = block(tf.where(mask[..., tf.newaxis], x, 7.0 * x[::-1] + 1.0), mask)
    np.testing.assert_allclose(other[mask], y[mask], atol=1e-6)


def test_the_residual_carries_dropped_tokens() -> None:
    block = EncoderBlock(settings(), LENGTH, use_switch=True)
    x, mask = inputs()
    y, report = block(x, mask)
    kept = report.routing.kept.numpy()[..., 0]
    assert 0 < kept.sum() < mask.numpy().sum()
    block.feed_forward.b_out.assign_add(tf.ones_like(block.feed_forward.b_out))
    moved = np.any(block(x, mask)[0] != y, axis=-1)
    assert_same(moved, kept)


def test_the_norms_add_a_millionth_to_the_variance() -> None:
    """Of tokens with a variance of 1e-6, then, 1 / sqrt(2) is left of a deviation of 1."""
    block = EncoderBlock(settings(), LENGTH, use_switch=True)
    block(*inputs())
    x = tf.constant([[[1e-3, -1e-3] * 3]])
    for norm in (block.attention_norm, block.feed_forward_norm):
        np.testing.assert_allclose(norm(x), [[[0.70710678, -0.70710678] * 3]], rtol=1e-4)


def test_block_is_pre_norm() -> None:
    """With attention and experts that answer 0, the residual stream passes unchanged."""
    for use_switch in (False, True):
        block = EncoderBlock(settings(), LENGTH, use_switch)
        x, mask = inputs()
        block(x, mask)
        for variable in block.trainable_variables:
            if "attention/out" in variable.name or "w_out" in variable.name:
                variable.assign(tf.zeros_like(variable))
        assert_same(block(x, mask)[0], x)
