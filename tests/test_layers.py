"""The Switch layer against two plain formulations of it: a NumPy loop over tokens, and every expert on every token.

A wrong gate, gradient, capacity or initial scale still trains, only worse; so outputs and all gradients are compared,
with tokens dropped and padding in between, and each setting is shown to do what its reason says. Gradients are in
`test_layer_gradients.py`, the block around the layer in `test_encoder.py`.
"""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers.common import dropout
from switch_tf.layers.encoder import EncoderBlock
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.switch_ffn import RouterReport, SwitchFFN

LENGTH, WIDTH = 8, 6
SEED = tf.constant([3, 4])
WEIGHTS = ("router_kernel", "w_in", "b_in", "w_out", "b_out")
Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def settings(**changes: Any) -> ModelConfig:
    """A small layer, without randomness, whose experts hold ceil(0.75 x 8 / 3) = 2 tokens of each example."""
    small = {"d_model": WIDTH, "d_ff": 10, "num_heads": 2, "num_experts": 3}
    plain = {"dropout": 0.0, "expert_dropout": 0.0, "router_jitter": 0.0}
    return ModelConfig(**{**small, **plain, "capacity_factor": 0.75, "eval_capacity_factor": 0.75, **changes})


def switch_layer(config: ModelConfig, length: int = LENGTH, expert_dtype: str = "float32") -> SwitchFFN:
    """A layer whose weights, biases too, are all large enough to matter."""
    layer = ReportingSwitchFFN.from_settings(config, length, expert_dtype, name="switch")
    layer.build([None, length, config.d_model])
    random = np.random.default_rng(0)
    for name in WEIGHTS:
        variable = getattr(layer, name)
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    return layer


def inputs(batch: int = 5, length: int = LENGTH, seed: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
    """Normal tokens; padding in front, between and behind; the last example is nothing but padding."""
    random = np.random.default_rng(seed)
    mask = random.random([batch, length]) < 0.8
    mask[0], mask[-1] = True, False
    return tf.constant(random.normal(size=[batch, length, WIDTH]), tf.float32), tf.constant(mask)


def collapse(layer: SwitchFFN) -> None:
    """Let every token choose expert 0."""
    layer.router_kernel.assign(tf.zeros_like(layer.router_kernel))


# --- the layer's answer and gradients


def by_hand(arrays: Arrays, mask: np.ndarray, capacity: int, config: ModelConfig) -> tuple[np.ndarray, float, float]:
    """y, the load-balancing loss and the z-loss, in float64, one token at a time."""
    x, router = arrays["x"], arrays["router_kernel"]
    y = np.zeros_like(x)
    experts = router.shape[1]
    count, probability, squares = np.zeros(experts), np.zeros(experts), 0.0
    for b in range(x.shape[0]):
        queue = np.zeros(experts, int)
        for i in range(x.shape[1]):
            if not mask[b, i]:
                continue
            logits = x[b, i] @ router
            p = np.exp(logits) / np.exp(logits).sum()
            e = int(np.argmax(logits))
            count[e] += 1
            probability += p
            squares += np.log(np.exp(logits).sum()) ** 2
            queue[e] += 1
            if queue[e] > capacity:
                continue
            hidden = x[b, i] @ arrays["w_in"][e] + arrays["b_in"][e, 0]
            if config.activation == "relu":
                hidden = np.maximum(hidden, 0.0)
            else:
                hidden = np.array([0.5 * h * (1.0 + math.erf(h / math.sqrt(2.0))) for h in hidden])
            y[b, i] = hidden @ arrays["w_out"][e] + arrays["b_out"][e, 0]
            if config.scale_by_gate:
                y[b, i] *= p[e]
    n = mask.sum()
    return y, experts * float(np.sum(count / n * probability / n)), squares / n


def arrays_of(layer: SwitchFFN, x: tf.Tensor) -> Arrays:
    return {"x": np.asarray(x, np.float64)} | {
        name: np.asarray(getattr(layer, name).numpy(), np.float64) for name in WEIGHTS
    }


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "gelu"},
        {"scale_by_gate": False},
        {"dispatch": "einsum"},
        {"drop_tokens": False},
        {"num_experts": 1},
        {"capacity_factor": 0.1, "eval_capacity_factor": 0.1},
        {"capacity_factor": 9.0, "eval_capacity_factor": 9.0},
    ],
)
def test_switch_layer_answers_as_a_loop_over_tokens(changes: dict[str, Any], training: bool) -> None:
    config = settings(**changes)
    layer = switch_layer(config)
    x, mask = inputs()
    y, report = layer(x, mask, training=training)
    capacity = LENGTH if not config.drop_tokens else layer.capacity(LENGTH, training)
    expected, auxiliary, z = by_hand(arrays_of(layer, x), mask.numpy(), capacity, config)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert report.auxiliary_loss.numpy() == pytest.approx(auxiliary, rel=1e-5)
    assert report.z_loss.numpy() == pytest.approx(z, rel=1e-5)

    silent = ~np.any(y.numpy() != 0.0, axis=-1)
    assert silent.sum() == (~mask.numpy()).sum() + report.routing.dropped.numpy()
    if not changes:
        assert report.routing.dropped.numpy() >= 5  # or else the case shows nothing


