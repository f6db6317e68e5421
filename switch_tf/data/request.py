"""Which examples a run is trained and tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from switch_tf.data.examples import Examples, is_embedded, read_examples


@dataclass(frozen=True)
class DataRequest:
    """Which examples to train on and to test on.

    `embedded` says which of "data" and "test" mean an embedded set, whatever stands in the current folder; None leaves
    that to what stands there, where an existing path wins.
    """

    data: str = "reviews"
    test: str | None = None  # for an embedded set, its own test split
    text_column: str = "text"
    label_column: str = "label"
    no_header: bool = False
    skip_bad: bool = False
    embedded: tuple[str, ...] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """How the data is read: keyword arguments of `read_examples`."""
        return {name: getattr(self, name) for name in ("text_column", "label_column", "no_header", "skip_bad")}

    def means_embedded(self, name: str) -> bool:
        """Whether `data` or `test`, by that name, is an embedded set."""
        value = getattr(self, name)
        return value is not None and (is_embedded(value) if self.embedded is None else name in self.embedded)

    def resolved(self) -> "DataRequest":
        """The same request, which means the same wherever it is read again."""
        return replace(self, embedded=tuple(name for name in ("data", "test") if self.means_embedded(name)))


def request_of(data: Mapping[str, Any]) -> DataRequest:
    """The request that a run's data.json keeps; runs of earlier releases lack what has a default.

    Raises:
        KeyError: what the data was is missing.
    """
    needed = ("data", "test", "text_column", "label_column")
    request = DataRequest(
        **{each.name: data[each.name] for each in fields(DataRequest) if each.name in (*needed, *data)}
    )
    return replace(request, embedded=None if request.embedded is None else tuple(request.embedded))


def read_data(request: DataRequest) -> Examples:
    """The examples to train on."""
    return read_examples(request.data, embedded=request.means_embedded("data"), **request.options)


def read_test(request: DataRequest) -> Examples | None:
    """The test examples: the ones named, else an embedded set's own, else none."""
    if request.test is not None:
        return read_examples(request.test, split="test", embedded=request.means_embedded("test"), **request.options)
    if request.means_embedded("data"):
        return read_examples(request.data, split="test", embedded=True)
    return None
