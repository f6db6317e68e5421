"""The gate of fine-tuned models, on answers that are made up: what rounding may change, and what it may not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.errors import ParityError
from switch_tf.export.fine_tuned import FineTunedComparison, FineTunedProof

TEXTS = 100
IDS = np.arange(TEXTS, dtype=np.int32)[:, np.newaxis]  # each text is its own number
RIGHT = np.tile(np.array([0.75, 0.25], np.float32), (TEXTS, 1))


def proof(near: list[int]) -> FineTunedProof:
    """Of a model that answers each text alike; the texts `near` have two experts that are nearly as good."""

    def reports(ids: tf.Tensor) -> Any:
        margin = tf.constant([5e-7 if number in near else 1e-3 for number in ids.numpy()[:, 0]])
        return SimpleNamespace(reports=[SimpleNamespace(routing=SimpleNamespace(margin=margin))])

    model: Any = SimpleNamespace(probabilities_of_ids=lambda ids: RIGHT[: len(ids)], model=reports)
    return FineTunedProof(model, IDS)


def answering(by: dict[int, float], alone: float = 0.0) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """An artifact that is off by so much for each text, and by `alone` for a text without company."""

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = np.array([by.get(int(number), 0.0) + (alone if len(ids) == 1 else 0.0) for number in ids[:, 0]])
        probabilities = RIGHT[: len(ids)] + off[:, np.newaxis] * [-1.0, 1.0]
        return probabilities, probabilities.argmax(axis=1)

    return ask


def compared(near: list[int], by: dict[int, float], alone: float = 0.0) -> FineTunedComparison:
    return proof(near).compare(answering(by, alone), "x")


def test_what_answers_alike_passes() -> None:
    found = compared([], {7: 9e-6})
    assert found.problems == [] and (found.texts, found.labels_equal, found.near_ties) == (100, 100, 0)
    assert found.max_abs_diff == pytest.approx(9e-6, rel=1e-2)


@pytest.mark.parametrize("off", [1.1e-5, 0.3, float("nan")])
def test_one_text_that_is_off_fails(off: float) -> None:
    found = compared([], {7: off})
    assert found.problems[0].startswith("Probabilities are off by")
    with pytest.raises(ParityError, match=r"^x does not answer as the trained model does: Probabilities are off by"):
        proof([]).check(answering({7: off}), "x")


def test_near_ties_are_counted_apart_as_long_as_they_are_few() -> None:
    """Of 100 texts two are more than one expects of a healthy model, three so many as less than once in 1,000 times."""
    two, three = (compared(near, dict.fromkeys(near, 9e-3)) for near in ([7, 8], [7, 8, 9]))
    assert (two.problems, two.near_ties, two.max_abs_diff) == ([], 2, 0.0)
    assert three.problems == ["3 texts differ where two experts are nearly as good."]


def test_a_near_tie_may_not_be_far_off() -> None:
    found = compared([7], {7: 1.1e-2})
    assert found.near_ties == 0 and found.problems == ["Probabilities are off by 1.1e-02, expected at most 1e-05."]


@pytest.mark.parametrize(("alone", "ok"), [(9e-7, True), (1.1e-6, False)])
def test_a_text_alone_gets_what_it_gets_among_others(alone: float, ok: bool) -> None:
    found = compared([], {}, alone)
    assert found.alone_max_abs_diff == pytest.approx(alone, rel=0.05)
    assert (found.problems == []) == ok
    assert ok or found.problems == ["A text alone differs by 1.1e-06 from the same among others, expected 1e-06."]
