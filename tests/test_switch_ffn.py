"""SwitchFFN as a layer of any tf-keras model: masked, of any length, refused. `test_layers.py` has its maths.

The layer of most tests is one that can be worked out by hand: two experts that multiply by 10 and by 100, and a router
that gives each token's better expert a probability of 3/4.
"""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.errors import ArgumentError
from switch_tf.layers import SwitchFFN
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.token_routes import Words

LENGTH, WIDTH = 8, 6
WEIGHTS = ("router_kernel", "w_in", "b_in", "w_out", "b_out")
NAMES = ["router:0", *(f"{name}:0" for name in WEIGHTS[1:])]


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def by_hand(**changes: Any) -> SwitchFFN:
    """Two tokens of four find room in each expert: capacity_factor is 1."""
    layer = SwitchFFN(2, 2, **{"capacity_factor": 1.0, **changes})
    layer.build([None, None, 2])
    layer.router_kernel.assign(math.log(3.0) * np.eye(2))
    layer.w_in.assign([np.eye(2)] * 2)
    layer.w_out.assign([10.0 * np.eye(2), 100.0 * np.eye(2)])
    return layer


# Three tokens for expert 0 and one for expert 1.
TOKENS = tf.constant([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])


def small(**changes: Any) -> SwitchFFN:
    """A layer that drops tokens: ceil(0.75 x 8 / 3) = 2 of each example find room in an expert."""
    return SwitchFFN(**{"num_experts": 3, "d_ff": 10, "capacity_factor": 0.75, "initializer_scale": 1.0, **changes})


