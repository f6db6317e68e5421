"""What can be asked of an export, without anything that carries it out: no heavy import stands here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from switch_tf.errors import ArgumentError

if TYPE_CHECKING:
    from switch_tf.config import Dispatch
    from switch_tf.data.examples import Examples

Precision = Literal["float32", "float16", "int8"]  # that weights are stored in
Door = Literal["text", "ids", "bytes"]  # what goes in: strings, token ids, or bytes with zeros behind them

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}


@dataclass(frozen=True)
class ExportOptions:
    """What is asked for; None is the default of the format.

    Attributes:
        format: a name of `switch_tf.export.formats.FORMATS`, or "all" for each of them.
        output: where to; RUN/export/... unless given.
        inputs: what an ONNX file, or any of a fine-tuned run, takes: text, ids or bytes.
        batch: the one batch size of a file; any unless given.
        precision: that large weights of a file are stored in.
        dispatch: how tokens reach experts; as in the run unless given.
        max_size: bytes that a file may have, as a number or as "800K" or "1.5M"; precision and words follow from it.
        max_loss: points of accuracy that a smaller file may lose; 1 by rounding alone, 2 with words left out besides.
        measured_on: where the run's labelled data is now, or its examples, which smaller files are measured on.
        allow_truncation: even where over 1% of texts are too long for the bytes input.
        max_batch_size: texts that TF Serving answers together at most, and accepts in one request; 64 unless given.
    """

    format: str
    output: Path | None = None
    inputs: Door | None = None
    batch: int | None = None
    precision: Precision | None = None
    dispatch: "Dispatch | None" = None
    max_size: int | str | None = None
    max_loss: float | None = None
    measured_on: "str | Examples | None" = None
    allow_truncation: bool = False
    max_batch_size: int | None = None

    @property
    def limit(self) -> int | None:
        """`max_size` in bytes.

        Raises:
            ArgumentError: it is no size.
        """
        return None if self.max_size is None else parse_size(self.max_size)

    def file_name(self, suffix: str, inputs: Door, default_inputs: Door) -> str:
        """The name of a file made with these options, so that none replaces another.

        >>> ExportOptions("onnx").file_name(".onnx", "text", "text")
        'model.onnx'
        >>> ExportOptions("onnx", batch=64, precision="int8").file_name(".onnx", "ids", "text")
        'model-ids-batch64-int8.onnx'
        """
        parts = ["model"]
        if inputs != default_inputs:
            parts.append(inputs)
        if self.batch is not None:
            parts.append(f"batch{self.batch}")
        if self.dispatch is not None:
            parts.append(self.dispatch)
        if self.max_size is not None:
            parts.append(str(self.max_size))
        elif self.precision not in (None, "float32"):
            parts.append(str(self.precision))
        return f"{'-'.join(parts)}{suffix}"


def parse_size(size: int | str) -> int:
    """Bytes, of a number with K, M or G for thousands, millions or billions.

    >>> parse_size("1M"), parse_size("1.5K"), parse_size(300)
    (1000000, 1500, 300)

    Raises:
        ArgumentError: it is something else.
    """
    matched = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMG]?)", str(size))
    if matched is None or float(matched[1]) == 0:
        expected = "a number of bytes such as 800000, 800K or 1.5M"
        raise ArgumentError(f"Received the size {size!r}. Expected {expected}.", argument="max_size")
    return int(float(matched[1]) * _UNITS[matched[2]])
