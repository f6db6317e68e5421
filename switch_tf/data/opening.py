"""From a path to an open stream: what the name says, unpacked, and checked against what the content is."""

import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from switch_tf.data import sniffing
from switch_tf.data.source import Source
from switch_tf.errors import DataError

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst", ".zip")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
LINES = (".txt", "")
ACCEPTED = (
    "a .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .xlsx or .txt file, plain or compressed as .gz, .xz, .bz2, .zst "
    "or .zip"
)
_SEEKABLE_LIMIT = 4 * 2**30  # bytes that a compressed parquet file or workbook may unpack to
_NOT_DATA = ("__MACOSX/", ".DS_Store")  # what archives made on a Mac also hold


class Kind(NamedTuple):
    """What a file's name says: a format among `TABLES` and `LINES`, and a compression or ""."""

    format: str
    compression: str = ""
    stdin: bool = False  # lines that come when they come: the first ones do not tell how all end

    @property
    def unit(self) -> str:
        """What places in the file count: "line" or "row"."""
        return "row" if self.format in (".parquet", ".xlsx") else "line"


class Opened(NamedTuple):
    """A file as its format reads it."""

    stream: Any  # binary, at its start, unpacked
    head: bytes  # its first bytes
    kind: Kind  # its format may come from inside an archive


