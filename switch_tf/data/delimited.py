"""Rows of csv and tsv files; other delimiters are recognised where the header says them, and never guessed.

A csv file whose wanted columns are not there between commas, but are between semicolons, tabs or bars, is read so; a
first line such as "sep=;" says it as well, as Excel writes. So is a tsv file with another delimiter.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from switch_tf.data.opening import Opened
from switch_tf.data.rows import (
    REPEATED_HEADER,
    ROW_LIMIT,
    TOO_LONG,
    Record,
    Wanted,
    find_columns,
    fold,
    lines,
    unique_names,
)
from switch_tf.data.sniffing import ends_lines_with_cr
from switch_tf.data.source import Source
from switch_tf.errors import DataError

_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?', re.IGNORECASE)  # a first line for Excel
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 1000  # rows from which the columns of a file without a header are told apart

_Fields = tuple[int, list[str], str]  # line where the row starts, its fields, its problem


def delimited_records(found: Opened, path: Source, wanted: Wanted) -> Iterator[Record]:
    """Rows of a table of separated fields."""
    ending = b"\r" if ends_lines_with_cr(found.head) else b"\n"
    start = found.head.decode(errors="replace").removeprefix("\ufeff")
    if ending == b"\r":
        start = start.replace("\r", "\n")
        wanted.notes.append("lines end in a carriage return alone")
    told = _SEPARATOR_LINE.match(start)
    said = told[1] if told else None
    native = "\t" if found.kind.format == ".tsv" else ","
    delimiter = said or _delimiter(start, native, wanted)
    if delimiter != native:
        wanted.notes.append(f"fields are separated by {_named(delimiter)}")
    rows: Iterator[_Fields]
    if delimiter == native == "\t":
        rows = _tsv_rows(found.stream, ending, bool(said))
    else:
        rows = _csv_rows(found.stream, path, delimiter, ending, bool(said))
    yield from _pick_fields(rows, path, wanted)


def _delimiter(start: str, native: str, wanted: Wanted) -> str:
    """The delimiter with which the wanted columns are there; the format's own where several or none have them."""
    candidates = [native, *(each for each in _DELIMITERS if each != native)]
    if wanted.no_header:
        fitting = [each for each in candidates if _is_regular(start, each)]
        return native if native in fitting or len(fitting) != 1 else fitting[0]
    headers = {each: _header(start, each) for each in candidates}
    fitting = [each for each in candidates if _holds(headers[each], wanted)]
    if fitting:
        return native if native in fitting or len(fitting) > 1 else fitting[0]
    if len(headers[native]) > 1:
        return native
    return max(candidates, key=lambda each: len(headers[each]))  # a refusal that names columns follows


def _header(start: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return start.split("\n", 1)[0].rstrip("\r").split(delimiter)


def _holds(names: Sequence[str], wanted: Wanted) -> bool:
    try:
        find_columns(names, wanted, "")
    except DataError:
        return False
    return True


def _is_regular(start: str, delimiter: str) -> bool:
    """Whether the first rows all have the same number of fields, two at least."""
    try:
        rows = list(islice(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), 20))
    except csv.Error:
        return False
    counts = {len(row) for row in rows if row}
    return len(counts) == 1 and counts.pop() > 1


def _csv_rows(stream: Any, path: Source, delimiter: str, ending: bytes, skip_first: bool) -> Iterator[_Fields]:
    # The module's own limit of 131,072 characters is global and too low; the one in `texts` holds for this file.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    start, length, problem = 1, 0, ""  # of the row being read, which may span lines

    def texts() -> Iterator[str]:
        nonlocal length, problem
        for line in lines(stream, ending):
            length += len(line.text) + 1
            if length > ROW_LIMIT:
                raise DataError(f"{path}, line {start}: {TOO_LONG} Is a quote left open?")
            if line.problem and not problem:
                problem = line.problem if line.number == start else f"in line {line.number}, {line.problem}"
            yield "\n" if skip_first and line.number == 1 else f"{line.text}\n"

    rows = csv.reader(texts(), strict=True, delimiter=delimiter)
    while True:
        fields: list[str] | None
        try:
            fields = next(rows, None)
        except csv.Error as error:
            expected = 'Expected a field with a comma, quote or line break to stand in quotes, and its own quotes as ""'
            fields, problem = [""], problem or f"{str(error).split(' - ')[0]}. {expected}."
        if fields is None:
            return
        if fields:  # a blank line has none
            yield start, fields, problem
        start, length, problem = rows.line_num + 1, 0, ""


