"""Gradients of the Switch layer, beside a sum over all experts and finite differences."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from test_layers import LENGTH, arrays_of, by_hand, inputs, layer_gradients, loss_of, settings, switch_layer

from switch_tf.config import ModelConfig


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def every_expert_on_every_token(
    tensors: dict[str, tf.Tensor], served: np.ndarray, mask: np.ndarray, config: ModelConfig
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The same in float64 by masking: `served` [batch, length, experts] is 1 where a token has a slot, a constant."""
    x = tensors["x"]
    logits = tf.einsum("bld,de->ble", x, tensors["router_kernel"])
    p = tf.exp(logits) / tf.reduce_sum(tf.exp(logits), axis=-1, keepdims=True)
    hidden = tf.einsum("bld,edf->blef", x, tensors["w_in"]) + tensors["b_in"][:, 0]
    hidden = tf.nn.relu(hidden) if config.activation == "relu" else tf.nn.gelu(hidden, approximate=False)
    out = tf.einsum("blef,efd->bled", hidden, tensors["w_out"]) + tensors["b_out"][:, 0]
    scale = p if config.scale_by_gate else p / tf.stop_gradient(p)
    y = tf.reduce_sum(out * (scale * served)[..., tf.newaxis], axis=2)

    real = mask[..., np.newaxis].astype(np.float64)
    chosen = real * np.eye(logits.shape[-1])[np.argmax(logits, axis=-1)]
    share, mean = chosen.sum(axis=(0, 1)) / real.sum(), tf.reduce_sum(p * real, axis=[0, 1]) / real.sum()
    z = tf.reduce_sum(tf.math.log(tf.reduce_sum(tf.exp(logits), axis=-1)) ** 2 * real[..., 0]) / real.sum()
    return y, logits.shape[-1] * tf.reduce_sum(share * mean), z


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("changes", [{}, {"activation": "gelu"}, {"scale_by_gate": False}, {"drop_tokens": False}])
def test_every_gradient_is_that_of_the_masked_sum_over_experts(changes: dict[str, Any], training: bool) -> None:
    config = settings(**changes)
    layer = switch_layer(config)
    x, mask = inputs()
    received, report = layer_gradients(layer, x, mask, training)

    kept = report.routing.kept.numpy()
    served = kept * np.eye(config.num_experts)[report.routing.expert.numpy()[..., 0]]
    tensors = {name: tf.constant(array) for name, array in arrays_of(layer, x).items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = loss_of(*every_expert_on_every_token(tensors, served, mask.numpy(), config))
    for name, expected in tape.gradient(loss, tensors).items():
        assert np.any(expected), name
        np.testing.assert_allclose(received[name], expected, rtol=1e-4, atol=2e-5, err_msg=name)


def test_gradients_agree_with_finite_differences_of_the_loop() -> None:
    config = settings(activation="gelu")
    layer = switch_layer(config)
    x, mask = inputs()
    received, report = layer_gradients(layer, x, mask, training=True)
    assert report.routing.dropped > 0
    arrays, capacity = arrays_of(layer, x), layer.capacity(LENGTH, training=True)
    random, step = np.random.default_rng(2), 1e-5
    for name, array in arrays.items():
        for _ in range(6):
            place = tuple(random.integers(array.shape))
            sides = []
            for side in (step, -step):
                moved = array.copy()
                moved[place] += side
                sides.append(float(loss_of(*by_hand(arrays | {name: moved}, mask.numpy(), capacity, config))))
            expected = (sides[0] - sides[1]) / (2 * step)
            assert received[name][place] == pytest.approx(expected, rel=1e-3, abs=1e-4), (name, place)


def test_router_learns_through_the_gate() -> None:
    layer = switch_layer(settings())
    x, mask = inputs()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, mask, training=True)[0])  # neither of the router's own losses
    assert np.abs(tape.gradient(loss, layer.router_kernel)).max() > 1e-2


def test_padding_gets_no_gradient() -> None:
    layer = switch_layer(settings())
    x, mask = inputs()
    gradients, _ = layer_gradients(layer, x, mask, training=True)
    assert not gradients["x"][~mask.numpy()].any()
    assert gradients["x"][mask.numpy()].any(axis=-1).all()  # even a dropped token pays for its router logits


def test_a_batch_of_padding_alone_answers_zeros_with_finite_gradients() -> None:
    layer = switch_layer(settings())
    x, mask = inputs()
    gradients, report = layer_gradients(layer, x, tf.zeros_like(mask), training=True)
    assert not any(gradient.any() for gradient in gradients.values())
    assert report.auxiliary_loss == report.z_loss == 0.0
    assert not layer(x, tf.zeros_like(mask))[0].numpy().any()
