"""The table of docs/routers.md: what each router reaches by the default recipe, how long it takes, and the gate.

\b
    python tools/compare_routers.py trec=DATA/trec reviews sst2=DATA/sst2 \\
        banking77=DATA/banking77 --write docs/routers.md

A set is the name of a built-in one, or NAME=FOLDER with train.tsv.xz and test.tsv.xz in it (label, text). Nothing but
the router differs between the trainings of a set and a seed. The run of the first seed is exported as TFLite and ONNX
file, that of the first set as SavedModel too: the gate says whether they answer as the trained model does.

Times are processor time on one thread, in turns: of a training step of a classifier of the recipe's shape, with plain
embeddings, and of an answer to one text by the files of the first set. They are told as ratios to top1.

What a training gave is kept in the results as soon as it is measured, and not made again. The runs whose times are
taken stay in --runs.
"""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_layer import in_rounds, one_thread
from quality import fill, spread, train

from switch_tf.files import write_bytes

ROUTERS: dict[str, tuple[str, ...]] = {  # by what the table calls them: settings over the recipe's
    "top1": ("model.router=top1",),
    "top2": ("model.router=top2",),
    "expert_choice": ("model.router=expert_choice",),
    "xmoe": ("model.router=xmoe",),
    "token": ("model.router=token",),
    "top1, priority = gate": ("model.router=top1", "model.priority=gate"),
    "top1, balance_rate = 0.001": (
        "model.router=top1",
        "model.balance_rate=0.001",
        "model.auxiliary_loss_weight=0.0",
    ),
}
_FIRST = "top1"  # what times are compared with
_SHAPE = (
    "text.sequence_length=32",
    "model.context=mean",
    "model.num_experts=8",
    "model.d_ff=64",
    "train.batch_size=64",
)
_WORDS, _CLASSES = 5_000, 6  # of the classifier whose step is timed
_TIMED = {"tflite": "LiteRT", "onnx": "ONNX Runtime"}  # formats, and what the table calls those who run them
_ASKED = 100  # texts in a round
_ROUNDS = 15
Figures = dict[str, Any]


