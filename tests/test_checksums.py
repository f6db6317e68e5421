"""What a manifest says of files is what they must be, and a hostile manifest is no way to other files."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from switch_tf import checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.txt").write_bytes(b"")
    return tmp_path


def described(folder: Path) -> dict[str, Any]:
    return {name: checksums.describe(folder / name) for name in ("a.txt", "inner/b.txt")}


def test_a_file_is_described_by_its_size_and_its_sha256(folder: Path) -> None:
    # The value is that of FIPS 180-2, appendix B.1.
    expected = {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert checksums.describe(folder / "a.txt") == checksums.describe(b"abc") == expected


def test_files_as_they_were_are_no_problem(folder: Path) -> None:
    assert checksums.difference(folder, described(folder), required=["a.txt"]) is None


def test_every_difference_is_named(folder: Path) -> None:
    whole = described(folder)
    (folder / "a.txt").write_bytes(b"abd")
    assert checksums.difference(folder, whole) == (
        "a.txt is not as it was written: its sha256 is not the one in its manifest"
    )
    (folder / "a.txt").write_bytes(b"ab")
    assert checksums.difference(folder, whole) == "a.txt has 2 bytes where its manifest says 3"
    (folder / "a.txt").unlink()
    assert checksums.difference(folder, whole) == "a.txt is missing"
    assert checksums.difference(folder, {}, required=["a.txt"]) == "its manifest does not describe a.txt"


@pytest.mark.parametrize("hostile", [None, 1, [], "a.txt"])
def test_a_manifest_of_something_else_is_refused(hostile: object, folder: Path) -> None:
    assert checksums.difference(folder, hostile) == "its manifest does not describe its files"
    assert checksums.difference(folder, {"a.txt": hostile}) == "its manifest does not describe a.txt"


@pytest.mark.parametrize("name", ["/dev/zero", "../a.txt", "inner/../../a.txt", "inner", "a\0b"])
def test_no_name_leads_to_what_is_outside_or_no_file(name: str, folder: Path) -> None:
    problem = checksums.difference(folder, {name: {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}})
    assert problem is not None
    assert "outside" in problem or "is missing" in problem or "cannot be read" in problem


def test_the_first_bytes_of_a_stream_are_digested_and_more_can_follow(folder: Path) -> None:
    with (folder / "a.txt").open("rb") as stream:
        digest = checksums.digest_of_first(stream, 2)
        assert digest.hexdigest() == hashlib.sha256(b"ab").hexdigest()
        digest.update(stream.read())
    assert digest.hexdigest() == hashlib.sha256(b"abc").hexdigest()
