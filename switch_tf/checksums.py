"""Files and the checksums that a manifest gives for them, so that what is read is what was written."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

_CHUNK = 2**20  # bytes


def describe(content: Path | bytes) -> dict[str, Any]:
    """{"bytes", "sha256"} of a file, read in pieces, or of what one will hold.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(content, bytes):
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with content.open("rb") as stream:
        return {"bytes": content.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def difference(folder: Path, described: object, required: Iterable[str] = ()) -> str | None:
    """What is wrong with the files in `folder`, given what a manifest says of them by name; None if nothing is.

    Args:
        described: {"bytes", "sha256"} by name, as `describe` gives it; it comes from a file, so it may be anything.
        required: names that it must describe.
    """
    if not isinstance(described, dict):
        return "its manifest does not describe its files"
    missing = sorted(set(required) - set(described))
    if missing:
        return f"its manifest does not describe {missing[0]}"
    for name, expected in sorted(described.items()):
        problem = _difference(folder, name, expected)
        if problem:
            return problem
    return None


def _difference(folder: Path, name: str, expected: object) -> str | None:
    path = folder / name
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return f"its manifest names {name!r}, which is outside"
    if not isinstance(expected, dict):
        return f"its manifest does not describe {name}"
    try:
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != expected.get("bytes"):  # before it is read: a hostile one may be endless
            return f"{name} has {size} bytes where its manifest says {expected.get('bytes')}"
        if describe(path)["sha256"] != expected.get("sha256"):
            return f"{name} is not as it was written: its sha256 is not the one in its manifest"
    except (OSError, ValueError) as error:  # the latter: a NUL in the name
        return f"{name!r} cannot be read ({error})"
    return None


def digest_of_first(stream: BinaryIO, size: int) -> "hashlib._Hash":
    """The SHA-256 of the next `size` bytes of a stream, to which more may be added."""
    digest = hashlib.sha256()
    while size > 0 and (piece := stream.read(min(size, _CHUNK))):
        digest.update(piece)
        size -= len(piece)
    return digest
