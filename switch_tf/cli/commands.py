"""The command line: one command per verb, each thin. Heavy imports stand inside the commands, so help comes at once.

stdout carries the answer, stderr everything else. Exit codes: 0 done, 1 the user's data or settings, 2 usage,
3 an export that does not answer as the trained model does, 128 + n ended by the signal n.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from switch_tf.cli.answering import evaluate, predict
from switch_tf.cli.distilling import distill
from switch_tf.cli.exporting import export, verify
from switch_tf.cli.generating import generate
from switch_tf.cli.inspecting import experts, tokenize
from switch_tf.cli.process import discard_output, last_words, prepare_streams, stopping_on_signals
from switch_tf.cli.pruning import prune
from switch_tf.cli.shared import console, echo, loudness
from switch_tf.cli.training import train
from switch_tf.errors import SwitchTFError
from switch_tf.version import __version__


class _Commands(click.Group):
    """Ends quietly when the reader of our output has seen enough; click alone would end with 1, as after an error."""

    asked: click.Command | None = None  # what the user asked for, remembered for messages

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        resolved = super().resolve_command(ctx, args)
        self.asked = resolved[1]
        return resolved

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            discard_output()
            ctx.exit(0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="switch-tf")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def commands(debug: bool) -> None:
    """Train a text classifier with a Switch layer and ship it as one model that takes raw text.

    \b
    First steps:
      switch-tf quickstart                       train, compare, export and ask, on data that is built in
      switch-tf train reviews.csv                train on your own texts
      switch-tf predict runs/NAME "A fine film." ask
      switch-tf export runs/NAME --format saved_model
    """
    del debug  # read by `main`, which outlives the command


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error on purpose is a message and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        prepare_streams()
        with stopping_on_signals():
            result = commands.main(arguments, prog_name="switch-tf", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(result)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.command is predict:
            echo("A text that begins with - goes behind --: switch-tf predict MODEL -- TEXT", err=True)
        sys.exit(error.exit_code)
    except SwitchTFError as error:
        _fail(arguments, f"{error}{_hint(error.argument)}", error.exit_code)
    except OSError as error:
        discard_output()
        _fail(arguments, f"{error.filename or 'Input or output'}: {error.strerror or error}.", 1)
    except MemoryError:
        _fail(arguments, "The memory of this machine does not suffice. Take a smaller model, or a larger machine.", 1)
    except (KeyboardInterrupt, click.Abort) as error:
        _fail(arguments, *last_words(error))


_HINTS = {  # for what the command itself may have no option
    "settings": "`switch-tf train --help` lists every setting",
    "resume": "`switch-tf train --resume`",
}


def _hint(argument: str | None) -> str:
    """Which option of the command stands for the argument that an error blames."""
    if argument is None:
        return ""
    asked = getattr(commands, "asked", None)
    found = [each.opts[0] for each in (asked.params if asked else []) if each.name == argument and each.opts]
    hint = found[0] if found and found[0].startswith("-") else _HINTS.get(argument)
    return f" On the command line: {hint}." if hint else ""


def _fail(arguments: list[str], message: str, exit_code: int) -> None:
    if "--debug" in arguments:
        import traceback

        traceback.print_exc()
    with suppress(OSError):  # nobody listens
        echo(f"Error: {message}", err=True)
    sys.exit(exit_code)


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True, metavar="DIR"
)
def quickstart(output: Path) -> None:
    """Train on the built-in reviews, compare, export and ask: the whole tour in a few minutes.

    Makes DIR, a run with the settings that `train` chooses, and DIR/export/saved_model. If DIR is taken, DIR-2. The
    model is measured beside the majority class, TF-IDF with logistic regression, its own paths and its dense twin.
    """
    from switch_tf.cli.quickstart import quickstart as tour

    tour(output, console(stderr=False), console())


for _command in (train, evaluate, predict, export, verify, experts, tokenize, prune, distill, generate, quickstart):
    commands.add_command(_command)
for _command in (commands, *commands.commands.values()):
    loudness(_command)
