"""`switch-tf predict` and `switch-tf evaluate`: any model, asked or measured."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.scoring import answer_files, means_folder, refuse_scoring, scoring_options
from switch_tf.cli.shared import (
    as_json,
    console,
    echo,
    echo_json,
    is_given,
    label_column,
    no_header,
    note,
    provider,
    skip_bad,
    text_column,
    threads,
)
from switch_tf.errors import DataError, UsageError

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor
    from switch_tf.artifacts.providers import Provider
    from switch_tf.data.streams import Line


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data")
@text_column
@label_column
@no_header
@skip_bad
@threads
@provider
@as_json
def evaluate(model: Path, data: str, threads: int | None, provider: "Provider", as_json: bool, **reading: Any) -> None:
    """Measure MODEL on labelled DATA: accuracy, macro-F1, log loss, calibration error and the figures of each label.

    Of more than 20 labels it shows the worst ones and the most frequent confusions; with --json it gives all.

    Of a model with a reject threshold it also says which share of the texts is answered, and how rightly. DATA may then
    hold texts of the reject label, which fit no class: to reject them is right.

    MODEL is a run folder, a SavedModel folder, a .tflite file or an .onnx file; DATA is as for `train`, of which the
    test part is read if it has one.
    """
    from switch_tf.data.examples import ExampleStream
    from switch_tf.measuring.scores import evaluate as measure
    from switch_tf.reporting.rejection import rejection_table
    from switch_tf.reporting.tables import label_tables, metrics_table, print_table
    from switch_tf.timing import timed

    examples = ExampleStream(data, split="test", **reading)
    some = iter(examples)
    first = next(some)  # what is wrong with the file is said before a model is loaded
    predictor = _predictor(model, threads, provider)
    with timed(f"Reading {data} and answering it"):
        figures = measure(predictor, chain([first], some))
    if examples.skipped:
        note(f"Left out {examples.skipped:,} rows that cannot be used, the first: {examples.first_skipped}")
    if as_json:
        echo_json(figures)
        return
    terminal = console(stderr=False)
    splits = [(str(data), figures)]
    rejection = [rejection_table(splits)] if "rejection" in figures else []
    for table in (metrics_table("", splits), *rejection, *label_tables(figures)):
        print_table(terminal, table)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--input",
    "source",
    metavar="FILE|-",
    help="Read texts from a file, or from stdin with -; for a folder of answers, from many: 'texts/*.parquet'.",
)
@text_column
@no_header
@click.option(
    "--output",
    metavar="FILE|DIR/",
    help="Write the answers there (.csv, .jsonl or .parquet), each beside all columns of its row.",
)
@scoring_options
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Show the K most probable labels only.")
@threads
@provider
@as_json
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    model: Path,
    texts: tuple[str, ...],
    source: str | None,
    output: str | None,
    top: int | None,
    threads: int | None,
    provider: "Provider",
    as_json: bool,
    text_column: str,
    no_header: bool,
    **scoring: Any,
) -> None:
    r"""Answer texts: arguments, the rows or lines of a file, or stdin.

    MODEL is a run folder, a SavedModel folder, a .tflite file or an .onnx file.

    A file is read as `train` reads it: csv, tsv, json, jsonl, parquet or xlsx by its text column, .txt (or no
    extension) and stdin as UTF-8, one text a line, split at \n alone. Any amount streams through. A row that cannot be
    read is answered by {"line", "error"} in its place, the others go on, and the exit code is 1 at the end.

    Of a model with a reject threshold each answer also says whether it is "rejected".

    With a folder as --output, one that is there or a name without an ending, any number of files is answered by a
    process for each core, into a file of answers for each part of their rows. After a kill the same command does what
    is missing.

    A TEXT that begins with - goes behind --.
    """
    if bool(texts) == bool(source):
        received = "both texts and --input" if texts else "neither a text nor --input"
        raise UsageError(f"Received {received}. Expected one of the two: `switch-tf predict --help`.")
    if output is not None and means_folder(output):
        if source in (None, "-") or top is not None:
            raise UsageError("Received a folder for the answers. Expected files by --input, and no --top.")
        scoring |= {"text_column": text_column if is_given(ctx, "text_column") else None, "no_header": no_header}
        scoring |= {"threads": threads, "provider": provider}
        failed = answer_files(
            model, str(source), output, scoring, lambda: _predictor(model, threads, provider), as_json
        )
    else:
        refuse_scoring({name for name in scoring if is_given(ctx, name)})
        if output is not None:
            from switch_tf.data.answers import check_answers_path

            check_answers_path(Path(output))
        reading = {"text_column": text_column, "no_header": no_header}
        lines = _lines(texts, source, {name for name in reading if is_given(ctx, name)}, reading, output is not None)
        failed = _answer_lines(lambda: _predictor(model, threads, provider), lines, source, output, top, as_json)
    if failed:
        raise DataError(f"{failed} line(s) could not be read; each is marked in its place.")


def _answer_lines(
    load: "Callable[[], Predictor]",
    lines: "Iterator[Line]",
    source: str | None,
    output: str | None,
    top: int | None,
    as_json: bool,
) -> int:
    """Print answers, or write them to a file; how many are errors."""
    from switch_tf.artifacts.base import answer_beside

    predictor = load()
    answers = answer_beside(predictor, lines, top)
    if output is None:
        return _show(answers, as_json)
    return _write(answers, Path(output), source or "", as_json, with_rejected=predictor.rejection is not None)


def _show(answers: Iterator[tuple["Line", dict[str, Any]]], as_json: bool) -> int:
    """Print each answer; how many are errors."""
    failed = 0
    for _, row in answers:
        failed += "error" in row
        if as_json:
            echo_json(row)
        else:
            echo(_readable(row))
    return failed


def _write(
    answers: Iterator[tuple["Line", dict[str, Any]]], output: Path, source: str, as_json: bool, with_rejected: bool
) -> int:
    """Write each answer beside its row; how many are errors."""
    from switch_tf.data.answers import answers_file

    late = any(suffix.lower() in (".json", ".jsonl", ".ndjson", ".xlsx", ".zip") for suffix in Path(source).suffixes)
    count = failed = 0
    with answers_file(output, columns_come_late=late, with_rejected=with_rejected) as file:
        for line, row in answers:
            file.write(line, row)
            count += 1
            failed += "error" in row
    if as_json:
        echo_json({"output": str(output), "rows": count, "errors": failed})
    else:
        click.echo(f"Wrote {count:,} answers to {output}")
    return failed


def _lines(
    texts: tuple[str, ...], source: str | None, given: set[str], reading: dict[str, Any], keep: bool
) -> "Iterator[Line]":
    """What to answer. A file or column that is not there is refused here, before a model is loaded."""
    from switch_tf.data.streams import check_line, open_lines

    if source is not None:
        column = reading["text_column"] if "text_column" in given else None
        return open_lines(source, column, reading["no_header"], keep)
    if given:
        named = min(given).replace("_", "-")
        raise UsageError(f"Received --{named} without --input: it is for tables. Leave it out.")
    return (check_line(number, text)._replace(cells={"text": text}) for number, text in enumerate(texts, 1))


def _predictor(model: Path, threads: int | None, provider: "Provider") -> "Predictor":
    """The model, after a word on stderr about what runs it where that is not TensorFlow."""
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.timing import timed

    with timed(f"Loading {model}"):
        loaded = load_predictor(model, threads, provider, tell=note)
    if not loaded.checked:
        note(f"{model} is not checked: it carries no checksum to compare it with")
    if loaded.runtime != "TensorFlow":
        note(loaded.runtime)
    return loaded


def _readable(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"line {row['line']}: {row['error']}"
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
    others = ranked[:3] if row.get("rejected") else ranked[1:4]  # of a rejected text the best label is another one
    return "  ".join([f"{row['label']}  {row['score']:.4f}", *(f"({label} {p:.4f})" for label, p in others)])
