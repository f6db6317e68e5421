"""Do two wheels hold the same files? And nothing beside the package?

    python tools/compare_wheels.py dist/switch_tf-0.1.0-py3-none-any.whl other/switch_tf-0.1.0-py3-none-any.whl

Exits with 1 and says what differs. A wheel that was built from the source distribution differs from one that was built
from the repository where a file was left out of the former.
"""

import sys
import zipfile
from pathlib import Path


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel by its name, but for the list of checksums, which follows from the others."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith((".dist-info/RECORD", "/"))]
        return {name: archive.read(name) for name in names}


def problems(first: Path, second: Path) -> list[str]:
    """What differs between two wheels, and what stands outside the package, one line for each file."""
    one, other = contents(first), contents(second)
    found = [f"{name} is not in {second}" for name in sorted(one.keys() - other.keys())]
    found += [f"{name} is not in {first}" for name in sorted(other.keys() - one.keys())]
    found += [f"{name} differs" for name in sorted(one.keys() & other.keys()) if one[name] != other[name]]
    found += [
        f"{name} stands outside switch_tf"
        for name in sorted(one)
        if not name.startswith("switch_tf/") and ".dist-info/" not in name
    ]
    return found


def main() -> None:
    """Compare the two wheels that the command line names."""
    if len(sys.argv) != 3:
        sys.exit("Expected two wheels. Usage: python tools/compare_wheels.py WHEEL WHEEL")
    first, second = map(Path, sys.argv[1:])
    found = problems(first, second)
    for problem in found:
        print(problem)
    if not found:
        print(f"{first.name}: {len(contents(first))} files, the same in both")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
