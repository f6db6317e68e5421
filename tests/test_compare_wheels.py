"""Two wheels that differ are told apart, file by file."""

import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import compare_wheels

FILES = {"switch_tf/a.py": "1", "switch_tf/b.py": "2", "switch_tf-1.dist-info/METADATA": "m"}


def wheel(path: Path, **changes: str | None) -> Path:
    """A wheel of `FILES`, with the contents in `changes` instead, by stem; None leaves a file out."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            changed = changes.get(Path(name).stem, text)
            if changed is not None:
                archive.writestr(name, changed)
        archive.writestr("switch_tf-1.dist-info/RECORD", path.name)
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"a": None}, ["switch_tf/a.py is not in {second}"]),
        ({"b": "3"}, ["switch_tf/b.py differs"]),
        ({"METADATA": "n"}, ["switch_tf-1.dist-info/METADATA differs"]),
    ],
)
def test_what_differs_is_named(changes: dict[str, str | None], expected: list[str], tmp_path: Path) -> None:
    first, second = wheel(tmp_path / "1.whl"), wheel(tmp_path / "2.whl", **changes)
    assert compare_wheels.problems(first, second) == [line.format(second=second) for line in expected]


def test_what_only_the_second_has_is_named(tmp_path: Path) -> None:
    first, second = wheel(tmp_path / "1.whl", b=None), wheel(tmp_path / "2.whl")
    assert compare_wheels.problems(first, second) == [f"switch_tf/b.py is not in {first}"]


def test_a_file_beside_the_package_is_named(tmp_path: Path) -> None:
    first, second = wheel(tmp_path / "1.whl"), wheel(tmp_path / "2.whl")
    for path in (first, second):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("export/build.py", "")
    assert compare_wheels.problems(first, second) == ["export/build.py stands outside switch_tf"]