@click.command(help=__doc__)
@click.argument("sets", nargs=-1, required=True, metavar="NAME[=FOLDER]...")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Of each: seeds 0, 1, ...")
@click.option("--only", multiple=True, type=click.Choice(list(ROUTERS)), help="These routers; all unless given.")
@click.option("--gate", multiple=True, metavar="NAME", help="Export for these sets, and the first; all unless given.")
@click.option("--saved-model", is_flag=True, help="Export as SavedModel too, for the first set.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("router-runs"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("routers.json"), show_default=True)
@click.option("--write", "page", type=click.Path(path_type=Path, exists=True), help="A page with the table's marker.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of `switch-tf train`, for all.")
def main(
    sets: tuple[str, ...],
    seeds: int,
    only: tuple[str, ...],
    gate: tuple[str, ...],
    saved_model: bool,
    runs: Path,
    results: Path,
    page: Path | None,
    settings: tuple[str, ...],
) -> None:
    folders = {name: Path(folder) if folder else None for name, _, folder in (each.partition("=") for each in sets)}
    names, first = only or tuple(ROUTERS), next(iter(folders))
    figures: Figures = json.loads(results.read_text()) if results.exists() else {"trainings": {}, "times": {}}
    one_thread()  # before an export starts TensorFlow
    for seed in range(seeds):
        for name, folder in folders.items():
            for router in names:
                key = f"{name}/{router}/{seed}"
                if key in figures["trainings"]:
                    continue
                click.echo(key, err=True)
                path = runs / key.replace("/", "-").replace(" ", "")
                formats = ["tflite", "onnx"] if seed == 0 and (name == first or name in gate or not gate) else []
                formats += ["saved_model"] if saved_model and name == first and seed == 0 else []
                figures["trainings"][key] = measure(name, folder, path, seed, (*settings, *ROUTERS[router]), formats)
                if name != first or seed:  # no time is taken of it
                    shutil.rmtree(path)
                write_bytes(results, (json.dumps(figures, indent=1) + "\n").encode())
    exported = {name: figures["trainings"].get(f"{first}/{name}/0") for name in ROUTERS}
    exported = {name: each for name, each in exported.items() if each is not None}
    if set(exported) - set(figures["times"].get("a training step", {})):
        # All of them again if one is missing: only times that were taken in turns can be compared.
        figures["times"] = times(exported)
        write_bytes(results, (json.dumps(figures, indent=1) + "\n").encode())
    if page is not None:
        write_bytes(page, fill(page.read_text("utf-8"), {"routers": table(figures)}).encode())
    click.echo(table(figures))


def measure(
    name: str, folder: Path | None, path: Path, seed: int, settings: Sequence[str], formats: Sequence[str]
) -> Figures:
    """Accuracy and size of one training, and what the gate says of its exports."""
    from switch_tf.runs.folder import unfinished

    path.parent.mkdir(parents=True, exist_ok=True)
    for left in (path, unfinished(path)):  # by a kill
        shutil.rmtree(left, ignore_errors=True)
    metrics = train(name, folder, path, seed, ("train.baseline=false", *settings))
    models = metrics["comparison"]["models"]
    return {
        "accuracy": metrics["test"]["accuracy"],
        "deep": models["deep"]["accuracy"] if "deep" in models else metrics["test"]["accuracy"],
        "parameters": metrics["training"]["parameters"],
        "exports": {format_name: export(path, format_name) for format_name in formats},
        "run": str(path),
    }


def export(path: Path, format_name: str) -> Figures:
    """Where an export of a run is, with its largest difference and its near-ties, or why it was refused."""
    from switch_tf.errors import ParityError
    from switch_tf.export.options import ExportOptions
    from switch_tf.export.session import export_run
    from switch_tf.runs.folder import open_run

    try:
        exported = export_run(open_run(path), ExportOptions(format_name))
    except ParityError as error:
        return {"refused": str(error)}
    return {
        "path": str(exported.paths[0]),
        "largest_difference": max(each.max_abs_diff for each in exported.comparisons),
        "ties": sum(each.routing_ties for each in exported.comparisons),
    }


def times(exported: dict[str, Figures]) -> Figures:
    """Milliseconds in each round, by what takes them and by router."""
    steps = {name: training_step(ROUTERS[name]) for name in exported}
    taken: Figures = {"a training step": in_rounds(steps, _ROUNDS)}
    for format_name, called in _TIMED.items():
        files = {name: each["exports"].get(format_name, {}).get("path") for name, each in exported.items()}
        answers = {name: answering(exported[name]["run"], path) for name, path in files.items() if path}
        taken[called] = in_rounds(answers, _ROUNDS)
    return taken


def training_step(settings: Sequence[str]) -> Callable[[], float]:
    """What takes a step of a classifier of the recipe's shape on made-up texts, all full, and says how long it took."""
    from switch_tf.config import load_config
    from switch_tf.training.steps import Encoded
    from switch_tf.training.trainer import Trainer

    config = load_config(assignments=[*_SHAPE, *settings])
    random = np.random.default_rng(0)
    batch = config.train.batch_size
    ids = random.integers(2, _WORDS, [batch, config.text.sequence_length]).astype(np.int32)
    data = Encoded(ids, random.integers(0, _CLASSES, batch).astype(np.int32))
    trainer = Trainer(config, _WORDS, _CLASSES, total_steps=1000)

    def step() -> float:
        started = time.process_time()
        trainer.train_on(data, np.arange(batch), 0, 0)
        return 1000 * (time.process_time() - started)

    return step


def answering(run: str, path: str) -> Callable[[], float]:
    """What asks a file of the run for its held-out texts one by one, and says how long a text took."""
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.runs.folder import open_run
    from switch_tf.runs.held_out import read_held_out

    texts, model = read_held_out(open_run(Path(run)))[:_ASKED], load_predictor(Path(path), threads=1)

    def ask() -> float:
        started = time.process_time()
        for text in texts:
            model.probabilities([text])
        return 1000 * (time.process_time() - started) / len(texts)

    return ask


def table(figures: Figures) -> str:
    """A row for each router that was trained: accuracy of the whole model and of its deep path, times, the gate."""
    trainings, timed = figures["trainings"], figures["times"]
    sets = list(dict.fromkeys(key.split("/")[0] for key in trainings))
    lines = [
        f"| router | {' | '.join(sets)} | parameters ({sets[0]}) | {', '.join(timed) or 'times'}: to {_FIRST} "
        "| passed the gate | near-ties |",
        "|---|" + "---|" * (len(sets) + 4),
    ]
    for router in dict.fromkeys(key.split("/")[1] for key in trainings):
        of_sets = [[run for key, run in trainings.items() if key.startswith(f"{name}/{router}/")] for name in sets]
        cells = [
            " / ".join(spread([run[key] for run in runs]) for key in ("accuracy", "deep")) if runs else "not run"
            for runs in of_sets
        ]
        cells.append(f"{of_sets[0][0]['parameters']:,}" if of_sets[0] else "not run")
        cells.append(", ".join(ratio(rounds, router) for rounds in timed.values()) or "not run")
        exports = [export for runs in of_sets for run in runs for export in run["exports"].values()]
        passed = [export for export in exports if "refused" not in export]
        cells += [f"{len(passed)} of {len(exports)}", str(sum(export["ties"] for export in passed))]
        lines.append(f"| {_code(router)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(rounds: dict[str, list[float]], router: str) -> str:
    """The median over rounds of a router's time by that of top1 in the same round."""
    if router not in rounds or _FIRST not in rounds:
        return "not run"
    return f"{statistics.median(ours / first for ours, first in zip(rounds[router], rounds[_FIRST], strict=True)):.2f}"


def _code(router: str) -> str:
    """Settings as code: "top1, priority = gate" with each part in its own."""
    return ", ".join(f"`{part}`" for part in router.split(", "))


if __name__ == "__main__":
    sys.exit(main())
