"""Measures what pruning and distillation keep, and writes the tables of docs/smaller.md.

    python tools/smaller.py trec=FOLDER banking77=FOLDER --seeds 2 --write docs/smaller.md

A folder has train.tsv.xz and test.tsv.xz. Runs that are pruned learn from all training texts. Teachers learn from every
second one, and the others are what students are given without labels. Results are kept in a JSON file, so that an
experiment that was cut off goes on, and tables can be written again.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from quality import by_set, fill, spread

from switch_tf.files import write_bytes

PRUNED = {
    "4 kept": ["--keep", "4"],
    "2 kept": ["--keep", "2"],
    "1 kept": ["--keep", "1"],
    "4 kept, merged": ["--keep", "4", "--merge"],
    "1 kept, merged": ["--keep", "1", "--merge"],
    "2 kept, 2 epochs": ["--keep", "2", "--epochs", "2"],
    "1 kept, 2 epochs": ["--keep", "1", "--epochs", "2"],
}
_DEEP_ALONE = ["wide.enabled=false", "model.pair_min_count=0"]
STUDENTS = {
    "both paths, width 8": ["model.d_model=8"],
    "deep path alone, width 8": ["model.d_model=8", *_DEEP_ALONE],
}


@click.command()
@click.argument("sets", nargs=-1, required=True, metavar="NAME=FOLDER...")
@click.option("--seeds", default=2, show_default=True, help="Trainings of each set: seeds 0, 1, ...")
@click.option("--results", type=click.Path(path_type=Path), default=Path("smaller.json"), show_default=True)
@click.option("--write", type=click.Path(path_type=Path), help="A file with markers to put the tables in.")
def main(sets: tuple[str, ...], seeds: int, results: Path, write: Path | None) -> None:
    """Prune runs on SETS and distil students from them, and print what came out as Markdown."""
    measured: dict[str, dict[str, Any]] = json.loads(results.read_text()) if results.exists() else {}
    for each in sets:
        name, _, folder = each.partition("=")
        for seed in range(seeds):
            found = measured.setdefault(f"{name}/{seed}", {})

            def keep() -> None:
                write_bytes(results, (json.dumps(measured, indent=1) + "\n").encode())

            measure_pruning(found, Path(folder), seed, keep)
            measure_distillation(found, Path(folder), seed, keep)
    tables = {"pruning": pruning_table(measured), "distillation": distillation_table(measured)}
    if write is not None:
        write_bytes(write, fill(write.read_text("utf-8"), tables).encode())
    click.echo("\n\n".join(tables.values()))


def measure_pruning(found: dict[str, Any], folder: Path, seed: int, keep: Callable[[], None]) -> None:
    """What each way of pruning leaves of a run on all training texts."""
    missing = [name for name in PRUNED if f"pruned, {name}" not in found]
    if not missing:
        return
    data, test = str(folder / "train.tsv.xz"), str(folder / "test.tsv.xz")
    with tempfile.TemporaryDirectory() as temporary:
        run = train(Path(temporary) / "run", data, test, seed)
        for name in missing:
            words = ["prune", run, "--data", data, "--test", test, "--output", f"{run}-{name}", *PRUNED[name]]
            found[f"pruned, {name}"] = ask(*words)
            keep()


def measure_distillation(found: dict[str, Any], folder: Path, seed: int, keep: Callable[[], None]) -> None:
    """What students learn from a teacher on half of the training texts, without the other texts and with them."""
    missing = [name for name in STUDENTS if f"student, {name}" not in found]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as temporary:
        labelled, unlabelled = halves(folder / "train.tsv.xz", Path(temporary), seed)
        run = train(Path(temporary) / "run", str(labelled), str(folder / "test.tsv.xz"), seed)
        for name in missing:
            settings = [word for each in (*STUDENTS[name], "train.baseline=false") for word in ("--set", each)]
            words = ["distill", run, *settings, "--output"]
            without = ask(*words, f"{run}-{name}")
            more = ask(*words, f"{run}-{name}, more", "--student-only", "--unlabelled", str(unlabelled))
            found[f"student, {name}"] = {**without, "student_of_more": more["student"]}
            keep()


def halves(path: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Two tables in `folder`: every second text with its label, and the texts of the others."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from switch_tf.data.examples import read_examples

    examples = read_examples(path)
    order = np.random.default_rng(seed).permutation(len(examples))
    labelled, unlabelled = (examples.take(np.sort(order[start::2])) for start in (0, 1))
    pq.write_table(pa.table({"text": labelled.texts, "label": labelled.labels}), folder / "labelled.parquet")
    pq.write_table(pa.table({"text": unlabelled.texts}), folder / "unlabelled.parquet")
    return folder / "labelled.parquet", folder / "unlabelled.parquet"


def train(output: Path, data: str, test: str, seed: int) -> str:
    """A run with the settings that the data chooses."""
    words = ["train", data, "--test", test, "--output", str(output), "--seed", str(seed)]
    ask(*words, "--set", "train.baseline=false")
    return str(output)


def ask(*words: str) -> Any:
    """What a command prints as JSON."""
    command = [sys.executable, "-m", "switch_tf", *words, "--quiet", "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def pruning_table(measured: dict[str, dict[str, Any]]) -> str:
    """Accuracy on test texts, what found no expert, and bytes, the mean over seeds, by set and way of pruning."""
    lines = [
        "| set | what is kept | seeds | accuracy before | pruned | after learning on | tokens without an expert "
        "| bytes before | after |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_set(measured).items():
        for way in PRUNED:
            each = [run[f"pruned, {way}"] for run in runs if f"pruned, {way}" in run]
            if not each:
                continue
            accuracies = [
                spread([one[step]["accuracy"] for one in each if step in one]) if step in each[0] else ""
                for step in ("before", "pruned", "fine_tuned")
            ]
            dropped = [one.get("fine_tuned", one["pruned"])["dropped_share"] for one in each]
            sizes = [f"{each[0][step]['bytes']:,}" for step in ("before", "pruned")]
            lost = f"{sum(dropped) / len(dropped):.1%}"
            lines.append(f"| {name} | {way} | {len(each)} | {' | '.join([*accuracies, lost, *sizes])} |")
    return "\n".join(lines)


def distillation_table(measured: dict[str, dict[str, Any]]) -> str:
    """Accuracy on test texts, the mean over seeds, by set and student, and how much of the teacher's gain is kept."""
    lines = [
        "| set | student | seeds | bytes: teacher, student | teacher | alone | taught | with more texts | gain kept "
        "| with more texts |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_set(measured).items():
        for student in STUDENTS:
            each = [run[f"student, {student}"] for run in runs if f"student, {student}" in run]
            if not each:
                continue
            names = ("teacher", "student_alone", "student", "student_of_more")
            figures = {key: [one[key]["accuracy"] for one in each] for key in names}
            sizes = f"{each[0]['teacher']['bytes']:,}, {each[0]['student']['bytes']:,}"
            kept = [kept_of_gain(figures, key) for key in ("student", "student_of_more")]
            cells = [student, str(len(each)), sizes, *(spread(values) for values in figures.values()), *kept]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kept_of_gain(figures: dict[str, list[float]], key: str) -> str:
    """The share of the teacher's gain over the student alone that a student keeps, of the means over seeds."""
    teacher, alone, student = (sum(figures[each]) / len(figures[each]) for each in ("teacher", "student_alone", key))
    return "no gain" if teacher <= alone else f"{(student - alone) / (teacher - alone):.0%}"


if __name__ == "__main__":
    main()
