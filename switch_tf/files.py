"""Writing so that nothing is lost: a file or folder appears whole under its name, or not at all.

Everything is written beside its destination under a temporary name, flushed to disk and renamed, so that a kill or a
full disk at any moment leaves what stood there before. What a killed process left half written, `.NAME.xxxxxxxx.part`,
is removed by the next that holds the lock of that place (`switch_tf.locks`).
"""

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from switch_tf.errors import RunError, SwitchTFError

if TYPE_CHECKING:
    import numpy as np

_HEADER_LIMIT = 64 * 2**20  # bytes of a JSON file of ours: far above any that we write
_CHECKSUM = "sha256"  # among the metadata of safetensors
_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16"}
_TYPES = _FLOATS | {"I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
_PART = ".part"  # ends the temporary names
_RANDOM = "?" * 8  # what `tempfile` puts before that


def write_bytes(path: Path, content: bytes) -> None:
    """Replace or create the file `path` in one step.

    Raises:
        RunError: it cannot be written; what stood there still stands.
    """
    with part(path, content) as new, refusing(path):
        new.replace(path)


@contextmanager
def part(path: Path, content: bytes) -> Iterator[Path]:
    """A file with that content on disk, to be renamed to `path` beside it inside the block; else it vanishes.

    Raises:
        RunError: it cannot be written; what stood at `path` still stands.
    """
    with _part(path) as (temporary, stream):
        with refusing(path), stream:
            stream.write(content)
            _finish(temporary, stream)
        yield temporary


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A stream of a file that takes the name `path`, in place of what stood there, when the block ends well.

    Raises:
        RunError: it cannot be written; what stood there still stands.
    """
    with _part(path) as (temporary, stream):
        with refusing(path), stream:
            yield stream
            _finish(temporary, stream)
        with refusing(path):
            temporary.replace(path)


@contextmanager
def _part(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file beside `path`, and its stream; it vanishes unless it gets another name in the block."""
    with refusing(path):
        descriptor, name = tempfile.mkstemp(_PART, f".{path.name}.", path.parent)
    try:
        yield Path(name), os.fdopen(descriptor, "wb")
    finally:
        remove(Path(name))


def _finish(temporary: Path, stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    temporary.chmod(0o666 & ~_umask())


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of the text as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` of the value as indented JSON."""
    write_bytes(path, as_json(content))


def as_json(content: Any) -> bytes:
    """The value as indented JSON in UTF-8; of a path that is not, bytes are halves of surrogate pairs and escaped."""
    written = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{written}\n".encode("utf-8", "backslashreplace")


def write_tensors(path: Path, tensors: "dict[str, np.ndarray]", metadata: dict[str, str] | None = None) -> None:
    """`write_bytes` of named arrays as safetensors, a format that holds numbers and names and nothing to execute.

    A checksum of all that goes in goes with it, which the format itself has not.
    """
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    metadata = metadata or {}
    write_bytes(path, save(arrays, metadata | {_CHECKSUM: _digest(arrays, metadata)}))


def read_tensors(path: Path) -> "tuple[dict[str, np.ndarray], dict[str, str]]":
    """Named arrays and metadata of a safetensors file, compared with its checksum if it has one.

    Raises:
        RunError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            metadata: dict[str, str] = stream.metadata() or {}
    except (OSError, SafetensorError, TypeError, AttributeError) as error:  # the last two: types that NumPy has not
        raise RunError(f"{path} cannot be read as safetensors: {error}. Restore it, or train again.") from error
    if metadata.pop(_CHECKSUM, None) not in (None, _digest(tensors, metadata)):
        raise RunError(f"{path} is not as it was written: its checksum differs. Restore it, or train again.")
    return tensors, metadata


class Shape(NamedTuple):
    """What a header says of an array."""

    shape: tuple[int, ...]
    dtype: str  # as NumPy calls it, or as safetensors does where NumPy has no such type


def read_shapes(path: Path) -> dict[str, Shape]:
    """The shapes and types of a safetensors file's arrays, from its header: none of them is read.

    Raises:
        RunError: the file is missing, damaged, or not as long as its header says.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118
            return {
                name: Shape(tuple(each.get_shape()), _TYPES.get(each.get_dtype(), each.get_dtype()))
                for name, each in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as safetensors: {error}. Restore it, or train again.") from error


def _digest(tensors: "dict[str, np.ndarray]", metadata: dict[str, str]) -> str:
    """SHA-256 over what a safetensors file holds, in whatever order, as hexadecimal digits."""
    import numpy as np

    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        RunError: the file is missing, too large or damaged.
    """
    try:
        return json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}. Restore it, or train again.") from error


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """A whole file, of which no more is read than there may be.

    Raises:
        OSError: it is missing, no ordinary file, or over the limit, by default that of any text file of ours.
    """
    limit = _HEADER_LIMIT if limit is None else limit
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"it has {path.stat().st_size} bytes, expected at most {limit}")
    return content


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A temporary folder beside `destination` that takes its name when the block ends well, and vanishes when not.

    Raises:
        RunError: `destination` exists by the time the block ends, or cannot be written.
    """
    with parents(destination):
        with refusing(destination):
            temporary = Path(tempfile.mkdtemp(_PART, f".{destination.name}.", destination.parent))
        try:
            yield temporary
            with refusing(destination):
                temporary.chmod(0o777 & ~_umask())
            move_folder(temporary, destination)
        finally:
            remove(temporary)


def move_folder(source: Path, destination: Path) -> None:
    """Rename a finished folder, flushed to disk first, to a name that must be free.

    Raises:
        RunError: the name is taken, or cannot be given.
    """
    with refusing(destination):
        for file in source.rglob("*"):
            flush(file)
        flush(source)
        if destination.exists():  # rename(2) would replace an empty folder
            raise RunError(f"{destination} already exists. Choose another name, or remove it first.")
        source.rename(destination)
        flush(destination.parent)


def remove_parts(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half written in `folder`, of the file or folder `name` or of all.

    Nobody may be writing there meanwhile.
    """
    for path in folder.glob(f".{'*' if name is None else glob.escape(name)}.{_RANDOM}{_PART}"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing is said where there is none, or it cannot be."""
    try:
        _remove(path)
    except KeyboardInterrupt:  # one that comes while we clean up leaves nothing half removed
        _remove(path)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def parents(path: Path) -> Iterator[None]:
    """Make the folders that `path` needs; when the block ends, those of them that stayed empty go again.

    Raises:
        RunError: one cannot be made.
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        with refusing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in missing:  # the innermost first
            with suppress(OSError):  # not empty, or taken away
                folder.rmdir()


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
def refusing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into an error of ours.

    Raises:
        RunError: it cannot be written.
    """
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
