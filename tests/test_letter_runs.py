"""Runs of letters: what counts as one, exact names, and the index that finds them in NumPy and in graphs."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import RunError
from switch_tf.text.letter_runs import RunIndex, build_run_index, names_around, names_of

LARGEST = 2**10 - 1


def around(row: list[int]) -> list[np.ndarray]:
    """What stands around each place of a row."""
    padded = np.array([0, *row, 0, 0, 0], np.int32)
    return [padded[offset : offset + len(row)] for offset in range(5)]


def runs_in(row: list[int]) -> set[tuple[int, ...]]:
    """By the definition: of each length what has letters inside and one more at an end."""
    found = set()
    padded = [*row, 0, 0, 0, 0]
    for size, start in itertools.product((3, 4, 5), range(len(row))):
        run = tuple(padded[start : start + size])
        if all(run[1:-1]) and (run[0] or run[-1]):
            found.add(run)
    return found


def filled(runs: Any) -> np.ndarray:
    return np.array([[*run, *[-1] * (5 - len(run))] for run in runs], np.int64).reshape(-1, 5)


def test_a_word_has_runs_of_each_length_with_its_ends() -> None:
    index = build_run_index(names_of(filled([(0, 5, 6), (5, 6, 0), (0, 5, 6, 7), (5, 6, 7), (0, 5, 6, 7, 0)])))
    found = index.find(around([0, 5, 6, 0, 5, 6, 7, 0, 7, 0]))
    assert found.T.tolist() == [
        [5, 5, 5],
        [0, 5, 5],  # 0 5 6
        [1, 5, 5],  # 5 6 0
        [5, 5, 5],
        [0, 2, 4],  # 0 5 6, 0 5 6 7 and 0 5 6 7 0
        [3, 5, 5],  # 5 6 7
        [5, 5, 5],
        [5, 5, 5],
        [5, 5, 5],
        [5, 5, 5],
    ]


def test_names_of_the_largest_letters_are_positive_and_apart() -> None:
    letters = (0, 1, 511, 512, LARGEST)
    runs = [run for size in (3, 4, 5) for run in itertools.product(letters, repeat=size)]
    names = names_of(filled(runs))
    assert names.min() >= 0 and names.max() < 2**31
    assert len(np.unique(names, axis=0)) == len(runs)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.lists(st.integers(1, 6) | st.integers(1, LARGEST), max_size=7), max_size=6), st.integers(0, 99))
def test_every_run_of_a_row_is_found_and_no_other(words: list[list[int]], seed: int) -> None:
    row = [0, *itertools.chain.from_iterable([*word, 0] for word in words)]
    runs = sorted(runs_in(row))
    known = [run for number, run in enumerate(runs) if (number * 7 + seed) % 3]
    index = build_run_index(names_of(filled(known)))
    found = index.find(around(row))
    assert set(found.ravel().tolist()) - {len(known)} == set(range(len(known)))
    for size, column in zip((3, 4, 5), found, strict=True):
        for place, number in enumerate(column):
            asked = tuple([0, *row, 0, 0, 0][place : place + size])
            assert (number < len(known)) == (asked in known and asked in runs_in(row))
            assert number == len(known) or known[number] == asked


def test_a_graph_finds_the_same() -> None:
    draw = np.random.default_rng(0)
    row = (draw.integers(0, 9, 400) * draw.integers(0, 2, 400)).tolist()
    index = build_run_index(names_of(filled(sorted(runs_in(row))[::2])))
    given = around(row)
    found = tf.function(lambda *rows: index.look_up(rows), autograph=False)(*map(tf.constant, given))
    np.testing.assert_array_equal(found, index.find(given))
    assert found.shape == (3, 400)


def test_the_first_runs_are_kept() -> None:
    runs = [(0, 5, 6), (5, 6, 7), (5, 6, 7, 0), (6, 7, 0)]
    index, kept = (build_run_index(names_of(filled(some))) for some in (runs, runs[:2]))
    given = around([0, 5, 6, 7, 0])
    np.testing.assert_array_equal(index.keep(2).find(given), kept.find(given))
    assert index.keep(0).find(given).tolist() == [[0] * 5] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": np.array([9], np.int32)},
        {"shifts": np.array([-1], np.int32)},
        {"second": np.zeros(99, np.int32)},
        {"first": np.zeros(2, np.int64)},
        {"shifts": np.zeros(0, np.int32)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arrays_that_are_damaged(wrong: dict[str, np.ndarray]) -> None:
    index = build_run_index(names_of(filled([(0, 5, 6), (5, 6, 7)])))
    arrays = index.to_arrays()
    assert RunIndex.from_arrays(arrays, 2, "a file").find(around([0, 5, 6, 7])).min() == 0
    with pytest.raises(RunError, match=r"^a file holds .*[Rr]estore"):
        RunIndex.from_arrays(arrays | wrong, 2, "a file")


def test_names_in_a_graph_stay_in_32_bits() -> None:
    rows = [tf.constant([LARGEST], tf.int32)] * 5
    expected = names_of(np.full([3, 5], LARGEST) - np.tril(np.full([3, 5], LARGEST + 1), -1)[::-1, ::-1])
    np.testing.assert_array_equal(tf.squeeze(names_around(rows), axis=-1), expected.T)
