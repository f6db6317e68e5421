"""The rules of the preset `auto`, on the sizes of real sets and at their borders, and how settings override them."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows, write_tsv

from switch_tf.config import load_config
from switch_tf.data.examples import read_examples
from switch_tf.data.request import DataRequest
from switch_tf.errors import ConfigError, DataError
from switch_tf.training.auto import DataSize, auto_config, choose, measure


def chosen(**changes: Any) -> dict[str, object]:
    size = DataSize(texts=10_003, classes=77, length=47, words=2416)
    return {choice.key: choice.value for choice in choose(size._replace(**changes))}


def test_many_classes_and_short_texts() -> None:
    assert chosen() == {
        "text.vocabulary_size": 2418,
        "text.sequence_length": 48,
        "model.d_model": 64,
        "model.token_dropout": 0.3,
        "model.pair_dropout": 0.3,
        "model.expert_dropout": 0.1,
        "model.pair_min_count": 2,
        "wide.pair_min_count": 2,
        "wide.rare_as_unknown": False,
        "train.epochs": 12,
    }


def test_two_classes_and_long_texts() -> None:
    assert chosen(texts=25_000, classes=2, length=978, words=121_892) == {
        "text.vocabulary_size": 40_000,
        "text.sequence_length": 512,
        "model.d_model": 32,
        "model.token_dropout": 0.5,
        "model.pair_dropout": 0.5,
        "model.expert_dropout": 0.3,
        "model.pair_min_count": 5,
        "wide.pair_min_count": 4,
        "wide.rare_as_unknown": True,
        "train.epochs": 3,
    }


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"classes": 5}, "model.d_model", 32),
        ({"classes": 6}, "model.d_model", 64),
        ({"classes": 49}, "wide.pair_min_count", 1),
        ({"classes": 49}, "train.epochs", 8),
        ({"classes": 5}, "train.epochs", 5),
        ({"length": 0}, "text.sequence_length", 16),
        ({"length": 16}, "text.sequence_length", 16),
        ({"length": 17}, "text.sequence_length", 32),
        ({"texts": 640}, "train.epochs", 50),  # 10 steps an epoch
        ({"texts": 3}, "train.epochs", 60),
        ({"classes": 5}, "wide.rare_as_unknown", True),
        ({"classes": 6}, "wide.rare_as_unknown", False),
        ({"classes": 2, "texts": 2_999}, "wide.naive_bayes_power", 0.5),
        ({"classes": 2, "texts": 3_000}, "wide.naive_bayes_power", None),
        ({"classes": 3, "texts": 200}, "wide.naive_bayes_power", None),
        ({"texts": 200}, "train.validation_share", 0.3),
        ({"texts": 500}, "train.validation_share", 0.2),
        ({"texts": 952}, "train.validation_share", 0.11),
        ({"texts": 953}, "train.validation_share", None),
        ({"texts": 83_333}, "train.epochs", 12),  # times 48 is just below 4 million
        ({"texts": 83_334}, "train.epochs", 3),
    ],
)
def test_borders(changes: dict[str, int], key: str, value: object) -> None:
    assert chosen(**changes).get(key) == value


def test_every_size_gives_settings_that_fit() -> None:
    for texts in (2, 500, 10_000, 10_000_000):
        for classes in (2, 10, 1000):
            assignments = [
                f"{choice.key}={json.dumps(choice.value)}"
                for choice in choose(DataSize(texts, classes, 100, 10_000_000))
            ]
            assert load_config("auto", assignments=assignments).wide.enabled


def test_sizes_are_counted_in_words_as_the_model_reads_them(tmp_path: Path) -> None:
    rows = [("One two, TWO - three!", "a"), ("don't", "b"), *[("one", "c")] * 8]
    assert measure(read_examples(write_tsv(tmp_path / "few.tsv", rows))) == DataSize(10, 3, 3, 4)


def test_settings_override_choices_which_then_go_unsaid(tmp_path: Path) -> None:
    data = write_tsv(tmp_path / "made.tsv", made_up_rows(40))
    file = tmp_path / "own.toml"
    file.write_text("[model]\nd_model = 16\n")
    config, choices, prepared = auto_config(DataRequest(str(data)), file, ["train.epochs=2"])
    assert (config.model.d_model, config.train.epochs, config.model.context) == (16, 2, "mean")
    assert config.text.sequence_length == 16 and prepared is None
    said = {choice.key for choice in choices}
    assert {"model.d_model", "train.epochs"} & said == set()
    assert {"text.sequence_length", "wide.pair_min_count"} <= said
    assert all(len(choice.why) > 10 for choice in choices)


def test_bad_settings_are_refused_before_data_is_read() -> None:
    with pytest.raises(ConfigError, match=r"there is no setting model\.experts"):
        auto_config(DataRequest("none.tsv"), assignments=["model.experts=8"])
    with pytest.raises(DataError, match=r"There is no none\.tsv"):
        auto_config(DataRequest("none.tsv"))


def test_of_pieces_a_look_at_the_texts_counts_words(tmp_path: Path) -> None:
    rows = [("extraordinarily good!", "p"), ("bad film", "n")] * 5
    asked = load_config(assignments=["text.tokenizer=wordpiece"]).text
    size = measure(read_examples(write_tsv(tmp_path / "few.tsv", rows)), asked)
    assert size == DataSize(10, 2, 3, 5, "wordpiece")
    assert {choice.key: choice.value for choice in choose(size)}["text.vocabulary_size"] == 10_000


def test_words_by_unicode_are_counted_where_they_are_asked_for(tmp_path: Path) -> None:
    rows = [("好看 ÉCOLE — école", "p"), ("难看!", "n")] * 5
    examples = read_examples(write_tsv(tmp_path / "few.tsv", rows))
    size = measure(examples, load_config(assignments=["text.lowercase=unicode"]).text)
    assert size == DataSize(10, 2, 4, 4, "words")
    assert measure(examples).words == 5  # of bytes: a dash is one, and capitals beyond ASCII are others
