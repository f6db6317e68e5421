"""The command line: one command per verb, each thin. Heavy imports stand inside the commands, so help comes at once.

stdout carries the answer, stderr everything else. Exit codes: 0 done, 1 the user's data or settings, 2 usage,
3 an export that does not answer as the trained model does.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli_export import export, verify
from switch_tf.cli_shared import as_json, console, echo_json, label_column, text_column, threads
from switch_tf.errors import DataError, SwitchTFError, UsageError
from switch_tf.version import __version__

if TYPE_CHECKING:
    from switch_tf.predict import Predictor

_INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


class _Commands(click.Group):
    """Ends quietly when the reader of our output has seen enough; click alone would end with 1, as after an error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
            ctx.exit(0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="switch-tf")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def commands(debug: bool) -> None:
    """Train a Switch-Transformer text classifier and ship it as one model that takes raw text.

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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes are not for our users
    try:
        sys.exit(commands.main(arguments, prog_name="switch-tf", standalone_mode=False))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SwitchTFError as error:
        _fail(arguments, str(error), error.exit_code)
    except OSError as error:
        _fail(arguments, f"{error.filename or 'Input or output'}: {error.strerror or error}.", 1)
    except (KeyboardInterrupt, click.Abort):
        _fail(arguments, "Interrupted.", _INTERRUPTED)


def _fail(arguments: list[str], message: str, exit_code: int) -> None:
    if "--debug" in arguments:
        import traceback

        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    sys.exit(exit_code)


class _TrainCommand(click.Command):
    """`train --help` also lists every setting with its default and its reason."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from switch_tf.config import PRESETS, describe_settings

        with formatter.section("Settings, for --config (TOML tables) and --set"):
            rows = [(f"{key}={json.dumps(default)}", why) for key, default, why in describe_settings()]
            formatter.write_dl(rows, col_max=44)
        with formatter.section("Presets differ from these by"):
            changes = {
                name: [
                    f"{table}.{key}={json.dumps(value)}"
                    for table, keys in tables.items()
                    for key, value in keys.items()
                ]
                for name, tables in PRESETS.items()
            }
            formatter.write_dl([(name, ", ".join(each) or "nothing") for name, each in changes.items()])


@commands.command(cls=_TrainCommand)
@click.argument("data", default="reviews")
@click.option("--test", metavar="DATA", help="Labelled texts to measure the finished model on.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="RUN", help="Run folder to make. [default: runs/...]"
)
@click.option("--preset", type=click.Choice(["tiny", "base", "large"]), default="tiny", show_default=True)
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Settings in TOML.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated.")
@click.option("--epochs", type=int, help="Short for --set train.epochs=N.")
@click.option("--seed", type=int, help="Short for --set train.seed=N.")
@text_column
@label_column
@click.option("--resume", is_flag=True, help="Go on with a training that was cut off (--output, or the newest).")
@as_json
@click.pass_context
def train(ctx: click.Context, /, resume: bool, as_json: bool, **options: Any) -> None:
    """Train a classifier on DATA and leave it in a run folder.

    DATA is a csv, tsv, jsonl or parquet file (plain, .gz or .xz), a folder with one folder of text files per class, or
    the built-in set `reviews`. A part of it is split off for validation; the best epoch on that part is kept. Ctrl-C
    or a crash loses at most the epoch in progress: `switch-tf train --resume` goes on from there.
    """
    from switch_tf.progress import TrainingProgress
    from switch_tf.report import metrics_table
    from switch_tf.run import read_metrics
    from switch_tf.train import train as train_run

    terminal = console()
    request, config, output = _resumed(ctx, options) if resume else _requested(options)
    terminal.print(f"Training on {request.data}; the run will be in {output}", highlight=False)
    with TrainingProgress(terminal) as progress:
        run = train_run(request, config, output, progress, resume=resume)
    metrics = read_metrics(run.path)
    if as_json:
        echo_json({"run": str(run.path), **metrics})
        return
    rows = [(name, metrics[name]) for name in ("validation", "test") if name in metrics]
    terminal.print(metrics_table(f"{run.path}", rows))
    terminal.print(f'Next: switch-tf predict {run.path} "Your text here."', highlight=False)


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data")
@text_column
@label_column
@threads
@as_json
def evaluate(model: Path, data: str, text_column: str, label_column: str, threads: int | None, as_json: bool) -> None:
    """Measure MODEL on labelled DATA: accuracy, macro-F1, log loss and the figures of each label.

    MODEL is a run folder, a SavedModel folder, a .tflite file or an .onnx file that takes text or bytes; DATA is as for
    `train`, of which the test part is read if it has one.
    """
    from switch_tf.data import read_examples
    from switch_tf.evaluate import evaluate as measure
    from switch_tf.report import label_table, metrics_table

    examples = read_examples(data, split="test", text_column=text_column, label_column=label_column)
    figures = measure(_predictor(model, threads), examples)
    if as_json:
        echo_json(figures)
        return
    terminal = console(stderr=False)
    terminal.print(metrics_table("", [(str(data), figures)]))
    terminal.print(label_table(figures))


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--input", "source", metavar="FILE|-", help="Read texts from a file, or from stdin with -.")
@text_column
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Show the K most probable labels only.")
@threads
@as_json
def predict(
    model: Path,
    texts: tuple[str, ...],
    source: str | None,
    text_column: str,
    top: int | None,
    threads: int | None,
    as_json: bool,
) -> None:
    r"""Answer texts: arguments, the lines of a file, or stdin.

    MODEL is a run folder, a SavedModel folder, a .tflite file or an .onnx file that takes text or bytes.

    A file is read as UTF-8, one text a line, split at \n alone; a csv, tsv, jsonl or parquet file by its text column.
    Any amount streams through. A line that cannot be decoded is answered by {"line", "error"} in its place, the others
    go on, and the exit code is 1 at the end.
    """
    from switch_tf.predict import answer, check_line, open_lines

    if bool(texts) == bool(source):
        received = "both texts and --input" if texts else "neither a text nor --input"
        raise UsageError(f"Received {received}. Expected one of the two: `switch-tf predict --help`.")
    given = (check_line(number, text) for number, text in enumerate(texts, 1))
    lines = given if source is None else open_lines(source, text_column)
    failed = 0
    for row in answer(_predictor(model, threads), lines, top):
        failed += "error" in row
        if as_json:
            echo_json(row)
        else:
            click.echo(_readable(row))
    if failed:
        raise DataError(f"{failed} line(s) could not be read; each is marked in its place.")


