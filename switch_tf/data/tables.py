"""Where files become checked rows: tables (csv, tsv, jsonl, parquet) and folders of text files, one row at a time.

Every row is either yielded whole or refused with a `DataError` that names file, line and column; nothing is repaired
or guessed, and only blank lines are passed over. Rows stream through, each of at most 16 MiB.
"""

import csv
import gzip
import json
import lzma
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from switch_tf.errors import DataError

ACCEPTED = "a .csv, .tsv, .jsonl, .ndjson or .parquet file, plain or compressed as .gz or .xz"

_ROW_LIMIT = 16 * 2**20  # bytes, or characters of a quoted csv row: far above any text that one classifies
_PARQUET_LIMIT = 4 * 2**30  # bytes that a compressed parquet file may unpack to
_PARQUET_BATCH = 1000  # rows that are Python objects at one time
_LABEL_LIMIT = 200  # characters: what is longer is a text, and its column was named by mistake
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_TOO_LONG = "the row is over 16 MiB. Expected one text to classify in each row."

# A row as it stands in the file: its line (parquet: row) counted from 1, and the values of the wanted columns.
_Record = tuple[int, Sequence[object]]


class Row(NamedTuple):
    """One text with its label and its origin."""

    place: int | str  # line (parquet: row) counted from 1; a text file's path inside its folder
    text: str
    label: str  # empty when no label was asked for


def read_table(path: Path, text_column: str, label_column: str | None = None) -> Iterator[Row]:
    """Rows of a table in the order of the file; without `label_column` only its texts are read.

    Raises:
        DataError: the file or one of its rows cannot be used.
    """
    if text_column == label_column:
        raise DataError(f"Column {text_column!r} is named as text and as label. Name two different columns.")
    suffix, compression = _suffixes(path)
    unit = place_unit(path)
    columns = [text_column] if label_column is None else [text_column, label_column]
    empty = True
    with refusing_damage(path), _opened(path, compression) as stream:
        for place, (text, *label) in _FORMATS[suffix](stream, path, columns):
            where = f"{path}, {unit} {place}, column "
            checked = _checked_text(text, f"{where}{text_column!r}")
            yield Row(place, checked, _checked_label(label[0], f"{where}{label_column!r}") if label else "")
            empty = False
    if empty:
        raise DataError(f"{path} has no rows of data. Expected at least one row with a text.")


def place_unit(path: Path) -> str:
    """What `Row.place` counts in this table: "line" or "row"."""
    return "row" if _suffixes(path)[0] == ".parquet" else "line"


def split_folder(folder: Path, split: str) -> Path:
    """The folder that holds the class folders: `folder`, or `folder/split` where train and test are kept apart."""
    # A folder `train` that holds texts is a class (of vehicles, say); one that holds folders is a split.
    splits = [name for name in ("train", "test") if _subfolders(folder / name)]
    if not splits:
        return folder
    if not _subfolders(folder / split):
        raise DataError(f"{folder} has no split {split!r}. Expected class folders in {folder / split}.")
    return folder / split


def read_folder(folder: Path) -> Iterator[Row]:
    """Texts of `folder/CLASS/*.txt`, classes and files in order of their names; a folder without .txt is no class.

    Raises:
        DataError: there is no class folder, or a file cannot be used.
    """
    empty = True
    for class_folder in _subfolders(folder):
        with refusing_damage(class_folder):
            files = sorted(path for path in class_folder.iterdir() if path.suffix == ".txt")
        for path in files:
            label = _checked_label(class_folder.name, f"{class_folder}, its name")
            name = os.fsencode(path.name).decode(errors="backslashreplace")
            yield Row(f"{label}/{name}", _read_text(path), label)
            empty = False
    if empty:
        raise DataError(f"{folder} has no class folders. Expected one folder for each class, with .txt files in it.")


def _subfolders(folder: Path) -> list[Path]:
    """Folders that may be classes; in the aclImdb layout `unsup` holds the texts without a label."""
    with refusing_damage(folder):
        if not folder.is_dir():
            return []
        folders = [path for path in folder.iterdir() if path.is_dir() and path.name != "unsup"]
    return sorted(path for path in folders if not path.name.startswith("."))


def _read_text(path: Path) -> str:
    with refusing_damage(path), path.open("rb") as stream:
        content = stream.read(_ROW_LIMIT + 1)
    if len(content) > _ROW_LIMIT:
        raise DataError(f"{path} is over 16 MiB. Expected one text to classify in each file.")
    return _decoded(content, path, line=1).removeprefix("\ufeff")


