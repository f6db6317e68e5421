"""The table of docs/quality.md: what `switch-tf train` reaches without any setting, beside other models.

    python tools/quality.py reviews trec=DATA/trec banking77=DATA/banking77 --seeds 2 --write docs/quality.md

A set is the name of a built-in one, or NAME=FOLDER with train.tsv.xz and test.tsv.xz in it (label, text). For each seed
the command trains with `--twin`, which measures all models on the test texts once, when everything is chosen: by a part
of the training texts. Then the model of the first seed is exported as int8 TFLite, with the gate, and asked in LiteRT;
with --gate every other format is exported too, which takes longer than the rest.

`--write` also draws the pictures of quality_plots.py beside the page.

fastText is measured where it is installed, in this Python or in another: `--fasttext /path/to/python`. What has been
measured is kept in a file and not measured again, so that a table can grow set by set.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from quality_plots import draw_all

MODELS = {
    "linear": "TF-IDF + LR",
    "fasttext": "fastText",
    "wide": "wide",
    "deep": "deep",
    "model": "both (the model)",
    "dense_twin": "dense twin",
}
_ASKED = 200  # texts that the time of an answer is measured on
# Word pairs, the loss of a softmax, and the rate and epochs that fastText's own tutorial ends with.
_FASTTEXT = """
import json, sys
import fasttext
train, test, seed = sys.argv[1:]
model = fasttext.train_supervised(train, lr=0.5, epoch=25, wordNgrams=2, thread=1, seed=int(seed), verbose=0)
print(json.dumps(model.test(test)))
"""


@click.command()
@click.argument("sets", nargs=-1, required=True, metavar="NAME[=FOLDER]...")
@click.option("--seeds", default=2, show_default=True, help="Trainings of each set: seeds 0, 1, ...")
@click.option("--fasttext", metavar="PYTHON", help="A Python that can import fasttext.")
@click.option("--gate", is_flag=True, help="Export every format of the first seed.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("quality.json"), show_default=True)
@click.option("--write", type=click.Path(path_type=Path), multiple=True, help="A file with markers to put tables in.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of `switch-tf train`.")
def main(
    sets: tuple[str, ...],
    seeds: int,
    fasttext: str | None,
    gate: bool,
    results: Path,
    write: tuple[Path, ...],
    settings: tuple[str, ...],
) -> None:
    """Train on SETS, and print what came out as Markdown."""
    measured: dict[str, dict[str, Any]] = json.loads(results.read_text()) if results.exists() else {}
    for name in sets:
        name, _, folder = name.partition("=")
        for seed in range(seeds):
            key = f"{name}/{seed}"
            if key not in measured:
                click.echo(f"{name}, seed {seed}", err=True)
                measured[key] = measure(name, Path(folder) if folder else None, seed, fasttext, gate, settings)
                results.write_text(json.dumps(measured, indent=1) + "\n")
    tables = {"accuracy": accuracy_table(measured), "cost": cost_table(measured)}
    for path in write:
        path.write_text(fill(path.read_text("utf-8"), tables), "utf-8")
        for drawn in draw_all(by_set(measured), path.parent):
            click.echo(f"{drawn} is drawn", err=True)
    click.echo("\n\n".join(tables.values()))


def measure(
    name: str, folder: Path | None, seed: int, fasttext: str | None, gate: bool, settings: Sequence[str]
) -> dict[str, Any]:
    """Figures of one training of one set."""
    data, test = files_of(name, folder)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        metrics = train(name, folder, run, seed, settings, "--twin")
        figures = {
            "accuracy": {key: each["accuracy"] for key, each in metrics["comparison"]["models"].items()},
            "calibration_error": metrics["test"]["calibration_error"],
            "calibration_errors": {
                key: each["calibration_error"] for key, each in metrics["comparison"]["models"].items()
            },
            "seconds": metrics["training"]["seconds"],
            "cpu_seconds": metrics["training"]["cpu_seconds"],
            "parameters": metrics["training"]["parameters"],
            "epochs": metrics["training"]["epochs"],
        }
        figures |= describe(run) | measure_calibration(run, str(data if test is None else test))
        reached = measure_fasttext(fasttext, str(data), None if test is None else str(test), seed, Path(temporary))
        if reached is not None:
            figures["accuracy"]["fasttext"] = reached
        if seed == 0:
            figures |= measure_export(run, gate)
    return figures


def files_of(name: str, folder: Path | None) -> tuple[str | Path, Path | None]:
    """What to train on and to test on: a built-in set has its test texts in itself."""
    return (name, None) if folder is None else (folder / "train.tsv.xz", folder / "test.tsv.xz")


def train(
    name: str, folder: Path | None, run: Path, seed: int, settings: Sequence[str], *options: str
) -> dict[str, Any]:
    """What `switch-tf train --json` says of a training into the folder `run`, with more of its options."""
    data, test = files_of(name, folder)
    words = [sys.executable, "-m", "switch_tf", "train", str(data), "--output", str(run), "--seed", str(seed)]
    words += [] if test is None else ["--test", str(test)]
    words += [word for each in settings for word in ("--set", each)]
    trained = subprocess.run([*words, *options, "--json"], stdout=subprocess.PIPE, check=True)
    metrics: dict[str, Any] = json.loads(trained.stdout)
    return metrics


def describe(path: Path) -> dict[str, Any]:
    """Sizes of a run's data and of what its deep path computes."""
    from switch_tf.runs.folder import open_run

    run = open_run(path)
    return {
        "classes": len(run.labels),
        "training_texts": run.data["training_examples"] + run.data["validation_examples"],
        "test_texts": run.data["test_examples"],
        "length": run.config.text.sequence_length,
        "flops": flops_per_token(run.config),
    }


