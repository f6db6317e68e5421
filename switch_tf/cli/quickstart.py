"""The tour: train on the built-in reviews, hold the result against two baselines, export it and ask it something."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from switch_tf.artifacts.base import describe
from switch_tf.artifacts.opening import load_predictor
from switch_tf.cli.shared import command_line
from switch_tf.config import Config, dense_twin, load_config
from switch_tf.data.examples import read_examples
from switch_tf.data.request import DataRequest
from switch_tf.export.options import ExportOptions
from switch_tf.export.session import export_run
from switch_tf.measuring.baseline import linear_baseline
from switch_tf.reporting.tables import metrics_table, parity_table
from switch_tf.runs.folder import Run, free_name, read_metrics
from switch_tf.training.progress import TrainingProgress
from switch_tf.training.session import train

TEXTS = (
    "A warm, funny and beautifully acted film.",
    "A dull, overlong mess.",
    "Battery died after a week; I want my money back!",
)


def quickstart(output: Path, console: Console, progress_console: Console) -> None:
    """Make a run in `output` (or output-2, ... if taken), its dense twin beside it, and a SavedModel inside it.

    Args:
        console: for what was found.
        progress_console: for how training goes.
    """
    started = time.perf_counter()
    request, config = DataRequest("reviews"), load_config("tiny")
    output = free_name(output)

    def trained(name: str, settings: Config, folder: Path) -> Run:
        console.rule(name, align="left")
        with TrainingProgress(progress_console) as progress:
            return train(request, settings, folder, progress)

    run = trained(f"Switch classifier, {config.model.num_experts} experts", config, output)
    dense = trained(
        "Dense twin: the same work per token, no experts", dense_twin(config), free_name(Path(f"{output}-dense"))
    )

    console.rule("Linear baseline: TF-IDF of words and word pairs, logistic regression", align="left")
    console.print(_beside_baselines(run, dense))

    console.rule("SavedModel", align="left")
    exported = export_run(run, ExportOptions("saved_model"))
    console.print(parity_table(exported.comparisons))

    console.rule("Three texts, answered by the SavedModel", align="left")
    (path,) = exported.paths
    model = load_predictor(path)
    for text, probabilities in zip(TEXTS, model.probabilities(TEXTS), strict=True):
        answer = describe(probabilities, model.labels)
        console.print(f"  {answer['label']}  {answer['score']:.3f}  {text}", highlight=False)
    console.rule(f"Done in {time.perf_counter() - started:.0f} s. What to try next", align="left")
    for command in _next_commands(run, path):
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def _beside_baselines(run: Run, dense: Run) -> Table:
    """Figures on the test split: of the run, of its dense twin and of a linear model."""
    training, test = read_examples("reviews"), read_examples("reviews", split="test")
    rows = [
        ("switch-tf", read_metrics(run.path)["test"]),
        ("dense twin", read_metrics(dense.path)["test"]),
        ("TF-IDF + logistic regression", linear_baseline(training, test, run.labels)),
    ]
    return metrics_table("Test split of reviews, never trained on", rows)


def _next_commands(run: Run, saved_model: Path) -> list[str]:
    """What to try next, to be copied into a shell."""
    return [
        command_line("predict", run.path, "Your own words.", "--json"),
        command_line("evaluate", saved_model, "reviews"),
        command_line("train", "YOUR.csv", "--text-column", "text", "--label-column", "label"),
        command_line("train", "--help"),
    ]
