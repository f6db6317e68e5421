"""SwitchFFN inside models of every kind: fitted, saved, in other precisions."""

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from test_switch_ffn import LENGTH, NAMES, WIDTH, inputs, small, texts

from switch_tf.layers import SwitchFFN


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def text_model(**changes: Any) -> keras.Model:
    """Ids in, a probability out, with the mask of the embedding all the way to the pooling."""
    ids = keras.Input([LENGTH], dtype="int32")
    x = keras.layers.Embedding(20, WIDTH, mask_zero=True, embeddings_initializer="normal")(ids)
    x = keras.layers.Add()([x, small(**changes)(x)])
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", dtype="float32")(x))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.embed = keras.layers.Embedding(20, WIDTH, mask_zero=True, embeddings_initializer="normal")
        self.switch = small(router_jitter=0.01, expert_dropout=0.1)
        self.pool = keras.layers.GlobalAveragePooling1D()
        self.head = keras.layers.Dense(1, activation="sigmoid")

    def call(self, ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        x = self.embed(ids)
        return self.head(self.pool(x + self.switch(x, training=training), mask=self.embed.compute_mask(ids)))


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.layers.Embedding(20, WIDTH, mask_zero=True, embeddings_initializer="normal", input_length=LENGTH),
            small(router_jitter=0.01, expert_dropout=0.1),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


class TestModels:
    @pytest.mark.parametrize("make", [sequential, text_model, Subclassed])
    def test_every_kind_of_model_learns(self, make: Any) -> None:
        model = make()
        model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy", metrics=["accuracy"])
        ids, labels = texts()
        before = model.evaluate(ids, labels, verbose=0)[0]
        model.fit(ids, labels, batch_size=16, epochs=10, verbose=0)
        after, accuracy = model.evaluate(ids, labels, verbose=0)
        assert after < before / 2
        assert accuracy > 0.9

    def test_every_weight_of_the_layer_learns(self) -> None:
        model = text_model(router_jitter=0.1, expert_dropout=0.1)
        layer = next(layer for layer in model.layers if isinstance(layer, SwitchFFN))
        before = [weight.numpy() for weight in layer.trainable_weights]
        model.compile("sgd", "binary_crossentropy")
        model.fit(*texts(), verbose=0)
        assert [weight.name.split("/")[-1] for weight in layer.trainable_weights] == NAMES
        for weight, old in zip(layer.trainable_weights, before, strict=True):
            assert np.any(weight.numpy() != old), weight.name

    def test_the_mask_of_an_embedding_reaches_the_layer_and_what_is_behind_it(self) -> None:
        embed = keras.layers.Embedding(20, WIDTH, mask_zero=True)
        layer, ids = small(), tf.constant(texts(8)[0])
        y = layer(embed(ids))
        assert not y.numpy()[ids == 0].any()
        np.testing.assert_array_equal(y, layer.route(embed(ids), ids != 0)[0])
        np.testing.assert_array_equal(y._keras_mask, ids != 0)
        assert np.any(layer(embed(ids).numpy()).numpy()[ids == 0])  # without the mask padding is routed, too

    def test_an_input_that_has_no_mask_is_all_real(self) -> None:
        x, _ = inputs()
        layer = small()
        np.testing.assert_array_equal(layer(x), layer(x, mask=tf.fill(x.shape[:2], True)))

    @pytest.mark.slow
    def test_xla_compiles_a_step(self) -> None:
        model = text_model(router_jitter=0.1, expert_dropout=0.1)
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", jit_compile=True)
        ids, labels = texts()
        losses = model.fit(ids, labels, epochs=2, verbose=0).history["loss"]
        assert np.all(np.isfinite(losses))


@pytest.mark.slow
class TestSaving:
    CHANGES: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"router_jitter": 0.1, "expert_dropout": 0.2, "seed": 7, "dtype": "mixed_bfloat16"},
        {"dispatch": "einsum", "activation": "gelu", "sequence_length": 16, "scale_by_gate": False, "name": "mine"},
    )

    @pytest.mark.parametrize("changes", CHANGES)
    def test_a_configuration_makes_the_same_layer(self, changes: dict[str, Any]) -> None:
        layer = small(**changes)
        again = SwitchFFN.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert again.compute_dtype == layer.compute_dtype
        again = keras.layers.deserialize(keras.layers.serialize(layer))
        assert type(again) is SwitchFFN and again.get_config() == layer.get_config()

    def test_a_configuration_holds_every_argument(self) -> None:
        config = SwitchFFN(4, 8).get_config()
        assert {name: value for name, value in config.items() if name not in ("name", "trainable", "dtype")} == {
            "num_experts": 4,
            "d_ff": 8,
            "capacity_factor": 1.25,
            "eval_capacity_factor": 1.25,
            "min_capacity": 1,
            "router": "top1",
            "priority": "position",
            "normalize_gates": True,
            "balance_rate": 0.0,
            "drop_tokens": True,
            "dispatch": "gather",
            "scale_by_gate": True,
            "auxiliary_loss_weight": 0.01,
            "z_loss_weight": 0.0,
            "router_jitter": 0.0,
            "expert_dropout": 0.0,
            "activation": "relu",
            "initializer_scale": 0.1,
            "expert_map": None,
            "sequence_length": None,
            "seed": None,
        }

    def test_it_is_registered_under_the_packages_name(self) -> None:
        assert keras.saving.get_registered_name(SwitchFFN) == "switch_tf>SwitchFFN"

    def test_numbers_of_numpy_are_saved_as_numbers(self) -> None:
        numbers: dict[str, Any] = {"num_experts": np.int64(4), "d_ff": np.int32(8), "capacity_factor": np.float64(1.5)}
        config = SwitchFFN(**numbers).get_config()
        assert [type(config[name]) for name in ("num_experts", "d_ff", "capacity_factor")] == [int, int, float]

    @pytest.mark.parametrize("changes", CHANGES)
    @pytest.mark.parametrize("file", ["model.keras", "saved_model"])
    def test_a_fitted_model_answers_and_goes_on_as_before(
        self, file: str, changes: dict[str, Any], tmp_path: Path
    ) -> None:
        model, (ids, labels) = text_model(**changes), texts()
        model.compile(keras.optimizers.SGD(0.3), "binary_crossentropy")  # a SavedModel holds no slots of an optimizer
        model.fit(ids, labels, verbose=0)
        model.save(tmp_path / file)
        again = keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(again.predict(ids, verbose=0), model.predict(ids, verbose=0))
        losses = [each.fit(ids, labels, epochs=3, shuffle=False, verbose=0).history["loss"] for each in (model, again)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    def test_a_file_opens_in_a_process_that_imports_the_layers(self, tmp_path: Path) -> None:
        model, ids = text_model(), texts(4)[0]
        model.save(tmp_path / "model.keras")
        np.save(tmp_path / "ids.npy", ids)
        code = """
import sys, numpy as np, tf_keras as keras, switch_tf.layers
model = keras.models.load_model(sys.argv[1] + "/model.keras")
np.save(sys.argv[1] + "/answers.npy", model.predict(np.load(sys.argv[1] + "/ids.npy"), verbose=0))
"""
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), model.predict(ids, verbose=0))

    def test_tensorflow_serves_it_without_keras(self, tmp_path: Path) -> None:
        model, ids = text_model(router_jitter=0.1), texts(4)[0]
        model.export(tmp_path / "exported")
        served = tf.saved_model.load(str(tmp_path / "exported"))
        np.testing.assert_allclose(served.serve(tf.constant(ids)), model.predict(ids, verbose=0), atol=1e-6)


