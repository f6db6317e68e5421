"""`switch-tf predict` with a folder for its answers: batch scoring, by a pool of processes or by Spark."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import console, echo_json
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
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes for a folder; one a core."),
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
        named = {"format": "--output-format", "all_probabilities": "--probabilities"}
        name = min(given)
        option = named.get(name, f"--{name.replace('_', '-')}")
        raise UsageError(f"Received {option} without a folder as --output. Name one, such as --output answers/.")


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
    from switch_tf.serving.job import ScoringOptions, score_files
    from switch_tf.serving.progress import ScoringProgress

    given = {name: value for name, value in options.items() if value is not None}
    with ScoringProgress(console()) as progress:
        said = score_files(model, source, output, ScoringOptions(**given), progress, load)
    if as_json:
        echo_json(said)
    else:
        click.echo(f"Wrote {said['rows']:,} answers to {output}, {said['new_parts']:,} of {said['parts']:,} parts now")
    return int(said["errors"])
