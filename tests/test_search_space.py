"""What a search may vary: always around the start, never what was asked for, and only settings that fit together."""

import pytest
from conftest import tiny_config
from test_composed import COMPOSED

from switch_tf.config import load_config
from switch_tf.training.search_space import Dimension, search_space, with_settings


def keys(space: list[Dimension]) -> set[str]:
    return {each.key for each in space}


@pytest.mark.parametrize(
    ("dimension", "value", "rounded"),
    [
        (Dimension("a", 16, 128, step=16), 41.0, 48),
        (Dimension("a", 16, 128, step=16), 7, 16),
        (Dimension("a", 1, 16, True), 3.6, 4),
        (Dimension("a", 0.0, 0.8), 0.31249, 0.312),
        (Dimension("a", 0.00075, 0.012, True), 0.0012349, 0.00123),
        (Dimension("a", 0.0, 0.8), 0.9, 0.8),
    ],
)
def test_values_are_rounded_to_what_can_be_set(dimension: Dimension, value: float, rounded: float) -> None:
    assert dimension.rounded(value) == rounded
    assert type(dimension.rounded(value)) is type(rounded)


@pytest.mark.parametrize("preset", ["auto", "tiny", "base", "large"])
def test_the_start_lies_within(preset: str) -> None:
    config = load_config(preset)
    space = search_space(config, limited=True)
    assert len(keys(space)) == len(space) >= 8
    for each in space:
        table, name = each.key.split(".")
        own = getattr(getattr(config, table), name)
        assert each.low < each.high
        assert own is None or each.low <= own <= each.high


def test_what_was_asked_for_stays() -> None:
    config = load_config("auto")
    assert keys(search_space(config)) - keys(search_space(config, {"train.epochs", "model.d_model"})) == {
        "train.epochs",
        "model.d_model",
    }


def test_each_kind_of_model_has_its_own_settings() -> None:
    attention, both = keys(search_space(load_config("tiny"))), keys(search_space(load_config("auto")))
    assert "model.dropout" in attention and not any(key.startswith("wide.") for key in attention)
    assert {"wide.inverse_regularization", "wide.naive_bayes_power", "train.table_learning_rate"} <= both
    assert "text.vocabulary_size" not in both
    assert "text.vocabulary_size" in keys(search_space(load_config("auto"), limited=True))


def test_a_width_is_a_multiple_of_the_heads() -> None:
    config = load_config("tiny", assignments=["model.num_heads=6", "model.d_model=66"])
    (width,) = [each for each in search_space(config) if each.key == "model.d_model"]
    assert (width.low, width.high, width.step) == (18, 144, 18)
    assert with_settings(config, {"model.d_model": width.rounded(100)}).model.d_model == 108


def test_pairs_of_the_deep_path_are_pairs_of_the_wide_one() -> None:
    config = with_settings(tiny_config(*COMPOSED), {"wide.pair_min_count": 7, "train.epochs": 4})
    assert (config.wide.pair_min_count, config.model.pair_min_count, config.train.epochs) == (7, 7, 4)
    assert with_settings(tiny_config(*COMPOSED), {"wide.pair_min_count": 1}).model.pair_min_count == 2
