"""Writing so that nothing is lost: a file or folder appears whole under its name, or not at all.

Everything is written beside its destination under a temporary name, flushed to disk and renamed, so that a kill or a
full disk at any moment leaves what stood there before.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from switch_tf.errors import RunError, SwitchTFError

_HEADER_LIMIT = 64 * 2**20  # bytes of a JSON file of ours: far above any that we write


def write_bytes(path: Path, content: bytes) -> None:
    """Replace or create the file `path` in one step.

    Raises:
        RunError: it cannot be written; what stood there still stands.
    """
    with _refusing(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A stream of a file that takes the name `path`, in place of what stood there, when the block ends well.

    Raises:
        RunError: it cannot be written; what stood there still stands.
    """
    with _refusing(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with _refusing(path), os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        with _refusing(path):
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of the text as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` of the value as indented JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """`write_bytes` of named arrays as safetensors, a format that holds numbers and names and nothing to execute."""
    from safetensors.numpy import save

    write_bytes(path, save({name: np.asarray(array, order="C") for name, array in tensors.items()}, metadata))


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Named arrays and metadata of a safetensors file.

    Raises:
        RunError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, stream.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, AttributeError) as error:  # the last two: types that NumPy has not
        raise RunError(f"{path} cannot be read as safetensors: {error}. Restore it, or train again.") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        RunError: the file is missing, too large or damaged.
    """
    try:
        if path.stat().st_size > _HEADER_LIMIT:
            raise RunError(f"{path} has {path.stat().st_size} bytes. Expected at most {_HEADER_LIMIT}.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}. Restore it, or train again.") from error


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A temporary folder beside `destination` that takes its name when the block ends well, and vanishes when not.

    Raises:
        RunError: `destination` exists by the time the block ends, or cannot be written.
    """
    with _refusing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield temporary
        with _refusing(destination):
            temporary.chmod(0o777 & ~_umask())
        move_folder(temporary, destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(source: Path, destination: Path) -> None:
    """Rename a finished folder, flushed to disk first, to a name that must be free.

    Raises:
        RunError: the name is taken, or cannot be given.
    """
    with _refusing(destination):
        for file in source.rglob("*"):
            flush(file)
        flush(source)
        if destination.exists():  # rename(2) would replace an empty folder
            raise RunError(f"{destination} already exists. Choose another name, or remove it first.")
        source.rename(destination)
        flush(destination.parent)


def remove_temporary(folder: Path) -> None:
    """Remove what `write_bytes` left half written in `folder` when its process was killed."""
    for path in folder.glob(".*.????????"):
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the operating system write a file, or the names in a folder, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except SwitchTFError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}. Nothing was changed.") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