def measure_calibration(path: Path, test: str) -> dict[str, Any]:
    """How well probabilities of the test texts hold with the temperature and without it; and the losses of the epochs.

    Probabilities without a temperature T are those of the logits times T, so p^T over its sum. A bin is how many texts
    have an answer as probable as that, the sum of these probabilities, and how many of the answers are right.
    """
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.data.examples import encode_labels, read_examples
    from switch_tf.measuring.fusion import expected_calibration_error, softmax
    from switch_tf.runs.folder import read_metrics

    with (path / "history.csv").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    columns = {"training": "loss", "validation": "validation_loss"}
    figures: dict[str, Any] = {
        "curves": {name: [round(float(row[column]), 4) for row in history] for name, column in columns.items()}
    }
    fusion = read_metrics(path).get("fusion")
    if fusion is None:
        return figures
    model, examples = load_predictor(path, None), read_examples(test, split="test")
    expected = encode_labels(examples, list(model.labels))
    after = np.concatenate([model.probabilities(texts) for texts in examples.text_batches(1024)])
    before = softmax(np.log(np.maximum(after, np.finfo(np.float32).tiny)) * fusion["temperature"])
    figures["calibration"] = {
        name: {"error": expected_calibration_error(probabilities, expected), "bins": bins(probabilities, expected)}
        for name, probabilities in (("before", before), ("after", after))
    }
    figures["temperature"] = fusion["temperature"]
    return figures


def bins(probabilities: np.ndarray, expected: np.ndarray, count: int = 15) -> list[list[float]]:
    """[texts, sum of the answers' probabilities, right answers] of each bin of equal width.

    Args:
        probabilities: [n, classes].
        expected: label indices [n].
    """
    sure = probabilities.max(axis=1).astype(np.float64)  # [n]
    right = probabilities.argmax(axis=1) == expected  # [n]
    place = np.minimum((sure * count).astype(np.int64), count - 1)  # [n]
    sums = [np.bincount(place, weights=each, minlength=count) for each in (np.ones_like(sure), sure, right)]
    return [[int(texts), round(float(total), 4), int(good)] for texts, total, good in zip(*sums, strict=True)]


def flops_per_token(config: Any) -> int:
    """Of the deep path's router and feed-forward layers, a multiplication and an addition as two.

    Slots of experts that stay empty are not counted, and neither is what is computed once a text.
    """
    model = config.model
    switch_layers = 0 if model.num_experts == 0 else model.num_blocks // model.switch_every
    feed_forward = 4 * model.d_model * model.d_ff * model.num_blocks
    router = 0 if model.router == "token" else 2 * model.d_model * model.num_experts  # of words, it is a table
    return feed_forward + router * switch_layers


def measure_export(path: Path, gate: bool) -> dict[str, Any]:
    """Bytes of the int8 TFLite file, the time of an answer in LiteRT, and which formats did not pass the gate."""
    from switch_tf.artifacts.tflite_file import TFLitePredictor
    from switch_tf.errors import SwitchTFError
    from switch_tf.export.options import ExportOptions
    from switch_tf.export.session import export_run
    from switch_tf.runs.folder import open_run
    from switch_tf.runs.held_out import read_held_out

    run, figures = open_run(path), dict[str, Any]()
    refused, formats = [], [("tflite", {"precision": "int8"})]
    formats += [("tflite", {}), ("onnx", {}), ("saved_model", {})] if gate else []
    for name, options in formats:
        try:
            exported = export_run(run, ExportOptions(name, **options))  # type: ignore[arg-type]
        except SwitchTFError as error:
            refused.append(f"{name} {options.get('precision', 'float32')}: {error}")
            continue
        if options:
            figures["int8_bytes"] = exported.paths[0].stat().st_size
            figures["int8_accuracy"] = exported.comparisons[0].accuracy
            ask = TFLitePredictor(exported.paths[0], threads=1).probabilities
            figures["milliseconds"] = milliseconds(ask, read_held_out(run)[:_ASKED])
    return figures | {"exported": len(formats), "refused": refused}


