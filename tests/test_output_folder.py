"""Folders of answers: one job each, parts whole or not there, here and on other file systems."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import _do_without

from switch_tf.errors import RunError
from switch_tf.serving.output_folder import JOB, OutputFolder, begin, output_folder, read_json

JOB_HERE = {"format": 1, "model": {"sha256": "a"}, "input": [{"bytes": 1}], "paths": {}, "options": {"n": 1}}


@pytest.fixture(params=["here", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "here":
        yield str(tmp_path / "out")
        return
    try:
        from fsspec.implementations.memory import MemoryFileSystem
    except ImportError:
        _do_without("fsspec")
    yield "memory://out/"
    MemoryFileSystem().rm("/out", recursive=True)


def test_a_job_begins_once_and_goes_on(place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        assert begin(folder, JOB_HERE) == set()
        folder.write("part-000000.csv", b"one")
        folder.write("part-000000.csv", b"two")
    with folder.alone():
        assert begin(folder, JOB_HERE) == {JOB, "part-000000.csv"}
        assert (folder.read("part-000000.csv"), json.loads(folder.read(JOB))) == (b"two", JOB_HERE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"sha256": "b"}}, "it has another model"),
        ({"input": []}, "it has another input"),
        ({"options": {"n": 2}, "input": []}, "it has another input and other options"),
        ({"format": 2}, "it has another format"),
    ],
)
def test_another_job_is_refused(change: dict[str, Any], message: str, place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        begin(folder, JOB_HERE)
        with pytest.raises(RunError, match=rf"is the folder of another job: {message}. Name another folder"):
            begin(folder, JOB_HERE | change)
        assert begin(folder, JOB_HERE | {"paths": {"model": "elsewhere"}}) == {JOB}


def test_a_folder_of_something_else_is_left_alone(place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        folder.write("letter.txt", b"Dear")
        with pytest.raises(RunError, match=r"is not empty, and holds no job of ours. Name another folder"):
            begin(folder, JOB_HERE)
        assert folder.names() == {"letter.txt"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff", b'"format model input options"', b"[" * 9999])
def test_a_damaged_job_is_told(content: bytes, place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        folder.write(JOB, content)
        with pytest.raises(RunError, match=r"_job.json is damaged"):
            begin(folder, JOB_HERE)
        with pytest.raises(RunError, match=r"_job.json is damaged"):
            read_json(folder, JOB, ["rows"])


def test_what_a_killed_job_left_half_written_goes(place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        folder.write("part-000000.csv", b"one")
        folder.write(".part-000001.csv.abcdefgh.part", b"hal")
    with folder.alone():
        assert folder.names() == {"part-000000.csv"}
    assert "part-000001" not in " ".join(everything(folder))


def test_a_folder_of_hidden_files_alone_is_empty(place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        folder.write(".keep", b"")
        assert begin(folder, JOB_HERE) == set()
        assert folder.names() == {JOB}


def test_hidden_files_of_others_stay(place: str) -> None:
    folder = output_folder(place)
    with folder.alone():
        folder.write(".keep", b"")
        folder.write("letter.txt", b"")
    with folder.alone(), pytest.raises(RunError, match="is not empty"):
        begin(folder, JOB_HERE)
    assert sorted(name.rsplit("/", 1)[-1] for name in everything(folder)) == [".keep", "letter.txt"]


def everything(folder: OutputFolder) -> list[str]:
    """All names, the hidden ones too."""
    if "://" not in folder.path:
        return [each.name for each in Path(folder.path).iterdir()]
    from fsspec.implementations.memory import MemoryFileSystem

    return [str(each) for each in MemoryFileSystem().ls("/out", detail=False)]


def test_a_second_job_at_a_time_is_told_who_is_there(tmp_path: Path) -> None:
    folder = output_folder(str(tmp_path / "out"))
    with folder.alone(), pytest.raises(RunError, match=r"is being answered into by process \d+"):
        output_folder(str(tmp_path / "out" / "..") + "/out").alone().__enter__()
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match=r"is a file. Expected a folder"), output_folder(str(tmp_path / "out")).alone():
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="cannot be written"),
        output_folder(str(tmp_path / "file" / "out")).alone(),
    ):
        pass
