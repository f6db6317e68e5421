"""Rows of files with the same columns as Arrow record batches: all columns, in order, a bounded number at a time.

Parquet stays Arrow from its file on. Every other format is read by the reader of rows that all commands share; its
cells become strings or, of JSON and workbooks, what all values of a column are. A row that cannot be used stays in its
place, and why stands beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from switch_tf.data.cell_kinds import Kinds, as_array
from switch_tf.data.inputs import InputFile
from switch_tf.data.opening import kind_of, opened, seekable
from switch_tf.data.rows import ROW_LIMIT, TEXT_COLUMN, TOO_LONG, Row, Wanted, find_columns, text_columns, unique_names
from switch_tf.data.sheets import is_string
from switch_tf.data.streams import sentence
from switch_tf.data.tables import no_rows, place_unit, read_rows
from switch_tf.errors import DataError

_ROWS = 4096  # in a batch, if they are short
_BYTES = 8 * 2**20  # of a batch, about: rows may be long
_SAMPLE = 1000  # rows among which one shows the columns of its file
_ALIKE = "Write the column with one type, or name those files alone"
_TYPED = (".json", ".jsonl", ".ndjson", ".xlsx", "")  # cells have types, and columns may come late; "" may be a zip


class Batch(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: all columns, as `ArrowTables.schema` has them.
        errors: why a row cannot be answered, or None, [rows].
        share_read: how much of the file is read by then, from 0 to 1.
    """

    rows: pa.RecordBatch
    errors: list[str | None]
    share_read: float


class ArrowTables(Protocol):
    """Files with the same columns.

    Attributes:
        schema: the columns; a name that is there more than once has a number behind it.
        texts: which of them are the texts; they hold strings.
        json: which of them hold JSON: values of several kinds, objects, arrays.
    """

    schema: pa.Schema
    texts: list[str]
    json: frozenset[str]

    def batches(self, file: InputFile) -> Iterator[Batch]:
        """The rows of one of the files."""
        ...


def open_tables(files: Sequence[InputFile], wanted: Wanted) -> ArrowTables:
    """Files as one table, after a look at the columns of each, or at all rows where they have no header.

    Raises:
        DataError: a file cannot be read or lacks a column, two have other columns or formats, or there are no rows.
        ArgumentError: a column was named, and there are none.
    """
    formats = {format_of(file): file for file in reversed(files)}
    if len(formats) > 1:
        (one, first), (other, second) = sorted(formats.items())[:2]
        there = f"{first} is {one or 'lines of text'} and {second} is {other or 'lines of text'}"
        raise DataError(f"{there}. Expected files of one format: name those of each by themselves.")
    (format,) = formats
    return _ParquetFiles(files, wanted) if format == ".parquet" else _OtherFiles(files, wanted, format in _TYPED)


def format_of(file: InputFile) -> str:
    """The format of a file by its name; ".jsonl" for all kinds of JSON, "" for lines of text.

    Raises:
        DataError: it is none that is read.
    """
    format = kind_of(file).format
    return {".json": ".jsonl", ".ndjson": ".jsonl", ".txt": ""}.get(format, format)


