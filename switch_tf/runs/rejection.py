"""The reject threshold: a text whose most probable label is too improbable is answered by a name that is no class.

A model without one answers every text by a class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from switch_tf.runs.labels import labels_problem

DEFAULT_LABEL = "unknown"


@dataclass(frozen=True)
class Rejection:
    """When a model answers by no class, and what it says then.

    Attributes:
        threshold: what the probability of the most probable label has to reach, a float32 number from 0 to 1.
        label: what texts are answered that do not reach it.
    """

    threshold: float
    label: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which the number comes back as it is."""
        return asdict(self)


def label_list(labels: Sequence[str], rejection: Rejection | None) -> list[str]:
    """What a label index means: the class names and, behind them, the reject label where there is one.

    >>> label_list(["neg", "pos"], Rejection(0.75, "unknown")), label_list(["neg", "pos"], None)
    (['neg', 'pos', 'unknown'], ['neg', 'pos'])
    """
    return [*labels] if rejection is None else [*labels, rejection.label]


def label_indexes(probabilities: np.ndarray, rejection: Rejection | None) -> np.ndarray:
    """What is answered, as positions in `label_list`: int64 [n] of probabilities [n, classes].

    >>> answers = np.array([[0.2, 0.8], [0.75, 0.25], [0.5, 0.5]], np.float32)
    >>> label_indexes(answers, Rejection(0.75, "unknown")), label_indexes(answers, None)
    (array([1, 0, 2]), array([1, 0, 0]))
    """
    best = probabilities.argmax(axis=1)
    if rejection is None:
        return best
    return np.where(is_sure(probabilities.max(axis=1), rejection), best, probabilities.shape[1])


def is_sure(confidence: np.ndarray, rejection: Rejection) -> np.ndarray:
    """Whether texts are answered by a class: bool [n] of the probabilities [n] of their most probable labels."""
    return confidence.astype(np.float32) >= np.float32(rejection.threshold)  # as the graph compares


def rejection_problem(value: object, labels: Sequence[str]) -> str | None:
    """What is wrong with a threshold and a reject label that were read from a file; None if nothing is.

    Args:
        value: {"threshold", "label"}, if it is what it should be, and maybe more.
        labels: the class names that the reject label stands beside, which are right.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("label"), str):
        return "is no threshold with a reject label"
    threshold = value.get("threshold")
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is None or not is_number or not 0 <= threshold <= 1:  # NaN is not either
        return f"has the threshold {threshold!r}. Expected 0 to 1"
    problem = labels_problem([*labels, value["label"]])
    return None if problem is None else f"has the reject label {value['label'][:40]!r}, with which the labels {problem}"


def read_rejection(value: Any) -> Rejection:
    """Of what `rejection_problem` finds nothing wrong with."""
    return Rejection(float(np.float32(value["threshold"])), value["label"])
