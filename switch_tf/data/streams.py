"""Texts to answer, one by one: of any file that can be trained on, or lines of stdin; any amount streams through."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from switch_tf.errors import DataError

if TYPE_CHECKING:
    from switch_tf.data.source import Source


class Line(NamedTuple):
    """A text to answer, or why there is none; `number` counts lines (parquet, xlsx: rows) from 1."""

    number: int
    text: str
    error: str = ""
    cells: dict[str, Any] | None = None  # every column of its row, where they are kept


def open_lines(
    source: str, text_column: str | None = None, no_header: bool = False, keep: bool = False
) -> Iterator[Line]:
    """Texts of a file as training reads it, or lines of stdin for "-"; what cannot be read is an error in its place.

    A file is opened, and its first row read, before this returns.

    Args:
        text_column: the column of the texts; None where none was named.
        keep: keep all columns, for answers that stand beside them.

    Raises:
        DataError: there is no such file, or it cannot be used as a whole.
        ArgumentError: a column is named, and there are none.
    """
    if source == "-":
        if sys.stdin is None:
            raise DataError("Stdin is closed. Expected texts there, one a line.")
        return _stdin_lines(text_column, no_header, keep)
    lines = _file_lines(source, text_column, no_header, keep)
    first = next(lines, None)
    return iter([]) if first is None else chain([first], lines)


def _file_lines(source: str, text_column: str | None, no_header: bool, keep: bool) -> Iterator[Line]:
    from switch_tf.data.opening import refusing_damage
    from switch_tf.data.rows import TEXT_COLUMN, Wanted
    from switch_tf.data.tables import no_rows, read_rows

    path = Path(source)
    with refusing_damage(path):
        if path.is_dir():
            raise DataError(f"{path} is a folder. Expected a file of texts, or - for stdin.")
    if text_column is not None:
        refuse_column_of_lines(path, text_column)
    empty = True
    for row in read_rows(path, Wanted(text_column or TEXT_COLUMN, no_header=no_header, keep=keep)):
        yield Line(int(row.place), row.text, sentence(row.problem), row.cells)
        empty = False
    if empty:
        raise no_rows(path)


def refuse_column_of_lines(path: "Source", text_column: str) -> None:
    """Refuse a column that was named, be it the one of most tables, where the file's name says lines of text.

    Of an archive without another ending it does not: what is inside may be a table.

    Raises:
        ArgumentError: there are no columns.
    """
    from switch_tf.data.opening import LINES, kind_of
    from switch_tf.data.rows import Wanted

    kind = kind_of(path)
    if kind.format in LINES and (kind.format, kind.compression) != ("", ".zip"):
        Wanted(f"{text_column}.").refuse_columns(str(path))


def _stdin_lines(text_column: str | None, no_header: bool, keep: bool) -> Iterator[Line]:
    """Nothing is read before the first line is asked for, which may be long in coming."""
    from switch_tf.data.rows import TEXT_COLUMN, Wanted

    named = TEXT_COLUMN if text_column is None else f"{text_column}."
    Wanted(named, no_header=no_header).refuse_columns("stdin")
    return _lines_of(sys.stdin.buffer, keep)


def _lines_of(stream: Any, keep: bool) -> Iterator[Line]:
    from switch_tf.data.opening import Kind, Opened, chained, refuse_strange
    from switch_tf.data.rows import Wanted, checked
    from switch_tf.data.text_lines import text_records

    where, kind, wanted = Path("stdin"), Kind("", stdin=True), Wanted(keep=keep)
    head = stream.read1(2**16)  # what is there, without waiting for more
    refuse_strange(head, "what came through stdin", kind, where)
    for record in text_records(Opened(chained(head, stream), head, kind), where, wanted):
        row = checked(record, wanted)
        yield Line(int(row.place), row.text, sentence(row.problem), row.cells)


def check_line(number: int, text: str) -> Line:
    """The text as a line, or an error where it cannot be written as UTF-8, as undecodable arguments cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return Line(number, "", f"Character {error.start + 1} of the text is half of a surrogate pair or not UTF-8.")
    return Line(number, text)


def sentence(problem: str) -> str:
    """A problem as a sentence that stands by itself."""
    return problem[:1].upper() + problem[1:]
