"""Rows of parquet files and of Excel workbooks, whose cells have types."""

import zipfile
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from switch_tf.data.delimited import name_by_number
from switch_tf.data.opening import Opened, seekable
from switch_tf.data.rows import REPEATED_HEADER, Record, Wanted, find_columns, fold, unique_names
from switch_tf.data.source import Source
from switch_tf.errors import DataError

_PARQUET_BATCH = 1000  # rows that are Python objects at one time
_SAMPLE = 1000
_WORKBOOK_LIMIT = 2**30  # bytes that the sheets of a workbook may unpack to


def parquet_records(found: Opened, path: Source, wanted: Wanted) -> Iterator[Record]:
    """Rows of a parquet file."""
    with seekable(found.stream, path) as stream:
        yield from _parquet_rows(pq.ParquetFile(stream), path, wanted)


def _parquet_rows(file: Any, path: Source, wanted: Wanted) -> Iterator[Record]:
    schema = file.schema_arrow
    texts, label = find_columns(schema.names, wanted, str(path))
    positions = texts + ([] if label is None else [label])
    for position in positions:
        if not _is_readable(schema.types[position]):
            expected = f"expected strings, integers or booleans, received {schema.types[position]}"
            raise DataError(f"{path}, column {schema.names[position]!r}: {expected}. Convert the column.")
    names = schema.names if wanted.keep else [schema.names[position] for position in positions]
    row = 0
    for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=list(dict.fromkeys(names))):
        for index in range(batch.num_rows):
            row += 1
            cells = dict(zip(batch.schema.names, (column[index] for column in batch.columns), strict=True))
            try:
                values = [cells[schema.names[position]].as_py() for position in positions]
            except UnicodeDecodeError as error:
                yield Record(row, problem=f"a string is not UTF-8 ({error}). Write it as UTF-8.")
                continue
            kept = cells if wanted.keep else None
            yield Record(row, values[: len(texts)], None if label is None else values[-1], "", kept)


def _is_readable(kind: pa.DataType) -> bool:
    """Whether a column's values may be texts or labels."""
    if pa.types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    return is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)


def is_string(kind: pa.DataType) -> bool:
    """Whether a column's values are strings, of whichever kind, in a dictionary or not."""
    if pa.types.is_dictionary(kind):
        return is_string(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def excel_records(found: Opened, path: Source, wanted: Wanted) -> Iterator[Record]:
    """Rows of the one sheet of a workbook that has the wanted columns, by the values that Excel last computed.

    Raises:
        DataError: the reader of workbooks is not installed, or none or several sheets have the columns.
    """
    try:
        import openpyxl
    except ImportError as error:
        remedy = "Install it (the extra `excel`: openpyxl), or save the sheet as CSV in UTF-8"
        raise DataError(f"{path} is an Excel workbook, whose reader is not installed. {remedy}.") from error
    with seekable(found.stream, path) as stream:
        _refuse_bomb(stream, path)
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            sheets = [(sheet.title, _rows(sheet)) for sheet in book.worksheets]
            yield from _sheet_records([(title, rows, next(rows, None)) for title, rows in sheets], path, wanted)
        except DataError:
            raise
        except Exception as error:  # whatever the reader meets in a damaged workbook: its exceptions share no base
            raise DataError(f"{path} is damaged or not a workbook: {error!r}. Save it again.") from error


def _sheet_records(sheets: list[tuple[str, Any, Any]], path: Source, wanted: Wanted) -> Iterator[Record]:
    filled = [each for each in sheets if each[2] is not None]
    if not filled:
        return
    fitting = [each for each in filled if wanted.no_header or _holds(_names(each[2][1]), wanted)]
    if len(fitting) > 1:
        titles = ", ".join(repr(title) for title, _, _ in fitting)
        raise DataError(f"{path} has {len(fitting)} sheets with such rows: {titles}. Keep one, or save one as CSV.")
    title, rows, first = (fitting or filled)[0]
    names = _names(first[1])
    if wanted.no_header:
        sample = [first, *islice(rows, _SAMPLE - 1)]
        names = [str(number) for number in range(1, len(names) + 1)]
        wanted = name_by_number(names, [cells for _, cells in sample], wanted, str(path))
        rows = chain(sample, rows)
    elif len(filled) > 1:
        wanted.notes.append(f"of {len(filled)} sheets, {title!r} is read")
    texts, label = find_columns(names, wanted, f"{path}, row {first[0]}")
    header, unique = {fold(name) for name in names}, unique_names(names)
    for row, cells in rows:
        cells = [*cells, *[None] * (len(names) - len(cells))]
        kept = dict(zip(unique, cells, strict=False)) if wanted.keep else None
        if not wanted.no_header and len(names) > 1 and {fold(str(cell)) for cell in cells} == header:
            yield Record(row, problem=REPEATED_HEADER, cells=kept)
        else:
            yield Record(row, [cells[each] for each in texts], None if label is None else cells[label], "", kept)


def _rows(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    """Rows that are not blank, counted from 1, without the empty cells at their end."""
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        cells = list(row)
        while cells and cells[-1] is None:
            cells.pop()
        if cells:
            yield number, cells


def _names(cells: list[Any]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]


def _holds(names: list[str], wanted: Wanted) -> bool:
    try:
        find_columns(names, wanted, "")
    except DataError:
        return False
    return True


def _refuse_bomb(stream: Any, path: Source) -> None:
    with zipfile.ZipFile(stream) as archive:
        size = sum(each.file_size for each in archive.infolist())
    if size > _WORKBOOK_LIMIT:
        raise DataError(f"{path} unpacks to over 1 GiB. Save the sheet as CSV in UTF-8.")
    stream.seek(0)
