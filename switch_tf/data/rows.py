"""What every reader of rows shares: which columns are wanted, lines of bytes, and the checks of a cell.

A row that cannot be used is not an exception here but a problem beside its place: training refuses it or leaves it
out, answering marks it in its place and goes on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from switch_tf.data.source import Source
from switch_tf.errors import ArgumentError, DataError

TEXT_COLUMN, LABEL_COLUMN = "text", "label"  # where nothing else is asked for
ROW_LIMIT = 16 * 2**20  # bytes, or characters of a quoted csv row: far above any text that one classifies
TOO_LONG = "the row is over 16 MiB. Expected one text to classify in each row."
LABEL_LIMIT = 200  # characters: what is longer is a text, and its column was named by mistake
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Wanted:
    """Which columns of a table to read, and how.

    Attributes:
        text: the column of the texts, or several with commas between, whose texts are joined by a space.
        label: the column of the labels; None where texts are wanted alone.
        no_header: the first row is data, and columns are named "1", "2", ...
        keep: read all columns, for answers that stand beside them.
        notes: what the readers recognised by themselves, told to the user.
    """

    text: str = TEXT_COLUMN
    label: str | None = None
    no_header: bool = False
    keep: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def are_default(self) -> bool:
        """Whether no column was named."""
        return self.text == TEXT_COLUMN and self.label in (None, LABEL_COLUMN)

    def refuse_columns(self, what: str) -> None:
        """Refuse columns that were named where there are none.

        Raises:
            ArgumentError: one was named, or the header was.
        """
        for argument, named in (
            ("text_column", self.text != TEXT_COLUMN),
            ("label_column", self.label not in (None, LABEL_COLUMN)),
            ("no_header", self.no_header),
        ):
            if named:
                raise ArgumentError(
                    f"{what}: {argument} needs a table (csv, tsv, xlsx{', json, parquet' * (argument != 'no_header')})"
                    ". Leave it out, or name a table.",
                    argument,
                )


class Record(NamedTuple):
    """A row as it stands in its file."""

    place: int  # line (parquet, xlsx: row) counted from 1
    texts: Sequence[object] = ()  # values of the text columns
    label: object = None
    problem: str = ""  # why the row as a whole cannot be used
    cells: dict[str, Any] | None = None  # every column, where they are kept


class Row(NamedTuple):
    """One text with its label and its origin, or why there is none."""

    place: int | str  # line (parquet, xlsx: row) counted from 1; a text file's path inside its folder
    text: str
    label: str = ""  # empty when no label was asked for
    problem: str = ""
    cells: dict[str, Any] | None = None


class Line(NamedTuple):
    """A line of a file without its line feed, or why there is none."""

    number: int
    text: str
    problem: str = ""


def lines(stream: Any, ending: bytes = b"\n") -> Iterator[Line]:
    """Lines counted from 1, without a byte order mark: only `ending` ends one (U+0085 occurs inside reviews)."""
    number = 0
    for content in _pieces(stream, ending):
        number += 1
        if content is None:
            yield Line(number, "", TOO_LONG)
            continue
        content = content.removesuffix(ending)
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            yield Line(number, content.decode(errors="replace"), not_utf8(content, error))
            continue
        yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)


def not_utf8(content: bytes, error: UnicodeDecodeError) -> str:
    """Which byte of a line is wrong, and what helps."""
    problem = f"byte {error.start + 1}: 0x{content[error.start]:02x} is not UTF-8, which was expected"
    convert = "Convert the file, unpacked if need be, from what it was written in, such as with"
    return f"{problem}. {convert} `iconv -f cp1252 -t utf-8`."


def _pieces(stream: Any, ending: bytes) -> Iterator[bytes | None]:
    """Lines with their ending; None for one that is too long."""
    if ending == b"\n":
        while line := stream.readline(ROW_LIMIT + 1):
            if len(line) <= ROW_LIMIT:
                yield line
                continue
            while not line.endswith(b"\n") and (line := stream.readline(ROW_LIMIT)):
                pass
            yield None
        return
    waiting = b""
    while block := stream.read(2**16):
        *whole, waiting = (waiting + block).split(ending)
        yield from (line + ending for line in whole)
        if len(waiting) > ROW_LIMIT:
            raise DataError(TOO_LONG)
    if waiting:
        yield waiting


def _other_shape(names: Sequence[str], wanted: Sequence[str]) -> str:
    """What to do about a header that is none: JSON, or fields between which something stands that is no delimiter."""
    first = names[0].lstrip() if names else ""
    if first.startswith(("{", "[{")):
        return "It seems to be JSON: give the file the extension .jsonl or .json"
    between = re.fullmatch(r"\w+(\W)\w+(\1\w+)*", first) if len(names) == 1 else None
    if between and any(name in first.split(between[1]) for name in wanted):
        return (
            f"Fields seem to be separated by {between[1]!r}. Expected a comma, a semicolon, a tab or |: write it again"
        )
    return ""


def find_columns(names: Sequence[str], wanted: Wanted, where: str) -> tuple[list[int], int | None]:
    """Where the wanted columns stand among `names`: those of the texts, and the one of the labels.

    Raises:
        DataError: one is missing, or there twice.
    """
    texts = text_columns(names, wanted.text)
    if wanted.label is not None and wanted.label in texts:
        raise DataError(f"Column {wanted.label!r} is named as text and as label. Name two different columns.")
    columns = [*((name, "text_column") for name in texts)]
    columns += [(wanted.label, "label_column")] if wanted.label is not None else []
    for column, argument in columns:
        if column not in names:
            there = ", ".join(repr(name[:40]) for name in names[:20]) or "none"
            problem = f"there is no column {column!r}. The columns are: {there}"
            if cause := _other_shape(names, [name for name, _ in columns]):
                raise DataError(f"{where}: {problem}. {cause}.")
            raise DataError(f"{where}: {problem}. Name the right one: {argument}.", argument)
        if names.count(column) > 1:
            raise DataError(f"{where}: column {column!r} stands there more than once. Rename or remove one of them.")
    found = [names.index(column) for column in texts]
    return found, None if wanted.label is None else names.index(wanted.label)


def text_columns(names: Sequence[str], asked: str) -> list[str]:
    """The columns that "a,b" asks for, unless one is called so.

    >>> text_columns(["title", "body"], "title,body"), text_columns(["title,body"], "title,body")
    (['title', 'body'], ['title,body'])
    """
    if asked in names or "," not in asked:
        return [asked]
    return list(dict.fromkeys(part.strip() for part in asked.split(",")))


def unique_names(names: Sequence[str]) -> list[str]:
    """The names of columns, a number behind those that are taken, so that none is lost: ["a", "a"] is ["a", "a.2"]."""
    taken: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}.{number}"
        taken[free] = None
    return list(taken)


def checked(record: Record, wanted: Wanted) -> Row:
    """The row of a record: its text and label, or the first problem.

    A missing text (null) is one without a word, as an empty cell of a csv file is.
    """
    if record.problem:
        return Row(record.place, "", problem=record.problem, cells=record.cells)
    texts = [check_text(value) for value in record.texts]
    problem = next((problem for _, problem in texts if problem), "")
    if problem:
        names = text_columns([], wanted.text) if len(texts) > 1 else [wanted.text]
        column = next(name for name, (_, each) in zip(names, texts, strict=False) if each)
        return Row(record.place, "", problem=f"column {column!r}: {problem}", cells=record.cells)
    text = " ".join(text for text, _ in texts if text) if len(texts) > 1 else texts[0][0]
    if wanted.label is None:
        return Row(record.place, text, cells=record.cells)
    label, problem = check_label(record.label)
    if problem:
        return Row(record.place, "", problem=f"column {wanted.label!r}: {problem}", cells=record.cells)
    header = (TEXT_COLUMN, LABEL_COLUMN) if wanted.no_header else (wanted.text, wanted.label)
    if (fold(text), fold(label)) == tuple(map(fold, header)):
        problem = _HEADER if wanted.no_header else REPEATED_HEADER
        return Row(record.place, "", problem=problem, cells=record.cells)
    return Row(record.place, text, label, cells=record.cells)


REPEATED_HEADER = "the row repeats the header, as where files were put behind each other. Remove it."
_HEADER = "the row is a header, not data. Read the table with its header: leave no_header out."


def fold(name: str) -> str:
    """A column's name as headers are compared."""
    return name.replace("\ufeff", "").strip().casefold()


