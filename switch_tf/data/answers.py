"""Answers in a file, beside the columns of what was asked: csv, jsonl or parquet.

The file appears whole or not at all. Rows stream through: where the columns of the input are known from its start, so
into the file; JSON's, which may come late, through a temporary file beside it.
"""

import csv
import io
import json
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from switch_tf import files
from switch_tf.data.streams import Line
from switch_tf.errors import ArgumentError

FORMATS = (".csv", ".jsonl", ".parquet")
_ANSWER = ("label", "score", "error")
_REJECTED = ("label", "score", "rejected", "error")
ANSWER_KINDS = {"label": pa.string(), "score": pa.float32(), "rejected": pa.bool_(), "error": pa.string()}
_ROWS = 1000  # in a piece of parquet
_KINDS = {str: pa.large_string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}

_Cells = dict[str, Any]


def check_answers_path(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        ArgumentError: it ends in none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(f"Received {path} for the answers. Expected a name in {', '.join(FORMATS)}.", "output")


def free_names(columns: Collection[str], names: Sequence[str]) -> tuple[str, ...]:
    """What answers are called beside columns: all get "predicted_" before them where one is taken, as often as needed.

    >>> free_names(["text"], ["label", "score"]), free_names(["text", "label"], ["label", "score"])
    (('label', 'score'), ('predicted_label', 'predicted_score'))
    """
    prefix = ""
    while any(f"{prefix}{name}" in columns for name in names):
        prefix += "predicted_"
    return tuple(f"{prefix}{name}" for name in names)


@contextmanager
def answers_file(path: Path, columns_come_late: bool, with_rejected: bool = False) -> Iterator["_Writer"]:
    """A writer of answers whose file appears when the block ends well.

    Args:
        columns_come_late: rows may have other columns than the first (JSON), or values of other types (workbooks).
        with_rejected: answers say whether they are the reject label, in a column between score and error.

    Raises:
        RunError: the file cannot be written.
    """
    check_answers_path(path)
    with files.new_file(path) as stream:
        kind = _Late if columns_come_late else _Writer
        writer = kind(stream, path.suffix.lower(), _REJECTED if with_rejected else _ANSWER)
        yield writer
        writer.close()


class _Writer:
    """Writes rows whose columns are those of the first."""

    def __init__(self, stream: BinaryIO, format: str, answer: tuple[str, ...]):
        self._stream, self._format, self._answer = stream, format, answer
        self._waiting: list[tuple[_Cells, _Cells]] = []  # until the columns are known: those of broken rows are not
        self._names: dict[str, str] = {}
        self._columns: dict[str, pa.DataType] | None = None
        self._rows: list[_Cells] = []
        self._parquet: pq.ParquetWriter | None = None

    def write(self, line: Line, answer: Mapping[str, Any]) -> None:
        """One row: the cells of `line`, then label and score, or the error."""
        row = {name: answer.get(name) for name in self._answer}
        if self._columns is None and line.cells is None:
            self._waiting.append(({}, row))
            return
        if self._columns is None:
            self._begin({name: _type(value) for name, value in (line.cells or {}).items()})
        self._add(line.cells or {}, row)

    def close(self) -> None:
        """Write what is left."""
        if self._columns is None:
            self._begin({})
        self._flush()
        if self._parquet is not None:
            self._parquet.close()

    def _begin(self, columns: dict[str, pa.DataType]) -> None:
        self._columns = columns
        self._names = dict(zip(self._answer, free_names(columns, self._answer), strict=True))
        kinds = {self._names[name]: ANSWER_KINDS[name] for name in self._answer}
        self._schema = pa.schema([*columns.items(), *kinds.items()])
        if self._format == ".parquet":
            self._parquet = pq.ParquetWriter(self._stream, self._schema, compression="zstd")
        elif self._format == ".csv":
            self._stream.write(_csv_line(self._schema.names))
        for cells, row in self._waiting:
            self._add(cells, row)
        self._waiting = []

    def _add(self, cells: _Cells, row: _Cells) -> None:
        assert self._columns is not None
        answer = {self._names[name]: value for name, value in row.items()}
        if self._format == ".jsonl":
            kept = {name: plain(cells.get(name)) for name in self._columns}
            self._stream.write(_json_line(kept | answer))
        elif self._format == ".csv":
            kept = {name: plain(cells.get(name)) for name in self._columns}
            self._stream.write(_csv_line([_csv_field(value) for value in (kept | answer).values()]))
        else:
            self._rows.append({name: cells.get(name) for name in self._columns} | answer)
            if len(self._rows) == _ROWS:
                self._flush()

    def _flush(self) -> None:
        if self._parquet is None or not self._rows:
            return
        columns = [
            pa.array([_cell(row[field.name], field.type) for row in self._rows], type=field.type)
            for field in self._schema
        ]
        self._parquet.write_table(pa.table(columns, schema=self._schema))
        self._rows = []


class _Late(_Writer):
    """Keeps rows in a temporary file until all columns are known."""

    def __init__(self, stream: BinaryIO, format: str, answer: tuple[str, ...]):
        super().__init__(stream, format, answer)
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._found: dict[str, pa.DataType] = {}

    def write(self, line: Line, answer: Mapping[str, Any]) -> None:
        cells = {name: plain(value) for name, value in (line.cells or {}).items()}
        for name, value in cells.items():
            self._found[name] = _joined(self._found.get(name, pa.null()), _type(value))
        self._spool.write(_json_line([cells, {name: answer.get(name) for name in self._answer}]))

    def close(self) -> None:
        self._spool.seek(0)
        late = self._format == ".parquet"
        self._begin(
            {name: pa.large_string() if late and kind == pa.null() else kind for name, kind in self._found.items()}
        )
        for content in self._spool:
            cells, row = json.loads(content)
            self._add(cells, row)
        self._spool.close()
        super().close()


def plain(value: Any) -> Any:
    """A value as JSON can hold it; what JSON has no word for (dates, decimals, bytes) as text."""
    if isinstance(value, pa.Scalar):
        try:
            value = value.as_py()
        except (ValueError, UnicodeDecodeError):  # nanoseconds, or a string that is not UTF-8
            value = str(value)
    if value is None or isinstance(value, str | bool | int):
        return value.encode(errors="replace").decode() if isinstance(value, str) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else str(value)


def _type(value: Any) -> pa.DataType:
    if isinstance(value, pa.Scalar):
        return value.type
    return pa.null() if value is None else _KINDS.get(type(value), pa.large_string())


def _joined(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that holds values of both."""
    if one == other or other == pa.null():
        return one
    if one == pa.null():
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.large_string()


def _cell(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, pa.Scalar) or value is None:
        return value
    if kind in (pa.large_string(), pa.string()) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return float(value) if pa.types.is_floating(kind) else value


def _json_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _csv_line(fields: list[str]) -> bytes:
    line = io.StringIO()
    # Python up to 3.12 quotes a carriage return only where lines end in one, and no reader takes it for text unquoted.
    if any("\r" in field for field in fields):
        csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(fields)
    else:
        csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue().encode()
