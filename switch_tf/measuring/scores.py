"""How good a model is on labelled texts: accuracy, macro-F1, log loss, and the figures of each label."""

from typing import Any

import numpy as np

from switch_tf.artifacts.base import Predictor
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.measuring.fusion import expected_calibration_error
from switch_tf.measuring.rejecting import measure_rejection
from switch_tf.runs.rejection import Rejection, label_list

_TEXT_BATCH = 1024
_CONFUSIONS = 20  # kept, the most frequent ones
_FIGURES = ("accuracy", "macro_f1", "log_loss", "calibration_error")
_NOTHING: dict[str, Any] = {"n": 0, **dict.fromkeys(_FIGURES), "per_label": {}, "confusions": []}


def evaluate(model: Predictor, examples: Examples) -> dict[str, Any]:
    """Figures of a model on examples; the texts stream through it.

    Returns:
        n, accuracy, macro_f1 (over the labels that occur or are answered), log_loss (nats), calibration_error (0 to 1,
        of 15 bins), per_label (precision, recall, f1, support) and confusions, of `confusions`. All of them are of the
        most probable label. Of a model with a reject threshold they leave out texts whose label is the reject label,
        and are None where no others are left; rejection, of `measure_rejection`, has what becomes of all texts.

    Raises:
        DataError: an example has a label that the model does not know.
    """
    expected = encode_labels(examples, label_list(model.labels, model.rejection))  # [n]
    answers = [model.probabilities(texts) for texts in examples.text_batches(_TEXT_BATCH)]
    return score(np.concatenate(answers), expected, model.labels, model.rejection)


def score(
    probabilities: np.ndarray, expected: np.ndarray, labels: list[str], rejection: Rejection | None = None
) -> dict[str, Any]:
    """The same from probabilities, float [n, classes], and label indices, int [n]; `classes` is the reject label's."""
    if rejection is None:
        return _score(probabilities, expected, labels)
    known = expected < len(labels)
    figures = _score(probabilities[known], expected[known], labels) if known.any() else _NOTHING
    return figures | {"rejection": measure_rejection(probabilities, expected, rejection)}


def _score(probabilities: np.ndarray, expected: np.ndarray, labels: list[str]) -> dict[str, Any]:
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    answered = probabilities.argmax(axis=1)  # [n]
    picked = probabilities[np.arange(expected.size), expected].astype(np.float64)
    indices = np.arange(len(labels))
    each = precision_recall_fscore_support(expected, answered, labels=indices, zero_division=0.0)
    names = ("precision", "recall", "f1", "support")
    per_label = {
        label: {name: values[i].item() for name, values in zip(names, each, strict=True)}
        for i, label in enumerate(labels)
    }
    return {
        "n": int(expected.size),
        "accuracy": float(np.mean(answered == expected)),
        "macro_f1": float(f1_score(expected, answered, average="macro", zero_division=0.0)),
        "log_loss": float(-np.log(np.maximum(picked, np.finfo(np.float32).tiny)).mean()),
        "calibration_error": expected_calibration_error(probabilities, expected),
        "per_label": per_label,
        "confusions": confusions(expected, answered, labels),
    }


def confusions(expected: np.ndarray, answered: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    """Which labels are taken for which others: {"expected", "answered", "count"}, the 20 most frequent first.

    Args:
        expected: label indices [n].
        answered: the same.
    """
    wrong = expected != answered
    pairs, counts = np.unique(np.stack([expected, answered], axis=1)[wrong], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_CONFUSIONS]  # of equals, the first labels first
    return [{"expected": labels[pairs[i, 0]], "answered": labels[pairs[i, 1]], "count": int(counts[i])} for i in order]
