"""How good a model is on labelled texts: accuracy, macro-F1, log loss, and the figures of each label."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from switch_tf.artifacts.base import Predictor
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.measuring.fusion import calibration_error
from switch_tf.measuring.outcomes import Gathered, Outcomes, outcomes
from switch_tf.measuring.rejecting import measure_rejection
from switch_tf.runs.rejection import Rejection, label_list

_TEXT_BATCH = 1024
_CONFUSIONS = 20  # kept, the most frequent ones
_FIGURES = ("accuracy", "macro_f1", "log_loss", "calibration_error")
_NOTHING: dict[str, Any] = {"n": 0, **dict.fromkeys(_FIGURES), "per_label": {}, "confusions": []}


def evaluate(model: Predictor, examples: Examples | Iterable[Examples]) -> dict[str, Any]:
    """Figures of a model on examples, all at once or some at a time; what is kept of each text are 16 bytes.

    Returns:
        n, accuracy, macro_f1 (over the labels that occur or are answered), log_loss (nats), calibration_error (0 to 1,
        of 15 bins), per_label (precision, recall, f1, support) and confusions, of `confusions`. All of them are of the
        most probable label. Of a model with a reject threshold they leave out texts whose label is the reject label,
        and are None where no others are left; rejection, of `measure_rejection`, has what becomes of all texts.

    Raises:
        DataError: an example has a label that the model does not know.
    """
    names, found = label_list(model.labels, model.rejection), Gathered(len(model.labels))
    for texts, expected in _batches([examples] if isinstance(examples, Examples) else examples, names):
        found.add(model.probabilities(texts), expected)
    return score_outcomes(found.all(), model.labels, model.rejection)


def _batches(some: Iterable[Examples], names: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Texts and label indices, always as many at a time, so that how examples come makes no difference to answers."""
    texts, codes = np.empty(0, object), np.empty(0, np.int32)
    for examples in some:
        expected, start = encode_labels(examples, names), 0
        for batch in examples.text_batches(_TEXT_BATCH):
            texts = np.concatenate([texts, batch])
            codes = np.concatenate([codes, expected[start : start + len(batch)]])
            start += len(batch)
            if len(texts) >= _TEXT_BATCH:
                yield texts[:_TEXT_BATCH], codes[:_TEXT_BATCH]
                texts, codes = texts[_TEXT_BATCH:], codes[_TEXT_BATCH:]
    if len(texts):
        yield texts, codes


def score(
    probabilities: np.ndarray, expected: np.ndarray, labels: list[str], rejection: Rejection | None = None
) -> dict[str, Any]:
    """The same from probabilities, float [n, classes], and label indices, int [n]; `classes` is the reject label's."""
    return score_outcomes(outcomes(probabilities, expected), labels, rejection)


def score_outcomes(found: Outcomes, labels: list[str], rejection: Rejection | None = None) -> dict[str, Any]:
    """The same from outcomes."""
    if rejection is None:
        return _score(found, labels)
    known = found.expected < found.classes
    figures = _score(found if known.all() else found.where(known), labels) if known.any() else _NOTHING
    return figures | {"rejection": measure_rejection(found, rejection)}


def _score(found: Outcomes, labels: list[str]) -> dict[str, Any]:
    count, classes = len(found.expected), found.classes
    support, answered, right = (np.zeros(classes, np.int64) for _ in range(3))  # [classes]
    loss, wrong = 0.0, Counter[tuple[int, int]]()
    for piece in found.pieces():
        is_right = piece.best == piece.expected
        support += np.bincount(piece.expected, minlength=classes)
        answered += np.bincount(piece.best, minlength=classes)
        right += np.bincount(piece.expected[is_right], minlength=classes)
        loss -= float(np.log(np.maximum(piece.picked.astype(np.float64), np.finfo(np.float32).tiny)).sum())
        wrong.update(_pairs(piece.expected[~is_right], piece.best[~is_right], classes))
    f1 = _share(2 * right, support + answered)
    columns = (_share(right, answered), _share(right, support), f1, support)
    per_label = zip(*(column.tolist() for column in columns), strict=True)
    return {
        "n": count,
        "accuracy": float(right.sum() / count),
        "macro_f1": float(np.mean(f1[support + answered > 0])),
        "log_loss": loss / count,
        "calibration_error": calibration_error(found),
        "per_label": {
            label: dict(zip(("precision", "recall", "f1", "support"), values, strict=True))
            for label, values in zip(labels, per_label, strict=True)
        },
        "confusions": _described(wrong, labels),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Float64 [classes]; of nothing it is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def confusions(expected: np.ndarray, answered: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    """Which labels are taken for which others: {"expected", "answered", "count"}, the 20 most frequent first.

    Args:
        expected: label indices [n].
        answered: the same.
    """
    wrong = expected != answered
    return _described(_pairs(expected[wrong], answered[wrong], len(labels)), labels)


def _pairs(expected: np.ndarray, answered: np.ndarray, classes: int) -> Counter[tuple[int, int]]:
    """How often each pair occurs."""
    codes, counts = np.unique(expected.astype(np.int64) * classes + answered, return_counts=True)
    return Counter({divmod(code, classes): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)})


def _described(pairs: Counter[tuple[int, int]], labels: list[str]) -> list[dict[str, Any]]:
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))  # of equals, the first labels first
    return [
        {"expected": labels[one], "answered": labels[other], "count": count}
        for (one, other), count in ordered[:_CONFUSIONS]
    ]
