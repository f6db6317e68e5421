"""Texts to answer, one by one: the lines of a file or of stdin, or the rows of a table; any amount streams through."""

import gzip
import json
import lzma
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from switch_tf.errors import DataError

LINE_LIMIT = 16 * 2**20  # bytes: far above any text that one classifies
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


class Line(NamedTuple):
    """A text to answer, or why there is none; `number` counts lines from 1."""

    number: int
    text: str
    error: str = ""


def open_lines(source: str, column: str) -> Iterator[Line]:
    """Texts of a file, or of stdin for "-": those of a table or of JSON Lines by `column`, else one a line.

    Raises:
        DataError: there is no such file, it is damaged, or a row of a table cannot be used.
    """
    from switch_tf.data.examples import iter_texts
    from switch_tf.data.tables import refusing_damage

    if source == "-":
        yield from read_lines(sys.stdin.buffer)
        return
    path = Path(source)
    endings = [suffix.lower() for suffix in path.suffixes]
    kind = next((ending for ending in reversed(endings) if ending not in _OPENERS), "")
    if kind in (".csv", ".tsv", ".parquet"):
        for number, text in enumerate(iter_texts(path, column), 1):
            yield Line(number, text)
        return
    if not path.is_file():
        raise DataError(f"There is no file {path}. Expected texts, one a line, or - for stdin.")
    with refusing_damage(path), _OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        yield from read_json_lines(stream, column) if kind in (".jsonl", ".ndjson") else read_lines(stream)


def check_line(number: int, text: str) -> Line:
    """The text as a line, or an error where it cannot be written as UTF-8, as undecodable arguments cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return Line(number, "", f"Character {error.start + 1} of the text is half of a surrogate pair or not UTF-8.")
    return Line(number, text)


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    r"""Texts of a stream, one a line, split at \n alone; a line that is not UTF-8 or over 16 MiB is an error.

    A byte order mark before the first is no part of it, as in the files one trains on.
    """
    number = 0
    while line := stream.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            while (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, "", f"The line has over {LINE_LIMIT} bytes.")
            continue
        try:
            text = line.removesuffix(b"\n").decode("utf-8")
            yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)
        except UnicodeDecodeError as error:
            yield Line(number, "", f"Byte {error.start + 1} of the line is not UTF-8.")


def read_json_lines(stream: BinaryIO, column: str) -> Iterator[Line]:
    """Texts of a JSON Lines stream, for texts that hold line feeds; a line that cannot be used is an error."""
    for line in read_lines(stream):
        if line.error:
            yield line
        elif line.text.strip():
            yield _from_json(line, column)


def _from_json(line: Line, column: str) -> Line:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return Line(line.number, "", f"The line is not JSON: {error}.")
    if not isinstance(record, dict) or not isinstance(record.get(column), str):
        return Line(line.number, "", f"The line is not an object with a string under {column!r}.")
    return check_line(line.number, record[column])
