"""`switch-tf predict` and `switch-tf evaluate`: any model, asked or measured."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import as_json, console, echo_json, label_column, note, text_column, threads
from switch_tf.errors import DataError, UsageError

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor
    from switch_tf.data.streams import Line


@click.command()
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
    from switch_tf.data.examples import read_examples
    from switch_tf.measuring.scores import evaluate as measure
    from switch_tf.reporting.tables import label_table, metrics_table
    from switch_tf.timing import timed

    with timed(f"Reading {data}"):
        examples = read_examples(data, split="test", text_column=text_column, label_column=label_column)
    predictor = _predictor(model, threads)
    with timed(f"Answering {len(examples):,} texts"):
        figures = measure(predictor, examples)
    if as_json:
        echo_json(figures)
        return
    terminal = console(stderr=False)
    terminal.print(metrics_table("", [(str(data), figures)]))
    terminal.print(label_table(figures))


@click.command()
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
    from switch_tf.artifacts.base import answer

    if bool(texts) == bool(source):
        received = "both texts and --input" if texts else "neither a text nor --input"
        raise UsageError(f"Received {received}. Expected one of the two: `switch-tf predict --help`.")
    lines = _lines(texts, source, text_column)
    failed = 0
    for row in answer(_predictor(model, threads), lines, top):
        failed += "error" in row
        if as_json:
            echo_json(row)
        else:
            click.echo(_readable(row))
    if failed:
        raise DataError(f"{failed} line(s) could not be read; each is marked in its place.")


def _lines(texts: tuple[str, ...], source: str | None, text_column: str) -> "Iterator[Line]":
    """What to answer. A file or column that is not there is refused here, before a model is loaded."""
    from switch_tf.data.streams import check_line, open_lines

    if source is None:
        return (check_line(number, text) for number, text in enumerate(texts, 1))
    lines = open_lines(source, text_column)
    if source == "-":  # whose first line may be long in coming
        return lines
    return chain(list(islice(lines, 1)), lines)


def _predictor(model: Path, threads: int | None) -> "Predictor":
    """The model, after a word on stderr about what runs it where that is not TensorFlow."""
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.timing import timed

    with timed(f"Loading {model}"):
        loaded = load_predictor(model, threads)
    if loaded.runtime != "TensorFlow":
        note(loaded.runtime)
    return loaded


def _readable(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"line {row['line']}: {row['error']}"
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
    return "  ".join([f"{row['label']}  {row['score']:.4f}", *(f"({label} {p:.4f})" for label, p in ranked[1:4])])
