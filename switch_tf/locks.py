"""One writer at a time: locks of the operating system, which a killed process gives back by dying."""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from switch_tf import files
from switch_tf.errors import RunError

_SCRATCH = "switch-tf-"  # begins the names of temporary folders
_LOCK = "lock"
_YOUNG = 60  # seconds in which a temporary folder may not have its lock yet
_BEYOND = 2**30  # the byte that Windows locks: far behind what the file says, which others may read


@contextmanager
def locked(destination: Path, doing: str, argument: str | None = "output") -> Iterator[None]:
    """Be the only one that writes `destination`, while the block runs, among all that ask for this lock.

    What a killed process left half written for it is removed first. `doing` says what is done there, for the message
    that others get: "trained"; `argument` names what they could change.

    Raises:
        RunError: another process holds the lock; the message says which. Or the place cannot be written.
    """
    path = destination.with_name(f".{destination.name}.{_LOCK}")
    with files.parents(destination):
        stream = None
        try:
            with files.refusing(destination):
                stream = _acquire(path)
            if stream is None:
                holder = _holder(path)
                raise RunError(
                    f"{destination} is being {doing} by {holder}. Wait for it, or name another place.", argument
                )
            with files.refusing(destination):
                stream.truncate(0)
                stream.write(f"process {os.getpid()} on {socket.gethostname()}, {_now()}".encode())
                stream.flush()
            files.remove_parts(destination.parent, destination.name)
            yield
        except KeyboardInterrupt:
            if stream is None:  # perhaps between the making of the lock file and our knowing of it
                stream = _acquire(path)
            raise
        finally:
            if stream is not None:
                _release(stream, path)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, gone when the block ends; those that killed processes left are removed first.

    Raises:
        RunError: it cannot be made.
    """
    _collect(Path(tempfile.gettempdir()))
    with files.refusing(Path(tempfile.gettempdir(), _SCRATCH)):
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    stream = None
    try:
        with files.refusing(folder):
            stream = _acquire(folder / _LOCK)
            inside = folder / "files"
            inside.mkdir()
        yield inside
    finally:
        if stream is not None:
            stream.close()  # before the folder goes: Windows removes no open file
        files.remove(folder)


def _collect(folder: Path) -> None:
    """Remove the temporary folders whose process is dead: nobody holds their lock."""
    for path in folder.glob(f"{_SCRATCH}????????"):
        lock = path / _LOCK
        with suppress(OSError):  # another's, or going away at this moment
            if not lock.exists():
                if time.time() - path.stat().st_mtime > _YOUNG:
                    files.remove(path)
            elif (stream := _acquire(lock)) is not None:
                stream.close()
                files.remove(path)


def _acquire(path: Path) -> BinaryIO | None:
    """The open lock file, or None where another has it.

    Raises:
        OSError: it cannot be opened, or its file system knows no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        stream = os.fdopen(descriptor, "r+b")
        try:
            if not _lock(descriptor):
                stream.close()
                return None
            if _same(descriptor, path):
                return stream
        except OSError:
            stream.close()
            raise
        stream.close()  # its holder removed it between our opening and locking it


def _release(stream: BinaryIO, path: Path) -> None:
    if sys.platform == "win32":
        stream.close()  # Windows removes no open file
    try:
        files.remove(path)
    finally:
        stream.close()


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_bytes()[:200].decode("utf-8", "replace") or "another process"
    except OSError:
        return "another process"


def _now() -> str:
    return f"since {time.strftime('%Y-%m-%d %H:%M:%S')}"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
