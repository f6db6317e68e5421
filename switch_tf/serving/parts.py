"""Rows cut into parts, each of which becomes one file of answers: always the same parts of the same rows.

Where a part ends depends on the rows alone, not on how many a reader hands over at a time: a job that goes on after a
kill, with another release of Arrow perhaps, finds the parts that are there already.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switch_tf.data.arrow_tables import ArrowTables, strings
from switch_tf.data.inputs import InputFile
from switch_tf.data.sheets import is_string

ROWS = 32_768  # in a part, unless it is asked for otherwise
BYTES = 32 * 2**20  # of strings and bytes in a part, whichever columns they are in: rows may be long


class Part(NamedTuple):
    """Rows of one file that are answered and written together.

    Attributes:
        number: counted from 0 over all files.
        source: the file.
        first: its row that comes first here, from 1.
        rows: all columns, and behind them the one with errors.
        errors: how many rows cannot be answered.
        share: of the bytes of all files, how many this part is.
    """

    number: int
    source: str
    first: int
    rows: pa.Table
    errors: int
    share: float


def cut(tables: ArrowTables, files: Iterable[InputFile], error_name: str, rows_per_part: int = ROWS) -> Iterator[Part]:
    """All rows of the files as parts, in order; a part ends with its file, its rows, or its bytes."""
    files = list(files)
    total = sum(file.size for file in files) or 1
    number = 0
    for file in files:
        first, read_before = 1, 0.0
        for rows, share_read in _tables(tables, file, error_name, rows_per_part):
            errors = rows.num_rows - rows[error_name].null_count
            share = (share_read - read_before) * file.size / total
            yield Part(number, str(file), first, rows, errors, share)
            number, first, read_before = number + 1, first + rows.num_rows, share_read


def _tables(
    tables: ArrowTables, file: InputFile, error_name: str, rows_per_part: int
) -> Iterator[tuple[pa.Table, float]]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    share_read = 0.0
    for batch, errors, share_read in tables.batches(file):
        rest = batch.append_column(pa.field(error_name, pa.string()), pa.array(errors, pa.string()))
        while rest.num_rows:
            taken, size = _fitting(rest, rows_per_part - rows, size)
            waiting.append(rest.slice(0, taken))
            rows, rest = rows + taken, rest.slice(taken)
            if rows == rows_per_part or size >= BYTES:
                yield pa.Table.from_batches(waiting), share_read
                waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting), share_read


def _fitting(batch: pa.RecordBatch, most: int, size: int) -> tuple[int, int]:
    """How many rows still go into a part that holds `size` bytes, at most `most`, and the bytes that it holds then."""
    batch = batch.slice(0, most)
    sizes = size + np.cumsum(sum(map(_lengths, batch.columns)))  # [rows], with each row
    taken = min(int(np.searchsorted(sizes, BYTES)) + 1, batch.num_rows)
    return taken, int(sizes[taken - 1])


def _lengths(column: pa.Array) -> np.ndarray:
    """How many bytes each value holds in strings and bytes, int64 [rows], those inside structures and lists too."""
    kind = column.type
    if is_string(kind):
        column, kind = strings(column), pa.large_string()
    if is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return np.asarray(pc.fill_null(pc.binary_length(column), 0), np.int64)
    lengths = np.zeros(len(column), np.int64)
    if pa.types.is_struct(kind):
        return sum(map(_lengths, column.flatten()), lengths)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        np.add.at(lengths, pc.list_parent_indices(column).to_numpy(), _lengths(column.flatten()))
    return lengths
