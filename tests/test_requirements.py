"""The lists of versions agree with pyproject.toml, and name no place that packages come from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK, LOWEST = ROOT / "requirements" / "dev.lock", ROOT / "requirements" / "lowest.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Of the machine that the lists are checked on: Linux on x86-64, Python 3.11.
HERE = {
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "python_version": "3.11",
    "python_full_version": "3.11.9",
}


def asked_for(*groups: list[str]) -> list[Requirement]:
    """What applies to `HERE`, without the project itself."""
    requirements = [Requirement(line) for group in groups for line in group]
    applying = [each for each in requirements if each.marker is None or each.marker.evaluate(HERE)]
    return [each for each in applying if each.name != PROJECT["name"]]


def listed(path: Path) -> dict[str, Version]:
    """Versions by name, of those lines that apply to `HERE`."""
    lines = re.findall(r"^[a-z][^\\\n]*", path.read_text(encoding="utf-8"), re.MULTILINE)
    found = {}
    for line in map(Requirement, lines):
        if line.marker is None or line.marker.evaluate(HERE):
            (pinned,) = line.specifier
            assert pinned.operator == "==" and line.name not in found
            found[line.name] = Version(pinned.version)
    return found


@pytest.mark.parametrize("path", [LOCK, LOWEST], ids=lambda path: path.name)
def test_no_address_stands_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"://|^\s*-{1,2}(?!hash=)\w|(?<!\w)/\w| @ ", re.sub(r"#.*", "", text), re.MULTILINE)
    assert "://" not in text


def test_the_lock_holds_what_is_asked_for() -> None:
    locked = listed(LOCK)
    for each in asked_for(PROJECT["dependencies"], EXTRAS["test"], EXTRAS["dev"]):
        assert each.specifier.contains(locked[each.name]), each
    hashed = re.split(r"^(?=[a-z])", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(hashed) >= len(locked) > 80
    assert all("--hash=sha256:" in entry for entry in hashed)


def test_the_lowest_are_the_bounds_themselves() -> None:
    lowest = listed(LOWEST)
    for each in asked_for(PROJECT["dependencies"], EXTRAS["test"]):
        (bound,) = each.specifier
        assert bound.operator == ">=" and lowest[each.name] == Version(bound.version), each


def test_pythons_are_named_alike() -> None:
    pythons = ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    named = [line.rsplit(" ")[-1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named == pythons
    assert "\nPython 3.11, 3.12 or 3.13, on Linux " in (ROOT / "README.md").read_text(encoding="utf-8")
