"""The experiment on letters of unknown words: what it counts, and that known words answer as the model does."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from unknown_words import Letters, Reader, fit, misspell, runs

from switch_tf.config import WideConfig
from switch_tf.text.ngrams import word_grams

VOCABULARY = ["lovely", "love", "awful", "awfully", "film", "plot"]


def test_runs_are_those_of_the_wide_path() -> None:
    assert runs("cat") == {"<ca", "<cat", "at>", "cat", "cat>"}
    ours = Letters.of(VOCABULARY).matrix(VOCABULARY, 2)
    theirs = word_grams([word.encode() for word in VOCABULARY], len(VOCABULARY) + 2, 2)
    np.testing.assert_array_equal(ours.sum(axis=1), theirs.sum(axis=1))
    np.testing.assert_array_equal(np.sort(np.asarray(ours.sum(axis=0))), np.sort(np.asarray(theirs.sum(axis=0))))


def test_typos_change_a_letter_or_two_of_longer_words() -> None:
    draw = np.random.default_rng(0)
    assert misspell("a bad film", 0.0, draw) == "a bad film"
    changed = [misspell("lovely the", 1.0, draw).split(" ") for _ in range(50)]
    assert all(the == "the" and abs(len(word) - 6) <= 1 for word, the in changed)
    assert len({word for word, _ in changed}) > 10


def test_further_ids_are_of_unknown_words() -> None:
    reader = Reader(["love", "film"], length=4)
    ids = reader.ids(["Love lovly film", "lovly x"])
    assert ids.tolist() == [[2, 4, 3, 0], [4, 5, 0, 0]]
    assert reader.as_unknown(ids).tolist() == [[2, 1, 3, 0], [1, 1, 0, 0]]
    assert reader.unknown == ["lovly", "x"]


@pytest.mark.parametrize("classes", [2, 3])
def test_letters_tell_what_an_unknown_word_is(classes: int) -> None:
    texts = [f"{VOCABULARY[number % 4]} {VOCABULARY[4 + number % 3 % 2]}" for number in range(48)]
    labels = np.array([number % 4 // 2 if classes == 2 or number % 5 else 2 for number in range(48)], np.int32)
    reader = Reader(VOCABULARY, length=4)
    composed = fit(reader.ids(texts), labels, VOCABULARY, WideConfig())
    known, unknown = (
        reader.ids(["lovely film", "awful plot"]),
        reader.ids(["loveliest film", "awfull plot", "zzz film"]),
    )
    np.testing.assert_allclose(composed.logits(known, reader), composed.fit.tables.logits(known), rtol=1e-5)
    answers = composed.logits(unknown, reader)
    assert answers[:2, :2].argmax(axis=1).tolist() == [0, 1]
    as_unknown = composed.fit.tables.logits(reader.as_unknown(unknown))
    np.testing.assert_allclose(answers[2], as_unknown[2], rtol=1e-5)
    assert answers[0, 1] - answers[0, 0] < as_unknown[0, 1] - as_unknown[0, 0]
