"""Changes of what every format holds: one value of an array, the labels, the reject threshold."""

from collections.abc import Callable
from typing import Any

import numpy as np

from breaks.targets import OFF
from switch_tf.export.proof.readback import Stored, holds
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text import packed_bytes


def _find(surgeon: Any, array: np.ndarray, folded: np.ndarray | None = None) -> tuple[Stored, Callable[..., None]]:
    for stored, write in surgeon.arrays():
        if stored.values.size == array.size and (
            holds(stored, array) or (folded is not None and holds(stored, folded))
        ):
            return stored, write
    raise AssertionError("a right artifact does not hold the array that should be broken")


def shift(name: str, place: int = -1) -> Callable[[Any, TextClassifier], None]:
    """One value of a weight is off: float32 by `OFF`, float16 by its last bit, int8 and other integers by one."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        (full,) = (each for each in model.stored_arrays() if each.endswith(name))
        stored, write = _find(surgeon, model.stored_arrays()[full], model.folded_arrays().get(full))
        values = stored.values.copy()
        if values.dtype == np.float32:
            values.flat[place] += OFF
        elif values.dtype == np.float16:
            values.flat[place] = np.nextafter(values.flat[place], np.float16(np.inf))
        else:
            values.flat[place] += 1 if values.flat[place] <= 0 else -1
        write(values)

    return change


def packed_table(name: str, alter: Callable[[np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """A constant that only the packed bytes front-end has is altered."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        stored, write = _find(surgeon, packed_bytes.stored_arrays(model.numeric_text)[f"bytes front-end/{name}"])
        values = stored.values.copy()
        alter(values)
        write(values)

    return change


def table(name: str, alter: Callable[[np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """A constant of the bytes front-end is altered."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        stored, write = _find(surgeon, model.numeric_text.stored_arrays()[f"bytes front-end/{name}"])
        values = stored.values.copy()
        alter(values)
        write(values)

    return change


def swap_two_ids(values: np.ndarray) -> None:
    """The ids of the rarest words trade places."""
    first, second = np.argsort(values)[-2:]
    values[[first, second]] = values[[second, first]]


def add_one(place: int) -> Callable[[np.ndarray], None]:
    def alter(values: np.ndarray) -> None:
        values.flat[place] += 1

    return alter


def reverse_labels(place: str) -> Callable[[Any, TextClassifier], None]:
    return say(place, lambda labels: labels[::-1])


def say(place: str, change: Callable[[Any], Any]) -> Callable[[Any, TextClassifier], None]:
    """What an artifact says of its labels or of its threshold is another, or is missing."""
    return lambda surgeon, model: surgeon.alter(place, change)


def move_threshold(by: Callable[[np.ndarray], Any]) -> Callable[[Any, TextClassifier], None]:
    """The number that probabilities are compared with is another."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        assert model.rejection is not None
        found = [
            (stored, write)
            for stored, write in surgeon.arrays()
            if stored.values.size == 1 and stored.values.dtype == np.float32
            if stored.values.item() == model.rejection.threshold
        ]
        assert found, "a right artifact does not hold the threshold"
        for stored, write in found:
            write(np.reshape(np.float32(by(stored.values)), stored.values.shape))

    return change


def invert(surgeon: Any, model: TextClassifier) -> None:
    assert model.rejection is not None
    surgeon.invert_rejection(model.rejection.threshold)


def rename_last(labels: list[str]) -> list[str]:
    return [*labels[:-1], "none of these"]


def last_bit(threshold: np.ndarray) -> Any:
    return np.nextafter(threshold, np.float32(1.0))
