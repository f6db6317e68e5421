"""Class names are vetted wherever they are read."""

import pytest

from switch_tf.artifacts.base import checked_labels
from switch_tf.errors import ModelError
from switch_tf.runs.labels import labels_problem


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (None, "are no list of class names"),
        ("ab", "are no list of class names"),
        (["a", 1], "are no list of class names"),
        (["a"], "are fewer than two class names"),
        (["a", "b", "a"], "have a name twice"),
        (["a", ""], "have the name '', which is empty or holds a control character"),
        (["a", "b\nc"], "have the name 'b\\nc', which is empty or holds a control character"),
        (["a", "\x1b[2J"], "have the name '\\x1b[2J', which is empty or holds a control character"),
        (["a", "\ud800"], "have the name '\\ud800', which is not UTF-8"),
    ],
)
def test_what_is_no_list_of_class_names_is_refused(labels: object, problem: str) -> None:
    assert labels_problem(labels) == problem
    with pytest.raises(ModelError) as refused:
        checked_labels(labels, 2, "the metadata of x.onnx")
    assert str(refused.value) == f"The labels in the metadata of x.onnx {problem}. Export it again."


def test_class_names_come_back_if_they_are_as_many_as_the_classes() -> None:
    labels = ["schön", "[b]", " spaced ", "a\u2028b"]
    assert labels_problem(labels) is None
    assert checked_labels(labels, 4, "x") == labels
    with pytest.raises(ModelError, match=r"x names 4 classes, and the model has 3\. Export it again\."):
        checked_labels(labels, 3, "x")
