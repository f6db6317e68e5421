"""Cells of rows as columns of Arrow: what kind of value a column holds, found by looking at all of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from switch_tf.data.answers import plain

_EXACT = 2**53  # up to which float64 holds every integer
_TYPES = {
    "null": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "long": pa.int64(),  # beyond what float64 holds exactly
    "number": pa.float64(),
    "string": pa.string(),
    "json": pa.string(),  # values of several kinds, objects, arrays
}
_JOINED = {("integer", "long"): "long", ("integer", "number"): "number"}


class Kinds:
    """The kinds of columns whose cells come row by row, some of them late."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def see(self, cells: Mapping[str, Any]) -> None:
        """Take a row into account."""
        for name, value in cells.items():
            self._kinds[name] = _joined(self._kinds.get(name, "null"), _kind(value))

    def schema(self, texts: Sequence[str]) -> pa.Schema:
        """The columns in the order in which they were first seen; `texts` are strings, whatever else is there."""
        return pa.schema([(name, pa.string() if name in texts else _TYPES[kind]) for name, kind in self._kinds.items()])

    def json(self, texts: Sequence[str]) -> frozenset[str]:
        """The columns that hold JSON."""
        return frozenset(name for name, kind in self._kinds.items() if kind == "json" and name not in texts)


def as_array(values: Sequence[Any], kind: pa.DataType, holds_json: bool) -> pa.Array:
    """A column of cells, of the type that `Kinds` found for it; what is no string where one is due becomes JSON."""
    if kind != pa.string():
        return pa.array(values, kind)
    if holds_json:
        values = [None if value is None else _as_json(value) for value in values]
    else:
        values = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # half a surrogate pair
        return pa.array([plain(value) for value in values], kind)


def _as_json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, float):
        return "number"
    if isinstance(value, int) and abs(value) < 2**63:
        return "integer" if abs(value) <= _EXACT else "long"
    return "json"


def _joined(one: str, other: str) -> str:
    """The kind of a column that holds values of both."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return _JOINED.get((one, other)) or _JOINED.get((other, one)) or "json"
