"""The baselines: what must be learnt from so little, and what they say of data that gives them nothing to learn."""

import math

import numpy as np
import pyarrow as pa
import pytest

from switch_tf.data.examples import Examples
from switch_tf.measuring import baseline
from switch_tf.measuring.baseline import linear_baseline, majority_baseline, sampled_rows


def examples_of(rows: list[tuple[str, str]]) -> Examples:
    texts, labels = (pa.chunked_array([list(column)]) for column in zip(*rows, strict=True))
    places = pa.chunked_array([list(range(len(rows)))])
    return Examples(texts.cast(pa.large_string()), labels, "made.tsv", places, "row")


def test_majority_answers_the_most_frequent_label_as_surely_as_it_is_frequent() -> None:
    training = examples_of([("x", "a")] * 3 + [("y", "b")])
    figures = majority_baseline(training, examples_of([("x", "a"), ("x", "b"), ("y", "b")]), ["a", "b"])
    assert (figures["n"], figures["accuracy"]) == (3, pytest.approx(1 / 3))
    assert figures["log_loss"] == pytest.approx(-(math.log(0.75) + 2 * math.log(0.25)) / 3)
    assert figures["calibration_error"] == pytest.approx(0.75 - 1 / 3)


def test_linear_learns_what_is_separable_by_pairs_and_single_letters() -> None:
    rows = [("not good x", "bad"), ("good y", "fine"), ("not bad y", "fine"), ("bad x", "bad")] * 5
    figures = linear_baseline(examples_of(rows), examples_of(rows[:4]), ["bad", "fine"])
    assert (figures["n"], figures["accuracy"], figures["macro_f1"]) == (4, 1.0, 1.0)
    assert figures["per_label"]["bad"]["support"] == 2
    assert (figures["fitted_on"], figures["sampled"]) == (20, False)


def test_linear_keeps_the_order_of_the_labels_where_one_was_not_trained_on() -> None:
    rows = [("dull", "bad"), ("fine", "good")] * 5
    figures = linear_baseline(examples_of(rows), examples_of([*rows[:2], ("meh", "even")]), ["bad", "even", "good"])
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert {label: each["recall"] for label, each in figures["per_label"].items()} == {"bad": 1, "even": 0, "good": 1}


def test_linear_is_the_majority_class_where_no_text_has_a_word() -> None:
    training = examples_of([("!!", "a"), ("?", "a"), ("", "b")])
    figures = linear_baseline(training, examples_of([("!", "a"), ("word", "b")]), ["a", "b"])
    assert (figures["accuracy"], figures["fitted_on"], figures["sampled"]) == (0.5, 3, False)
    assert figures["log_loss"] == pytest.approx(-(math.log(2 / 3) + math.log(1 / 3)) / 2)


def test_linear_learns_from_a_sample_of_long_data_and_says_so() -> None:
    rows = [("dull", "bad"), ("fine", "good")] * 50
    figures = linear_baseline(examples_of(rows), examples_of(rows[:2]), ["bad", "good"], most_work=200)
    assert (figures["accuracy"], figures["fitted_on"], figures["sampled"]) == (1.0, 40, True)  # 200 / (1 x (4 + 1))


def test_features_of_a_sample_are_its_most_frequent_words_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"dull film {number}", "bad") for number in range(9)] + [(f"fine {number}", "good") for number in range(9)]
    found = baseline._most_frequent(str.split, examples_of(rows), 3)
    assert found == ["dull", "film", "fine"]
    same = [("of it a dull film", "bad"), ("of it a fine film", "good")] * 20
    asked = {"most_work": 5 * 5 * 20}  # twenty texts of five words
    assert linear_baseline(examples_of(same), examples_of(same), ["bad", "good"], **asked)["accuracy"] == 1.0
    monkeypatch.setattr(baseline, "_MOST_FEATURES", 6)  # "a", "film", "it", "of", "it a" and "of it": in all texts
    figures = linear_baseline(examples_of(same), examples_of(same), ["bad", "good"], **asked)
    assert figures["sampled"] and figures["accuracy"] == 0.5


class TestSampling:
    rows = [("one two", "a")] * 60 + [("one two", "b")] * 39 + [("one two", "rare")]

    def test_all_rows_are_taken_if_their_work_is_within_the_bound(self) -> None:
        assert sampled_rows(examples_of(self.rows), 3, 2 * 7 * 100).tolist() == list(range(100))

    def test_else_as_many_as_fit_repeatably_and_each_label_stays(self) -> None:
        found = sampled_rows(examples_of(self.rows), 3, 2 * 7 * 20)
        assert 20 <= len(found) <= 21 and 99 in found and (np.diff(found) > 0).all()
        assert sampled_rows(examples_of(self.rows), 3, 2 * 7 * 20).tolist() == found.tolist()
