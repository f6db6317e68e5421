"""What is larger than memory lies on disk, and nobody sees a difference but in what memory holds."""

import errno
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import Quiet, made_up_rows, tiny_config, write_tsv
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.data import examples as module
from switch_tf.data import spill
from switch_tf.data.examples import fingerprint, read_examples, split_validation
from switch_tf.data.key_numbers import KeyNumbers
from switch_tf.data.request import DataRequest
from switch_tf.errors import RunError


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LIMIT", 0)
    monkeypatch.setattr(module, "_CHUNK_ROWS", 7)


@pytest.mark.usefixtures("on_disk")
def test_examples_and_their_parts_are_the_same(tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "a.tsv", made_up_rows(60))
    found = read_examples(path)
    parts = split_validation(found, 0.2, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "LIMIT", 2**30)
        patch.setattr(module, "_CHUNK_ROWS", 10_000)
        expected = read_examples(path)
        expected_parts = split_validation(expected, 0.2, seed=1)
    for one, other in zip((found, *parts), (expected, *expected_parts), strict=True):
        assert fingerprint(one) == fingerprint(other)
        assert [one.location(row) for row in (0, 5)] == [other.location(row) for row in (0, 5)]
    assert found.take(np.array([30, 1])).texts.to_pylist() == expected.take(np.array([30, 1])).texts.to_pylist()
    assert found.take(np.array([3, 1])).texts.to_pylist() == expected.take(np.array([3, 1])).texts.to_pylist()


@pytest.mark.usefixtures("on_disk")
def test_what_is_on_disk_takes_no_memory_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = pa.total_allocated_bytes()
    schema = pa.schema([("text", pa.string())])
    table = spill.gathered((pa.table([["x" * 1000] * 100], schema=schema) for _ in range(20)), schema)
    taken = spill.take_rising(table, np.arange(0, 2000, 2))
    array = spill.empty_array((3, 4), np.int32)
    array[:] = 7
    assert (table.num_rows, taken.num_rows, int(array.sum())) == (2000, 1000, 84)
    assert array.base is not None
    assert table["text"][1999].as_py() == "x" * 1000
    assert pa.total_allocated_bytes() - before < 500_000 < table.nbytes
    assert list(tmp_path.iterdir()) == []


def held() -> int:
    """KiB of files without a name that are in this process's memory."""
    maps = Path("/proc/self/smaps").read_text().split("(deleted)\n")[1:]
    return sum(int(line.split()[1]) for each in maps for line in each.splitlines()[:4] if line.startswith("Rss"))


asks_linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux what a process holds")


@asks_linux
def test_what_was_read_or_written_leaves_memory_and_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LIMIT", 2**20)
    array = spill.computed((4096, 1024), np.int32, lambda rows: np.full((4096, 1024), 7, np.int32)[rows])
    schema = pa.schema([("text", pa.string())])
    table = spill.gathered((pa.table([["x" * 1024] * 1024], schema=schema) for _ in range(16)), schema)
    assert int(array.sum()) == 7 * 2**22 and table["text"].combine_chunks().nbytes > 2**24
    assert held() > 24 * 2**10  # KiB
    assert list(spill.relieving("abc", 2)) == ["a", "b", "c"]
    assert held() < 2**10
    assert int(array.sum()) == 7 * 2**22 and table["text"][16_383].as_py() == "x" * 1024


@asks_linux
@pytest.mark.parametrize("limit", [2**20, 2**30])
def test_rows_here_and_there_come_without_what_is_around_them(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LIMIT", limit)
    array = spill.computed((2**13, 4, 64), np.int32, lambda rows: np.arange(2**21).reshape(-1, 4, 64)[rows])
    rows = np.random.default_rng(0).integers(2**13, size=500)
    spill.relieve()
    found = spill.rows_of(array, rows)
    assert held() == 0 and found.dtype == np.int32 and found.flags.writeable
    np.testing.assert_array_equal(found[:, 0, 0], rows * 256)
    np.testing.assert_array_equal(found, array[rows])
    np.testing.assert_array_equal(spill.rows_of(array[100:], rows % 100), array[100:][rows % 100])
    np.testing.assert_array_equal(spill.rows_of(array[:, 1], rows), array[rows, 1])
    assert spill.rows_of(array, rows[:0]).shape == (0, 4, 64)


def test_what_was_read_of_a_file_is_what_was_written_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "LIMIT", 0)
    array, open_before = spill.empty_array((3, 2), np.int64), len(spill._maps)
    array[:] = 7
    array[1] = [5, 6]
    assert spill.rows_of(array, np.array([1, 0, 1])).tolist() == [[5, 6], [7, 7], [5, 6]]
    file = list(spill._maps.values())[-1]
    del array
    assert len(spill._maps) == open_before - 1
    with pytest.raises(OSError):  # it is closed with the last that reads it
        os.fstat(file)


def test_what_is_small_stays_in_memory() -> None:
    assert spill.empty_array((3, 4), np.int32).base is None
    empty = spill.gathered([], pa.schema([("n", pa.int64())]))
    assert (empty.num_rows, empty.schema.names) == (0, ["n"])


@pytest.mark.usefixtures("on_disk")
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        spill.empty_array((3, 4), np.int32)
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "wb", buffering=0))
    with pytest.raises(RunError, match=r"cannot be written: .*No space left on device"):
        spill.gathered([pa.table({"n": list(range(1000))})], pa.schema([("n", pa.int64())]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=2), max_size=40))
def test_numbers_of_keys_are_those_of_a_dictionary(keys: list[bytes]) -> None:
    numbers = KeyNumbers(len(keys))
    for key in keys:
        numbers.add(key)
    seen: dict[bytes, int] = {}
    assert numbers.numbers().tolist() == [seen.setdefault(key, len(seen)) for key in keys]


@pytest.mark.slow
def test_a_training_from_disk_is_the_training_from_memory(
    trained_run: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from switch_tf.training.session import train

    monkeypatch.setattr(spill, "LIMIT", 0)
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    disk = train(request, tiny_config(), tmp_path / "disk", Quiet()).path
    same = ("weights.safetensors", "vocabulary.txt", "labels.json", "held_out.parquet", "config.toml", "data.json")
    for name in same:
        assert (trained_run / name).read_bytes() == (disk / name).read_bytes(), name
