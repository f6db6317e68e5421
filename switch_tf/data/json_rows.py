"""Rows of JSON: one object in each line, or an array of objects, read one object at a time."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from switch_tf.data.opening import Opened
from switch_tf.data.rows import ROW_LIMIT, TOO_LONG, JsonObject, Record, Wanted, find_columns, kind, lines
from switch_tf.data.sniffing import ends_lines_with_cr
from switch_tf.data.source import Source
from switch_tf.errors import DataError

_SPACE = re.compile(r"[ \t\r\n]*")
_BLOCK = 2**18  # bytes read at a time
_DECODER = json.JSONDecoder(object_pairs_hook=JsonObject)
_IN_LINES = "one JSON object in each line"
_IN_ARRAY = "an array of JSON objects"


def json_records(found: Opened, path: Source, wanted: Wanted) -> Iterator[Record]:
    """Rows of a .json file, which holds an array of objects, or of a .jsonl file; either is read under both names."""
    start = found.head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if re.match(rb"\[[ \t\r\n]*(\{|\]|$)", start):
        yield from _array_records(found.stream, path, wanted)
        return
    if found.kind.format == ".json" and not _is_object_in_a_line(start):
        problem = f"expected {_IN_ARRAY}, or {_IN_LINES}, received another value"
        raise DataError(f"{path}: {problem}. Write the rows as an array: [{{...}}, {{...}}].")
    ending = b"\r" if ends_lines_with_cr(found.head) else b"\n"
    for line in lines(found.stream, ending):
        if line.problem:
            yield Record(line.number, problem=line.problem)
        elif line.text.strip(" \t\r\n"):
            yield _record_of_line(line.number, line.text, path, wanted)


def _is_object_in_a_line(start: bytes) -> bool:
    first, _, rest = start.partition(b"\n")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return bool(rest) and first.startswith(b"{") and len(first) > 1 and first.rstrip().endswith(b"}")


def _record_of_line(number: int, text: str, path: Source, wanted: Wanted) -> Record:
    try:
        members = _DECODER.decode(text)
    except RecursionError:
        return Record(number, problem="values are nested too deep. Expected one flat JSON object.")
    except json.JSONDecodeError as error:
        problem = f"not valid JSON at character {error.colno}: {error.msg}"
        return Record(number, problem=f"{problem}. Expected {_IN_LINES}.")
    except ValueError as error:  # an integer of over 4,300 digits
        return Record(number, problem=f"{error}. Write it as a string.")
    return _record(number, members, wanted, _IN_LINES)


def _record(number: int, members: object, wanted: Wanted, expected: str) -> Record:
    if not isinstance(members, JsonObject):
        return Record(number, problem=f"expected {expected}, received {kind(members)}.")
    cells = {name: _plain(value) for name, value in members} if wanted.keep else None
    try:
        texts, label = find_columns([name for name, _ in members], wanted, "")
    except DataError as error:
        return Record(number, problem=str(error).removeprefix(": "), cells=cells)
    values = [members[position][1] for position in texts]
    return Record(number, values, None if label is None else members[label][1], "", cells)


def _plain(value: object) -> Any:
    """Objects as dictionaries again."""
    if isinstance(value, JsonObject):
        return {name: _plain(each) for name, each in value}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _array_records(stream: Any, path: Source, wanted: Wanted) -> Iterator[Record]:
    """Elements of an array; each is decoded once it is there whole, so that the array may be of any length."""
    text = _Text(stream, path)
    text.skip("[")
    first = True
    while True:
        text.skip_space()
        if text.peek() == "]":
            break
        if not first:
            text.skip(",")
            text.skip_space()
        first = False
        number = text.line
        yield _record(number, text.value(), wanted, _IN_ARRAY)
    text.skip("]")
    text.skip_space()
    if text.peek():
        raise text.refusal("something stands behind the array")


class _Text:
    """Text of a stream that is decoded and looked at piece by piece."""

    def __init__(self, stream: Any, path: Source):
        self._stream, self._path = stream, path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._position, self._ended = "", 0, False
        self.line = 1
        self.skip_space()

    def peek(self) -> str:
        """The next character, "" at the end."""
        if self._position == len(self._text):
            self._more()
        return self._text[self._position : self._position + 1]

    def skip(self, expected: str) -> None:
        if self.peek() != expected:
            raise self.refusal(f"expected {expected!r}, received {self.peek() or 'the end'!r}")
        self._position += 1

    def skip_space(self) -> None:
        while True:
            self._advance(_SPACE.match(self._text, self._position).end())  # type: ignore[union-attr]
            if self._position < len(self._text) or not self._more():
                return

    def value(self) -> object:
        """The JSON value that begins here."""
        while True:
            problem = ""
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
                if end < len(self._text) or self._ended:  # a number may go on
                    self._advance(end)
                    return value
            except RecursionError as error:
                raise self.refusal("values are nested too deep") from error
            except ValueError as error:
                problem = str(error).split(": line")[0]
            if len(self._text) - self._position > ROW_LIMIT:
                raise self.refusal(problem or TOO_LONG)
            if not self._more():
                raise self.refusal(problem or "the array does not end")

    def refusal(self, problem: str) -> DataError:
        return DataError(f"{self._path}, line {self.line}: not valid JSON: {problem}. Expected {_IN_ARRAY}.")

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._position, end)
        self._position = end

    def _more(self) -> bool:
        if self._ended:
            return False
        # What is not yet read doubles with each failure, so that a long value is not decoded once for every block.
        block = self._stream.read(max(_BLOCK, len(self._text) - self._position))
        try:
            added = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            problem = f"0x{error.object[error.start]:02x} is not UTF-8, which was expected"
            convert = "Convert the file, such as with `iconv -f cp1252 -t utf-8`"
            raise DataError(f"{self._path}, after line {self.line}: {problem}. {convert}.") from error
        self._ended = not block
        self._text = self._text[self._position :] + added
        self._position = 0
        return True
