"""Files that an export writes beside an artifact to be read by people: each says so, and no other is replaced."""

from collections.abc import Iterable
from pathlib import Path

from switch_tf.errors import RunError

MARK = "Written by an export of switch-tf, and rewritten by each."
_EARLIER_MARK = "which rewrites it each time."  # how the mark of the first releases ended
_MARK_WITHIN = 2000  # characters from the beginning


def is_marked(path: Path) -> bool:
    """Whether the file at `path` says that an export wrote it.

    Raises:
        RunError: it cannot be read.
    """
    try:
        beginning = path.read_text(encoding="utf-8", errors="replace")[:_MARK_WITHIN]
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error}. Choose another place.", argument="output") from error
    return MARK in beginning or _EARLIER_MARK in beginning


def refuse_foreign_files(paths: Iterable[Path]) -> None:
    """
    Raises:
        RunError: one of the files stands there and does not say that an export wrote it.
    """
    for path in paths:
        if path.exists() and not is_marked(path):
            raise foreign_file(path)


def foreign_file(path: Path) -> RunError:
    """What is raised for a file that would be replaced and is not ours."""
    return RunError(f"{path} was not written by an export, which would replace it. Choose another place.", "output")
