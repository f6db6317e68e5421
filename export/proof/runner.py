"""What asks an artifact through its own runtime, one for each format; a new format joins by adding one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, get_args

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.errors import ModelError
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof.readback import Part


class Asker(Protocol):
    """Asks an artifact."""

    path: str
    door: Door
    size: int  # bytes on disk
    precision: Precision

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all texts: once for each batch size, then what further signatures or runtimes say of them."""
        ...


class Runner(Asker, Protocol):
    """Asks an artifact, and says what is written in it."""

    admits_invalid_utf8: bool

    def tokenize(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """Ids alone, int32 [texts, length], of each text front-end in each runtime; none where ids go in."""
        ...

    def named_labels(self) -> Mapping[str, list[str]]:
        """The class names in their order, by the place where a user finds them."""
        ...

    def named_rejections(self) -> Mapping[str, Any]:
        """The reject threshold and label as `Rejection.as_dict` has them, by the place where they stand, or None."""
        ...

    def parts(self) -> Sequence[Part]:
        """What is stored in the artifact."""
        ...


def precision_of(facts: Mapping[str, str], path: str) -> Precision:
    """The precision that an artifact says it has.

    Raises:
        ModelError: it is none of ours.
    """
    received = facts.get("precision")
    for precision in get_args(Precision):
        if received == precision:
            return precision
    expected = ", ".join(get_args(Precision))
    raise ModelError(f"{path}: its metadata say precision = {received!r}. Expected one of {expected}. Export it again.")


def named(labels: Sequence[str], indexes: np.ndarray) -> list[str]:
    """The labels that indexes [n] mean; one that means none, such as -1, is written as it is, and equals no label.

    >>> named(["neg", "pos"], np.array([1, -1, 2]))
    ['pos', '\\x00-1', '\\x002']
    """
    known = dict(enumerate(labels))
    return [known.get(index, f"\0{index}") for index in indexes.ravel().tolist()]  # no label has a NUL in it


def refuse_ranks(received: Answers) -> None:
    """
    Raises:
        ModelError: ids or probabilities are no rows.
    """
    for name, array in zip(Answers._fields, received[:2], strict=False):
        if array.ndim != 2:
            raise ModelError(f"Received {name} of the shape {array.shape}. Expected rows. Export it again.")


def in_batches(
    ask: Callable[[list[bytes]], Answers], texts: Sequence[bytes], batch_sizes: Sequence[int], fixed: int | None
) -> list[Answers]:
    """Answers to all texts, once for each batch size; where that is `fixed`, as often among other batch-mates.

    `ask` gets at most as many texts as the size, and exactly as many where it is fixed: the last batch is filled up.
    """

    def answer(rows: Sequence[bytes], size: int) -> Answers:
        ids, probabilities, labels = [], [], []
        for start in range(0, len(rows), size):
            batch = list(rows[start : start + size])
            received = ask(batch + [b""] * ((fixed or 0) - len(batch)))
            refuse_ranks(received)
            ids.append(received.ids[: len(batch)])
            probabilities.append(received.probabilities[: len(batch)])
            labels += received.labels[: len(batch)]
        return Answers(np.concatenate(ids), np.concatenate(probabilities), labels)

    if fixed is None:
        return [answer(texts, size) for size in batch_sizes]
    results = []
    for number in range(len(batch_sizes)):
        order = np.random.default_rng(number).permutation(len(texts)) if number else np.arange(len(texts))
        ids, probabilities, labels = answer([texts[index] for index in order], fixed)
        back = np.argsort(order)
        results.append(Answers(ids[back], probabilities[back], [labels[index] for index in back]))
    return results
