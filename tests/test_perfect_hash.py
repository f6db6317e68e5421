"""The table finds every key it was built from and no other, whatever the keys."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text import perfect_hash
from switch_tf.text.perfect_hash import KeyCollisionError, PerfectHash, build_perfect_hash

MISSING = 1


def random_keys(count: int, columns: int = 2, below: int = 2**31, seed: int = 0) -> np.ndarray:
    """Different keys, [count, columns]."""
    random = np.random.default_rng(seed)
    return np.unique(random.integers(0, below, [count + 100, columns]), axis=0)[random.permutation(count)]


def table_of(keys: np.ndarray) -> PerfectHash:
    return build_perfect_hash(keys, np.arange(2, 2 + len(keys)), MISSING)


def test_a_table_worked_out_by_hand() -> None:
    """Five slots, two groups: home = key[0] % 5, group = key[1] % 2."""
    table = PerfectHash(
        shifts=np.array([0, 3], np.int32),
        keys=np.array([[12, 1], [6, 2], [0, 0], [13, 4], [11, 5]], np.int32),
        values=np.array([20, 30, MISSING, 40, 50], np.int32),
        missing=MISSING,
    )
    keys = np.array([[12, 1], [6, 2], [13, 4], [11, 5]])  # homes 2, 1, 3 and 1; shifts 3, 0, 0 and 3
    assert table.slot(keys).tolist() == [0, 1, 3, 4]
    assert table.find(keys).tolist() == [20, 30, 40, 50]
    assert table.find(np.array([[12, 3], [7, 1], [2, 4], [0, 0]])).tolist() == [MISSING] * 4


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 50, 1000])
@pytest.mark.parametrize("columns", [2, 3])
def test_every_key_is_found_and_no_other(count: int, columns: int) -> None:
    keys = random_keys(2 * count + 50, columns)
    known, unknown = keys[:count], keys[count:]
    table = table_of(known)
    assert table.find(known).tolist() == list(range(2, 2 + count))
    assert (table.find(unknown) == MISSING).all()
    slots = table.slot(known)
    assert len(set(slots.tolist())) == count
    assert table.keys[slots].tolist() == known.tolist()
    assert table.keys.dtype == np.int32
    assert table.shifts.dtype == (np.int16 if len(table.values) < 2**15 else np.int32)
    assert table.values.dtype == (np.int16 if table.values.max() < 2**15 else np.int32)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sets(st.tuples(st.integers(0, 40), st.integers(0, 2**31 - 1)), max_size=40))
def test_keys_that_share_their_first_integer(keys: set[tuple[int, int]]) -> None:
    known = np.array(sorted(keys), np.int64).reshape(-1, 2)
    table = table_of(known)
    assert table.find(known).tolist() == list(range(2, 2 + len(known)))
    neighbours = np.concatenate([known + np.array(step) for step in ([0, 1], [1, 0])])
    strangers = np.array([key for key in neighbours.tolist() if tuple(key) not in keys], np.int64).reshape(-1, 2)
    assert (table.find(strangers) == MISSING).all()


def test_an_integer_behind_the_first_two_tells_keys_apart_as_well() -> None:
    table = table_of(np.array([[5, 6, 7], [8, 9, 10]]))
    assert table.find(np.array([[5, 6, 7], [5, 6, 8], [8, 9, 10], [8, 9, 0]])).tolist() == [2, MISSING, 3, MISSING]


def test_empty_slots_answer_missing_to_the_key_they_hold() -> None:
    """They hold zeros, which may well be the key of a word out of vocabulary."""
    table = table_of(np.array([[3, 3]]))
    assert len(table.values) > 1
    assert table.find(np.zeros([1, 2], np.int64)).tolist() == [MISSING]


def test_same_table_every_time() -> None:
    first, second = (table_of(random_keys(3000)) for _ in range(2))
    for name in ("shifts", "keys", "values"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_fifty_thousand_keys_in_seconds_and_little_room() -> None:
    keys = random_keys(50_000, below=2**24)
    started = time.perf_counter()
    table = table_of(keys)
    assert time.perf_counter() - started < 10
    assert table.nbytes < 14 * len(keys)
    assert table.find(keys).tolist() == list(range(2, 50_002))


@pytest.mark.parametrize(("largest", "kind"), [(2**15 - 1, np.int16), (2**15, np.int32)])
def test_values_take_two_bytes_where_they_fit(largest: int, kind: type) -> None:
    table = build_perfect_hash(np.array([[1, 2], [3, 4]]), np.array([2, largest]), missing=1)
    assert table.values.dtype == kind and table.find(np.array([[3, 4], [1, 2], [1, 4]])).tolist() == [largest, 2, 1]


def test_homes_that_crowd_find_room() -> None:
    """First integers below 1.4 times the slots give two fifths of the slots twice as many homes as the others."""
    keys = random_keys(5_000, below=7_000)
    assert len(table_of(keys).values) < 1.05 * len(keys)


@pytest.mark.parametrize("keys", [[[1, 2], [3, 4], [1, 2]], [[1, 2, 5], [1, 2, 6]]])
def test_keys_of_one_place_are_refused(keys: list[list[int]]) -> None:
    with pytest.raises(KeyCollisionError, match="same first two integers"):
        table_of(np.array(keys))


def test_keys_of_one_home_and_one_group_need_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = np.array([[1, 2], [1, 3]])
    assert len(table_of(keys).shifts) == 2
    monkeypatch.setattr(perfect_hash, "_ATTEMPTS", 1)
    with pytest.raises(KeyCollisionError, match="No table of 3 to 3 slots"):
        table_of(keys)


@pytest.mark.parametrize("key", [[2**31, 1], [1, 2**32 + 5], [-1, 0]])
def test_keys_outside_the_range_are_refused(key: list[int]) -> None:
    with pytest.raises(ValueError, match=r"Expected integers in \[0, 2\^31\)"):
        table_of(np.array([key]))
