"""Both paths as one classifier: the sum by hand, rows shared between tables, words cut, and damaged weights refused."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.config import Config, load_config
from switch_tf.errors import ConfigError, RunError
from switch_tf.models.classifier import ClassifierOutput, SwitchClassifier
from switch_tf.models.fused import (
    SCALES,
    FusedClassifier,
    build_classifier,
    cut_vocabulary,
    deep_arrays,
    fused_arrays,
    put_first,
    with_exact_sums,
)
from switch_tf.models.weights import PAIR_EMBEDDINGS, named_weights
from switch_tf.models.wide import WideTables
from switch_tf.text.ngrams import build_pair_index

NUM_IDS, CLASSES, LENGTH = 9, 3, 6
PAIRS = np.array([[0, 2], [2, 3], [3, 8], [8, 0], [4, 5]], np.int32)
IDS = np.array([[2, 3, 8, 0, 0, 0], [4, 5, 2, 3, 4, 5], [7, 6, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.int32)


def settings(**model: Any) -> Config:
    chosen = {"d_model": 4, "num_heads": 1, "d_ff": 6, "num_experts": 2, **model}
    assignments = ["wide.enabled=true", f"text.sequence_length={LENGTH}", "model.context=mean"]
    return load_config(assignments=[*assignments, *(f"model.{key}={value}" for key, value in chosen.items())])


def wide_tables(num_ids: int = NUM_IDS, pairs: np.ndarray = PAIRS) -> WideTables:
    random = np.random.default_rng(0)
    words, rows = (random.normal(size=[n, CLASSES + 1]).astype(np.float32) for n in (num_ids, len(pairs) + 1))
    words[:, -1], rows[:, -1] = np.abs(words[:, -1]), np.abs(rows[:, -1])
    words[0] = rows[-1] = 0.0
    return WideTables(words, rows, np.array([0.1, -0.2, 0.3], np.float32), build_pair_index(pairs, num_ids))


def deep_weights(num_pairs: int) -> dict[str, np.ndarray]:
    """Of a deep path with a vector for each of the first pairs."""
    model = SwitchClassifier(settings(), NUM_IDS, CLASSES, num_pairs=num_pairs)
    model.initialize()
    random = np.random.default_rng(1)
    weights = {name: random.normal(size=v.shape).astype(np.float32) for name, v in named_weights(model).items()}
    if num_pairs:
        weights[PAIR_EMBEDDINGS][-1] = 0.0
    return weights


def built(num_pairs: int = 2, **changes: Any) -> FusedClassifier:
    weights = fused_arrays(deep_weights(num_pairs), wide_tables(), np.array([0.5, 2.0]))
    model = build_classifier(settings(), weights, NUM_IDS, CLASSES, "weights", **changes)
    assert isinstance(model, FusedClassifier)
    return model


def test_logits_are_the_scaled_sum() -> None:
    model = built()
    rows = model.wide.pair_rows(tf.constant(IDS))
    deep = model.deep(tf.constant(IDS), pair_rows=rows[:, :-1])
    output = model(tf.constant(IDS))
    expected = 0.5 * wide_tables().logits(IDS) + 2.0 * deep.logits.numpy()
    np.testing.assert_allclose(output.logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(output.reports[0].logits, deep.reports[0].logits)


def test_pairs_of_the_deep_path_are_those_that_end_at_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SwitchClassifier(settings(), NUM_IDS, CLASSES, num_pairs=2)
    model.initialize()
    table = named_weights(model)[PAIR_EMBEDDINGS]
    table.assign([[1.0] * 4, [2.0] * 4, [0.0] * 4])
    seen: list[np.ndarray] = []

    def classify(x: tf.Tensor, *_: Any) -> ClassifierOutput:
        seen.append(x.numpy())
        return ClassifierOutput(x[:, 0], ())

    monkeypatch.setattr(model, "classify", classify)
    rows = build_pair_index(PAIRS, NUM_IDS).find(IDS)
    model.call(tf.constant(IDS), pair_rows=tf.constant(rows[:, :-1]))
    pairs = seen[0] - model.tokens(tf.constant(IDS)).numpy()
    # text 0: the start and 2, then 2 and 3; rows from 2 on have no vector; text 1: 2 and 3 at its fourth word
    np.testing.assert_allclose(pairs[:2, :, 0], [[1, 2, 0, 0, 0, 0], [0, 0, 0, 2, 0, 0]], atol=1e-6)


def test_training_both_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="trained apart"):
        built()(tf.constant(IDS), training=True)


def test_weights_survive_a_round_trip() -> None:
    weights = fused_arrays(deep_weights(2), wide_tables(), np.array([0.5, 2.0]))
    assert deep_arrays(weights).keys() == deep_weights(2).keys()
    assert weights[SCALES].dtype == np.float32
    again = build_classifier(settings(), weights, NUM_IDS, CLASSES, "weights")
    np.testing.assert_array_equal(again(tf.constant(IDS)).logits, built()(tf.constant(IDS)).logits)


def test_pairs_put_first_answer_as_before() -> None:
    before = wide_tables()
    after = put_first(before, PAIRS[[3, 1]])
    assert after.index.pairs[:2].tolist() == [[8, 0], [2, 3]]
    assert sorted(after.index.pairs.tolist()) == sorted(PAIRS.tolist())
    np.testing.assert_allclose(after.logits(IDS), before.logits(IDS), rtol=1e-6)
    assert not after.pairs[-1].any()
    with pytest.raises(ValueError, match="1 of 2 pairs are unknown"):
        put_first(before, np.array([[2, 3], [3, 2]], np.int32))


def test_cut_words_take_their_pairs_along() -> None:
    deep, wide = cut_vocabulary(deep_weights(3), wide_tables(), 8)  # without the last word
    assert wide is not None
    assert wide.index.pairs.tolist() == [[0, 2], [2, 3], [4, 5]]
    np.testing.assert_array_equal(wide.pairs, wide_tables().pairs[[0, 1, 4, 5]])
    np.testing.assert_array_equal(deep[PAIR_EMBEDDINGS], deep_weights(3)[PAIR_EMBEDDINGS][[0, 1, 3]])
    assert len(wide.words) == 8
    known = np.where(IDS == 8, 1, IDS)
    cut, whole = built(3, kept_ids=8), built(3)
    np.testing.assert_allclose(cut(tf.constant(known)).logits, whole(tf.constant(known)).logits, rtol=1e-5, atol=1e-6)


def without(name: str) -> dict[str, np.ndarray]:
    weights = fused_arrays(deep_weights(2), wide_tables(), np.array([0.5, 2.0]))
    return {key: array for key, array in weights.items() if key != name}


def test_sums_on_the_grid_are_exact_in_every_order() -> None:
    random = np.random.default_rng(0)
    tables = wide_tables()
    tables.words[1:] *= 100 * random.normal(size=[NUM_IDS - 1, 1]).astype(np.float32)
    exact = with_exact_sums(tables, 512)
    worst = np.maximum(np.abs(exact.words).max(axis=0), np.abs(exact.pairs).max(axis=0)) * 1025
    for table, rounded in ((tables.words, exact.words), (tables.pairs, exact.pairs)):
        assert rounded.dtype == np.float32
        assert (np.abs(table - rounded) <= worst * 2.0**-23).all()
    rows = exact.words[random.integers(0, NUM_IDS, 1025)]
    expected = rows.astype(np.float64).sum(axis=0)
    for _ in range(20):
        one_by_one = np.add.accumulate(random.permutation(rows), axis=0, dtype=np.float32)[-1]
        np.testing.assert_array_equal(one_by_one, expected)
    unrounded = tables.words[random.integers(0, NUM_IDS, 1025)]
    sums = {tuple(np.add.accumulate(random.permutation(unrounded), axis=0)[-1]) for _ in range(20)}
    assert len(sums) > 1  # as it is without
    assert not exact.words[0].any() and not exact.pairs[-1].any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (without("wide/words"), "of a wide path"),
        (without("wide/index/rows"), "no such array as 'rows'"),
        (without(SCALES), r"\(9, 3, \(0,\)\), expected \(9, 3, \(2,\)\)"),
        (without("classifier/head/bias"), "weight 'classifier/head/bias' has shape none"),
        (without("classifier/tokens/embeddings"), "classifier/tokens/embeddings"),
        (without("") | {PAIR_EMBEDDINGS: np.zeros([8, 4], np.float32)}, "7 vectors of pairs that it cannot find"),
        (without("") | {"classifier/tokens/embeddings": np.zeros([10, 4], np.float32)}, r"shape \(10, 4\)"),
    ],
)
def test_damaged_weights_are_refused(weights: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(RunError, match=message):
        build_classifier(settings(), weights, NUM_IDS, CLASSES, "weights.safetensors")


def test_pairs_need_a_wide_path_that_finds_them() -> None:
    with pytest.raises(ConfigError, match="The wide path finds the pairs"):
        load_config(assignments=["model.context=mean", "model.pair_min_count=2"])
    with pytest.raises(ConfigError, match="with at most the same count"):
        load_config("auto", assignments=["wide.pair_min_count=3"])
    with pytest.raises(ConfigError, match="need context = 'mean'"):
        load_config("auto", assignments=["model.context=attention"])


def test_a_deep_path_alone_has_no_wide_arrays() -> None:
    config = dataclasses.replace(settings(), wide=load_config().wide)
    model = build_classifier(config, deep_weights(0), NUM_IDS, CLASSES, "weights")
    assert isinstance(model, SwitchClassifier)
    assert model(tf.constant(IDS)).logits.shape == [4, CLASSES]
