"""What the wide path says of unknown words: a row by hand, and the same sums in NumPy and both graphs, to the bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.errors import RunError
from switch_tf.models.letters import LetterTables, Runs, letter_tables
from switch_tf.models.wide import WidePath, WideTables
from switch_tf.text.letter_runs import build_run_index, names_of
from switch_tf.text.ngrams import build_pair_index

A, B, C = 5, 6, 7
STEP = 2.0**-6


def tables(rare_idf: float = 3.0, largest: float = 8.0) -> LetterTables:
    """Of the runs "<ab", "abc" and "bc>", the first of ids up to 3, the others up to 4; two columns."""
    names = names_of(np.array([[0, A, B, -1, -1], [A, B, C, -1, -1], [B, C, 0, -1, -1]]))
    rows = np.array([[1.27, 0.0, 4.0], [-0.5, 2.54, 9.0], [0.25, 0.02, 3.4]], np.float32)
    runs = Runs(build_run_index(names), np.array([3, 4, 4], np.int32), rows, rare_idf)
    return letter_tables(runs, np.array([largest, largest, 99.0]), np.array([STEP, STEP, STEP]))


UNKNOWN = np.array([0.25, -0.5, 2.0], np.float32)


def test_a_row_by_hand() -> None:
    (found,) = tables().sums(np.array([[0, A, B, C, 0, A, 0, 0]], np.int32), UNKNOWN)
    # abc has all three runs: weights 127 - 50 + 25 of 0.01, and 0 + 127 + 1 of 0.02, over the root of 4 + 9 + 3
    columns = [102 * 0.01 * 3 / 4, 128 * 0.02 * 3 / 4]
    cut = [int(value / STEP) * STEP for value in columns]
    np.testing.assert_array_equal(found, [cut[0] - 0.25, cut[1] + 0.5, 9.0 - 2.0])  # "a" has none, and stays unknown


def test_a_run_counts_as_often_as_a_word_has_it() -> None:
    known = np.array([[0, A, B, C, A, B, C, 0]], np.int32)
    (found,) = tables().sums(known, np.zeros(3, np.float32))
    expected = int((127 - 50 - 50 + 25) * 0.01 * 3 / 5 / STEP) * STEP  # 4 + 9 + 9 + 3 is the square of 5
    assert found[0] == expected


def test_a_row_is_within_the_largest_of_known_words() -> None:
    (found,) = tables(rare_idf=100.0).sums(np.array([[0, A, B, C, 0]], np.int32), np.zeros(3, np.float32))
    assert found[:2].tolist() == [8.0, 8.0]


def drawn(texts: int, width: int) -> np.ndarray:
    """Rows of words as front-ends write them, one zero between two; the fourth has none."""
    draw, rows = np.random.default_rng(0), np.zeros([texts, width], np.int32)
    for row in (*rows[:3], *rows[4:]):
        words = [draw.choice([A, B, C, 8], draw.integers(1, 7), p=[0.3, 0.3, 0.3, 0.1]) for _ in range(9)]
        letters = np.concatenate([[0, *word] for word in words])[: draw.integers(2, width)]
        row[: len(letters)] = letters
    return rows


def path(known: LetterTables | None) -> WidePath:
    draw = np.random.default_rng(1)
    words = np.round(draw.normal(size=[5, 3]) / STEP).astype(np.float32) * np.float32(STEP)
    words[0], words[:, -1] = 0, np.abs(words[:, -1]) + 1
    index = build_pair_index(np.array([[2, 3]]), 5)
    return WidePath(WideTables(words, np.zeros([2, 3], np.float32), np.zeros(2, np.float32), index, known))


@pytest.mark.slow
@pytest.mark.parametrize("rare_idf", [3.0, 100.0])  # with the second, rows are held within the largest of known words
def test_graphs_add_up_the_same_in_any_batch(rare_idf: float) -> None:
    known, letters = tables(rare_idf), drawn(40, 33)
    expected = known.sums(letters, UNKNOWN)
    assert np.abs(expected).max() > 1 and not expected[3].any()
    whole = tf.function(lambda rows: known.sums_in_graph(rows, 20, UNKNOWN), autograph=False)
    packed = tf.function(lambda rows: known.packed_sums(rows, UNKNOWN), autograph=False)
    compiled = tf.function(lambda rows: known.sums_in_graph(rows, 20, UNKNOWN), autograph=False, jit_compile=True)
    for ask in (whole, packed, compiled):
        np.testing.assert_array_equal(ask(tf.constant(letters)), expected)
    for ask in (whole, packed):
        np.testing.assert_array_equal(ask(tf.constant(letters[5:6])), expected[5:6])
        np.testing.assert_array_equal(ask(tf.constant(letters[3:4])), expected[3:4])  # no unknown word at all


def test_cut_vocabularies_keep_the_runs_of_two_words() -> None:
    kept = tables().keep_ids(4)
    assert kept.words.tolist() == [3] and kept.weights.shape == (2, 3)
    letters = np.array([[0, A, B, C, 0]], np.int32)
    (found,) = kept.sums(letters, np.zeros(3, np.float32))
    assert found[0] == int(1.27 * 3 / 2 / STEP) * STEP


def changed(name: str, array: Any) -> dict[str, Any]:
    return tables().to_arrays() | {name: array}


def test_arrays_come_back() -> None:
    arrays = tables().to_arrays()
    again = LetterTables.from_arrays(arrays, 2, "a file")
    for name, array in again.to_arrays().items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("weights", np.zeros([4, 3], np.float32)),
        ("weights", np.zeros([3, 3], np.int8)),
        ("factors", np.zeros(3, np.float32)),
        ("rare", np.zeros([], np.float32)),
        ("index/rows", np.zeros(2, np.int32)),
    ],
)
def test_damaged_arrays_are_refused(name: str, array: np.ndarray) -> None:
    with pytest.raises(RunError, match=r"^a file holds .*[Rr]estore it|Restore the file"):
        LetterTables.from_arrays(changed(name, array), 2, "a file")


def test_a_missing_array_is_refused() -> None:
    arrays = tables().to_arrays()
    del arrays["largest"]
    with pytest.raises(RunError, match="holds nothing as 'largest'"):
        LetterTables.from_arrays(arrays, 2, "a file")


def test_a_wide_path_without_letters_is_asked_without() -> None:
    ids, letters = np.array([[2, 1, 0]], np.int32), np.array([[0, A, B, C, 0]], np.int32)
    known = path(tables())
    alike, told = known(tf.constant(ids)), known(tf.constant(ids), None, tf.constant(letters))
    np.testing.assert_array_equal(alike, path(None)(tf.constant(ids), None, tf.constant(letters)))
    assert np.abs(np.asarray(alike - told)).max() > 1e-3


def test_norms_beyond_the_last_are_the_last() -> None:
    known = dataclasses.replace(tables(), largest=np.full(2, 1e9, np.float32))
    many = np.array([[0, *[A, B, C] * 500, 0]], np.int32)
    (found,) = known.sums(many, np.zeros(3, np.float32))
    weight = 127 - 50 * 500 + 25
    root = np.float32(1 / np.sqrt(4095))
    assert found[0] == np.trunc(np.float32(weight) * root * known.factors[0]) * np.float32(STEP)
