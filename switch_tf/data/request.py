"""Which examples a run is trained and tested on."""

from dataclasses import dataclass
from pathlib import Path

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


def read_test(request: DataRequest) -> Examples | None:
    """The test examples: the ones named, else an embedded set's own, else none."""
    columns = {"text_column": request.text_column, "label_column": request.label_column}
    if request.test is not None:
        return read_examples(request.test, split="test", **columns)
    if request.data in EMBEDDED and not Path(request.data).exists():
        return read_examples(request.data, split="test")
    return None