def loss_of(y: Any, auxiliary: Any, z: Any) -> Any:
    """A scalar in which every output has a weight of its own."""
    weights = np.cos(np.arange(y.shape[0] * y.shape[1] * y.shape[2])).reshape(y.shape)
    return tf.reduce_sum(y * tf.cast(weights, y.dtype)) + 3.0 * auxiliary + 2.0 * z


def layer_gradients(layer: SwitchFFN, x: tf.Tensor, mask: tf.Tensor, training: bool) -> tuple[Arrays, RouterReport]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, report = layer(x, mask, training=training)
        loss = loss_of(y, report.auxiliary_loss, report.z_loss)
    gradients = tape.gradient(loss, [x, *(getattr(layer, name) for name in WEIGHTS)])
    return {name: np.asarray(g) for name, g in zip(["x", *WEIGHTS], gradients, strict=True)}, report


def test_without_the_gate_the_answer_is_the_experts_exactly() -> None:
    x, mask = inputs()
    y, report = switch_layer(settings(num_experts=3))(x, mask)
    ungated, _ = switch_layer(settings(num_experts=3, scale_by_gate=False))(x, mask)
    np.testing.assert_allclose(y, ungated * report.routing.gate, rtol=1e-6)
    assert np.all(report.routing.gate.numpy() < 0.99)


# --- capacity


def test_drop_tokens_false_drops_none() -> None:
    x, _ = inputs()
    everyone = tf.fill(x.shape[:2], True)
    for drop, dropped in ((True, 5 * (LENGTH - 2)), (False, 0)):
        layer = switch_layer(settings(drop_tokens=drop))
        collapse(layer)
        for training in (False, True):
            assert layer(x, everyone, training=training)[1].routing.dropped == dropped


def test_training_and_evaluation_have_a_capacity_each() -> None:
    layer = switch_layer(settings(capacity_factor=0.75, eval_capacity_factor=1.5))
    collapse(layer)
    x, _ = inputs()
    everyone = tf.fill(x.shape[:2], True)
    assert (layer.capacity(LENGTH, training=True), layer.capacity(LENGTH, training=False)) == (2, 4)
    assert layer(x, everyone, training=True)[1].routing.dropped == 5 * (LENGTH - 2)
    assert layer(x, everyone, training=False)[1].routing.dropped == 5 * (LENGTH - 4)
    assert layer(x, everyone)[1].routing.dropped == 5 * (LENGTH - 4)


def test_min_capacity_holds() -> None:
    assert switch_layer(settings(min_capacity=3)).capacity(LENGTH, training=True) == 3
    assert switch_layer(settings(min_capacity=99)).capacity(LENGTH, training=True) == LENGTH