def kind_of(path: Source) -> Kind:
    """(format, compression) as the file's name tells them, such as (".tsv", ".xz"); no extension means lines of text.

    Raises:
        DataError: the extension is none that is read.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    if compression and not suffixes:
        if compression == ".zip":  # what is inside has a name of its own
            return Kind("", compression)
        raise DataError(f"{path} has no known extension before {compression}. Expected {ACCEPTED}.")
    last = suffixes[-1] if suffixes else ""
    if last not in TABLES + LINES:
        if compression == ".zip":
            return Kind("", compression)
        raise DataError(f"{path} has no known extension. Expected {ACCEPTED}.")
    return Kind(last, compression)


@contextmanager
def opened(path: Source) -> Iterator[Opened]:
    """The content of a file as its name says it is.

    Raises:
        DataError: there is no such file, it is empty or damaged, or it is something else than its name says.
    """
    kind = kind_of(path)
    with refusing_damage(path), path.open("rb") as file:
        head = file.read(sniffing.HEAD)
        if not head:
            raise DataError(f"{path} is empty. Expected rows with a text each: write or fetch it again.")
        packed: Any = _rewound(file, head)
        if not kind.compression:
            with _checked(Opened(packed, head, kind), path) as found:
                yield found
            return
        _check_compression(path, kind, head)
        with _unpacked(packed, path, kind) as (stream, inner):
            head = stream.read(sniffing.HEAD)
            with _checked(Opened(chained(head, stream), head, inner), path) as found:
                yield found


def refuse_strange(head: bytes, where: str, kind: Kind, path: Source) -> None:
    """Refuse what is no text where the format is one of text.

    Raises:
        DataError: it says what the content is and what helps.
    """
    content = sniffing.recognise(head, lines=kind.format in LINES)
    if content is not None:
        name: Source = Path(path.name.removesuffix(path.suffix)) if kind.compression else path
        raise DataError(f"{where} holds {content.what}, not {_called(kind)}. {sniffing.remedy(content, name)}.")


@contextmanager
def refusing_damage(path: Source) -> Iterator[None]:
    """Turns what the operating system and the decompressors raise into refusals of `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Expected {ACCEPTED}.") from error
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: permission denied. Check its owner and mode with `ls -l`.") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile, EOFError) as error:
        problem = f"is damaged or not what its extension says: {str(error).rstrip('.')}"
        raise DataError(f"{path} {problem}. Check it with {_checker(path)}, or fetch it again.") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter where a column's name is damaged
        problem = f"is damaged or not parquet: {str(error).rstrip('.')}"
        raise DataError(f"{path} {problem}. Write or fetch it again.") from error
    except OSError as error:  # Arrow's and bzip2's have a message alone
        problem = error.strerror or str(error).rstrip(".")
        raise DataError(f"{path} cannot be read: {problem}. Expected {ACCEPTED}, undamaged.") from error


@contextmanager
def seekable(stream: Any, path: Source) -> Iterator[Any]:
    """The stream, or a copy of it in a temporary file: parquet and workbooks are read from their end."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        while block := stream.read(2**20):
            if copy.tell() + len(block) > _SEEKABLE_LIMIT:
                raise DataError(f"{path} unpacks to over 4 GiB. Unpack it: its content is compressed already.")
            copy.write(block)
        copy.seek(0)
        yield copy


def chained(head: bytes, stream: Any) -> Any:
    """A stream of `head`, then of what is left of `stream`."""
    return io.BufferedReader(_Chained(head, stream), 2**16)


@contextmanager
def _checked(found: Opened, path: Source) -> Iterator[Opened]:
    expected = {".parquet": "parquet", ".xlsx": "an Excel workbook"}.get(found.kind.format)
    if expected is None:
        refuse_strange(found.head, str(path), found.kind, path)
        if found.kind.format == "" and not found.kind.compression and found.head.lstrip()[:2] in (b'{"', b"[{"):
            raise DataError(f"{path} has no extension and holds JSON. Name it {path.name}.json or {path.name}.jsonl.")
    elif (content := sniffing.recognise(found.head)) is not None:
        if content.what not in (expected, "a zip archive" if expected != "parquet" else expected):
            raise DataError(f"{path} holds {content.what}, not {expected}. {sniffing.remedy(content, path)}.")
    elif not found.head.startswith(b"P"):  # damaged ones are told apart by their readers
        raise DataError(f"{path} is damaged or not {expected}: it begins with {found.head[:8]!r}. Write it again.")
    yield found


def _check_compression(path: Source, kind: Kind, head: bytes) -> None:
    received = sniffing.as_compression(head)
    if received == kind.compression:
        return
    plain = path.name.removesuffix(path.suffix)
    if received:
        remedy = f"It holds {received[1:]} data: name it {plain}{received}"
    else:
        content = sniffing.recognise(head)
        held = content.what if content else "plain text" if head.isascii() else "other bytes"
        remedy = f"It holds {held}" + (f": name it {plain}" if held == "plain text" else ": fetch or write it again")
    problem = f"is damaged or not what its extension says: it does not begin as {kind.compression} files do"
    raise DataError(f"{path} {problem}. {remedy}.")


@contextmanager
def _unpacked(packed: Any, path: Source, kind: Kind) -> Iterator[tuple[Any, Kind]]:
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    if kind.compression in openers:
        with openers[kind.compression](packed) as stream:
            yield stream, kind
    elif kind.compression == ".zst":
        with pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd") as raw:
            yield io.BufferedReader(raw, 2**16), kind
    else:
        with seekable(packed, path) as whole, zipfile.ZipFile(whole) as archive:
            member, inner = _only_member(archive, path, kind)
            try:
                stream = archive.open(member)
            except (NotImplementedError, RuntimeError) as error:  # a method of packing, or a password
                raise DataError(f"{path} cannot be unpacked: {error}. Unpack it, or pack it again.") from error
            with stream:
                yield stream, inner


def _only_member(archive: zipfile.ZipFile, path: Source, kind: Kind) -> tuple[zipfile.ZipInfo, Kind]:
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith(_NOT_DATA) and not each.filename.endswith(_NOT_DATA)
    ]
    if len(members) != 1:
        names = ", ".join(repr(each.filename[:60]) for each in members[:10]) or "nothing"
        raise DataError(f"{path} holds {len(members)} files: {names}. Expected one: unpack it and name the file.")
    (member,) = members
    if kind.format:
        return member, kind
    inner = kind_of(Path(member.filename))
    if inner.compression:
        raise DataError(f"{path} holds {member.filename!r}, which is compressed again. Unpack one of them.")
    return member, Kind(inner.format, kind.compression)


def _rewound(stream: Any, head: bytes) -> Any:
    """The stream at its start again, after `head` was read from it."""
    if stream.seekable():
        stream.seek(0)
        return stream
    return chained(head, stream)


class _Chained(io.RawIOBase):
    """`head`, then what is left of `stream`: a pipe cannot be wound back."""

    def __init__(self, head: bytes, stream: Any):
        self._head, self._stream = memoryview(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._head[: len(buffer)] or self._stream.read1(len(buffer))
        self._head = self._head[len(block) :]
        buffer[: len(block)] = block
        return len(block)


def _called(kind: Kind) -> str:
    names = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines", ".json": "JSON"}
    return names.get(kind.format, "lines of UTF-8 text")


def _checker(path: Source) -> str:
    tools = {".xz": "`xz -t`", ".zip": "`unzip -t`", ".xlsx": "`unzip -t`", ".bz2": "`bzip2 -t`", ".zst": "`zstd -t`"}
    return tools.get(path.suffix.lower(), "`gzip -t`")
