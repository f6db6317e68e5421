"""Examples and texts that a caller holds in memory: tables of any library, and texts beside their labels.

pandas, polars and Hugging Face's datasets are known by what they offer, and never imported. Rows are named by their
position, counted from 0 as lists and `iloc` count, whatever a table's own index says:

>>> examples = examples_in_memory((["a fine film", "a dull one"], [1, 0]))
>>> examples.labels.to_pylist(), examples.location(1)
(['1', '0'], 'data (texts and labels), position 1')
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from switch_tf.data.examples import Examples, collect
from switch_tf.data.rows import Row, Wanted, check_label, check_text, find_columns
from switch_tf.errors import ArgumentError, DataError

_EXPECTED = (
    "Expected a path, a pair (texts, labels), or a table (pandas, polars, pyarrow, a split of a Hugging Face data set, "
    "or anything else with Arrow's C stream)"
)
_MISSING = {"NoneType": "None", "NAType": "NA", "NaTType": "NaT"}  # the types of values that stand for none


class _Column(NamedTuple):
    """The values of a column, which stay where they are until they are asked for."""

    length: int
    values: Iterable[object]
    where: str  # for messages: "texts", or "data (pandas DataFrame)"
    end: str = ""  # of the place of a value: ", column 'text'"

    def place(self, position: int) -> str:
        return f"{self.where}, position {position}{self.end}"


def describe(data: object) -> str:
    """What `data` is, in a few words: "pandas DataFrame", "texts and labels"."""
    if isinstance(data, tuple):
        return "texts and labels"
    package = type(data).__module__.split(".")[0]
    return type(data).__name__ if package in ("builtins", "__main__") else f"{package} {type(data).__name__}"


def examples_in_memory(
    data: object, *, text_column: str = "text", label_column: str = "label", argument: str = "data"
) -> Examples:
    """Examples of a table or of a pair (texts, labels).

    Args:
        data: a pandas, polars or pyarrow table, a dictionary of columns, a split of a Hugging Face data set, anything
            else with `__arrow_c_stream__`; or a tuple of texts (str, or bytes in UTF-8) and labels (strings, integers
            or booleans), each a list, a NumPy array, a Series or a tensor.
        text_column: of a table; a pair has none.
        label_column: the same.
        argument: what the caller calls the data, for messages.

    Raises:
        DataError: it is none of these, or a row cannot be used; the message names its position, counted from 0.
    """
    source = f"{argument} ({describe(data)})"
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"{argument}: received a tuple of {len(data)}. Expected a pair (texts, labels).", argument)
        prefix = "" if argument == "data" else f"{argument} "
        texts, labels = _column(data[0], f"{prefix}texts"), _column(data[1], f"{prefix}labels")
    else:
        texts, labels = _columns(data, source, [text_column, label_column], argument)
    if texts.length != labels.length:
        received = f"received {texts.length:,} texts and {labels.length:,} labels"
        raise DataError(f"{source}: {received}. Expected one label for each text.", argument)
    if not texts.length:
        raise DataError(f"{source} has no rows. Expected at least one row with a text.", argument)
    _refuse_missing(labels)
    return collect(_rows(texts, labels), source, "position")


def texts_in_memory(texts: object) -> list[str]:
    """Texts to answer as a list: of a list, an array, a Series or any other iterable of str, or of bytes in UTF-8.

    Raises:
        ArgumentError: `texts` is a single text, a table, or no such thing at all.
        DataError: a value is no text; the message names its position, counted from 0.
    """
    column = _column(texts, "texts", kind=ArgumentError)
    return [_text(value, column.place(position)) for position, value in enumerate(column.values)]


def _rows(texts: _Column, labels: _Column) -> Iterator[Row]:
    for position, (text, label) in enumerate(zip(texts.values, labels.values, strict=True)):
        yield Row(position, _text(text, texts.place(position)), _label(label, labels.place(position)))


def _columns(data: Any, source: str, wanted: Sequence[str], argument: str) -> list[_Column]:
    """The wanted columns of a table."""
    if wanted[0] == wanted[1]:
        raise DataError(f"Column {wanted[0]!r} is named as text and as label. Name two different columns.")
    columns: Callable[[int], Any]
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # pandas: by Arrow its other columns would have to fit too
        names, columns = list(data.columns), lambda position: data.iloc[:, position]
    elif isinstance(data, Mapping):
        _refuse_splits(data, argument)
        names, columns = list(data), lambda position: list(data.values())[position]
    elif hasattr(data, "__arrow_c_stream__") and not hasattr(data, "dtype"):
        table = _from_stream(data, source, argument)
        names, columns = table.column_names, table.column
    elif isinstance(getattr(data, "column_names", None), list) and hasattr(data, "__getitem__"):  # Hugging Face
        names, columns = data.column_names, lambda position: data[data.column_names[position]]
    else:
        _refuse(data, argument)
    texts, label = find_columns([str(name) for name in names], Wanted(wanted[0], wanted[1]), source)
    if len(texts) > 1 or label is None:
        problem = f"{source}: received the text columns {wanted[0]!r}. Expected one"
        raise ArgumentError(f"{problem}: join them into a column of the table first.", "text_column")
    positions = [*texts, label]
    return [
        _column(columns(position), source, f", column {name!r}")
        for name, position in zip(wanted, positions, strict=True)
    ]


def _from_stream(data: Any, source: str, argument: str) -> pa.Table:
    try:
        return pa.RecordBatchReader.from_stream(data).read_all()
    except pa.ArrowException as error:
        raise DataError(f"{source} cannot be read as a table: {error}. {_EXPECTED}.", argument) from error


def _refuse_splits(data: Mapping[Any, Any], argument: str) -> None:
    splits = [name for name, value in data.items() if hasattr(value, "columns") or hasattr(value, "column_names")]
    if splits:
        one = f"Give one of them: {argument}[{splits[0]!r}]."
        raise DataError(f"{argument}: received {describe(data)}, which holds the splits {splits}. {one}", argument)


def _refuse(data: object, argument: str) -> NoReturn:
    hint = ""
    if isinstance(data, list):
        hint = "; a pair is a tuple, (texts, labels)"
    elif hasattr(data, "dtype"):
        hint = ", a single column; give labels with texts, as (texts, labels)"
    raise DataError(f"{argument}: received {describe(data)}{hint}. {_EXPECTED}.", argument)


def _column(values: Any, where: str, end: str = "", kind: type[ArgumentError | DataError] = DataError) -> _Column:
    """One column of values, if it is one: not a single text, not a table, not an array of two axes."""
    if isinstance(values, str | bytes):
        raise kind(f"{where}: received a single {type(values).__name__}. Expected several: give a list.", where)
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 1:
        raise kind(f"{where}: received {describe(values)} of the shape {tuple(shape)}. {_one_axis(where)}", where)
    if isinstance(values, Mapping | Set) or hasattr(values, "column_names"):
        raise kind(f"{where}: received {describe(values)}. Expected a list, or one column of it.", where)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _Column(len(values), _from_arrow(values, where, end), where, end)
    try:
        found = next((getattr(values, name) for name in ("to_list", "tolist") if hasattr(values, name)), None)
        listed = found() if found else np.asarray(values).tolist() if shape is not None else list(values)
    except TypeError as error:  # it cannot be iterated over
        raise kind(f"{where}: received {describe(values)}. Expected a list, an array or a Series.", where) from error
    return _Column(len(listed), listed, where, end)


def _one_axis(where: str) -> str:
    if where.endswith("labels"):
        return "Expected one label for each text: of one-hot rows, give labels.argmax(axis=1)."
    return "Expected one axis: give one column of it."


def _from_arrow(column: pa.ChunkedArray, where: str, end: str) -> Iterator[object]:
    for position, cell in enumerate(column):
        try:
            yield cell.as_py()
        except UnicodeDecodeError as error:
            problem = f"{where}, position {position}{end}: a string is not UTF-8 ({error})"
            raise DataError(f"{problem}. Write it as UTF-8.") from error


def _refuse_missing(labels: _Column) -> None:
    """Integers beside a missing value are all floats in NumPy and pandas: name that row, not the first."""
    if isinstance(labels.values, list) and isinstance(labels.values[0], float):
        missing = (position for position, value in enumerate(labels.values) if value != value)
        position = next(missing, 0)
        _label(labels.values[position], labels.place(position))


def _text(value: object, where: str) -> str:
    text, problem = check_text(_plain(value, where))
    if problem:
        raise DataError(f"{where}: {problem}")
    return text


def _label(value: object, where: str) -> str:
    plain = _plain(value, where)
    if isinstance(plain, float):
        problem = f"expected a string, an integer or a boolean, received the number {plain}"
        raise DataError(f"{where}: {problem}. Convert the labels, such as with `astype(int)`.")
    label, problem = check_label(plain)
    if problem:
        raise DataError(f"{where}: {problem}")
    return label


def _plain(value: object, where: str) -> object:
    """A value without what a library wraps it in; bytes as the text that they are."""
    if isinstance(value, np.generic):
        value = value.item()
    missing = _MISSING.get(type(value).__name__)
    if isinstance(value, float) and math.isnan(value):
        missing = "NaN"
    if missing:
        raise DataError(f"{where}: received {missing}, a missing value. Fill it in or leave the row out.")
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of {value[:80]!r} is not UTF-8, which was expected"
        raise DataError(f"{where}: {problem}. Decode it first.") from error
