"""Rows of text files: one text a line, with fastText's labels before it or with none."""

import re
from collections.abc import Iterator
from typing import Any

from switch_tf.data.opening import Opened
from switch_tf.data.rows import Record, Wanted, lines
from switch_tf.data.sniffing import ends_lines_with_cr
from switch_tf.data.source import Source
from switch_tf.errors import DataError

_PREFIX = "__label__"
_LABELS = re.compile(rf"[ \t]*((?:{_PREFIX}\S*[ \t]*)+)")
_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf|\s)*__label__\S")


def text_records(found: Opened, path: Source, wanted: Wanted) -> Iterator[Record]:
    r"""Lines of a text file, split at \n alone (at \r in a file without \n), fastText's labels apart from the texts.

    Raises:
        DataError: labels are wanted, and there are none.
        ArgumentError: a column was named, and there are none.
    """
    wanted.refuse_columns(str(path))
    labelled = bool(_FIRST_LINE.match(found.head))
    if wanted.label is not None and not labelled:
        expected = f"Expected fastText's lines, {_PREFIX}NAME before each text, or a table: csv, tsv, jsonl, parquet"
        raise DataError(f"{path} holds texts, one a line, without labels. {expected}.")
    if labelled:
        wanted.notes.append(f"lines are read as fastText's, {_PREFIX}NAME before each text")
    ending = b"\r" if not found.kind.stdin and ends_lines_with_cr(found.head) else b"\n"
    for line in lines(found.stream, ending):
        yield line_record(line.number, line.text, line.problem, labelled, wanted)


def line_record(number: int, text: str, problem: str, labelled: bool, wanted: Wanted) -> Record:
    """A line as a record; `labelled` ones begin with one label."""
    cells: dict[str, Any] | None = {"text": text} if wanted.keep else None
    if problem:
        return Record(number, problem=problem, cells=cells)
    if not labelled or (wanted.label is not None and not text.strip()):
        return Record(number, [text], problem="" if not labelled else "the line is blank. Remove it.", cells=cells)
    found = _LABELS.match(text)
    labels = found[1].split() if found else []
    rest = text[found.end() :] if found else text
    if wanted.label is not None and len(labels) != 1:
        received = f"{len(labels)} labels" if labels else "none"
        problem = f"expected one label, {_PREFIX}NAME, before the text, received {received}"
        return Record(number, problem=f"{problem}. Keep one of them, or leave the line out.", cells=cells)
    cells = {"text": rest} | {"label": " ".join(each.removeprefix(_PREFIX) for each in labels)} if wanted.keep else None
    return Record(number, [rest.rstrip("\r")], labels[0].removeprefix(_PREFIX) if labels else None, "", cells)
