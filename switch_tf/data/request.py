"""Which examples a run is trained and tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from switch_tf.data.examples import (
    EMBEDDED,
    Examples,
    read_examples,
)


@dataclass(frozen=True)
class DataRequest:
    """Which examples to train on and to test on."""

    data: str = "reviews"
    test: str | None = None  # for an embedded set, its own test split
    text_column: str = "text"
    label_column: str = "label"
    no_header: bool = False
    skip_bad: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """How the data is read: keyword arguments of `read_examples`."""
        return {name: getattr(self, name) for name in ("text_column", "label_column", "no_header", "skip_bad")}


def request_of(data: Mapping[str, Any]) -> DataRequest:
    """The request that a run's data.json keeps; runs of earlier releases lack what has a default.

    Raises:
        KeyError: what the data was is missing.
    """
    needed = ("data", "test", "text_column", "label_column")
    return DataRequest(**{each.name: data[each.name] for each in fields(DataRequest) if each.name in (*needed, *data)})


def read_test(request: DataRequest) -> Examples | None:
    """The test examples: the ones named, else an embedded set's own, else none."""
    if request.test is not None:
        return read_examples(request.test, split="test", **request.options)
    if request.data in EMBEDDED and not Path(request.data).exists():
        return read_examples(request.data, split="test")
    return None