def check_text(value: object) -> tuple[str, str]:
    """(text, problem)."""
    if value is None:
        return "", ""
    if not isinstance(value, str):
        return "", f"expected a string, received {kind(value)}. Write a text or leave the row out."
    if len(value) > ROW_LIMIT:
        return "", TOO_LONG
    return value, surrogate(value)


def check_label(value: object) -> tuple[str, str]:
    """(label, problem). Booleans are spelled as in JSON, whatever the format: true, false."""
    if not isinstance(value, str | int):  # a bool is an int
        expected = "expected a string, an integer or a boolean"
        return "", f"{expected}, received {kind(value)}. Label the row or leave it out."
    label = str(value).lower() if isinstance(value, bool) else str(value)
    problem = surrogate(label)
    if problem:
        return "", problem
    if not label.strip():
        return "", "expected a label, received an empty one. Label the row or leave it out."
    if len(label) > LABEL_LIMIT or _CONTROL_CHARACTER.search(label):
        expected = f"expected a label of one line and at most {LABEL_LIMIT} characters"
        return "", f"{expected}, received {label[:40]!r}. Rename it, or name another column."
    return label, ""


def surrogate(value: str) -> str:
    """The problem of a string that UTF-8 cannot hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        problem = f"character {error.start + 1} is half of a surrogate pair, which UTF-8 cannot hold"
        return f"{problem}. Remove it or write the whole pair."
    return ""


def refusal(path: Source | str, unit: str, row: Row) -> DataError:
    """The error of a row that cannot be used: it names file, line and column."""
    between = ", " if row.problem.startswith(("column ", "byte ")) else ": "
    return DataError(f"{path}, {unit} {row.place}{between}{row.problem}")


class JsonObject(list[tuple[str, object]]):
    """Members of a JSON object in their order, kept apart from arrays: a name may stand there twice."""


def kind(value: object) -> str:
    """What a value is, without the value: it may be 16 MiB long."""
    kinds = {type(None): "null", bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    kinds |= {list: "an array", JsonObject: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")
