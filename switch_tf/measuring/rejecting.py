"""Chooses a reject threshold on texts that the model was not trained on, and measures what it does.

A text is answered if the probability of its most probable label reaches the threshold (Chow 1970, IEEE Transactions on
Information Theory 16(1), the rule of the reject option). Pure functions over arrays.
"""

from typing import Any, NamedTuple

import numpy as np

from switch_tf.measuring.outcomes import Outcomes
from switch_tf.runs.rejection import Rejection, is_sure


class Cut(NamedTuple):
    """A threshold, and what it leaves of the texts it was tried on: how many it answers, and how many of those rightly.

    `threshold` is a float32 number.
    """

    threshold: float
    texts: int
    answered: int
    right: int

    @property
    def coverage(self) -> float:
        """Share of the texts that are answered."""
        return self.answered / self.texts

    @property
    def precision(self) -> float:
        """Share of the answered that is right."""
        return self.right / self.answered


def cuts(probabilities: np.ndarray, expected: np.ndarray) -> list[Cut]:
    """Every threshold that answers other texts than the others do, the highest first; each answers one text at least.

    It lies in the middle between two neighbouring probabilities, so that rounding flips no answer; the lowest is 0.

    Args:
        probabilities: [n, classes], of one text at least.
        expected: label indices [n].
    """
    confidence = probabilities.max(axis=1).astype(np.float32)  # [n]
    right = probabilities.argmax(axis=1) == expected  # [n]
    order = np.argsort(-confidence, kind="stable")
    confidence, rights = confidence[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(confidence[1:] < confidence[:-1], True))  # of texts that are equally sure
    return [
        Cut(_between(confidence, place), len(confidence), int(place) + 1, int(rights[place])) for place in last.tolist()
    ]


def _between(confidence: np.ndarray, place: int) -> float:
    """A threshold that the text at `place` reaches and the one behind it does not; both are float32, falling."""
    if place + 1 == len(confidence):
        return 0.0
    above, below = confidence[place], confidence[place + 1]
    middle = np.float32((float(above) + float(below)) / 2)
    return float(middle if middle > below else above)  # neighbours in float32 have no middle


def choose_cut(probabilities: np.ndarray, expected: np.ndarray, precision: float) -> Cut | None:
    """The lowest threshold of which the answered texts are right with at least that share; None if there is none.

    Three texts, of which the second is answered wrongly:

    >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> choose_cut(sure, np.array([0, 1, 1]), 0.9).threshold == float(np.float32((0.9 + 0.8) / 2))
    True
    >>> choose_cut(sure, np.array([0, 1, 1]), 0.6).threshold, choose_cut(sure, np.array([1, 1, 0]), 0.6)
    (0.0, None)
    """
    return next((cut for cut in reversed(cuts(probabilities, expected)) if cut.precision >= precision), None)


def most_precise(probabilities: np.ndarray, expected: np.ndarray) -> Cut:
    """The threshold of the highest precision that there is; of equals, that which answers most texts."""
    return max(cuts(probabilities, expected), key=lambda cut: (cut.precision, cut.answered))


def measure_rejection(outcomes: Outcomes, rejection: Rejection) -> dict[str, Any]:
    """What a threshold does on labelled texts, those that fit no class among them.

    Args:
        outcomes: of one text at least; the reject label is right where a text is rejected.

    Returns:
        label and threshold; n; answered, coverage (its share) and precision (the share of the answered that is right,
        None where none is answered); accuracy (the share of all texts that are answered or rejected rightly). With
        texts of the reject label: out_of_scope, with n, rejected, recall (the share of them that is rejected),
        precision (their share of what is rejected, or None) and auroc (of the probability of the answer, as what tells
        them from the others; None where there are no others).
    """
    is_answered, outside = is_sure(outcomes.confidence, rejection), outcomes.expected == outcomes.classes  # [n]
    right = np.where(is_answered, outcomes.best == outcomes.expected, outside)  # [n]
    answered, rejected = int(is_answered.sum()), int((~is_answered).sum())
    figures: dict[str, Any] = rejection.as_dict() | {
        "n": len(outside),
        "answered": answered,
        "coverage": answered / len(outside),
        "precision": int((right & is_answered).sum()) / answered if answered else None,
        "accuracy": float(right.mean()),
    }
    if outside.any():
        found = int((outside & ~is_answered).sum())
        figures["out_of_scope"] = {
            "n": int(outside.sum()),
            "rejected": found,
            "recall": found / int(outside.sum()),
            "precision": found / rejected if rejected else None,
            "auroc": _auroc(outcomes.confidence, ~outside),
        }
    return figures


def _auroc(confidence: np.ndarray, inside: np.ndarray) -> float | None:
    """The chance that a text of a class is surer than one of none, ties counted half."""
    from sklearn.metrics import roc_auc_score

    return None if not inside.any() else float(roc_auc_score(inside, confidence))
