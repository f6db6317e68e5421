"""Answers beside a table: the rows in their order with all columns, and names that none of them has."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from switch_tf.runs.rejection import Rejection
from switch_tf.serving.answering import answer_batches, beside


class Counter:
    """Says "long" of a text by its length: a model as plain as can be."""

    runtime, checked = "counting", True

    def __init__(self, rejection: Rejection | None = None):
        self.labels, self.rejection = ["short", "long"], rejection
        self.asked: list[str] = []

    def probabilities(self, texts: Any) -> np.ndarray:
        self.asked += texts
        long = np.array([len(text) / 10 for text in texts], np.float32)
        return np.stack([1 - long, long], axis=1).reshape(-1, 2)

    def tokenize(self, texts: Any) -> np.ndarray:
        raise NotImplementedError


def answered(table: dict[str, Any], model: Counter, texts: tuple[str, ...] = ("text",), **options: Any) -> pa.Table:
    batch = pa.record_batch(table)
    added = beside([name for name in table if name != "error"], model.labels, model.rejection, **options)
    (found,) = answer_batches([batch], model, texts, added)
    assert found.schema.equals(added.schema(pa.schema([field for field in batch.schema if field.name != "error"])))
    return found


def test_every_row_and_column_stays_and_null_is_a_text_without_a_word() -> None:
    table = {"n": [1, 2, 3], "text": pa.array(["abcdefgh", None, "abc"]).dictionary_encode()}
    found = answered(table, Counter(), all_probabilities=True)
    assert found.to_pydict() == {
        "n": [1, 2, 3],
        "text": ["abcdefgh", None, "abc"],
        "label": ["long", "short", "short"],
        "score": pytest.approx([0.8, 1.0, 0.7]),
        "probability_short": pytest.approx([0.2, 1.0, 0.7]),
        "probability_long": pytest.approx([0.8, 0.0, 0.3]),
        "error": [None, None, None],
    }


def test_rows_with_an_error_are_not_asked() -> None:
    model = Counter(Rejection(0.75, "unknown"))
    found = answered({"text": ["", "ab!", "abcd"], "error": [None, "bad", None]}, model, all_probabilities=True)
    assert model.asked == ["", "abcd"]
    assert found["label"].to_pylist() == ["short", None, "unknown"]
    assert found["rejected"].to_pylist() == [False, None, True]
    assert found["score"].to_pylist() == pytest.approx([1.0, None, 0.6])
    assert found["error"].to_pylist() == [None, "bad", None]


@pytest.mark.parametrize("errors", [[], ["bad"]])
def test_nothing_to_ask_is_no_failure(errors: list[str]) -> None:
    table = {"text": pa.array(["a"] * len(errors), pa.string()), "error": pa.array(errors, pa.string())}
    assert answered(table, Counter(), all_probabilities=False)["label"].to_pylist() == [None] * len(errors)


def test_several_columns_are_joined_as_the_readers_join_them() -> None:
    model = Counter()
    answered({"a": ["x", None, ""], "b": ["y", "z", None]}, model, ("a", "b"), all_probabilities=False)
    assert model.asked == ["x y", "z", ""]


def test_no_name_is_taken_twice() -> None:
    columns = ["text", "label", "predicted_error"]
    assert beside(columns, ["a"], None, True).names == tuple(
        f"predicted_predicted_{name}" for name in ("label", "score", "probability_a", "error")
    )
    assert beside(["probability_a"], ["a", "b"], None, True).names[2] == "predicted_probability_a"