commands.add_command(export)
commands.add_command(verify)


@commands.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True, metavar="DIR"
)
def quickstart(output: Path) -> None:
    """Train on the built-in reviews, compare, export and ask: the whole tour in a few minutes.

    Makes DIR (a Switch classifier), DIR-dense (its dense twin) and DIR/export/saved_model. If DIR is taken, DIR-2.
    """
    from switch_tf.quickstart import quickstart as tour

    tour(output, console(stderr=False))


def _requested(options: dict[str, Any]) -> tuple[Any, Any, Path]:
    """Data, settings and folder from the words of the command."""
    from switch_tf.config import load_config
    from switch_tf.run import fresh_name
    from switch_tf.train import DataRequest

    shorthands = [f"train.{key}={options[key]}" for key in ("epochs", "seed") if options[key] is not None]
    config = load_config(options["preset"], options["file"], [*options["assignments"], *shorthands])
    request = DataRequest(options["data"], options["test"], options["text_column"], options["label_column"])
    return request, config, options["output"] or fresh_name(request.data)


def _resumed(ctx: click.Context, options: dict[str, Any]) -> tuple[Any, Any, Path]:
    """The same from an unfinished folder, which knows them; what the command says besides must not contradict it."""
    from switch_tf.train import read_unfinished

    given = [
        name
        for name in options
        if name != "output" and ctx.get_parameter_source(name) != click.core.ParameterSource.DEFAULT
    ]
    request, config, output = read_unfinished(options["output"])
    if given:
        asked, asked_config, _ = _requested(options)
        if (asked, asked_config) != (request, config):
            raise UsageError(
                f"{output} was started with other data or settings than {', '.join(given)} say. "
                "Resume with the same words, or with --output alone."
            )
    return request, config, output


def _predictor(model: Path, threads: int | None) -> "Predictor":
    """The model, after a word on stderr about what runs it where that is not TensorFlow."""
    from switch_tf.predict import load_predictor

    loaded = load_predictor(model, threads)
    if loaded.runtime != "TensorFlow":
        click.echo(loaded.runtime, err=True)
    return loaded


def _readable(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"line {row['line']}: {row['error']}"
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
    return "  ".join([f"{row['label']}  {row['score']:.4f}", *(f"({label} {p:.4f})" for label, p in ranked[1:4])])
