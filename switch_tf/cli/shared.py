"""What commands share: options, JSON on stdout, and what goes to stderr."""

import json
import shlex
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import click

from switch_tf.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

as_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
text_column = click.option(
    "--text-column",
    default="text",
    show_default=True,
    help="Column of the texts, or several with commas between, joined by a space.",
)
label_column = click.option("--label-column", default="label", show_default=True, help="Column of the labels.")
no_header = click.option(
    "--no-header", is_flag=True, help="The table's first row is data; its columns are 1, 2, ... from the left."
)
skip_bad = click.option("--skip-bad", is_flag=True, help="Leave out rows that cannot be used, and count them.")
threads = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of one operator, for an .onnx or .tflite file."
)
provider = click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What ONNX Runtime answers an .onnx file with; auto is CUDA for one that takes ids, if it can be had.",
)
_LOUDNESS = "switch_tf.loudness"


def loudness(command: click.Command) -> None:
    """Give a command the options --quiet and --verbose, which mean the same before and after the verb."""
    for name, help_text in (
        ("quiet", "Nothing on stderr but errors."),
        ("verbose", "Say on stderr what is being done and how long it took; show TensorFlow's log."),
    ):
        command.params.append(
            click.Option([f"--{name}"], is_flag=True, expose_value=False, callback=_set_loudness, help=help_text)
        )


def _set_loudness(context: click.Context, option: click.Parameter, given: bool) -> None:
    if not given:
        return
    meta = context.find_root().meta
    if meta.setdefault(_LOUDNESS, option.name) != option.name:
        raise UsageError("Received both --quiet and --verbose. Expected one of the two, or neither.")
    if option.name == "verbose":
        from switch_tf.cli.log import log_to_stderr

        context.find_root().with_resource(log_to_stderr())


def is_quiet() -> bool:
    """Whether the command was told to write nothing on stderr but errors."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().meta.get(_LOUDNESS) == "quiet"


def note(message: str) -> None:
    """A line on stderr, unless the command was told to be quiet."""
    if not is_quiet():
        echo(message, err=True)


def echo(message: str, err: bool = False) -> None:
    """A line on stdout or stderr; what the terminal's encoding lacks is escaped, where click would write UTF-8."""
    click.echo(message, file=sys.stderr if err else sys.stdout)


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether the command's words name the parameter, rather than its default."""
    return ctx.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT)


def refuse_others(ctx: click.Context, taken: Collection[str], beside: str) -> None:
    """
    Raises:
        UsageError: the command's words name a parameter that is not among those that are taken beside an option.
    """
    for parameter in ctx.command.params:
        name = parameter.name
        if name is not None and name not in (*taken, "quiet", "verbose") and is_given(ctx, name):
            raise UsageError(f"Received {parameter.opts[0]} with {beside}, where it has no meaning: leave it out.")


def assigned(assignments: Sequence[str], table: str, known: Collection[str]) -> dict[str, Any]:
    """What `--set TABLE.KEY=VALUE` says of one table.

    Raises:
        UsageError: another table is named, or a key that is not known.
    """
    from switch_tf.settings import parse_assignment

    values: dict[str, Any] = {}
    for assignment in assignments:
        ((named, given),) = parse_assignment(assignment).items()
        if named != table or not set(given) <= set(known):
            expected = ", ".join(f"{table}.{name}" for name in known)
            raise UsageError(f"Received --set {assignment} with --from-hf. Expected some of {expected}.")
        values |= given
    return values


def echo_json(value: dict[str, Any]) -> None:
    """One line of JSON in UTF-8, which JSON is, whatever the terminal's encoding."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    click.echo(line.encode("utf-8", "backslashreplace") + b"\n", nl=False)  # a path may hold half a surrogate pair


def console(stderr: bool = True) -> "Console":
    """Prints names as they are: a label "[b]" or ":x:" is neither markup nor an emoji. Told to be quiet, stderr is."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, quiet=stderr and is_quiet())


def command_line(*words: object) -> str:
    """A command to be copied into a shell, its words quoted where they need it."""
    return shlex.join(["switch-tf", *map(str, words)])
