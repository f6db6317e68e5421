"""Folders of text files: classes by folder, splits, names outside Unicode."""

import os
import sys
from pathlib import Path

import pytest
from test_tables import LONG, refusal, rows, write

from switch_tf.data.examples import read_examples


def test_folder_of_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listed(path), reverse=True)))
    for name, content in {
        "pos/2_9.txt": b"\xef\xbb\xbfgood\nfilm\r\n",
        "pos/10_8.txt": b"",
        "neg/0_1.txt": "na\x85ïve".encode(),
        "neg/notes.md": b"loose",
        "unsup/0_0.txt": b"unlabelled",
        ".cache/a.txt": b"hidden",
        "empty/readme": b"no texts: no class",
        "urls_pos.txt": b"loose",
    }.items():
        write(tmp_path, name, content)
    examples = read_examples(tmp_path)
    assert rows(examples) == [("na\x85ïve", "neg"), ("", "pos"), ("good\nfilm\r\n", "pos")]
    assert [examples.location(index) for index in range(3)] == [
        f"{tmp_path}/{name}" for name in ("neg/0_1.txt", "pos/10_8.txt", "pos/2_9.txt")
    ]


def test_folder_with_splits(tmp_path: Path) -> None:
    for name in ("train/pos/1.txt", "train/neg/1.txt", "test/pos/2.txt", "test/neg/2.txt", "train/unsup/3.txt"):
        write(tmp_path, name, name.encode())
    assert rows(read_examples(tmp_path)) == [("train/neg/1.txt", "neg"), ("train/pos/1.txt", "pos")]
    assert rows(read_examples(tmp_path, split="test")) == [("test/neg/2.txt", "neg"), ("test/pos/2.txt", "pos")]
    assert rows(read_examples(tmp_path / "test")) == rows(read_examples(tmp_path, split="test"))
    message = refusal(tmp_path, split="dev")
    assert f"{tmp_path} has no split 'dev'. Expected class folders in {tmp_path / 'dev'}" in message


@pytest.mark.parametrize(("there", "missing"), [("train", "test"), ("test", "train")])
def test_folder_with_one_split(tmp_path: Path, there: str, missing: str) -> None:
    write(tmp_path, f"{there}/pos/1.txt", b"good")
    assert rows(read_examples(tmp_path, split=there)) == [("good", "pos")]
    assert f"has no split '{missing}'" in refusal(tmp_path, split=missing)


def test_folder_named_train_that_holds_texts_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, "train/1.txt", b"on rails")
    write(tmp_path, "bus/1.txt", b"on the road")
    assert read_examples(tmp_path).labels.to_pylist() == ["bus", "train"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names outside Unicode")
def test_file_names_outside_unicode(tmp_path: Path) -> None:
    (tmp_path / "pos").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "pos") + b"/\xff.txt")).write_bytes(b"good")
    assert read_examples(tmp_path).location(0) == f"{tmp_path}/pos/\\xff.txt"
    Path(os.fsdecode(bytes(tmp_path) + b"/n\xe9gatif")).mkdir()
    Path(os.fsdecode(bytes(tmp_path) + b"/n\xe9gatif/1.txt")).write_bytes(b"bad")
    assert "its name: character 2 is half of a surrogate pair" in refusal(tmp_path)


@pytest.mark.parametrize("names", [[], ["loose.txt"], ["unsup/1.txt"], ["pos/1.text"]])
def test_folder_without_class_folders(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(tmp_path, name, b"text")
    assert f"{tmp_path} has no class folders" in refusal(tmp_path)


def test_refused_text_files(tmp_path: Path) -> None:
    path = write(tmp_path, "pos/1.txt", b"one\ntwo\nna\xefve")
    assert f"{path}, line 3, byte 3: 0xef is not UTF-8" in refusal(tmp_path)
    path.write_bytes(LONG + b"x")
    assert f"{path} is over 16 MiB" in refusal(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "gone.txt")
    assert f"There is no file {path}" in refusal(tmp_path)
