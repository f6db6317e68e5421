"""Finished, a model answers as in training; one that routes by the word by tables that no neighbour moves."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from switch_tf.export.proof.reference import ask_reference
from switch_tf.layers.token_routes import TokenTables
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import cut_tables, finish, tables_of
from switch_tf.models.fused import build_classifier
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.models.weights import EMBEDDINGS, named_weights

NUM_IDS, LENGTH = 50, 12
CONTEXTS = pytest.mark.parametrize("context", ["attention", "mean"])


def config(*changes: str) -> Any:
    tight = ("model.router=token", "model.num_experts=4", "model.eval_capacity_factor=0.75", "model.num_blocks=2")
    return tiny_config(*tight, *changes)


def in_training(settings: Any, seed: int = 0) -> SwitchClassifier:
    """A model with weights large enough to matter."""
    model = SwitchClassifier(settings, NUM_IDS, 2)
    model.initialize()
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    return model


def weights_of(model: SwitchClassifier) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in named_weights(model).items()}


def finished(settings: Any, model: SwitchClassifier) -> Any:
    weights = finish(weights_of(model), settings.model)
    return build_classifier(settings, weights, NUM_IDS, 2, "weights")


def texts(count: int = 16, seed: int = 1) -> tf.Tensor:
    random = np.random.default_rng(seed)
    ids = random.integers(1, NUM_IDS, [count, LENGTH])
    return tf.constant(np.where(np.arange(LENGTH) < random.integers(0, LENGTH + 1, [count, 1]), ids, 0), tf.int32)


@CONTEXTS
@pytest.mark.parametrize("changes", [(), ("model.balance_rate=0.1",), ("model.priority=gate",)])
def test_the_finished_model_answers_as_the_one_in_training(context: str, changes: tuple[str, ...]) -> None:
    settings = config(f"model.context={context}", *changes)
    model = in_training(settings)
    for block in model.blocks:
        block.feed_forward.balance(tf.constant([9.0, 1.0, 5.0, 3.0]))
    done, ids = finished(settings, model), texts()
    expected, received = model(ids), done(ids)
    np.testing.assert_allclose(received.logits, expected.logits, atol=1e-5)
    for one, other in zip(received.reports, expected.reports, strict=True):
        np.testing.assert_array_equal(one.routing.kept, other.routing.kept)
        np.testing.assert_array_equal(one.routing.tokens_per_expert, other.routing.tokens_per_expert)
        assert one.routing.dropped > 0 and one.logits is None
    names = set(weights_of(done))
    assert {f"classifier/routes_{block}/{table}" for block in (0, 1) for table in ("expert", "gate")} <= names
    assert not any("router" in name for name in names)


@CONTEXTS
def test_a_words_expert_is_its_own_whatever_stands_around_it(context: str) -> None:
    """The vectors of all other tokens are drawn anew, while the model learns and once it is finished: nothing moves."""
    settings = config(f"model.context={context}", "model.drop_tokens=false")
    ids = texts()
    kept = np.arange(1, 8)  # the ids whose vectors stay
    model = in_training(settings)
    routes = []
    for seed in range(3):
        table = model.tokens.embeddings.numpy()
        others = np.setdiff1d(np.arange(NUM_IDS), kept)
        table[others] = np.random.default_rng(seed).normal(size=[others.size, table.shape[1]])
        model.tokens.embeddings.assign(table)
        done = finished(settings, model)
        for each in (model, done):
            reports = each(ids).reports
            stays = np.isin(ids, kept)
            routes.append([(r.routing.expert.numpy()[stays], r.routing.gate.numpy()[stays]) for r in reports])
        assert all(np.isinf(report.routing.margin).all() for report in done(ids).reports)
    for each in routes[1:]:
        for (expert, gate), (first_expert, first_gate) in zip(each, routes[0], strict=True):
            np.testing.assert_array_equal(expert, first_expert)
            np.testing.assert_allclose(gate, first_gate, rtol=1e-5)
    assert len(np.unique(routes[0][0][0])) > 1


def test_there_are_no_near_ties_even_where_all_logits_are_equal() -> None:
    settings = config()
    model = in_training(settings)
    for block in model.blocks:
        block.feed_forward.router_kernel.assign(tf.zeros_like(block.feed_forward.router_kernel))
    words = [f"w{number}" for number in range(NUM_IDS - 2)]
    told = TextClassifier(settings, words, ["bad", "good"], finished(settings, model))
    assert not ask_reference(told, [b"w1 w2 w3", b"w4", b"", b"w1 unknown"]).near_tie.any()
    contextual = tiny_config("model.num_experts=4")
    model = SwitchClassifier(contextual, NUM_IDS, 2)
    model.initialize()
    model.blocks[0].feed_forward.router_kernel.assign(tf.zeros_like(model.blocks[0].feed_forward.router_kernel))
    told = TextClassifier(contextual, words, ["bad", "good"], model)
    assert ask_reference(told, [b"w1 w2 w3", b""]).near_tie.tolist() == [True, False]


def test_tables_take_the_place_of_routers() -> None:
    settings = config("model.num_experts=2").model
    embeddings = np.array([[0, 0], [0, 0], [3, 1], [1, 3]], np.float32)
    router = np.array([[1, 0], [0, 1]], np.float32)
    weights = {
        EMBEDDINGS: embeddings,
        "classifier/block_1/switch_ffn/router": router,
        "classifier/block_1/switch_ffn/router_bias": np.array([0.0, 0.5], np.float32),
        "classifier/head/bias": np.zeros(2, np.float32),
    }
    done = finish(weights, settings)
    assert set(done) == {
        EMBEDDINGS,
        "classifier/head/bias",
        "classifier/routes_1/expert",
        "classifier/routes_1/gate",
    }
    (block,) = tables_of(done)
    assert block == 1
    table = tables_of(done)[1]
    assert isinstance(table, TokenTables)
    # p of the first expert at 3, 1: 1 / (1 + exp(-2 / sqrt(1.0001))) = 0.881, which 0.119 + 0.5 does not reach
    assert table.expert.tolist() == [1, 1, 0, 1]
    np.testing.assert_allclose(table.gate, [0.5, 0.5, 0.880786, 0.880786], atol=1e-5)
    cut = cut_tables(done, 3)

    assert tables_of(cut)[1].gate.shape == (3,) and cut[EMBEDDINGS].shape == (4, 2)
    assert finish(weights, tiny_config().model) == weights


@CONTEXTS
def test_directions_take_the_place_of_a_temperature(context: str) -> None:
    settings = tiny_config("model.router=xmoe", "model.num_experts=6", f"model.context={context}")
    model = in_training(settings)
    done, ids = finished(settings, model), texts()
    np.testing.assert_allclose(done(ids).logits, model(ids).logits, atol=1e-5)
    np.testing.assert_allclose(done(ids).reports[0].logits, model(ids).reports[0].logits, atol=1e-5)
    assert not any("temperature" in name for name in weights_of(done))


def test_fewer_words_keep_their_routes() -> None:
    settings = config()
    weights = finish(weights_of(in_training(settings)), settings.model)
    whole = build_classifier(settings, weights, NUM_IDS, 2, "weights")
    cut = build_classifier(settings, weights, NUM_IDS, 2, "weights", kept_ids=20)
    ids = tf.minimum(texts(), 19)
    np.testing.assert_allclose(cut(ids).logits, whole(ids).logits, atol=1e-6)
    assert weights_of(cut)["classifier/routes_0/expert"].shape == (20,)