class TestPrecision:
    def test_experts_compute_in_bfloat16_and_the_router_and_weights_in_float32(self) -> None:
        exact, half = small(auxiliary_loss_weight=1.0), small(auxiliary_loss_weight=1.0, dtype="mixed_bfloat16")
        x, mask = inputs()
        exact(x)
        half(x)
        half.set_weights(exact.get_weights())
        y, rounded = exact(x, mask=mask, training=True), half(x, mask=mask, training=True)
        assert rounded.dtype == tf.bfloat16
        assert {weight.dtype for weight in half.weights} == {tf.float32}
        np.testing.assert_array_equal(half.losses, exact.losses)
        assert half.losses[0].dtype == tf.float32
        assert 0.0 < np.abs(tf.cast(rounded, tf.float32) - y).max() < 0.1
        for received, expected in zip(
            tf.nest.flatten(half.route(x, mask)[1]), tf.nest.flatten(exact.route(x, mask)[1]), strict=True
        ):
            assert received.dtype == expected.dtype
            np.testing.assert_array_equal(received, expected)

    @pytest.mark.parametrize(
        ("policy", "experts"),
        [("float32", "float32"), ("float64", "float64"), ("mixed_float16", "float32"), ("bfloat16", "bfloat16")],
    )
    def test_the_router_is_float32_under_any_policy(self, policy: str, experts: str) -> None:
        layer = small(dtype=policy)
        x, mask = inputs()
        y = layer(tf.cast(x, layer.compute_dtype), mask=mask)
        assert (layer.router_kernel.dtype, layer.w_in.dtype, y.dtype) == ("float32", experts, layer.compute_dtype)

    def test_a_global_policy_is_followed_in_fit(self) -> None:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        try:
            model = text_model(expert_dropout=0.1)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")
        losses = model.fit(*texts(), epochs=5, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