def milliseconds(ask: Callable[[list[str]], Any], texts: list[str]) -> float:
    """CPU time of an answer to one text at a time, the mean over `texts` in the best of three rounds."""
    rounds = []
    for _ in range(3):
        started = time.process_time()
        for text in texts:
            ask([text])
        rounds.append(time.process_time() - started)
    return round(1000 * min(rounds) / len(texts), 4)


def measure_fasttext(python: str | None, data: str, test: str | None, seed: int, folder: Path) -> float | None:
    """Its accuracy on the test texts, split into words as for our models; None where it is not installed."""
    from switch_tf.data.examples import read_examples, words_of

    interpreter = python or sys.executable
    if subprocess.run([interpreter, "-c", "import fasttext"], stderr=subprocess.DEVNULL, check=False).returncode:
        return None
    splits = read_examples(data), read_examples(data if test is None else test, split="test")
    codes = {label: f"__label__{i}".encode() for i, label in enumerate(sorted(set(splits[0].labels.to_pylist())))}
    for name, examples in zip(("train", "test"), splits, strict=True):
        # It learns in the order of the file, and badly from one that is sorted by label.
        shuffled = examples.take(np.random.default_rng(seed).permutation(len(examples)))
        lines = (
            b" ".join([codes[label], *words_of(text)])
            for text, label in zip(shuffled.texts.to_pylist(), shuffled.labels.to_pylist(), strict=True)
        )
        (folder / f"{name}.txt").write_bytes(b"\n".join(lines) + b"\n")
    words = [interpreter, "-c", _FASTTEXT, *(str(folder / f"{name}.txt") for name in ("train", "test")), str(seed)]
    answered = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    asked, precision, _ = json.loads(answered.stdout)
    return float(asked * precision / len(splits[1]))  # what it leaves unanswered, a text without words, is wrong


def accuracy_table(measured: dict[str, dict[str, Any]]) -> str:
    """Test accuracy by set and model, the mean over seeds and half of what lies between the best and the worst."""
    lines = [
        f"| set | train, test | classes | seeds | {' | '.join(MODELS.values())} |",
        "|---|---|---|---|" + "---|" * len(MODELS),
    ]
    for name, runs in by_set(measured).items():
        first = runs[0]
        cells = [spread([run["accuracy"][key] for run in runs if key in run["accuracy"]]) for key in MODELS]
        texts = f"{first['training_texts']:,}, {first['test_texts']:,}"
        lines.append(f"| {name} | {texts} | {first['classes']} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost_table(measured: dict[str, dict[str, Any]]) -> str:
    """What training and answering cost, of the first seed."""
    lines = [
        "| set | length | training: CPU s (wall) | epochs | parameters | FLOPs a token, deep | int8 TFLite, bytes "
        "| int8 accuracy | ms a text | calibration error without temperature | with it | refused by the gate |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_set(measured).items():
        first = runs[0]
        failed = ", ".join(each.split(":")[0] for each in first.get("refused", [])) or "none"
        refused = f"{failed} of {first['exported']}" if "exported" in first else "not run"
        size, accuracy, ms = (first.get(key) for key in ("int8_bytes", "int8_accuracy", "milliseconds"))
        seconds = f"{first['cpu_seconds']:.0f} ({first['seconds']:.0f})"
        cells = [first["length"], seconds, first["epochs"], f"{first['parameters']:,}", f"{first['flops']:,}"]
        cells += ["-" if size is None else f"{size:,}", "-" if accuracy is None else f"{accuracy:.3f}"]
        cells += [
            "-" if ms is None else f"{ms:.3f}",
            calibration_before(first),
            f"{first['calibration_error']:.3f}",
            refused,
        ]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def calibration_before(figures: dict[str, Any]) -> str:
    """The calibration error without the temperature, if it was measured."""
    measured = figures.get("calibration")
    return "not run" if measured is None else f"{measured['before']['error']:.3f}"


def by_set(measured: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of each set, by seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(measured, key=lambda key: int(key.rpartition("/")[2])):
        found.setdefault(key.rpartition("/")[0], []).append(measured[key])
    return found


def spread(values: list[float]) -> str:
    """A mean and half the range: "0.904 ±.002"; the mean alone where that is nothing, "not run" without a value."""
    if not values:
        return "not run"
    mean = f"{sum(values) / len(values):.3f}"
    half = f"{(max(values) - min(values)) / 2:.3f}"
    return mean if half == "0.000" else f"{mean} ±{half.removeprefix('0')}"


def fill(text: str, tables: dict[str, str]) -> str:
    """The text with each table between its markers, if it has those: <!-- table: NAME --> and <!-- end of table -->."""
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            _, found, after = rest.partition(end)
            if not found:
                raise click.ClickException(f"There is no {end!r} behind {begin.strip()!r}.")
            text = f"{before}{begin}\n{table}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    main()