def strings(column: Any) -> Any:
    """A column of strings of any kind, in a dictionary or not, as large strings."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode() if isinstance(column, pa.Array) else column.cast(column.type.value_type)
    return column.cast(pa.large_string())


class _ParquetFiles:
    """Parquet files, whose columns keep their types."""

    json: frozenset[str] = frozenset()

    def __init__(self, files: Sequence[InputFile], wanted: Wanted):
        schemas: dict[InputFile, pa.Schema] = {}
        rows = 0
        for file in files:
            with _parquet(file) as found:
                schemas[file] = _with_unique_names(found.schema_arrow)
                rows += found.metadata.num_rows
                _check_texts(file, found.schema_arrow, wanted)
        if not rows:
            raise no_rows(_listed(files))
        _refuse_other_columns({file: schema.names for file, schema in schemas.items()})
        try:
            self.schema = pa.unify_schemas(list(schemas.values()), promote_options="permissive")
        except pa.ArrowException as error:
            problem = f"Columns of {_listed(files)} have types that do not agree: {str(error).rstrip('.')}"
            raise DataError(f"{problem}. {_ALIKE}.") from error
        self.texts = text_columns(self.schema.names, wanted.text)

    def batches(self, file: InputFile) -> Iterator[Batch]:
        with _parquet(file) as found:
            done = 0
            for batch in found.iter_batches(batch_size=_batch_size(found.metadata), use_threads=False):
                columns = dict(zip(unique_names(batch.schema.names), batch.columns, strict=True))
                done += batch.num_rows
                yield Batch(
                    pa.record_batch([_as(each, columns[each.name], file) for each in self.schema], schema=self.schema),
                    _text_errors({name: columns[name] for name in self.texts}, batch.num_rows),
                    done / found.metadata.num_rows,
                )


class _OtherFiles:
    """Files of any other format, by the reader of rows."""

    def __init__(self, files: Sequence[InputFile], wanted: Wanted, typed: bool):
        self._wanted = Wanted(wanted.text, None, wanted.no_header, keep=True, notes=wanted.notes)
        kinds, problem = Kinds(), ""
        names: dict[InputFile, list[str]] = {}
        for file in files:
            for row in _seen(read_rows(file, self._wanted), None if typed else _SAMPLE):
                problem = problem or f"{file}, {place_unit(file)} {row.place}: {row.problem}"
                if row.cells is not None:
                    kinds.see(row.cells)
                    names.setdefault(file, list(row.cells))
        if not problem:
            raise no_rows(_listed(files))
        if not typed:
            _refuse_other_columns(names)
        self.texts = self._find_texts(kinds.schema(()).names, files, problem)
        self.schema, self.json = kinds.schema(self.texts), kinds.json(self.texts)

    def _find_texts(self, names: list[str], files: Sequence[InputFile], problem: str) -> list[str]:
        texts = text_columns(names, self._wanted.text)
        if self._wanted.no_header and texts == [TEXT_COLUMN]:
            texts = names
            if len(names) > 1:
                there = f"{_listed(files)}: there is no header, and {len(names)} columns"
                raise DataError(f"{there}. Name the one of the texts by its number, from 1.", "text_column")
        if not set(texts) <= set(names):
            raise DataError(problem, "text_column")
        return texts

    def batches(self, file: InputFile) -> Iterator[Batch]:
        waiting: list[Row] = []
        size = 0
        for row in read_rows(file, self._wanted):
            waiting.append(row)
            size += sum(len(cell) for cell in (row.cells or {}).values() if isinstance(cell, str))
            if len(waiting) == _ROWS or size > _BYTES:
                yield self._batch(waiting, file.share_read())
                waiting, size = [], 0
        if waiting:
            yield self._batch(waiting, 1.0)

    def _batch(self, rows: list[Row], share_read: float) -> Batch:
        cells: list[Mapping[str, Any]] = [row.cells or {} for row in rows]
        columns = [
            as_array([each.get(field.name) for each in cells], field.type, field.name in self.json)
            for field in self.schema
        ]
        errors = [sentence(row.problem) if row.problem else None for row in rows]
        return Batch(pa.record_batch(columns, schema=self.schema), errors, share_read)


def _seen(rows: Iterator[Row], sample: int | None) -> Iterator[Row]:
    """All rows, or for a sample those up to the first that shows its columns."""
    for row in islice(rows, sample):
        yield row
        if sample is not None and row.cells is not None:
            return


def _with_unique_names(schema: pa.Schema) -> pa.Schema:
    names = unique_names(schema.names)
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)], schema.metadata)


def _as(field: pa.Field, column: Any, file: InputFile) -> Any:
    """A column as the type that those of all files agree on."""
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        problem = f"{file}, column {field.name!r}: {column.type} becomes {field.type} beside the other files"
        raise DataError(f"{problem}, which cannot hold it: {str(error).rstrip('.')}. {_ALIKE}.") from error


def _check_texts(file: InputFile, schema: pa.Schema, wanted: Wanted) -> None:
    if wanted.no_header:
        Wanted(no_header=True).refuse_columns(str(file))
    positions, _ = find_columns(schema.names, Wanted(wanted.text), str(file))
    for position in positions:
        kind = schema.types[position]
        if not (is_string(kind) or pa.types.is_null(kind)):
            problem = f"expected strings, received {kind}. Name another column, or convert this one"
            raise DataError(f"{file}, column {schema.names[position]!r}: {problem}.", "text_column")


def _refuse_other_columns(names: Mapping[InputFile, Sequence[str]]) -> None:
    first: InputFile | None = None
    for file, there in names.items():
        first = first or file
        lacking, more = sorted(set(names[first]) - set(there)), sorted(set(there) - set(names[first]))
        if lacking or more:
            has, lacks, name = (first, file, lacking[0]) if lacking else (file, first, more[0])
            problem = f"{has} has the column {name!r}, which {lacks} lacks"
            raise DataError(f"{problem}. Expected files with the same columns: name those alone.")


@contextmanager
def _parquet(file: InputFile) -> Iterator[Any]:
    with opened(file) as found, seekable(found.stream, file) as stream:
        yield pq.ParquetFile(stream, buffer_size=2**20, pre_buffer=False)


def _batch_size(metadata: Any) -> int:
    """Rows to hold at a time, so that they are about `_BYTES`."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1.0)
    return max(1, min(_ROWS, int(_BYTES / max(largest, 1.0))))


def _text_errors(columns: Mapping[str, Any], rows: int) -> list[str | None]:
    """Why texts cannot be answered: they are no UTF-8, or too long."""
    errors: list[str | None] = [None] * rows
    for name, column in columns.items():
        texts = strings(column)
        try:
            texts.validate(full=True)
            if (pc.max(pc.binary_length(texts)).as_py() or 0) <= ROW_LIMIT:
                continue
        except pa.ArrowInvalid:
            pass
        for row, text in enumerate(texts):
            if problem := _problem(text):
                errors[row] = errors[row] or sentence(f"column {name!r}: {problem}")
    return errors


def _problem(text: pa.Scalar) -> str:
    try:
        value = text.as_py()
    except UnicodeDecodeError as error:
        return f"a string is not UTF-8 ({error}). Write it as UTF-8."
    return TOO_LONG if value is not None and len(value) > ROW_LIMIT else ""


def _listed(files: Sequence[InputFile]) -> str:
    return ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
