"""What every model that answers texts has in common, and its answers, one text or a stream of millions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from switch_tf.data.streams import Line
from switch_tf.errors import DataError, ModelError
from switch_tf.runs.labels import labels_problem
from switch_tf.runs.rejection import Rejection, label_indexes, label_list, read_rejection, rejection_problem

BATCH = 256  # texts in memory at a time
TEXT_BATCH = 64  # texts that a runtime is asked at a time, where its batch is dynamic: larger ones are no faster
_IDS_BATCH = 1024  # for ids alone they are
_IDS_BYTES = 2**20


def ids_batch(width: int) -> int:
    """Texts to ask for ids alone at a time, where each is a row of `width` bytes (0: a string): some megabytes."""
    return max(1, min(_IDS_BATCH, _IDS_BYTES // max(1, width)))


class Answers(NamedTuple):
    """What a model says of texts: ids int32 [n, length], probabilities float32 [n, classes], labels str [n]."""

    ids: np.ndarray
    probabilities: np.ndarray
    labels: list[str]


class Predictor(Protocol):
    """A model that answers texts, whatever runs it."""

    labels: list[str]
    rejection: Rejection | None  # when it answers by no class
    runtime: str  # what runs it
    checked: bool  # whether its files were compared with the checksums they were written with

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]."""
        ...

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Token ids as the model's own front-end reads them, int32 [texts, length]."""
        ...


def checked_labels(labels: object, classes: int | None, where: str) -> list[str]:
    """The class names of an artifact, if they are `classes` names of classes, or any number of them for None.

    Raises:
        ModelError: they are something else.
    """
    problem = labels_problem(labels)
    if problem:
        raise ModelError(f"The labels in {where} {problem}. Export it again.")
    assert isinstance(labels, list)
    if classes is not None and len(labels) != classes:
        raise ModelError(f"{where} names {len(labels)} classes, and the model has {classes}. Export it again.")
    return labels


def checked_rejection(names: object, reject: object, classes: int, where: str) -> tuple[list[str], Rejection | None]:
    """The class names of an artifact, and its threshold where it has one.

    Args:
        names: what a label index means, which with a threshold is one name more than there are classes.
        reject: None, or the threshold and the reject label, as `where` has them.

    Raises:
        ModelError: they are something else, or the last of the names is not the reject label.
    """
    if reject is None:
        return checked_labels(names, classes, where), None
    if isinstance(names, list) and len(names) != classes + 1:
        expected = f"{classes} classes and the reject label"
        raise ModelError(f"{where} names {len(names)} labels. Expected {expected}. Export it again.")
    names = checked_labels(names, classes + 1, where)
    problem = rejection_problem(reject, names[:-1])
    if problem:
        raise ModelError(f"The reject threshold in {where} {problem}. Export it again.")
    rejection = read_rejection(reject)
    if names[-1] != rejection.label:
        problem = f"{where} names {names[-1]!r} last, and the reject label {rejection.label!r}"
        raise ModelError(f"{problem}. Expected one name. Export it again.")
    return names[:-1], rejection


def checked_probabilities(probabilities: np.ndarray, path: str) -> np.ndarray:
    """Probabilities as they are, if they are numbers.

    Raises:
        ModelError: one is NaN or infinite: the weights are damaged, or overflow on these texts.
    """
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{path} answers with probabilities that are no numbers. Export it again, or train again.")
    return probabilities


def as_text(text: str | bytes) -> str:
    """A text as a string that UTF-8 can hold.

    Raises:
        DataError: it is neither a string nor bytes, or not UTF-8.
    """
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8")
        if isinstance(text, str):
            text.encode("utf-8")  # half a surrogate pair is in no encoding
            return text
    except UnicodeError as error:
        raise DataError(f"Received {text[:80]!r}, which is not UTF-8. Expected text.") from error
    raise DataError(f"Received {text!r} of type {type(text).__name__}. Expected text.")


def as_bytes(text: str | bytes) -> bytes:
    """A text as bytes: a string in UTF-8, bytes as they are.

    Raises:
        DataError: it is neither a string nor bytes, or holds half a surrogate pair.
    """
    return text if isinstance(text, bytes) else as_text(text).encode("utf-8")


def ask_in_batches(
    ask: Callable[[list[Any]], np.ndarray],
    texts: Sequence[Any],
    fixed: int | None,
    filling: Any,
    empty: np.ndarray,
    size: int = TEXT_BATCH,
) -> np.ndarray:
    """The answers to any number of texts, a row for each.

    Args:
        ask: gets at most `size` texts, or exactly `fixed` where the model has one batch size.
        filling: what fills up the last batch.
        empty: the answer to no texts, which is not asked: many graphs fail on a batch of 0.
    """
    size = fixed or size
    answers = [empty]
    for start in range(0, len(texts), size):
        batch = list(texts[start : start + size])
        answers.append(ask(batch + [filling] * ((fixed or 0) - len(batch)))[: len(batch)])
    return np.concatenate(answers)


def answer(model: Predictor, lines: Iterable[Line], top: int | None = None) -> Iterator[dict[str, Any]]:
    """One dictionary for each line, in their order: as `describe` has it, or line and error.

    `top` keeps the most probable labels alone.
    """
    for _, row in answer_beside(model, lines, top):
        yield row


def answer_beside(
    model: Predictor, lines: Iterable[Line], top: int | None = None
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The same with the line that each answers."""
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH)):
        texts = [line.text for line in batch if not line.error]
        answers = iter(model.probabilities(texts) if texts else [])
        for line in batch:
            if line.error:
                yield line, {"line": line.number, "error": line.error}
            else:
                yield line, describe(next(answers), model.labels, top, model.rejection)


def describe(
    probabilities: np.ndarray, labels: list[str], top: int | None = None, rejection: Rejection | None = None
) -> dict[str, Any]:
    """{"label", "score", "probabilities"} of one answer, float32 [classes]; all labels, or the `top` most probable.

    The score is the highest probability, of a text that is rejected too. With a `rejection`, "rejected" says whether
    the label is the reject label.
    """
    order = np.argsort(-probabilities, kind="stable")
    shown = order[:top] if top else np.arange(len(labels))
    # The shortest digits that give the same float32 back.
    numbers = [float(str(value)) for value in probabilities.astype(np.float32)]
    best = int(label_indexes(probabilities[np.newaxis], rejection)[0])
    said = {} if rejection is None else {"rejected": best == len(labels)}
    return {
        "label": label_list(labels, rejection)[best],
        "score": numbers[int(order[0])],
        **said,
        "probabilities": {labels[i]: numbers[i] for i in shown},
    }
