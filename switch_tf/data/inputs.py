"""Which files a pattern means, on this machine or on any file system that fsspec knows, and what each of them holds."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from switch_tf import checksums
from switch_tf.data.remote import file_system, is_remote, refusing_failures
from switch_tf.errors import DataError

_HIDDEN = (".", "_")  # begin the names of what is no data in a folder of data: _SUCCESS, .crc


@dataclass(eq=False)
class InputFile:
    """A file to read: a `switch_tf.data.source.Source` that tells how much of it was read.

    Attributes:
        path: as messages name it.
        size: bytes.
    """

    path: str
    size: int
    _system: Any = None  # of fsspec; None for the machine's own
    _inner: str = ""  # the path inside that
    _stream: Any = None

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return self._pure.name

    @property
    def suffix(self) -> str:
        return self._pure.suffix

    @property
    def suffixes(self) -> list[str]:
        return self._pure.suffixes

    @property
    def _pure(self) -> PurePosixPath | Path:
        return Path(self.path) if self._system is None else PurePosixPath(self._inner)

    def open(self, mode: Literal["rb"] = "rb", /) -> Any:
        """A binary stream at its start, which `share_read` follows.

        Raises:
            OSError: it cannot be opened; DataError: nor on another file system.
        """
        if self._system is None:
            self._stream = Path(self.path).open(mode)  # noqa: SIM115  closed by the reader
        else:
            with refusing_failures(self.path):
                self._stream = self._system.open(self._inner, mode)
        return self._stream

    def share_read(self) -> float:
        """How much of the file was read by its last reader, from 0 to 1."""
        if self._stream is None or self._stream.closed or not self.size:
            return 1.0
        return min(self._stream.tell() / self.size, 1.0)

    def stamp(self) -> tuple[int, str]:
        """What is likely to change with the content: its size and when it was written.

        Raises:
            DataError: it is not there any more.
        """
        with refusing_failures(self.path):
            if self._system is not None:
                return self.size, str(self._system.ukey(self._inner))
            status = Path(self.path).stat()
            return status.st_size, str(status.st_mtime_ns)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this content from any other: its size and SHA-256; of another file system, what that says of it.

        Raises:
            DataError: it cannot be read.
        """
        with refusing_failures(self.path):
            if self._system is None:
                return checksums.describe(Path(self.path))
            return {"bytes": self.size, "version": str(self._system.ukey(self._inner))}


def find_inputs(pattern: str) -> list[InputFile]:
    """The files that a path, a folder or a pattern with * means, in the order of their paths.

    A folder means the files right in it, and a pattern whatever it matches; names that begin with . or _ are left out.

    Raises:
        DataError: there are none, or a pipe is meant.
    """
    found = _remote(pattern) if is_remote(pattern) else _local(pattern)
    if not found:
        raise DataError(f"No file is meant by {pattern!r}. Expected a file, a folder of files, or a pattern with *.")
    return found


def _local(pattern: str) -> list[InputFile]:
    path = Path(pattern)
    if path.is_dir():
        names: Iterable[Path] = path.iterdir()
    elif path.is_file():
        return [InputFile(pattern, path.stat().st_size)]
    elif path.exists():
        problem = f"{pattern} is a pipe or a device, which can be read once alone"
        raise DataError(
            f"{problem}. Expected a file, a folder of files, or a pattern with *: write it to a file first."
        )
    else:
        names = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207  absolute ones too
    files = sorted(each for each in names if each.is_file() and not each.name.startswith(_HIDDEN))
    return [InputFile(str(each), each.stat().st_size) for each in files]


def _remote(pattern: str) -> list[InputFile]:
    system, inner = file_system(pattern)
    with refusing_failures(pattern):
        if system.isdir(inner):
            found = system.ls(inner, detail=False)
        elif system.exists(inner):
            found = [inner]
        else:
            found = system.glob(inner)
        files = [each for each in sorted(found) if system.isfile(each)]
        return [
            InputFile(system.unstrip_protocol(each), int(system.size(each) or 0), system, each)
            for each in files
            if each == inner or not PurePosixPath(each).name.startswith(_HIDDEN)
        ]