def _suffixes(path: Path) -> tuple[str, str]:
    """(format, compression) as the file's name tells them, such as (".tsv", ".xz")."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in (".gz", ".xz") else ""
    if not suffixes or suffixes[-1] not in _FORMATS:
        raise DataError(f"{path} has no known extension. Expected {ACCEPTED}.")
    return suffixes[-1], compression


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turns what the operating system and the decompressors raise into refusals of `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Expected {ACCEPTED}.") from error
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: permission denied. Check its owner and mode with `ls -l`.") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        problem = f"is damaged or not what its extension says: {error}"
        raise DataError(f"{path} {problem}. Check it with `gzip -t` or `xz -t`, or fetch it again.") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter where a column's name is damaged
        problem = f"is damaged or not parquet: {str(error).rstrip('.')}"
        raise DataError(f"{path} {problem}. Write or fetch it again.") from error
    except OSError as error:  # Arrow's have a message alone
        problem = error.strerror or str(error).rstrip(".")
        raise DataError(f"{path} cannot be read: {problem}. Expected {ACCEPTED}, undamaged.") from error


@contextmanager
def _opened(path: Path, compression: str) -> Iterator[BufferedIOBase]:
    with path.open("rb") as file:
        if not file.peek(1):
            raise DataError(f"{path} is empty. Expected rows with a text each: write or fetch it again.")
        if compression == ".gz":
            with gzip.open(file) as unpacked:
                yield unpacked
        elif compression == ".xz":
            with lzma.open(file) as unpacked:
                yield unpacked
        else:
            yield file


def _csv_records(stream: BufferedIOBase, path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    return _pick_fields(_csv_rows(stream, path), path, columns)


def _csv_rows(stream: BufferedIOBase, path: Path) -> Iterator[tuple[int, list[str]]]:
    # The module's own limit of 131,072 characters is global and too low; the one in `lines` holds for this file.
    csv.field_size_limit(max(csv.field_size_limit(), _ROW_LIMIT))
    start, length = 1, 0  # of the row being read, which may span lines

    def lines() -> Iterator[str]:
        nonlocal length
        for _, line in _lines(stream, path):
            length += len(line)
            if length > _ROW_LIMIT:
                raise DataError(f"{path}, line {start}: {_TOO_LONG} Is a quote left open?")
            yield line

    rows = csv.reader(lines(), strict=True)
    while True:
        try:
            fields = next(rows, None)
        except csv.Error as error:
            expected = 'Expected a field with a comma, quote or line break to stand in quotes, and its own quotes as ""'
            raise DataError(f"{path}, line {start}: {str(error).split(' - ')[0]}. {expected}.") from error
        if fields is None:
            return
        if fields:  # a blank line has none
            yield start, fields
        start, length = rows.line_num + 1, 0


def _tsv_records(stream: BufferedIOBase, path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    return _pick_fields(_tsv_rows(stream, path), path, columns)


def _tsv_rows(stream: BufferedIOBase, path: Path) -> Iterator[tuple[int, list[str]]]:
    ending, single = "", False
    for number, line in _lines(stream, path):
        row = line.removesuffix("\n")
        if number == 1:
            ending, single = "\r" if row.endswith("\r") else "", "\t" not in row
        row = row.removesuffix(ending)
        if row or single:  # in a table of one column, a blank line is an empty text
            yield number, row.split("\t")


def _pick_fields(rows: Iterator[tuple[int, list[str]]], path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    """The wanted columns of rows of which the first is the header."""
    line, names = next(rows, (1, []))
    positions = _positions(names, columns, f"{path}, line {line}")
    for line, fields in rows:
        if len(fields) != len(names):
            problem = f"expected {len(names)} fields as in the header, received {len(fields)}"
            raise DataError(f"{path}, line {line}: {problem}. Quote or remove what separates fields inside the text.")
        yield line, [fields[position] for position in positions]


class _Object(list[tuple[str, object]]):
    """A JSON object as its members in order, so that a key that stands twice is seen."""


def _jsonl_records(stream: BufferedIOBase, path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    decoder = json.JSONDecoder(object_pairs_hook=_Object)
    for number, line in _lines(stream, path):
        if not line.strip(" \t\r\n"):
            continue
        where = f"{path}, line {number}"
        try:
            members = decoder.decode(line)
        except RecursionError as error:
            raise DataError(f"{where}: values are nested too deep. Expected one flat JSON object.") from error
        except json.JSONDecodeError as error:
            problem = f"not valid JSON at character {error.colno}: {error.msg}"
            raise DataError(f"{where}: {problem}. Expected one JSON object in each line.") from error
        except ValueError as error:  # an integer of over 4,300 digits
            raise DataError(f"{where}: {error}. Write it as a string.") from error
        if not isinstance(members, _Object):
            raise DataError(f"{where}: expected one JSON object in each line, received {_kind(members)}.")
        positions = _positions([name for name, _ in members], columns, where)
        yield number, [members[position][1] for position in positions]


def _parquet_records(stream: BufferedIOBase, path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    if not _suffixes(path)[1]:
        yield from _parquet_rows(stream, path, columns)
        return
    with tempfile.TemporaryFile() as unpacked:  # parquet is read from its end, which a compressed stream cannot do
        while block := stream.read(2**20):
            if unpacked.tell() + len(block) > _PARQUET_LIMIT:
                raise DataError(f"{path} unpacks to over 4 GiB. Unpack it: parquet is compressed inside already.")
            unpacked.write(block)
        yield from _parquet_rows(unpacked, path, columns)


def _parquet_rows(stream: BufferedIOBase, path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    file = pq.ParquetFile(stream)
    schema = file.schema_arrow
    for column, position in zip(columns, _positions(schema.names, columns, str(path)), strict=True):
        if not _is_readable(schema.types[position]):
            expected = f"expected strings, integers or booleans, received {schema.types[position]}"
            raise DataError(f"{path}, column {column!r}: {expected}. Convert the column.")
    row = 0
    for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=list(columns)):
        for cells in zip(*(batch.column(column) for column in columns), strict=True):
            row += 1
            try:
                values = [cell.as_py() for cell in cells]
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, row {row}: a string is not UTF-8 ({error}). Write it as UTF-8.") from error
            yield row, values


def _is_readable(kind: pa.DataType) -> bool:
    """Whether a column's values may be texts or labels; a column of nulls is refused at its first row."""
    if pa.types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    strings = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return strings or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)


