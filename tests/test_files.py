"""What stood in a file stands until its successor is whole, whatever fails; what is read may be hostile."""

import errno
import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from switch_tf import files
from switch_tf.errors import RunError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestWriting:
    def test_a_file_is_made_and_replaced_with_the_usual_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        files.write_json(path, {"é": [1]})
        files.write_json(path, {"é": [2]})
        assert (path.read_text("utf-8"), names(tmp_path)) == ('{\n  "é": [\n    2\n  ]\n}\n', ["a.json"])
        assert files.read_json(path) == {"é": [2]}
        usual = tmp_path / "usual"
        usual.touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)

    @pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.chmod", "pathlib.Path.replace"])
    def test_what_fails_on_the_way_leaves_the_old_file_alone(
        self, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.txt"
        files.write_text(path, "old")
        monkeypatch.setattr(step, full_disk)
        with pytest.raises(
            RunError, match=r"a\.txt cannot be written: No space left on device\. Nothing was changed\."
        ):
            files.write_text(path, "new")
        assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])

    def test_an_interruption_leaves_the_old_file_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        path = tmp_path / "a.txt"
        files.write_text(path, "old")
        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            files.write_text(path, "new")
        assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])

    def test_a_file_that_cannot_grow_leaves_the_old_one_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        files.write_tensors(path, {"w": np.ones(10, np.float32)})
        code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from switch_tf import files
from switch_tf.errors import RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
try:
    files.write_tensors(Path(sys.argv[1]), {"w": np.zeros(100_000, np.float32)})
except RunError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # for what measures this process, which writes when it ends
"""
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout == f"{path} cannot be written: File too large. Nothing was changed.\n"
        assert files.read_tensors(path)[0]["w"].tolist() == [1.0] * 10
        assert names(tmp_path) == ["weights.safetensors"]

    def test_a_folder_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"nowhere/a\.txt cannot be written: No such file or directory\."):
            files.write_text(tmp_path / "nowhere" / "a.txt", "")

    def test_what_is_no_json_is_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Out of range float values"):
            files.write_json(tmp_path / "a.json", float("nan"))
        assert names(tmp_path) == []

    def test_half_a_surrogate_pair_comes_back(self, tmp_path: Path) -> None:
        """A path that is not UTF-8 has some."""
        files.write_json(tmp_path / "a.json", {"path": "caf\udce9.csv"})
        assert (tmp_path / "a.json").read_bytes() == b'{\n  "path": "caf\\udce9.csv"\n}\n'
        assert files.read_json(tmp_path / "a.json") == {"path": "caf\udce9.csv"}

    def test_the_remains_of_a_killed_write_are_removed_and_nothing_else(self, tmp_path: Path) -> None:
        kept = [
            ".DS_Store",
            ".weights.safetensors",
            "weights.safetensors",
            "x.weights.safetensors.abcd1234.part",
            ".weights.safetensors.abcd1234",
        ]
        for name in [*kept, ".weights.safetensors.abcd1234.part", ".config.toml._0aZ9xy_.part"]:
            (tmp_path / name).touch()
        files.remove_parts(tmp_path)
        assert names(tmp_path) == sorted(kept)


class TestPart:
    def test_it_is_on_disk_before_it_has_its_name(self, tmp_path: Path) -> None:
        files.write_text(tmp_path / "a", "old")
        with files.part(tmp_path / "a", b"new") as new:
            assert (new.read_bytes(), (tmp_path / "a").read_bytes(), new.parent) == (b"new", b"old", tmp_path)
            new.replace(tmp_path / "a")
        assert (names(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"new")

    def test_it_vanishes_if_it_gets_none(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), files.part(tmp_path / "a", b"new"):
            raise KeyboardInterrupt
        assert names(tmp_path) == []


class TestNewFolder:
    def test_it_appears_under_its_name_when_all_is_there(self, tmp_path: Path) -> None:
        destination = tmp_path / "deep" / "folder"
        with files.new_folder(destination) as new:
            assert new.parent == destination.parent
            (new / "inner").mkdir()
            (new / "inner" / "a.txt").write_text("a")
            assert not destination.exists()
        assert (destination / "inner" / "a.txt").read_text() == "a"
        assert names(destination.parent) == ["folder"]
        assert stat.S_IMODE(destination.stat().st_mode) == stat.S_IMODE(destination.parent.stat().st_mode)

    def test_its_files_and_names_are_on_disk_before_it_has_its_name_and_that_is_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a power cut there is the whole folder, or none: a folder's names are flushed as its files are."""
        destination, flushed, fsync = tmp_path / "folder", list[tuple[int, bool]](), os.fsync

        def recorded(descriptor: int) -> None:
            flushed.append((os.fstat(descriptor).st_ino, destination.exists()))
            fsync(descriptor)

        with files.new_folder(destination) as new:
            (new / "inner").mkdir()
            (new / "inner" / "a.txt").write_text("a")
            monkeypatch.setattr(os, "fsync", recorded)
        before = [number for number, there in flushed if not there]
        assert sorted(before) == sorted(
            path.stat().st_ino for path in (destination, destination / "inner", destination / "inner" / "a.txt")
        )
        assert [number for number, there in flushed if there] == [tmp_path.stat().st_ino]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
    def test_it_vanishes_when_the_block_fails(self, failure: type[BaseException], tmp_path: Path) -> None:
        with pytest.raises(failure), files.new_folder(tmp_path / "folder") as new:
            (new / "a.txt").write_text("a")
            raise failure
        assert names(tmp_path) == []

    def test_folders_made_for_it_vanish_with_it(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), files.new_folder(tmp_path / "a" / "b" / "folder"):
            raise KeyboardInterrupt
        assert names(tmp_path) == []

    @pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.rename"])
    def test_it_vanishes_when_the_disk_is_full(
        self, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            pytest.raises(RunError, match="folder cannot be written: No space left on device"),
            files.new_folder(tmp_path / "folder") as new,
        ):
            (new / "a.txt").write_text("a")
            monkeypatch.setattr(step, full_disk)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("content", [[], ["a.txt"]])
    def test_what_took_the_name_meanwhile_is_not_touched(self, content: list[str], tmp_path: Path) -> None:
        destination = tmp_path / "folder"
        with (
            pytest.raises(RunError, match=r"folder already exists\. Choose another name"),
            files.new_folder(destination),
        ):
            destination.mkdir()
            for name in content:
                (destination / name).write_text("theirs")
        assert (names(destination), names(tmp_path)) == (content, ["folder"])

    def test_a_parent_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="folder cannot be written"), files.new_folder(tmp_path / "file" / "folder"):
            raise AssertionError