def inputs(batch: int = 5, length: int = LENGTH, seed: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
    """Normal tokens; padding anywhere; the first example is full and the last is nothing but padding."""
    random = np.random.default_rng(seed)
    mask = random.random([batch, length]) < 0.8
    mask[0], mask[-1] = True, False
    return tf.constant(random.normal(size=[batch, length, WIDTH]), tf.float32), tf.constant(mask)


def texts(count: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids of texts that end in padding, and whether id 7 stands in them."""
    random = np.random.default_rng(seed)
    ids = random.integers(1, 20, [count, LENGTH])
    ids[:, 3] = np.where(np.arange(count) % 2, 7, 8)
    ids[np.arange(LENGTH) >= random.integers(4, LENGTH + 1, count)[:, None]] = 0
    return ids.astype(np.int32), (ids == 7).any(axis=1).astype(np.float32)


class TestAnswers:
    def test_tokens_beyond_the_capacity_are_answered_with_zeros(self) -> None:
        y = by_hand()(TOKENS).numpy()
        np.testing.assert_allclose(y, [[[7.5, 0.0], [7.5, 0.0], [0.0, 75.0], [0.0, 0.0]]], rtol=1e-6)

    def test_padding_takes_no_room(self) -> None:
        y = by_hand()(TOKENS, mask=tf.constant([[False, True, True, True]])).numpy()
        np.testing.assert_allclose(y, [[[0.0, 0.0], [7.5, 0.0], [0.0, 75.0], [7.5, 0.0]]], rtol=1e-6)

    def test_a_mask_of_numbers_is_a_mask(self) -> None:
        y = by_hand()(TOKENS, mask=tf.constant([[0, 1, 1, 1]])).numpy()
        np.testing.assert_allclose(y[0, :, 0], [0.0, 7.5, 0.0, 7.5], rtol=1e-6)

    @pytest.mark.parametrize(
        ("changes", "training", "kept"),
        [
            ({}, True, [1, 1, 1, 0]),
            ({"capacity_factor": 0.5}, True, [1, 0, 1, 0]),
            ({"capacity_factor": 0.5}, False, [1, 0, 1, 0]),
            ({"capacity_factor": 0.5, "eval_capacity_factor": 1.5}, True, [1, 0, 1, 0]),
            ({"capacity_factor": 0.5, "eval_capacity_factor": 1.5}, False, [1, 1, 1, 1]),
            ({"capacity_factor": 0.5, "min_capacity": 2}, True, [1, 1, 1, 0]),
            ({"capacity_factor": 0.5, "drop_tokens": False}, True, [1, 1, 1, 1]),
            ({"capacity_factor": 0.5, "sequence_length": 8}, True, [1, 1, 1, 0]),
            ({"capacity_factor": 0.5, "sequence_length": 12}, False, [1, 1, 1, 1]),
            ({"dispatch": "einsum"}, False, [1, 1, 1, 0]),
        ],
    )
    def test_capacity_is_counted_as_its_arguments_say(
        self, changes: dict[str, Any], training: bool, kept: list[int]
    ) -> None:
        y = by_hand(**changes)(TOKENS, training=training).numpy()
        np.testing.assert_allclose(y.sum(axis=-1)[0], np.multiply(kept, [7.5, 7.5, 75.0, 7.5]), rtol=1e-6)

    def test_without_the_gate_experts_answer_alone(self) -> None:
        y = by_hand(scale_by_gate=False)(TOKENS).numpy()
        assert y.tolist() == [[[10.0, 0.0], [10.0, 0.0], [0.0, 100.0], [0.0, 0.0]]]

    @pytest.mark.parametrize(("by_gate", "factor"), [(True, 0.75), (False, 1.0)])
    def test_the_router_learns_with_the_gate_and_without_it(self, by_gate: bool, factor: float) -> None:
        """Of y = p E the logits' gradient is p (1 - p) E, of p / stop_gradient(p) E it is (1 - p) E; p is 0.75."""
        layer = by_hand(scale_by_gate=by_gate)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(TOKENS, training=True))
        expected = [[2 * 10 * 0.25, -2 * 10 * 0.25], [-100 * 0.25, 100 * 0.25]]  # the fourth token is dropped
        np.testing.assert_allclose(tape.gradient(total, layer.router_kernel), np.multiply(factor, expected), rtol=1e-5)

    def test_a_router_of_words_sees_their_normed_vectors_and_leaves_out_what_was_left_out(self) -> None:
        layer = by_hand(router="token")
        vectors, known = 7.0 * TOKENS + 3.0, tf.constant([[True, False, True, True]])
        y, report = layer.route(TOKENS, tf.ones([1, 4], tf.bool), words=Words(vectors, known))
        near = math.log(3.0) * 3.5 / math.sqrt(3.5**2 + 1e-4)  # 10 and 3 less their mean, over their deviation
        assert report.logits is not None
        np.testing.assert_allclose(report.logits.numpy()[0, 2], [-near, near], rtol=1e-5)
        assert report.routing.tokens_per_expert.numpy().tolist() == [2, 1]
        assert y.numpy()[0, 1].tolist() == [0.0, 0.0] and y.numpy()[0, 3, 0] > 0.0  # the fourth took its slot

    def test_negative_hidden_units_go_through_the_activation_asked_for(self) -> None:
        assert not by_hand()(-TOKENS).numpy().any()
        y = by_hand(activation="gelu")(-TOKENS[:, :1]).numpy()[0, 0, 0]  # the token prefers expert 1: 0 > -ln 3
        assert y == pytest.approx(-0.75 * 100.0 * 0.5 * (1.0 + math.erf(-1.0 / math.sqrt(2.0))), rel=1e-5)

    def test_an_example_is_answered_alone_as_in_a_batch_to_the_last_bit(self) -> None:
        """Eighths and small weights: every sum is exact in whatever order a kernel takes it."""
        random = np.random.default_rng(0)
        layer = small(scale_by_gate=False)
        layer.build([None, LENGTH, WIDTH])
        for name in WEIGHTS:
            variable = getattr(layer, name)
            variable.assign(random.integers(-8, 9, variable.shape) / 8.0)
        x = tf.constant(random.integers(-8, 9, [64, LENGTH, WIDTH]) / 8.0, tf.float32)
        mask = tf.constant(random.random([64, LENGTH]) < 0.8)
        together, report = layer.route(x, mask)
        assert report.routing.dropped.numpy() > 64
        for row in range(64):
            assert np.array_equal(layer(x[row : row + 1], mask=mask[row : row + 1])[0], together[row])
        assert np.array_equal(layer(x[::-1], mask=mask[::-1])[::-1], together)

    def test_route_returns_what_the_router_did(self) -> None:
        y, report = by_hand().route(TOKENS, tf.fill([1, 4], True))
        assert report.routing.expert.numpy()[..., 0].tolist() == [[0, 0, 1, 0]]
        assert report.routing.kept.numpy()[..., 0].tolist() == [[True, True, True, False]]
        assert report.routing.tokens_per_expert.numpy().tolist() == [3.0, 1.0]
        np.testing.assert_array_equal(y, by_hand()(TOKENS))


class TestLosses:
    # f = 3/4, 1/4;  P = (3 x 3/4 + 1/4) / 4, (3 x 1/4 + 3/4) / 4 = 5/8, 3/8;  2 (3/4 x 5/8 + 1/4 x 3/8) = 9/8
    # logsumexp = ln(3 + 1) at every token
    AUXILIARY, Z = 1.125, math.log(4.0) ** 2

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, [0.01125]),  # the weight is the paper's 0.01
            ({"auxiliary_loss_weight": 0.5, "z_loss_weight": 0.1}, [0.5625, 0.1 * Z]),
            ({"auxiliary_loss_weight": 0.0, "z_loss_weight": 0.1}, [0.1 * Z]),
            ({"auxiliary_loss_weight": 0.0}, []),
        ],
    )
    def test_each_with_a_weight_is_added_in_training_alone(
        self, changes: dict[str, Any], expected: list[float]
    ) -> None:
        layer = by_hand(**changes)
        layer(TOKENS, training=True)
        np.testing.assert_allclose(layer.losses, expected, rtol=1e-6)
        layer(TOKENS, training=True)
        assert len(layer.losses) == len(expected)  # of the last step alone
        layer(TOKENS)
        assert layer.losses == []

    def test_they_are_the_reports_own(self) -> None:
        layer = small(auxiliary_loss_weight=0.25, z_loss_weight=0.5)
        x, mask = inputs()
        layer(x, mask=mask, training=True)
        _, report = layer.route(x, mask, training=True)
        expected = [0.25 * report.auxiliary_loss.numpy(), 0.5 * report.z_loss.numpy()]
        np.testing.assert_array_equal(layer.losses, expected)

    def test_they_are_part_of_what_fit_minimizes_and_not_of_what_evaluate_reports(self) -> None:
        model = keras.Sequential([keras.Input([4, 2]), by_hand(auxiliary_loss_weight=0.5, z_loss_weight=0.1)])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        target = np.array([[[7.5, 0.0], [7.5, 0.0], [0.0, 75.0], [0.0, 4.0]]])
        assert model.evaluate(TOKENS, target, verbose=0) == pytest.approx(16.0 / 8.0, rel=1e-6)
        assert model.fit(TOKENS, target, verbose=0).history["loss"] == pytest.approx(
            [2.0 + 0.5 * 1.125 + 0.1 * self.Z], rel=1e-6
        )

    def test_they_balance_a_router_in_fit(self) -> None:
        """With targets that anything fits, the experts' shares of probability go from 5/8 and 3/8 towards equal."""
        layer = by_hand(auxiliary_loss_weight=1.0)
        model = keras.Sequential([keras.Input([4, 2]), layer, keras.layers.Lambda(lambda y: 0.0 * y)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(TOKENS, np.zeros([1, 4, 2]), epochs=10, verbose=0)
        _, report = layer.route(TOKENS, tf.fill([1, 4], True))
        assert report.routing.mean_probability.numpy()[0] < 0.59


class TestUnknownLength:
    def test_it_is_refused_without_a_sequence_length_with_the_words_to_write(self) -> None:
        x = keras.Input([None, WIDTH])
        for drop in (True, False):
            with pytest.raises(ArgumentError, match=r"unknown length.*give the layer sequence_length="):
                small(drop_tokens=drop)(x)

    @pytest.mark.parametrize("changes", [{}, {"dispatch": "einsum"}, {"drop_tokens": False}])
    @pytest.mark.parametrize("length", [1, 5, 8])
    def test_it_is_answered_as_a_known_one_with_a_sequence_length(self, length: int, changes: dict[str, Any]) -> None:
        layer = small(sequence_length=LENGTH, **changes)
        x, mask = inputs(length=length)
        expected = layer(x, mask=mask, training=True)
        losses = layer.losses
        any_length = tf.function(
            lambda x, mask: (layer(x, mask=mask, training=True), layer.losses),
            [tf.TensorSpec([None, None, WIDTH]), tf.TensorSpec([None, None], tf.bool)],
        )
        y, received = any_length(x, mask)
        assert y.shape == x.shape
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(received, losses, rtol=1e-6)

    @pytest.mark.slow
    def test_models_of_any_length_train_and_are_saved(self, tmp_path: Path) -> None:
        ids = keras.Input([None], dtype="int32")
        x = keras.layers.Embedding(20, WIDTH, mask_zero=True)(ids)
        x = keras.layers.GlobalAveragePooling1D()(small(sequence_length=LENGTH)(x))
        model = keras.Model(ids, keras.layers.Dense(1)(x))
        assert model.layers[2].output_shape == (None, None, WIDTH)
        model.compile("sgd", "mse")
        for length in (8, 5):
            model.fit(texts()[0][:, :length], np.zeros([64, 1]), verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        for length in (1, 8):
            few = texts()[0][:, :length]
            np.testing.assert_array_equal(again.predict(few, verbose=0), model.predict(few, verbose=0))
        with pytest.raises(tf.errors.InvalidArgumentError, match="longer than sequence_length=8; cut it"):
            model.predict(np.ones([2, 9], np.int32), verbose=0)

    def test_a_known_length_over_the_sequence_length_is_refused(self) -> None:
        with pytest.raises(ArgumentError, match=r"an input of length 9\. Expected at most sequence_length=8: cut"):
            small(sequence_length=8)(tf.zeros([1, 9, WIDTH]))


class TestRandomness:
    NOISE: ClassVar[dict[str, Any]] = {"router_jitter": 0.3, "expert_dropout": 0.3}

    def draws(self, layer: SwitchFFN, count: int = 3) -> list[np.ndarray]:
        x, mask = inputs()
        return [layer(x, mask=mask, training=True).numpy() for _ in range(count)]

    def built(self, **changes: Any) -> SwitchFFN:
        keras.utils.set_random_seed(0)
        layer = small(**self.NOISE, **changes)
        layer.build([None, LENGTH, WIDTH])
        return layer

    def test_every_step_draws_anew_and_the_same_seed_the_same(self) -> None:
        first, again, other = (self.draws(self.built(seed=seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        different = [*first, *other]
        for i in range(6):
            for j in range(i):
                assert np.any(different[i] != different[j])

    def test_without_a_seed_that_of_the_program_decides(self) -> None:
        np.testing.assert_array_equal(self.draws(self.built()), self.draws(self.built()))
        keras.utils.set_random_seed(1)
        layer = small(**self.NOISE)
        layer.build([None, LENGTH, WIDTH])
        assert np.asarray(layer.next_seed)[0] != np.asarray(self.built().next_seed)[0]

    def test_the_state_is_a_weight_that_counts_steps(self) -> None:
        layer = self.built(seed=3)
        assert np.asarray(layer.next_seed).tolist() == [3, 0]
        self.draws(layer, 2)
        assert np.asarray(layer.next_seed).tolist() == [3, 2]
        layer(inputs()[0])
        assert np.asarray(layer.next_seed).tolist() == [3, 2]  # no draw outside training
        assert [weight.name for weight in layer.non_trainable_weights] == ["next_seed:0"]

    def test_a_given_seed_takes_the_place_of_the_state(self) -> None:
        layer, (x, mask) = self.built(seed=3), inputs()
        once, twice = (layer(x, mask=mask, training=True, seed=tf.constant([3, 1])).numpy() for _ in range(2))
        np.testing.assert_array_equal(once, twice)
        assert np.asarray(layer.next_seed).tolist() == [3, 0]
        np.testing.assert_array_equal(self.draws(layer, 1)[0], once)  # the first step's is [3, 1]

    def test_a_layer_without_noise_has_no_state(self) -> None:
        layer = small()
        layer(inputs()[0], training=True)
        assert [weight.name.split("/")[-1] for weight in layer.weights] == NAMES

    def test_jitter_multiplies_the_routers_input_by_about_one(self) -> None:
        layer = SwitchFFN(4, 2, router_jitter=0.1, seed=0)
        layer.build([None, 8, 4])
        layer.router_kernel.assign(np.eye(4))  # so that logits are what the router sees
        x, everything, seed = 3.0 * tf.ones([64, 8, 4]), tf.ones([64, 8], tf.bool), tf.constant([0, 1])
        seen, unchanged = (
            np.asarray(layer.route(x, everything, **how)[1].logits) / 3.0
            for how in ({"training": True, "seed": seed}, {})
        )
        assert 0.9 <= seen.min() < 0.901 and 1.099 < seen.max() <= 1.1
        assert seen.mean() == pytest.approx(1.0, abs=0.005)
        assert (unchanged == 1.0).all()

    def test_outside_training_there_is_no_noise(self) -> None:
        layer, (x, mask) = self.built(), inputs()
        np.testing.assert_array_equal(layer(x, mask=mask), layer(x, mask=mask))

    def test_the_classifiers_layer_keeps_none_and_asks_for_a_seed(self) -> None:
        layer = ReportingSwitchFFN(3, 10, **self.NOISE)
        x, mask = inputs()
        layer(x, mask)
        assert len(layer.weights) == 5
        with pytest.raises(ValueError, match="A seed, int32 \\[2\\], is needed when training=True"):
            layer(x, mask, training=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("num_experts", 0, "an integer of at least 1"),
            ("num_experts", 2.0, "an integer of at least 1"),
            ("num_experts", True, "an integer of at least 1"),
            ("d_ff", 0, "an integer of at least 1"),
            ("capacity_factor", 0.0, "a finite number above 0"),
            ("capacity_factor", -1, "a finite number above 0"),
            ("capacity_factor", math.nan, "a finite number above 0"),
            ("capacity_factor", math.inf, "a finite number above 0"),
            ("capacity_factor", "1", "a finite number above 0"),
            ("eval_capacity_factor", 0, "a finite number above 0, or None"),
            ("min_capacity", 0, "an integer of at least 1"),
            ("drop_tokens", 1, "True or False"),
            ("dispatch", "scatter", "'gather' or 'einsum'"),
            ("scale_by_gate", None, "True or False"),
            ("auxiliary_loss_weight", -0.1, "a finite number of at least 0"),
            ("z_loss_weight", math.inf, "a finite number of at least 0"),
            ("router_jitter", 1.0, "a number from 0 and below 1"),
            ("expert_dropout", -0.1, "a number from 0 and below 1"),
            ("activation", "swish", "'relu' or 'gelu'"),
            ("initializer_scale", 0.0, "a finite number above 0"),
            ("sequence_length", 0, "an integer of at least 1, or None"),
            ("seed", -1, r"an integer from 0 and below 2**31, or None"),
            ("seed", 2**31, r"an integer from 0 and below 2**31, or None"),
        ],
    )
    def test_an_argument_out_of_range(self, name: str, value: Any, expected: str) -> None:
        with pytest.raises(ArgumentError) as caught:
            small(**{name: value})
        assert str(caught.value) == f"Received {name}={value!r}. Expected {expected}: change {name}."
        assert caught.value.argument == name
        assert isinstance(caught.value, ValueError)

    def test_the_ends_of_the_ranges_are_taken(self) -> None:
        SwitchFFN(1, 1, capacity_factor=1e-9, min_capacity=1, auxiliary_loss_weight=0, seed=2**31 - 1)
        SwitchFFN(1, 1, capacity_factor=2, router_jitter=0.999, expert_dropout=0, sequence_length=1, seed=0)

    @pytest.mark.parametrize("shape", [[4, WIDTH], [2, 3, 4, WIDTH], [2, 4, None], None])
    def test_an_input_that_is_not_of_rank_3(self, shape: list[int | None] | None) -> None:
        words = r"Received an input of shape .*Expected \[batch, length, d_model\] of a known d_model: put the layer"
        with pytest.raises(ArgumentError, match=words):
            small().build(shape)

    def test_ids_that_were_not_embedded(self) -> None:
        with pytest.raises(ArgumentError, match=r"Received an input of shape \(2, 8\)\. .* behind an Embedding"):
            small()(tf.zeros([2, 8], tf.int32))

    def test_another_width_than_it_was_built_for(self) -> None:
        layer = small()
        layer(tf.zeros([1, LENGTH, WIDTH]))
        with pytest.raises(ValueError, match="expected axis -1"):
            layer(tf.zeros([1, LENGTH, WIDTH + 1]))


def test_the_classifiers_layer_takes_every_argument_from_the_settings() -> None:
    settings = ModelConfig(
        num_experts=3,
        d_ff=10,
        capacity_factor=0.5,
        eval_capacity_factor=2.0,
        min_capacity=2,
        router="top2",
        priority="gate",
        normalize_gates=False,
        balance_rate=0.0625,
        drop_tokens=False,
        dispatch="einsum",
        scale_by_gate=False,
        auxiliary_loss_weight=0.5,
        z_loss_weight=0.25,
        router_jitter=0.125,
        expert_dropout=0.375,
        activation="gelu",
        initializer_scale=0.75,
    )
    config = ReportingSwitchFFN.from_settings(settings, 12, "bfloat16", name="switch_ffn").get_config()
    assert config == {
        "name": "switch_ffn",
        "trainable": True,
        "dtype": small(dtype="mixed_bfloat16").get_config()["dtype"],
        "num_experts": 3,
        "d_ff": 10,
        "router": "top2",
        "priority": "gate",
        "normalize_gates": False,
        "capacity_factor": 0.5,
        "eval_capacity_factor": 2.0,
        "min_capacity": 2,
        "drop_tokens": False,
        "dispatch": "einsum",
        "scale_by_gate": False,
        "auxiliary_loss_weight": 0.5,
        "z_loss_weight": 0.25,
        "balance_rate": 0.0625,
        "router_jitter": 0.125,
        "expert_dropout": 0.375,
        "activation": "gelu",
        "initializer_scale": 0.75,
        "expert_map": None,
        "sequence_length": 12,
        "seed": None,
    }


def test_experts_that_share_weights_answer_alike_and_have_the_slots_of_all() -> None:
    layer = small(num_experts=3, expert_map=(0, -1, 0), capacity_factor=1.0)
    x = tf.random.stateless_normal([2, 6, 4], [1, 2])
    layer(x)
    assert layer.w_in.shape[0] == layer.stored_experts == 1 and layer.router_kernel.shape[1] == 3
    assert layer.capacity(6, training=False) == 2  # ceil(1.0 x 6 / 3)
    alone = small(num_experts=3, capacity_factor=1.0)
    alone(x)
    first = {"w_in", "b_in", "w_out", "b_out"}
    for name in first | {"router_kernel"}:
        value = getattr(layer, name)
        getattr(alone, name).assign(tf.repeat(value, 3, axis=0) if name in first else value)
    one, other = layer.route(x, tf.ones([2, 6], tf.bool)), alone.route(x, tf.ones([2, 6], tf.bool))
    same = (one[1].routing.kept & other[1].routing.kept)[..., 0] & (one[1].routing.gate == other[1].routing.gate)[
        ..., 0
    ]
    assert same.numpy().any()
    np.testing.assert_allclose(one[0][same], other[0][same], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("expert_map", [[0, 1], [0, 0, 2], [-1, -1, -1], [0, 1, "2"], "012"])
def test_an_expert_map_that_does_not_fit_is_refused(expert_map: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        SwitchFFN(3, 8, expert_map=expert_map)
    assert caught.value.argument == "expert_map"
