"""The folder that answers are written to, part by part, so that a job that was killed goes on where it was.

    _job.json       what is answered by what: the model's checksum, the fingerprints of the input, the options
    part-000000.*   answers, in the order of the rows; a part is there whole or not at all
    _SUCCESS        written last, with the totals

Readers of folders (Spark, Arrow, DuckDB, pandas) overlook names that begin with an underscore or a dot.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from switch_tf import files
from switch_tf.data.remote import file_system, is_remote, refusing_failures
from switch_tf.errors import RunError
from switch_tf.locks import locked

JOB, SUCCESS = "_job.json", "_SUCCESS"
_PART = ".part"  # ends the temporary names on other file systems
_OTHER_JOB = "Name another folder, or remove this one"
_OTHERS = {"format": "another format", "model": "another model", "input": "another input", "options": "other options"}
_COMPARED = tuple(_OTHERS)  # what has to be the same for a job to go on


class OutputFolder(Protocol):
    """A place for files, on this machine or another."""

    path: str

    def alone(self) -> AbstractContextManager[None]:
        """Be the only job that writes there while the context lasts, where the file system can tell."""
        ...

    def names(self) -> set[str]:
        """What is there, without temporary files."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Have a file appear whole, in place of what stood there."""
        ...


def output_folder(path: str) -> OutputFolder:
    """The folder of that path, which need not be there."""
    return _Remote(path) if is_remote(path) else _Local(path)


def part_name(number: int, format: str) -> str:
    """What the file of a part is called, from 0.

    >>> part_name(12, "parquet")
    'part-000012.parquet'
    """
    return f"part-{number:06}.{format}"


def begin(folder: OutputFolder, job: dict[str, Any]) -> set[str]:
    """The names that are there of this job; it is written down where there is none.

    Raises:
        RunError: the folder holds another job, or other files; nothing is changed.
    """
    names = folder.names()
    if JOB not in names:
        if names:
            raise RunError(f"{folder.path} is not empty, and holds no job of ours. {_OTHER_JOB}.", "output")
        folder.write(JOB, files.as_json(job))
        return set()
    there = read_json(folder, JOB, _COMPARED)
    differing = [name for name in _COMPARED if there[name] != job[name]]
    if differing:
        others = " and ".join(_OTHERS[name] for name in differing)
        raise RunError(f"{folder.path} is the folder of another job: it has {others}. {_OTHER_JOB}.", "output")
    return names


def read_json(folder: OutputFolder, name: str, keys: Iterable[str]) -> dict[str, Any]:
    """An object of ours in a file of the folder.

    Raises:
        RunError: it is something else, or lacks one of the keys.
    """
    content = folder.read(name)
    try:
        found = json.loads(content)
        missing = [key for key in keys if key not in found]
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{folder.path}/{name} is damaged: {error}. {_OTHER_JOB}.", "output") from error
    if not isinstance(found, dict) or missing:
        raise RunError(f"{folder.path}/{name} is damaged: it does not say what it should. {_OTHER_JOB}.", "output")
    return found


class _Local:
    def __init__(self, path: str):
        self.path, self._folder = path, Path(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        if self._folder.exists() and not self._folder.is_dir():
            raise RunError(f"{self.path} is a file. Expected a folder, which need not be there.", "output")
        with locked(self._folder.absolute(), "answered into"):
            with files.refusing(self._folder):
                self._folder.mkdir(exist_ok=True)
            files.remove_parts(self._folder)
            yield

    def names(self) -> set[str]:
        with files.refusing(self._folder):
            return {each.name for each in self._folder.iterdir() if not each.name.startswith(".")}

    def read(self, name: str) -> bytes:
        try:
            return files.read_bytes(self._folder / name)
        except OSError as error:
            raise RunError(f"{self._folder / name} cannot be read: {error}. {_OTHER_JOB}.", "output") from error

    def write(self, name: str, content: bytes) -> None:
        files.write_bytes(self._folder / name, content)


class _Remote:
    """On a file system of fsspec; nothing keeps two jobs from writing there at a time."""

    def __init__(self, path: str):
        self.path = path.rstrip("/")
        self._system, inner = file_system(path)
        self._inner = inner.rstrip("/")

    @contextmanager
    def alone(self) -> Iterator[None]:
        with refusing_failures(self.path):
            self._system.makedirs(self._inner, exist_ok=True)
            for name in self._listed():
                if name.startswith(".") and name.endswith(_PART):
                    self._system.rm_file(f"{self._inner}/{name}")
        yield

    def names(self) -> set[str]:
        with refusing_failures(self.path):
            return {name for name in self._listed() if not name.startswith(".")}

    def read(self, name: str) -> bytes:
        with refusing_failures(self.path):
            return bytes(self._system.cat_file(f"{self._inner}/{name}"))

    def write(self, name: str, content: bytes) -> None:
        temporary = f"{self._inner}/.{name}{_PART}"
        with refusing_failures(self.path):
            self._system.pipe_file(temporary, content)
            self._system.mv(temporary, f"{self._inner}/{name}")

    def _listed(self) -> list[str]:
        self._system.invalidate_cache()
        return [each.rstrip("/").rsplit("/", 1)[-1] for each in self._system.ls(self._inner, detail=False)]