def safetensors(header: object, payload: bytes = b"", size: int | None = None) -> bytes:
    """A file of that format with any header."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if size is None else size) + encoded + payload


def tensor(kind: str = "F32", shape: tuple[int, ...] = (1,), ends: int = 4) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [0, ends]}


class TestReading:
    def test_tensors_come_back_as_they_were(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        arrays: dict[str, np.ndarray] = {
            "a/b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
            "n": np.array(7, np.int64),
            "": np.zeros([0, 2]),
        }
        files.write_tensors(path, arrays, {"history": "[é]"})
        read, metadata = files.read_tensors(path)
        assert metadata == {"history": "[é]"}
        assert read.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (read[name].dtype, read[name].tolist()) == (array.dtype, array.tolist())

    @pytest.mark.parametrize(
        "content",
        {
            "empty": b"",
            "pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
            "header beyond the end": safetensors(b"{}", size=2**62),
            "header no JSON": safetensors(b"import os"),
            "header an array": safetensors([1]),
            "metadata a number": safetensors({"__metadata__": {"history": 1}}),
            "truncated": safetensors({"w": tensor(shape=(4,), ends=16)}, bytes(8)),
            "overlapping": safetensors({"a": tensor(), "b": tensor()}, bytes(4)),
            "negative shape": safetensors({"w": tensor(shape=(-1,))}, bytes(4)),
            "overflowing shape": safetensors({"w": tensor(shape=(2**40, 2**40))}, bytes(4)),
            "unknown type": safetensors({"w": tensor("OBJECT")}, bytes(4)),
            "type that NumPy has not": safetensors({"w": tensor("F8_E4M3", (4,))}, bytes(4)),
        }.items(),
        ids=lambda item: item[0],
    )
    def test_hostile_tensors_are_refused(self, content: tuple[str, bytes], tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content[1])
        with pytest.raises(
            RunError, match=r"weights\.safetensors cannot be read as safetensors: .*Restore it, or train"
        ):
            files.read_tensors(path)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b'{"a": 1} x'],
        ids=["empty", "cut", "not UTF-8", "deep", "long number", "more"],
    )
    def test_hostile_json_is_refused(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "labels.json"
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"labels\.json cannot be read as JSON: .*Restore it, or train again\."):
            files.read_json(path)

    def test_huge_json_is_not_even_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "labels.json"
        path.write_text("[1, 2, 3, 4]")
        monkeypatch.setattr(files, "_HEADER_LIMIT", 12)
        assert files.read_json(path) == [1, 2, 3, 4]
        monkeypatch.setattr(files, "_HEADER_LIMIT", 11)
        with pytest.raises(
            RunError, match=r"labels\.json cannot be read as JSON: it has 12 bytes, expected at most 11\."
        ):
            files.read_json(path)

    def test_no_more_is_read_than_there_may_be(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        assert files.read_bytes(tmp_path / "a", 3) == b"abc"
        with pytest.raises(OSError, match="it has 3 bytes, expected at most 2"):
            files.read_bytes(tmp_path / "a", 2)
        for endless in (Path("/dev/zero"), tmp_path):
            with pytest.raises(OSError, match="there is no file"):
                files.read_bytes(endless)

    @pytest.mark.parametrize("place", ["a number", "a name", "metadata"])
    def test_a_flipped_bit_in_tensors_is_noticed(self, place: str, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        files.write_tensors(path, {"weight": np.ones([2, 3], np.float32)}, {"history": "[1]"})
        content = bytearray(path.read_bytes())
        content[{"a number": -1, "a name": content.index(b"weight"), "metadata": content.index(b"[1]") + 1}[place]] ^= 1
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"a\.safetensors is not as it was written: its checksum differs\. Restore"):
            files.read_tensors(path)

    def test_tensors_without_a_checksum_are_read(self, tmp_path: Path) -> None:
        from safetensors.numpy import save

        (tmp_path / "a").write_bytes(save({"w": np.ones(2, np.float32)}, {"history": "[1]"}))
        tensors, metadata = files.read_tensors(tmp_path / "a")
        assert (tensors["w"].tolist(), metadata) == ([1.0, 1.0], {"history": "[1]"})

    @pytest.mark.parametrize("read", [files.read_json, files.read_tensors])
    def test_a_missing_file_and_a_folder_are_refused(self, read: Callable[[Path], object], tmp_path: Path) -> None:
        for path in (tmp_path / "missing", tmp_path):
            with pytest.raises(RunError, match="cannot be read as"):
                read(path)
