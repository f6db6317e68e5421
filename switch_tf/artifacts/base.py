"""What every model that answers texts has in common, and its answers, one text or a stream of millions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from switch_tf.data.streams import Line
from switch_tf.errors import ModelError

BATCH = 256  # texts in memory at a time


class Predictor(Protocol):
    """A model that answers texts."""

    labels: list[str]
    runtime: str  # what runs it

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]."""
        ...


def checked_labels(labels: object, classes: int, where: str) -> list[str]:
    """The class names of an artifact, if they are `classes` strings.

    Raises:
        ModelError: they are something else.
    """
    if not isinstance(labels, list) or len(labels) != classes or not all(isinstance(name, str) for name in labels):
        raise ModelError(f"{where} does not name its {classes} classes. Export it again.")
    return labels


def answer(model: Predictor, lines: Iterable[Line], top: int | None = None) -> Iterator[dict[str, Any]]:
    """One dictionary for each line, in their order: label, score and probabilities, or line and error.

    `top` keeps the most probable labels alone.
    """
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH)):
        texts = [line.text for line in batch if not line.error]
        answers = iter(model.probabilities(texts) if texts else [])
        for line in batch:
            if line.error:
                yield {"line": line.number, "error": line.error}
            else:
                yield describe(next(answers), model.labels, top)


def describe(probabilities: np.ndarray, labels: list[str], top: int | None = None) -> dict[str, Any]:
    """{"label", "score", "probabilities"} of one answer, float32 [classes]; all labels, or the `top` most probable."""
    order = np.argsort(-probabilities, kind="stable")
    shown = order[:top] if top else np.arange(len(labels))
    # The shortest digits that give the same float32 back.
    numbers = [float(str(value)) for value in probabilities.astype(np.float32)]
    best = int(order[0])
    return {"label": labels[best], "score": numbers[best], "probabilities": {labels[i]: numbers[i] for i in shown}}
