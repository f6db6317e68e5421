"""The tour: train on the built-in reviews, hold the result against baselines, export it and ask it something."""

import time
from pathlib import Path

from rich.console import Console

from switch_tf.artifacts.base import describe
from switch_tf.artifacts.opening import load_predictor
from switch_tf.cli.shared import command_line
from switch_tf.data.request import DataRequest
from switch_tf.export.options import ExportOptions
from switch_tf.export.session import export_run
from switch_tf.reporting.comparison import print_figures
from switch_tf.reporting.tables import parity_table, print_table
from switch_tf.runs.folder import Run, free_name, read_metrics
from switch_tf.training.auto import auto_config
from switch_tf.training.progress import TrainingProgress
from switch_tf.training.session import train

TEXTS = (
    "A warm, funny and beautifully acted film.",
    "A dull, overlong mess.",
    "Battery died after a week; I want my money back!",
)


def quickstart(output: Path, console: Console, progress_console: Console) -> None:
    """Make a run in `output` (or output-2, ... if taken) with the settings of `train`, and a SavedModel inside it.

    Args:
        console: for what was found.
        progress_console: for how training goes.
    """
    started = time.perf_counter()
    request, output = DataRequest("reviews", embedded=("data",)), free_name(output)

    console.rule("Settings chosen from the size of the data", align="left")
    config, choices, _ = auto_config(request, assignments=["train.twin=true"])
    for key, value, why in choices:
        console.print(f"  {key} = {value}: {why}", highlight=False, soft_wrap=True)

    console.rule("Training a wide and a deep path, then the dense twin to compare", align="left")
    with TrainingProgress(progress_console) as progress:
        run = train(request, config, output, progress)

    console.rule("What the model is worth: texts of the test split, never trained on", align="left")
    print_figures(console, "All that was measured", read_metrics(run.path))

    console.rule("SavedModel", align="left")
    exported = export_run(run, ExportOptions("saved_model"))
    print_table(console, parity_table(exported.comparisons))

    console.rule("Three texts, answered by the SavedModel", align="left")
    (path,) = exported.paths
    model = load_predictor(path)
    for text, probabilities in zip(TEXTS, model.probabilities(TEXTS), strict=True):
        answer = describe(probabilities, model.labels)
        console.print(f"  {answer['label']}  {answer['score']:.3f}  {text}", highlight=False)
    console.rule(f"Done in {time.perf_counter() - started:.0f} s. What to try next", align="left")
    for command in _next_commands(run, path):
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def _next_commands(run: Run, saved_model: Path) -> list[str]:
    """What to try next, to be copied into a shell."""
    return [
        command_line("predict", run.path, "Your own words.", "--json"),
        command_line("evaluate", saved_model, "reviews"),
        command_line("train", "YOUR.csv", "--text-column", "text", "--label-column", "label"),
        command_line("train", "--help"),
    ]
