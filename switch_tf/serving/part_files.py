"""A table of answers as the content of a csv, jsonl or parquet file."""

import io
import json
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from switch_tf.data.answers import plain
from switch_tf.data.arrow_tables import strings
from switch_tf.data.sheets import is_string

_ENDINGS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".xlsx": "csv"}


def format_for(input_format: str) -> str:
    """What answers are written as where nobody says: as their input, or jsonl where that is read but not written.

    >>> format_for(".parquet"), format_for(".tsv"), format_for("")
    ('parquet', 'csv', 'jsonl')
    """
    return _ENDINGS.get(input_format, "jsonl")


def encode(table: pa.Table, format: str, json_columns: frozenset[str]) -> bytes:
    """The content of a file of that format; the same table always gives the same bytes.

    Args:
        json_columns: of strings that hold JSON, which jsonl takes in as it is.
    """
    return _WRITERS[format](table, json_columns)


def _parquet(table: pa.Table, json_columns: frozenset[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(table.num_rows, 1))
    return sink.getvalue()


def _csv(table: pa.Table, json_columns: frozenset[str]) -> bytes:
    columns = [_for_csv(column) for column in table.columns]
    sink = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, names=table.schema.names), sink)
    return sink.getvalue()


def _for_csv(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as csv can hold it: what is nested becomes JSON, and what has no word there text."""
    if is_string(column.type):
        return _valid(column)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type) or pa.types.is_floating(column.type):
        return column
    values = [plain(value) for value in column]
    return pa.chunked_array([pa.array([_word(value) for value in values], pa.large_string())])


def _word(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _jsonl(table: pa.Table, json_columns: frozenset[str]) -> bytes:
    columns = [_for_json(table[name], name in json_columns) for name in table.schema.names]
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
    names = table.schema.names
    lines = [encoder.encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return "".join(f"{line}\n" for line in lines).encode()


def _for_json(column: pa.ChunkedArray, holds_json: bool) -> list[Any]:
    kind = column.type
    if is_string(kind):
        values = _valid(column).to_pylist()
        return [None if value is None else json.loads(value) for value in values] if holds_json else values
    if pa.types.is_float32(kind):  # the shortest digits that give the same number back
        column = column.cast(pa.string()).cast(pa.float64())
    if pa.types.is_floating(kind):
        return [value if value is None or math.isfinite(value) else None for value in column.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.to_pylist()
    return [plain(value) for value in column]


def _valid(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings, with U+FFFD for what is not UTF-8 in them: a damaged file may hold anything."""
    texts = strings(column)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        as_bytes = texts.cast(pa.large_binary()).to_pylist()
        values = [None if value is None else value.decode(errors="replace") for value in as_bytes]
        return pa.chunked_array([pa.array(values, pa.large_string())])
    return texts


_WRITERS: dict[str, Callable[[pa.Table, frozenset[str]], bytes]] = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
FORMATS = tuple(_WRITERS)