def _tsv_rows(stream: Any, ending: bytes, skip_first: bool) -> Iterator[_Fields]:
    feed, single = "", False
    for line in islice(lines(stream, ending), int(skip_first), None):
        row = line.text
        if line.number == 1 + skip_first:
            feed, single = "\r" if row.endswith("\r") else "", "\t" not in row
        row = row.removesuffix(feed)
        if row or single or line.problem:  # in a table of one column, a blank line is an empty text
            yield line.number, row.split("\t"), line.problem


def _pick_fields(rows: Iterator[_Fields], path: Source, wanted: Wanted) -> Iterator[Record]:
    """Records of rows of strings, the first of which names the columns unless there is no header."""
    first = next(rows, None)
    line, names, problem = first or (1, [], "")
    if problem:
        raise DataError(f"{path}, line {line}{', ' if problem.startswith('byte') else ': '}{problem}")
    if wanted.no_header and first is not None:
        sample = [first, *islice(rows, _SAMPLE - 1)]
        names = [str(number) for number in range(1, len(names) + 1)]
        wanted = name_by_number(names, [fields for _, fields, _ in sample], wanted, str(path))
        rows = chain(sample, rows)
    texts, label = find_columns(names, wanted, f"{path}, line {line}")
    header = set() if wanted.no_header else {fold(name) for name in names}
    unique = unique_names(names)
    for line, fields, problem in rows:
        cells = dict(zip(unique, fields, strict=False)) if wanted.keep and len(fields) == len(names) else None
        if not problem and len(fields) != len(names):
            problem = f"expected {len(names)} fields as in the {'first row' if wanted.no_header else 'header'}"
            problem += f", received {len(fields)}. Quote or remove the separator, or remove the row."
        if not problem and len(names) > 1 and {fold(each) for each in fields} == header:
            problem = REPEATED_HEADER
        if problem:
            yield Record(line, problem=problem, cells=cells)
        else:
            yield Record(line, [fields[each] for each in texts], None if label is None else fields[label], "", cells)


def name_by_number(names: list[str], sample: Sequence[Sequence[Any]], wanted: Wanted, where: str) -> Wanted:
    """Which columns of a table without a header are meant; where none is named, two are told apart by their values.

    Raises:
        DataError: they cannot be told apart.
    """
    if not wanted.are_default:
        return wanted
    text, label = _told_apart(names, sample)
    if text is None:
        problem = f"there is no header, and {len(names)} columns whose texts and labels cannot be told apart"
        raise DataError(f"{where}: {problem}. Name them by number: text_column, label_column.", "text_column")
    wanted.notes.append(f"no header: column {text} is read as the text" + (f", {label} as the label" * bool(label)))
    if wanted.label is not None and label is None:
        raise DataError(f"{where} has one column. Expected a text and a label in each row.")
    return Wanted(text, label if wanted.label is not None else None, True, wanted.keep, wanted.notes)


def _told_apart(names: list[str], sample: Sequence[Sequence[Any]]) -> tuple[str | None, str | None]:
    """(text, label) by number: of two columns, the labels are those that repeat more and are shorter on average."""
    if len(names) == 1:
        return names[0], None
    if len(names) != 2:
        return None, None
    whole = [row for row in sample if len(row) == 2]
    kinds = [len({row[column] for row in whole}) for column in (0, 1)]
    sizes = [sum(len(str(row[column])) for row in whole) for column in (0, 1)]
    if kinds[0] == kinds[1] or (kinds[0] < kinds[1]) != (sizes[0] < sizes[1]):
        return None, None
    return ("2", "1") if kinds[0] < kinds[1] else ("1", "2")


def _named(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)
