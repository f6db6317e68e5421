"""The block that knows a text by its mean, against the formula in NumPy, and what padding must not change."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers.mean_context import MeanContextBlock

WIDTH, LENGTH = 4, 5


def block(num_experts: int = 0) -> MeanContextBlock:
    keras.utils.set_random_seed(0)
    config = ModelConfig(d_model=WIDTH, d_ff=6, num_experts=num_experts, capacity_factor=4.0, eval_capacity_factor=4.0)
    made = MeanContextBlock(config, LENGTH, use_switch=num_experts > 0)
    made(tf.zeros([1, LENGTH, WIDTH]), tf.ones([1, LENGTH], tf.bool))
    random = np.random.default_rng(0)
    for variable in made.trainable_variables:
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    return made


def texts() -> tuple[np.ndarray, np.ndarray]:
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    return np.random.default_rng(1).normal(size=[3, LENGTH, WIDTH]).astype(np.float32), mask


def test_formula() -> None:
    made, (x, mask) = block(), texts()
    names = {variable.name.split("/", 1)[1]: variable.numpy() for variable in made.trainable_variables}
    received, report = made(tf.constant(x), tf.constant(mask))
    assert report is None
    for text, real, answer in zip(x[:2], mask[:2], received.numpy(), strict=False):
        u = text + text[real].mean(axis=0) @ names["context/kernel:0"]
        normed = (u - u.mean(axis=1, keepdims=True)) / np.sqrt(u.var(axis=1, keepdims=True) + 1e-6)
        normed = normed * names["feed_forward_norm/gamma:0"] + names["feed_forward_norm/beta:0"]
        hidden = np.maximum(normed @ names["dense_ffn/w_in/kernel:0"] + names["dense_ffn/w_in/bias:0"], 0)
        expected = text + hidden @ names["dense_ffn/w_out/kernel:0"] + names["dense_ffn/w_out/bias:0"]
        np.testing.assert_allclose(answer[real], expected[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_experts", [0, 2])
def test_padding_and_other_texts_change_nothing(num_experts: int) -> None:
    made, (x, mask) = block(num_experts), texts()
    together = made(tf.constant(x), tf.constant(mask))[0].numpy()
    other = np.where(mask[..., np.newaxis], x, 1e3)  # what stands at padding
    np.testing.assert_array_equal(made(tf.constant(other), tf.constant(mask))[0].numpy()[mask], together[mask])
    alone = made(tf.constant(x[:1]), tf.constant(mask[:1]))[0].numpy()
    np.testing.assert_allclose(alone[0][mask[0]], together[0][mask[0]], atol=1e-6)
    assert np.isfinite(together).all()  # the text without words too


def test_a_token_knows_its_text() -> None:
    made, (x, mask) = block(), texts()
    before = made(tf.constant(x), tf.constant(mask))[0].numpy()
    x[1, 4] += 1.0
    after = made(tf.constant(x), tf.constant(mask))[0].numpy()
    assert np.abs(after[1, 0] - before[1, 0]).max() > 1e-3
    np.testing.assert_array_equal(after[0], before[0])


def test_experts_report() -> None:
    made, (x, mask) = block(2), texts()
    report = made(tf.constant(x), tf.constant(mask))[1]
    assert report is not None
    assert report.logits.shape == [3, LENGTH, 2]
    assert float(tf.reduce_sum(report.routing.tokens_per_expert)) == 8.0
