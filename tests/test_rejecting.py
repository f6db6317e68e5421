"""The reject threshold, against values worked out by hand: it is the lowest that is good enough, and in a gap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch_tf.measuring.outcomes import outcomes
from switch_tf.measuring.rejecting import Cut, choose_cut, cuts, measure_rejection, most_precise
from switch_tf.runs.rejection import Rejection


def answers(*confidences: float) -> np.ndarray:
    """Probabilities of two classes, of which the first is the more probable by so much: float32 [n, 2]."""
    sure = np.array(confidences, np.float32)
    return np.stack([sure, 1 - sure], axis=1)


RIGHT, WRONG = 0, 1  # of the first class
FOUR = answers(0.75, 1.0, 0.5625, 0.875)  # every middle is a float32 number
EXPECTED = np.array([WRONG, RIGHT, RIGHT, RIGHT])  # by confidence: right, right, wrong, right


def test_every_cut_by_hand() -> None:
    assert cuts(FOUR, EXPECTED) == [
        Cut(0.9375, 4, 1, 1),
        Cut(0.8125, 4, 2, 2),
        Cut(0.65625, 4, 3, 2),
        Cut(0.0, 4, 4, 3),
    ]
    assert [(cut.coverage, cut.precision) for cut in cuts(FOUR, EXPECTED)] == [
        (0.25, 1.0),
        (0.5, 1.0),
        (0.75, 2 / 3),
        (1.0, 0.75),
    ]


@pytest.mark.parametrize(
    ("precision", "threshold"),
    # At 2/3 the third text alone would be answered too; the fourth, which is right, brings it back over 0.7.
    [(1.0, 0.8125), (0.76, 0.8125), (0.75, 0.0), (0.7, 0.0), (2 / 3, 0.0), (0.01, 0.0)],
)
def test_the_lowest_threshold_that_is_good_enough(precision: float, threshold: float) -> None:
    cut = choose_cut(FOUR, EXPECTED, precision)
    assert cut is not None and cut.threshold == threshold


def test_texts_that_are_equally_sure_are_answered_together() -> None:
    probabilities = answers(0.75, 0.75, 0.5)
    expected = np.array([RIGHT, WRONG, RIGHT])
    assert cuts(probabilities, expected) == [Cut(0.625, 3, 2, 1), Cut(0.0, 3, 3, 2)]
    assert choose_cut(probabilities, expected, 0.9) is None
    assert most_precise(probabilities, expected) == Cut(0.0, 3, 3, 2)


def test_all_right_rejects_nothing_and_all_wrong_is_not_reached() -> None:
    assert choose_cut(FOUR, np.array([RIGHT] * 4), 1.0) == Cut(0.0, 4, 4, 4)
    assert choose_cut(FOUR, np.array([WRONG] * 4), 0.01) is None
    # Of equals, the one that answers most.
    assert most_precise(FOUR, np.array([WRONG] * 4)) == Cut(0.0, 4, 4, 0)
    assert most_precise(FOUR, EXPECTED) == Cut(0.8125, 4, 2, 2)


def test_one_text() -> None:
    assert cuts(answers(0.75), np.array([RIGHT])) == [Cut(0.0, 1, 1, 1)]
    assert choose_cut(answers(0.75), np.array([WRONG]), 0.5) is None


def test_a_share_that_is_just_reached_is_reached() -> None:
    """19 of 20 are 0.95, of which floating point has no exact number."""
    probabilities = answers(*np.linspace(0.99, 0.6, 20))
    expected = np.array([RIGHT] * 19 + [WRONG])
    cut = choose_cut(probabilities, expected, 0.95)
    assert cut is not None and (cut.threshold, cut.answered) == (0.0, 20)
    cut = choose_cut(probabilities, expected, 0.951)
    assert cut is not None and cut.answered == 19


def test_neighbours_in_float32_are_told_apart() -> None:
    above = np.float32(0.75)
    below = np.nextafter(above, np.float32(0))
    (first, _) = cuts(answers(float(above), float(below)), np.array([RIGHT, WRONG]))
    assert first == Cut(0.75, 2, 1, 1)


CONFIDENCES = st.lists(
    st.tuples(st.floats(0.5, 1.0, width=32) | st.sampled_from([0.5, 0.625, 0.75]), st.booleans()), min_size=1
)


@given(CONFIDENCES, st.floats(0.01, 1.0))
def test_what_is_chosen_keeps_its_word_and_none_that_answers_more_does(
    texts: list[tuple[float, bool]], precision: float
) -> None:
    probabilities = answers(*(confidence for confidence, _ in texts))
    expected = np.array([RIGHT if right else WRONG for _, right in texts])
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == expected
    enough = []  # how many are answered, by every threshold that is good enough, found the slow way
    for threshold in [0.0, *confidence.tolist()]:
        answered = confidence >= np.float32(threshold)
        if right[answered].sum() / answered.sum() >= precision:
            enough.append(int(answered.sum()))
    cut = choose_cut(probabilities, expected, precision)
    if cut is None:
        assert enough == [] and most_precise(probabilities, expected).precision < precision
        return
    answered = confidence >= np.float32(cut.threshold)
    assert cut.threshold == float(np.float32(cut.threshold)) and 0.0 <= cut.threshold <= 1.0
    assert (int(answered.sum()), int(right[answered].sum())) == (cut.answered, cut.right)
    assert cut.answered == max(enough)


@given(CONFIDENCES, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_more_precision_answers_no_more(texts: list[tuple[float, bool]], one: float, other: float) -> None:
    probabilities = answers(*(confidence for confidence, _ in texts))
    expected = np.array([RIGHT if right else WRONG for _, right in texts])
    more, less = (choose_cut(probabilities, expected, precision) for precision in (max(one, other), min(one, other)))
    assert more is None or (less is not None and less.answered >= more.answered and less.threshold <= more.threshold)


def test_what_a_threshold_does_by_hand() -> None:
    measured = measure_rejection(outcomes(FOUR, EXPECTED), Rejection(0.75, "unknown"))
    assert measured == {
        "threshold": 0.75,
        "label": "unknown",
        "n": 4,
        "answered": 3,  # the one that is at the threshold among them
        "coverage": 0.75,
        "precision": 2 / 3,
        "accuracy": 0.5,  # the rejected text has a class
    }


def test_a_threshold_that_rejects_all_has_no_precision() -> None:
    measured = measure_rejection(outcomes(answers(0.75, 0.5), np.array([RIGHT, 2])), Rejection(0.875, "unknown"))
    assert (measured["answered"], measured["precision"], measured["accuracy"]) == (0, None, 0.5)
    assert measured["out_of_scope"] == {"n": 1, "rejected": 1, "recall": 1.0, "precision": 0.5, "auroc": 1.0}


def test_a_threshold_that_rejects_nothing_has_no_precision_of_what_is_rejected() -> None:
    measured = measure_rejection(outcomes(answers(0.75, 0.5), np.array([RIGHT, 2])), Rejection(0.0, "unknown"))
    assert measured["out_of_scope"]["precision"] is None and measured["out_of_scope"]["recall"] == 0.0
