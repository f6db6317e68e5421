"""Where files become checked rows: tables, lines of text and folders of text files, one row at a time.

Every row is either yielded whole, or with its problem, or refused with a `DataError` that names file, line and column;
nothing is repaired or guessed, and only blank lines are passed over. Rows stream through, each of at most 16 MiB.
"""

from collections.abc import Callable, Iterator

from switch_tf.data.delimited import delimited_records
from switch_tf.data.json_rows import json_records
from switch_tf.data.opening import Opened, kind_of, opened
from switch_tf.data.rows import Record, Row, Wanted, checked, refusal
from switch_tf.data.sheets import excel_records, parquet_records
from switch_tf.data.source import Source
from switch_tf.data.text_lines import text_records
from switch_tf.errors import DataError

_FORMATS: dict[str, Callable[[Opened, Source, Wanted], Iterator[Record]]] = {
    ".csv": delimited_records,
    ".tsv": delimited_records,
    ".jsonl": json_records,
    ".ndjson": json_records,
    ".json": json_records,
    ".parquet": parquet_records,
    ".xlsx": excel_records,
    ".txt": text_records,
    "": text_records,
}


def read_rows(path: Source, wanted: Wanted) -> Iterator[Row]:
    """Rows of a file in their order, those that cannot be used with their problem.

    Raises:
        DataError: the file as a whole cannot be used.
        ArgumentError: `wanted` asks for columns where there are none.
    """
    if wanted.text == wanted.label:
        raise DataError(f"Column {wanted.text!r} is named as text and as label. Name two different columns.")
    with opened(path) as found:
        if wanted.no_header and found.kind.format in (".json", ".jsonl", ".ndjson", ".parquet"):
            Wanted(no_header=True).refuse_columns(str(path))
        for record in _FORMATS[found.kind.format](found, path, wanted):
            yield checked(record, wanted)


def read_table(path: Source, wanted: Wanted) -> Iterator[Row]:
    """Rows of a file; the first that cannot be used ends it.

    Raises:
        DataError: the file or one of its rows cannot be used.
    """
    unit = place_unit(path)
    empty = True
    for row in read_rows(path, wanted):
        if row.problem:
            raise refusal(path, unit, row)
        yield row
        empty = False
    if empty:
        raise no_rows(path)


def no_rows(path: Source | str) -> DataError:
    """The error of a file with nothing in it to read."""
    return DataError(f"{path} has no rows of data. Expected at least one row with a text.")


def place_unit(path: Source) -> str:
    """What `Row.place` counts in this file: "line" or "row"."""
    return kind_of(path).unit
