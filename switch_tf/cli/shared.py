"""What commands share: options, JSON on stdout, and the console."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

as_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
text_column = click.option("--text-column", default="text", show_default=True, help="Column of the texts.")
label_column = click.option("--label-column", default="label", show_default=True, help="Column of the labels.")
threads = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of one operator, for an .onnx or .tflite file."
)


def echo_json(value: dict[str, Any]) -> None:
    """One line of JSON in UTF-8, which JSON is, whatever the terminal's encoding."""
    click.echo(json.dumps(value, ensure_ascii=False).encode() + b"\n", nl=False)


def console(stderr: bool = True) -> "Console":
    """Prints names as they are: a label "[b]" or ":x:" is neither markup nor an emoji."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False)
