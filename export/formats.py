"""Every format there is, by name: the one place where a format joins."""

from pathlib import Path
from typing import get_args

from switch_tf.errors import ArgumentError, ModelError
from switch_tf.export.format import Format
from switch_tf.export.onnx_file.format import OnnxFormat
from switch_tf.export.options import Door, ExportOptions, Precision
from switch_tf.export.saved_model.format import SavedModelFormat
from switch_tf.export.tflite_file.format import TFLiteFormat

FORMATS: dict[str, Format] = {each.name: each for each in (SavedModelFormat(), TFLiteFormat(), OnnxFormat())}
ALL = "all"


def formats_named(name: str) -> list[Format]:
    """The format of that name, or every one for "all".

    Raises:
        ArgumentError: there is none.
    """
    if name == ALL:
        return list(FORMATS.values())
    if name not in FORMATS:
        expected = ", ".join([*FORMATS, ALL])
        raise ArgumentError(f"Received the format {name!r}. Expected one of {expected}.", argument="format")
    return [FORMATS[name]]


def check_options(options: ExportOptions) -> list[Format]:
    """As `check_meaning`, and whether the output can have the name that it is given.

    Raises:
        ArgumentError: it does not.
    """
    formats = check_meaning(options)
    if options.output is not None:
        formats[0].check_output(options.output)
    return formats


def check_meaning(options: ExportOptions) -> list[Format]:
    """The formats asked for, after a look at whether all that is said means something to them.

    Raises:
        ArgumentError: it does not.
    """
    formats = formats_named(options.format)
    _check_values(options)
    for name in ("inputs", "batch", "precision", "max_size", "max_loss", "max_batch_size"):
        if getattr(options, name) not in (None, "float32") and any(name not in each.options for each in formats):
            fitting = " or ".join(each.name for each in FORMATS.values() if name in each.options)
            raise ArgumentError(f"{name} is for {fitting}. Received the format {options.format}: leave it out.", name)
    _check_loss(options)
    if options.output is not None and len(formats) > 1:
        problem = f"Received an output with the format {options.format}"
        raise ArgumentError(f"{problem}. Expected one format, or the default places.", argument="output")
    _ = options.limit
    return formats


def _check_values(options: ExportOptions) -> None:
    from switch_tf.config import Dispatch

    for name, choices in (
        ("inputs", get_args(Door)),
        ("precision", get_args(Precision)),
        ("dispatch", get_args(Dispatch)),
    ):
        value = getattr(options, name)
        if value is not None and value not in choices:
            raise ArgumentError(f"Received {name}={value!r}. Expected one of {', '.join(choices)}.", argument=name)
    for name in ("batch", "max_batch_size"):
        number = getattr(options, name)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise ArgumentError(f"Received {name}={number!r}. Expected a whole number from 1 on.", argument=name)


def _check_loss(options: ExportOptions) -> None:
    if options.max_loss is None:
        return
    if not 0 <= options.max_loss <= 100:
        expected = "points of accuracy, 0 to 100"
        raise ArgumentError(f"Received a max_loss of {options.max_loss}. Expected {expected}.", "max_loss")
    if options.precision in (None, "float32") and options.max_size is None:
        problem = "max_loss is for files that may lose something. Received neither a smaller precision nor a max_size"
        raise ArgumentError(f"{problem}: leave it out.", argument="max_loss")


def format_of(path: Path) -> Format:
    """The format of the artifact at `path`.

    Raises:
        ModelError: it is of no format that we export.
    """
    for each in FORMATS.values():
        if each.recognizes(path):
            return each
    expected = "; ".join(each.title for each in FORMATS.values())
    raise ModelError(f"{path} is no artifact. Expected what an export wrote: {expected}.")