@pytest.mark.parametrize("configured", [8, 12, 16])
def test_capacity_comes_from_the_configured_length(configured: int) -> None:
    """So that a text gets the same answer when a batch is cut to its longest text."""
    layer = switch_layer(settings(eval_capacity_factor=1.0), length=configured)
    collapse(layer)
    x, _ = inputs()
    capacity = -(-configured // 3)
    assert layer(x, tf.fill(x.shape[:2], True))[1].routing.dropped == 5 * (LENGTH - capacity)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_a_sequence_shorter_than_the_capacity_is_served_whole(length: int) -> None:
    layer = switch_layer(settings(drop_tokens=False))
    x, _ = inputs(length=length)
    y, report = layer(x, tf.fill(x.shape[:2], True))
    assert y.shape == x.shape
    assert report.routing.dropped == 0


# --- randomness


def test_jitter_is_for_the_router_and_for_training_alone() -> None:
    layer = switch_layer(settings(d_model=WIDTH, num_experts=WIDTH, router_jitter=0.1, drop_tokens=False))
    layer.router_kernel.assign(tf.eye(WIDTH))  # so that the logits are the router's input
    x, mask = inputs()
    for seed in (None, SEED):
        assert_same(layer(x, mask, training=False, seed=seed)[1].logits, x)
    ratio = layer(x, mask, training=True, seed=SEED)[1].logits.numpy() / x.numpy()
    assert 0.9 - 1e-6 <= ratio.min() < 0.91
    assert 1.09 < ratio.max() <= 1.1 + 1e-6
    assert len(np.unique(ratio.round(4))) > 100  # drawn for each number


def test_jitter_does_not_reach_the_experts() -> None:
    x, mask = inputs()
    layer = switch_layer(settings(num_experts=1, drop_tokens=False, router_jitter=0.5))
    assert_same(layer(x, mask, training=True, seed=SEED)[0], layer(x, mask)[0])


def constant_answers(**changes: Any) -> SwitchFFN:
    """A layer in which every hidden unit is 1 and is an output, with a gate of 1."""
    layer = switch_layer(settings(d_ff=WIDTH, num_experts=1, drop_tokens=False, **changes))
    for variable, value in ((layer.w_in, 0.0), (layer.b_in, 1.0), (layer.b_out, 0.0)):
        variable.assign(tf.fill(variable.shape, value))
    layer.w_out.assign(tf.eye(WIDTH)[tf.newaxis])
    return layer


def test_expert_dropout_drops_its_share_of_hidden_units_and_scales_the_rest() -> None:
    layer = constant_answers(expert_dropout=0.25, dropout=0.9)  # the other rate is not the experts'
    x, mask = tf.zeros([100, LENGTH, WIDTH]), tf.fill([100, LENGTH], True)
    y = layer(x, mask, training=True, seed=SEED)[0].numpy()
    np.testing.assert_allclose(np.unique(y), [0.0, 4 / 3], rtol=1e-6)
    assert np.mean(y == 0.0) == pytest.approx(0.25, abs=0.02)  # 3 sigma of 4,800 draws
    assert np.all(layer(x, mask, training=False, seed=SEED)[0] == 1.0)


def test_without_dropout_training_answers_as_evaluation_does() -> None:
    layer = switch_layer(settings())
    x, mask = inputs()
    assert_same(layer(x, mask, training=True)[0], layer(x, mask)[0])


def test_the_same_seed_draws_the_same_and_another_draws_another() -> None:
    config = settings(dropout=0.3, expert_dropout=0.3, router_jitter=0.3)
    block = EncoderBlock(config, LENGTH, use_switch=True)
    x, mask = inputs()
    draws = [block(x, mask, training=True, seed=tf.constant(seed))[0] for seed in ([1, 2], [1, 2], [1, 3], [2, 2])]
    assert_same(draws[0], draws[1])
    for i in range(1, 4):
        for j in range(i):
            if (j, i) != (0, 1):
                assert np.mean(draws[i] == draws[j]) < 0.5  # some units are dropped, or not, in both


def test_compiled_draws_are_the_same_on_every_call() -> None:
    layer = switch_layer(settings(expert_dropout=0.3, router_jitter=0.3))
    x, mask = inputs()
    step = tf.function(lambda *arguments: layer(*arguments[:2], training=True, seed=arguments[2])[0], jit_compile=True)
    assert_same(step(x, mask, SEED), step(x, mask, SEED))
    assert np.mean((step(x, mask, SEED) == step(x, mask, tf.constant([3, 5])))[mask]) < 0.5


def test_places_that_share_a_seed_draw_apart() -> None:
    ones = tf.ones([4000])
    draws = np.stack([dropout(ones, 0.5, True, SEED, place) for place in range(4)]) > 0.0
    agreement = [np.mean(draws[i] == draws[j]) for i in range(4) for j in range(i)]
    np.testing.assert_allclose(agreement, 0.5, atol=0.04)


def test_dropout_keeps_the_mean_and_can_be_off() -> None:
    ones = tf.ones([20_000])
    assert np.mean(dropout(ones, 0.4, True, SEED, 1)) == pytest.approx(1.0, abs=0.03)
    for rate, training in ((0.4, False), (0.0, True)):
        assert_same(dropout(ones, rate, training, None, 1), ones)


@pytest.mark.parametrize("changes", [{"router_jitter": 0.1}, {"expert_dropout": 0.1}])
def test_training_without_a_seed_is_refused(changes: dict[str, Any]) -> None:
    x, mask = inputs()
    with pytest.raises(ValueError, match="A seed, int32 \\[2\\], is needed when training=True"):
        switch_layer(settings(**changes))(x, mask, training=True)


# --- initial weights


def test_initial_weights_have_the_papers_scale() -> None:
    """Standard deviation sqrt(s / fan_in), where the fan-in of one expert does not count the others."""
    config = settings(d_model=48, d_ff=96, num_experts=48, initializer_scale=0.4)
    layer = ReportingSwitchFFN.from_settings(config, LENGTH)
    layer.build([None, LENGTH, 48])
    for name, fan_in in (("router_kernel", 48), ("w_in", 48), ("w_out", 96)):
        assert_scaled(getattr(layer, name).numpy(), math.sqrt(0.4 / fan_in))
    assert not layer.b_in.numpy().any()
    assert not layer.b_out.numpy().any()
    experts = layer.w_in.numpy().reshape([48, -1])
    assert np.abs(np.corrcoef(experts) - np.eye(48)).max() < 0.1  # experts start apart


def assert_scaled(weight: np.ndarray, deviation: float) -> None:
    four_sigma = 4.0 / math.sqrt(2.0 * weight.size)
    assert weight.std() == pytest.approx(deviation, rel=four_sigma)
    assert abs(weight.mean()) < 4.0 * deviation / math.sqrt(weight.size)
    cut = 2.0 * deviation / 0.8796  # of a normal that is cut at two of its own deviations, 0.8796 remain
    assert 0.97 * cut < np.abs(weight).max() <= 1.001 * cut


# --- bfloat16


def test_bfloat16_experts_keep_the_router_and_all_weights_in_float32() -> None:
    layer, half = switch_layer(settings()), switch_layer(settings(), expert_dtype="bfloat16")
    x, mask = inputs()
    assert {variable.dtype for variable in half.weights} == {tf.float32}
    (y, report), (rounded, half_report) = layer(x, mask), half(x, mask)
    for received, expected in zip(tf.nest.flatten(half_report), tf.nest.flatten(report), strict=True):
        assert received.dtype == expected.dtype
        assert_same(received, expected)
    assert rounded.dtype == tf.float32
    assert 0.0 < np.abs(rounded - y).max() < 0.05
    gradients, _ = layer_gradients(half, x, mask, training=True)
    assert {gradient.dtype for gradient in gradients.values()} == {np.dtype("float32")}


# --- attention


# --- the dense twin, the activation, the block


def assert_same(received: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.asarray(received), np.asarray(expected))
