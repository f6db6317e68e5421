"""What can be asked of the export of an encoder-decoder, without anything that carries it out."""

from dataclasses import dataclass
from pathlib import Path

from switch_tf.errors import ArgumentError

SAVED_MODEL, TFLITE, ONNX, ALL = "saved_model", "tflite", "onnx", "all"
FORMATS = (SAVED_MODEL, TFLITE, ONNX)
_LONGEST = 4096


@dataclass(frozen=True)
class Seq2SeqOptions:
    """What is asked for.

    Args:
        format: "saved_model", "tflite", "onnx", or "all" for each of them.
        output: the folder to make; CHECKPOINT/export/FORMAT unless given.
        length: ids that a text has at most. SavedModel and TFLite take texts filled up to it.
        max_new_tokens: ids that are written at most. The ONNX files leave that to who runs them.

    Raises:
        ArgumentError: a value is out of range, or an output is given with "all".
    """

    format: str
    output: Path | None = None
    length: int = 128
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.format not in (*FORMATS, ALL):
            expected = ", ".join([*FORMATS, ALL])
            raise ArgumentError(f"Received the format {self.format!r}. Expected one of {expected}.", argument="format")
        for name in ("length", "max_new_tokens"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _LONGEST:
                raise ArgumentError(
                    f"Received {name}={value!r}. Expected an integer from 1 to {_LONGEST:,}: change {name}.",
                    argument=name,
                )
        if self.format == ALL and self.output is not None:
            problem = "Received an output with the format all"
            raise ArgumentError(f"{problem}. Expected one format, or the default places.", argument="output")

    @property
    def formats(self) -> tuple[str, ...]:
        """Every format that is asked for."""
        return FORMATS if self.format == ALL else (self.format,)