_FORMATS: dict[str, Callable[[BufferedIOBase, Path, Sequence[str]], Iterator[_Record]]] = {
    ".csv": _csv_records,
    ".tsv": _tsv_records,
    ".jsonl": _jsonl_records,
    ".ndjson": _jsonl_records,
    ".parquet": _parquet_records,
}


def _lines(stream: BufferedIOBase, path: Path) -> Iterator[tuple[int, str]]:
    """Lines counted from 1, each with its line feed: no other character ends one (U+0085 occurs inside reviews)."""
    number = 0
    while line := stream.readline(_ROW_LIMIT + 1):
        number += 1
        if len(line) > _ROW_LIMIT:
            raise DataError(f"{path}, line {number}: {_TOO_LONG}")
        text = _decoded(line, path, number)
        yield number, text.removeprefix("\ufeff") if number == 1 else text


def _decoded(content: bytes, path: Path, line: int) -> str:
    """Strict UTF-8; `line` is the first one of `content`."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        position = error.start - content.rfind(b"\n", 0, error.start)  # counted from 1, as lines are
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "cp1252"
        problem = f"0x{content[error.start]:02x} is not UTF-8"
        convert = f"Convert the file, unpacked if need be, such as with `iconv -f {encoding} -t utf-8`"
        raise DataError(f"{path}, line {line}, byte {position}: {problem}, which was expected. {convert}.") from error


def _positions(names: Sequence[str], columns: Sequence[str], where: str) -> list[int]:
    """Where the wanted columns stand among `names`."""
    for column, argument in zip(columns, ("text_column", "label_column"), strict=False):
        if column not in names:
            there = ", ".join(repr(name[:40]) for name in names[:20]) or "none"
            problem = f"there is no column {column!r}. The columns are: {there}"
            raise DataError(f"{where}: {problem}. Name the right one: {argument}.", argument)
        if names.count(column) > 1:
            raise DataError(f"{where}: column {column!r} stands there more than once. Rename or remove one of them.")
    return [names.index(column) for column in columns]


def _checked_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a string, received {_kind(value)}. Write a text or leave the row out.")
    if len(value) > _ROW_LIMIT:
        raise DataError(f"{where}: {_TOO_LONG}")
    return _without_surrogates(value, where)


def _checked_label(value: object, where: str) -> str:
    if not isinstance(value, str | int):  # a bool is an int
        expected = "expected a string, an integer or a boolean"
        raise DataError(f"{where}: {expected}, received {_kind(value)}. Label the row or leave it out.")
    label = _without_surrogates(str(value), where)
    if not label.strip():
        raise DataError(f"{where}: expected a label, received an empty one. Label the row or leave it out.")
    if len(label) > _LABEL_LIMIT or _CONTROL_CHARACTER.search(label):
        expected = f"expected a label of one line and at most {_LABEL_LIMIT} characters"
        raise DataError(f"{where}: {expected}, received {label[:40]!r}. Rename it, or name another column.")
    return label


def _without_surrogates(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        problem = f"character {error.start + 1} is half of a surrogate pair, which UTF-8 cannot hold"
        raise DataError(f"{where}: {problem}. Remove it or write the whole pair.") from error
    return value


def _kind(value: object) -> str:
    """What a value is, without the value: it may be 16 MiB long."""
    kinds = {type(None): "null", bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    kinds |= {list: "an array", _Object: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")
