"""The reject threshold as files have it, where it may be anything."""

import json

import numpy as np
import pytest

from switch_tf.artifacts.base import checked_rejection
from switch_tf.errors import ModelError
from switch_tf.runs.rejection import Rejection, label_indexes, label_list, read_rejection, rejection_problem

LABELS = ["bad", "good"]


@pytest.mark.parametrize("number", [0.0, 0.1, 1 / 3, 0.7728240489959717, 1.0])
def test_a_threshold_comes_back_from_json_as_it_was(number: float) -> None:
    rejection = Rejection(float(np.float32(number)), "unbekannt: ½")
    assert read_rejection(json.loads(json.dumps(rejection.as_dict()))) == rejection


def test_what_is_right_has_no_problem_whatever_stands_beside_it() -> None:
    assert rejection_problem({"threshold": 0.5, "label": "unknown", "validation": {}}, LABELS) is None
    assert rejection_problem({"threshold": 0, "label": "unknown"}, LABELS) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is no threshold with a reject label"),
        ([0.5, "unknown"], "is no threshold with a reject label"),
        ({"threshold": 0.5}, "is no threshold with a reject label"),
        ({"threshold": 0.5, "label": 5}, "is no threshold with a reject label"),
        ({"label": "unknown"}, "has the threshold None. Expected 0 to 1"),
        ({"threshold": "0.5", "label": "unknown"}, "has the threshold '0.5'. Expected 0 to 1"),
        ({"threshold": True, "label": "unknown"}, "has the threshold True. Expected 0 to 1"),
        ({"threshold": float("nan"), "label": "unknown"}, "has the threshold nan. Expected 0 to 1"),
        ({"threshold": 1.5, "label": "unknown"}, "has the threshold 1.5. Expected 0 to 1"),
        ({"threshold": -1e-9, "label": "unknown"}, "has the threshold -1e-09. Expected 0 to 1"),
        ({"threshold": 0.5, "label": "good"}, "has the reject label 'good', with which the labels have a name twice"),
        ({"threshold": 0.5, "label": "a\nb"}, "which is empty or holds a control character"),
        ({"threshold": 0.5, "label": " "}, "which is empty or holds a control character"),
        ({"threshold": 0.5, "label": "\ud800"}, "which is not UTF-8"),
    ],
)
def test_what_is_wrong_is_told(value: object, problem: str) -> None:
    assert problem in (rejection_problem(value, LABELS) or "")


def test_an_artifact_names_its_classes_and_then_the_reject_label() -> None:
    reject = {"threshold": 0.5, "label": "unknown"}
    assert checked_rejection([*LABELS, "unknown"], reject, 2, "x") == (LABELS, Rejection(0.5, "unknown"))
    assert checked_rejection(LABELS, None, 2, "x") == (LABELS, None)


@pytest.mark.parametrize(
    ("names", "reject", "problem"),
    [
        (LABELS, {"threshold": 0.5, "label": "unknown"}, r"x names 2 labels\. Expected 2 classes and the reject label"),
        ([*LABELS, "unknown"], None, r"x names 3 classes, and the model has 2\."),
        ([*LABELS, "unknown"], {"threshold": 0.5, "label": "none"}, r"x names 'unknown' last, and the reject label 'n"),
        ([*LABELS, "unknown"], {"threshold": 2, "label": "unknown"}, r"The reject threshold in x has the threshold 2"),
        ([*LABELS, "good"], {"threshold": 0.5, "label": "good"}, r"The labels in x have a name twice"),
        ("bad", {"threshold": 0.5, "label": "unknown"}, r"The labels in x are no list of class names"),
    ],
)
def test_an_artifact_that_contradicts_itself_is_refused(names: object, reject: object, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        checked_rejection(names, reject, 2, "x")


def test_the_comparison_is_that_of_float32() -> None:
    threshold = float(np.float32(0.1))  # above 0.1, below which float64 would put it
    probabilities = np.array([[0.1, 0.05]], np.float32)
    assert label_indexes(probabilities, Rejection(threshold, "unknown")).tolist() == [0]
    assert label_indexes(probabilities.astype(np.float64), Rejection(threshold, "unknown")).tolist() == [0]
    assert label_list(LABELS, None) == LABELS
