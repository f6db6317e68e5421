"""What a break is: the format and the kind of artifact that it is done to, and what it changes or builds wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from switch_tf.export.options import ExportOptions
from switch_tf.models.text_classifier import TextClassifier

OFF = np.float32(1e-3)  # what one weight is off by


class Target(NamedTuple):
    """What is broken: a format and what its artifact takes and is stored in."""

    format: str
    inputs: str | None = None
    precision: str = "float32"

    def options(self) -> ExportOptions:
        return ExportOptions(self.format, inputs=self.inputs, precision=self.precision)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "-".join(filter(None, (self.format, self.inputs, self.precision if self.precision != "float32" else "")))


ONNX, ONNX_IDS, ONNX_BYTES = Target("onnx"), Target("onnx", "ids"), Target("onnx", "bytes")
TFLITE, SAVED_MODEL = Target("tflite"), Target("saved_model")
SMALL = [Target(name, precision=kind) for name in ("onnx", "tflite") for kind in ("int8", "float16")]
INT8 = [each for each in SMALL if each.precision == "int8"]
FLOAT16 = [each for each in SMALL if each.precision == "float16"]


class Change(NamedTuple):
    """A break of content: `change` gets what a surgeon opened, and the right model of the run `model`."""

    name: str
    targets: Sequence[Target]
    change: Callable[[Any, TextClassifier], None]
    model: str = "attention"


class Build(NamedTuple):
    """A break that is built in: `wrong` gets the run and gives a wrong one, `spoil` what is made of it."""

    name: str
    targets: Sequence[Target]
    wrong: Callable[[Any], Any]
    spoil: Callable[[TextClassifier], None] = lambda model: None
    model: str = "attention"


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
