"""`switch-tf predict` with a folder for its answers: batch scoring, by a pool of processes or by Spark."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import console, echo, echo_json
from switch_tf.errors import UsageError

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor

_OPTIONS = (
    click.option(
        "--output-format",
        "format",
        type=click.Choice(["csv", "jsonl", "parquet"]),
        help="Of a folder's files; that of the input unless it is asked for otherwise.",
    ),
    click.option("--probabilities", "all_probabilities", is_flag=True, help="Into a folder: a column for each label."),
    click.option(
        "--rows-per-part", type=click.IntRange(min=1), metavar="N", help="Of a folder's files. [default: 32,768]"
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), metavar="N", help="Processes for a folder. [default: one a core]"
    ),
    click.option(
        "--engine",
        type=click.Choice(["pool", "spark"]),
        help="What answers into a folder: processes here, the default, or Spark, with the extra `spark`.",
    ),
    click.option("--master", metavar="URL", help="Of Spark: spark://host:7077, yarn, local[2,4]. [default: local[*]]"),
)


def scoring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `predict` the options that are for folders alone."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_scoring(given: set[str]) -> None:
    """
    Raises:
        UsageError: an option for folders is given, and no folder.
    """
    if given:
        raise UsageError(
            f"Received {_option(min(given))} without a folder as --output. Name one, such as --output answers/."
        )


def _option(name: str) -> str:
    """What a parameter is called on the command line."""
    named = {"format": "--output-format", "all_probabilities": "--probabilities"}
    return named.get(name, f"--{name.replace('_', '-')}")


def means_folder(output: str) -> bool:
    """Whether a path is that of a folder: it is one, or has no ending.

    >>> means_folder("answers/"), means_folder("answers"), means_folder("answers.csv"), means_folder("memory://a/b.c")
    (True, True, False, True)
    """
    path = Path(output)
    return output.endswith("/") or "://" in output or path.is_dir() or (not path.suffix and not path.is_file())


def answer_files(
    model: Path, source: str, output: str, options: dict[str, Any], load: "Callable[[], Predictor]", as_json: bool
) -> int:
    """Answer files into a folder, and say so; how many rows are errors."""
    given = {name: value for name, value in options.items() if value is not None}
    engine, master = given.pop("engine", "pool"), given.pop("master", None)
    if engine == "spark":
        said = _by_spark(model, source, output, master or "local[*]", given, load)
    elif master is not None:
        raise UsageError("Received --master without --engine spark. Expected both, or neither.")
    else:
        said = _by_pool(model, source, output, given, load)
    if as_json:
        echo_json(said)
    else:
        parts = f", {said['new_parts']:,} of {said['parts']:,} parts now" if "parts" in said else ""
        echo(f"Wrote {said['rows']:,} answers to {output}{parts}")
    return int(said.get("errors", 0))


def _by_pool(
    model: Path, source: str, output: str, given: dict[str, Any], load: "Callable[[], Predictor]"
) -> dict[str, Any]:
    from switch_tf.serving.job import ScoringOptions, score_files
    from switch_tf.serving.progress import ScoringProgress

    with ScoringProgress(console()) as progress:
        return score_files(model, source, output, ScoringOptions(**given), progress, load)


def _by_spark(
    model: Path, source: str, output: str, master: str, given: dict[str, Any], load: "Callable[[], Predictor]"
) -> dict[str, Any]:
    from switch_tf.serving.spark import score_with_spark

    if given.get("format") == "parquet":
        del given["format"]
    taken = {name: given.pop(name) for name in ("text_column", "all_probabilities") if name in given}
    others = [name for name, value in given.items() if value not in (False, "auto")]
    if others:
        raise UsageError(f"Received {_option(min(others))} with --engine spark, which reads and writes parquet itself.")
    return score_with_spark(model, source, output, master, load, **taken)
