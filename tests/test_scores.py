"""The figures a model is judged by, against values worked out by hand."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from switch_tf.data import examples as examples_module
from switch_tf.data.examples import Examples, ExampleStream, read_examples
from switch_tf.errors import DataError
from switch_tf.measuring import outcomes as outcomes_module
from switch_tf.measuring import scores as module
from switch_tf.measuring.scores import confusions, evaluate, score
from switch_tf.runs.rejection import Rejection


def examples_of(rows: list[tuple[str, str]]) -> Examples:
    texts, labels = (pa.chunked_array([list(column)]) for column in zip(*rows, strict=True))
    places = pa.chunked_array([list(range(2, len(rows) + 2))])
    return Examples(texts.cast(pa.large_string()), labels, "made.tsv", places, "line")


class Lookup:
    """A model that knows its answers by heart, and in which portions it was asked."""

    runtime = "memory"
    rejection: Rejection | None = None
    checked = True

    def __init__(self, labels: list[str], answers: dict[str, list[float]]):
        self.labels, self.answers, self.asked = labels, answers, list[int]()

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        self.asked.append(len(texts))
        return np.array([self.answers[str(text)] for text in texts], np.float32)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        return np.array([[list(self.answers).index(str(text))] for text in texts], np.int32)


def test_of_a_model_that_rejects_texts_of_no_class_are_left_out_of_the_figures_of_classes() -> None:
    #            most probable: a, b, a, b      expected: a, a, none, none      answered: a, b, none, b
    answers = {"one": [0.9, 0.1], "two": [0.3, 0.7], "three": [0.6, 0.4], "four": [0.2, 0.8]}
    model = Lookup(["a", "b"], answers)
    model.rejection = Rejection(0.65, "none")
    figures = evaluate(model, examples_of([("one", "a"), ("two", "a"), ("three", "none"), ("four", "none")]))
    assert (figures["n"], figures["accuracy"], figures["per_label"]["a"]["support"]) == (2, 0.5, 2)
    assert figures["rejection"] == {
        "threshold": 0.65,
        "label": "none",
        "n": 4,
        "answered": 3,
        "coverage": 0.75,
        "precision": 1 / 3,
        "accuracy": 0.5,
        # Surer than "three" are both others, surer than "four" is one of them: 3 of 4 pairs stand right.
        "out_of_scope": {"n": 2, "rejected": 1, "recall": 0.5, "precision": 1.0, "auroc": 0.75},
    }


def test_texts_of_no_class_alone_have_figures_of_rejection_alone() -> None:
    model = Lookup(["a", "b"], {"one": [0.9, 0.1], "two": [0.5, 0.5]})
    model.rejection = Rejection(0.65, "none")
    figures = evaluate(model, examples_of([("one", "none"), ("two", "none")]))
    assert (figures["n"], figures["accuracy"], figures["per_label"], figures["confusions"]) == (0, None, {}, [])
    assert figures["rejection"]["precision"] == 0.0 and figures["rejection"]["coverage"] == 0.5
    assert figures["rejection"]["out_of_scope"] == {
        "n": 2,
        "rejected": 1,
        "recall": 0.5,
        "precision": 1.0,
        "auroc": None,
    }


def test_without_a_threshold_a_text_of_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="received the label 'none'"):
        evaluate(Lookup(["a", "b"], {"one": [0.9, 0.1]}), examples_of([("one", "none")]))


def test_figures_are_those_worked_out_by_hand() -> None:
    #            answered: a, a, b, c, b      expected: a, b, b, c, a
    probabilities = np.array(
        [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.0, 0.0, 1.0], [0.125, 0.75, 0.125]], np.float32
    )
    figures = score(probabilities, np.array([0, 1, 1, 2, 0]), ["a", "b", "c"])
    half = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert figures.pop("log_loss") == pytest.approx((math.log(2) + math.log(4) + math.log(2) + 0.0 + math.log(8)) / 5)
    assert figures.pop("macro_f1") == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert figures.pop("calibration_error") == pytest.approx(
        (0.5 + 0.75) / 5
    )  # at 0.5 two of three right, at 0.75 none
    assert figures == {
        "n": 5,
        "accuracy": 0.6,
        "per_label": {"a": half, "b": half, "c": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}},
        "confusions": [
            {"expected": "a", "answered": "b", "count": 1},
            {"expected": "b", "answered": "a", "count": 1},
        ],
    }


def test_confusions_are_counted_the_most_frequent_first_and_kept_to_twenty() -> None:
    expected = np.array([2, 2, 2, 0, 0, 1, 1])
    answered = np.array([1, 1, 0, 0, 2, 0, 1])
    assert confusions(expected, answered, ["a", "b", "c"]) == [
        {"expected": "c", "answered": "b", "count": 2},
        {"expected": "a", "answered": "c", "count": 1},
        {"expected": "b", "answered": "a", "count": 1},
        {"expected": "c", "answered": "a", "count": 1},
    ]
    assert confusions(expected, expected, ["a", "b", "c"]) == []
    labels = [str(i) for i in range(30)]
    assert len(confusions(np.arange(30), (np.arange(30) + 1) % 30, labels)) == 20


def test_f1_weighs_precision_and_recall() -> None:
    # a: 3 answered of which 2 right, 2 expected -> precision 2/3, recall 1; b: 1 answered, right, of 2.
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]], np.float32)
    figures = score(probabilities, np.array([0, 0, 1, 1]), ["a", "b"])
    assert figures["per_label"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2})
    assert figures["per_label"]["b"] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2})
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_labels_that_neither_occur_nor_are_answered_have_zeros_and_leave_macro_f1_alone() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    figures = score(probabilities, np.array([0, 1]), ["a", "b", "unused"])
    assert figures["per_label"]["unused"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert figures["macro_f1"] == 1.0


def test_a_label_that_is_answered_but_does_not_occur_counts() -> None:
    figures = score(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([0, 0]), ["a", "b"])
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 0.0) / 2)


def test_a_certain_mistake_costs_a_finite_amount() -> None:
    figures = score(np.array([[1.0, 0.0]], np.float32), np.array([1]), ["a", "b"])
    assert figures["log_loss"] == pytest.approx(126 * math.log(2))


def test_figures_are_plain_numbers() -> None:
    figures = score(np.array([[0.5, 0.5]], np.float32), np.array([0]), ["a", "b"])
    values = [figures["n"], figures["accuracy"], figures["macro_f1"], figures["log_loss"]]
    values += [value for each in figures["per_label"].values() for value in each.values()]
    assert {type(value) for value in values} == {int, float}


def test_texts_stream_through_the_model_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"text {number}", "yes" if number % 3 else "no") for number in range(10)]
    model = Lookup(["no", "yes"], {text: [0.25, 0.75] if label == "yes" else [0.75, 0.25] for text, label in rows})
    monkeypatch.setattr(module, "_TEXT_BATCH", 4)
    figures = evaluate(model, examples_of(rows))
    assert (figures["n"], figures["accuracy"], model.asked) == (10, 1.0, [4, 4, 2])


def test_a_label_that_the_model_does_not_know_is_refused_before_it_is_asked() -> None:
    model = Lookup(["no", "yes"], {})
    with pytest.raises(DataError, match=r"made\.tsv, line 3: received the label 'maybe'\. Expected one of 'no', 'yes'"):
        evaluate(model, examples_of([("a", "no"), ("b", "maybe")]))
    assert model.asked == []


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_figures_are_those_of_scikit_learn(count: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), count).astype(np.float32)
    expected, answered = random.integers(classes, size=count), probabilities.argmax(axis=1)
    names = [f"label{number}" for number in range(classes)]
    figures = score(probabilities, expected, names)
    each = precision_recall_fscore_support(expected, answered, labels=range(classes), zero_division=0.0)
    for kind, values in zip(("precision", "recall", "f1", "support"), each, strict=True):
        assert [figures["per_label"][name][kind] for name in names] == values.tolist()
    assert figures["macro_f1"] == f1_score(expected, answered, average="macro", zero_division=0.0)
    picked = probabilities[np.arange(count), expected].astype(np.float64)
    assert figures["log_loss"] == float(-np.log(np.maximum(picked, np.finfo(np.float32).tiny)).mean())


def test_texts_that_stream_have_the_figures_of_texts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [(f"text {number}", "ab"[number % 3 == 0]) for number in range(150)]
    answers = {text: random.dirichlet(np.ones(2)).tolist() for text, _ in rows}
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows) + "broken\n")
    monkeypatch.setattr(module, "_TEXT_BATCH", 16)
    at_once, streaming = Lookup(["a", "b"], answers), Lookup(["a", "b"], answers)
    expected = evaluate(at_once, read_examples(path, skip_bad=True))
    monkeypatch.setattr(examples_module, "_CHUNK_ROWS", 10)  # the broken row comes behind the last of them
    stream = ExampleStream(path, skip_bad=True)
    assert evaluate(streaming, stream) == expected
    assert streaming.asked == at_once.asked == [16] * 9 + [6]
    assert (stream.skipped, stream.first_skipped.split(":")[0]) == (1, f"{path}, line 152")


def test_sums_of_sums_are_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    probabilities, expected = random.dirichlet(np.ones(3), 100), random.integers(3, size=100)
    whole = score(probabilities, expected, ["a", "b", "c"])
    monkeypatch.setattr(outcomes_module, "_PIECE", 7)
    pieces = score(probabilities, expected, ["a", "b", "c"])
    assert pieces.pop("log_loss") == pytest.approx(whole.pop("log_loss"), rel=1e-12)
    assert pieces.pop("calibration_error") == pytest.approx(whole.pop("calibration_error"), rel=1e-12)
    assert pieces == whole
