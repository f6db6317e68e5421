"""Which files a pattern means, on this machine and on file systems of fsspec."""

import builtins
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import _do_without

from switch_tf.data.inputs import find_inputs
from switch_tf.data.remote import file_system
from switch_tf.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "_SUCCESS", ".a.csv.crc", "c.txt", "a[1].csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.csv").write_text("d")
    return tmp_path


@pytest.fixture
def memory() -> Any:
    try:
        from fsspec.implementations.memory import MemoryFileSystem
    except ImportError:
        _do_without("fsspec")
    system = MemoryFileSystem()
    for name in ("b.csv", "a.csv", "_SUCCESS"):
        system.pipe_file(f"/inputs/{name}", name.encode())
    yield system
    system.rm("/inputs", recursive=True)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("b.csv", ["b.csv"]),
        ("*.csv", ["a.csv", "a[1].csv", "b.csv"]),
        ("**/*.csv", ["a.csv", "a[1].csv", "b.csv", "deeper/d.csv"]),
        ("a[1].csv", ["a[1].csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("_SUCCESS", ["_SUCCESS"]),
        (".", ["a.csv", "a[1].csv", "b.csv", "c.txt"]),
    ],
)
def test_a_pattern_means_files_in_the_order_of_their_paths(pattern: str, names: list[str], folder: Path) -> None:
    found = find_inputs(str(folder / pattern))
    assert [str(file) for file in found] == [str(folder / name) for name in names]
    assert [file.name for file in found] == [Path(name).name for name in names]


@pytest.mark.parametrize("pattern", ["none.csv", "*.parquet", "deeper/deepest"])
def test_what_means_no_file_is_refused(pattern: str, folder: Path) -> None:
    with pytest.raises(DataError, match=r"No file is meant by .*Expected a file, a folder of files, or a pattern"):
        find_inputs(str(folder / pattern))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv is a pipe or a device.*write it to a file first"):
        find_inputs(str(tmp_path / "a.csv"))


def test_a_file_tells_how_much_of_it_was_read_and_what_it_holds(folder: Path) -> None:
    (file,) = find_inputs(str(folder / "a.csv"))
    before = file.stamp(), file.fingerprint()
    with file.open() as stream:
        stream.read(2)
        assert file.share_read() == 2 / 5
    assert file.share_read() == 1.0
    assert (file.stamp(), file.fingerprint()) == before
    (folder / "a.csv").write_text("other")
    assert file.stamp() != before[0] and file.fingerprint() != before[1]
    (folder / "a.csv").unlink()
    with pytest.raises(DataError, match=r"a.csv cannot be used: FileNotFoundError"):
        file.stamp()


@pytest.mark.parametrize("pattern", ["memory://inputs/*.csv", "memory://inputs", "memory://inputs/"])
def test_other_file_systems(pattern: str, memory: Any) -> None:
    found = find_inputs(pattern)
    assert [file.path for file in found] == ["memory:///inputs/a.csv", "memory:///inputs/b.csv"]
    first = found[0]
    assert (first.name, first.suffix, first.suffixes, first.size) == ("a.csv", ".csv", [".csv"], 5)
    with first.open() as stream:
        assert stream.read() == b"a.csv"
    before = first.stamp(), first.fingerprint()
    memory.pipe_file("/inputs/a.csv", b"other")
    assert first.stamp() != before[0] and first.fingerprint() != before[1]
    with pytest.raises(DataError, match="No file is meant by"):
        find_inputs("memory://inputs/*.parquet")


def test_a_protocol_that_is_not_known_is_told(memory: Any) -> None:
    with pytest.raises(DataError, match=r"gopher://a/b cannot be used: ValueError: Protocol not known"):
        file_system("gopher://a/b")


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *words: Any) -> Any:
        if name.startswith("fsspec"):
            raise ImportError(name)
        return load(name, *words)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"s3://a/b is on another file system.*the extra `remote`"):
        find_inputs("s3://a/b")
