"""How fast the raw-text ONNX file is beside what it replaces: the SavedModel, and ids with a tokenizer in Python.

    python tools/bench_onnx.py runs/quickstart --data reviews

Machines are noisy, so times are read as ratios: every round asks all contenders the same texts one after the other, and
the median over rounds of a ratio within a round is what counts. All use one thread unless --threads says otherwise.
"""

import json
import string
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from switch_tf.text.spec import FIRST_WORD_ID

Ask = Callable[[Sequence[str]], Any]
_PUNCTUATION = string.punctuation.encode()
_FOLDED = bytes(32 if byte == 0 else byte for byte in range(256)).lower()


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", default="reviews", show_default=True, help="Texts to ask: a table or `reviews`.")
@click.option("--texts", "count", default=1024, show_default=True, help="How many of them.")
@click.option("--rounds", default=9, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(run: Path, data: str, count: int, rounds: int, threads: int, as_json: bool) -> None:
    """Time RUN (trained with the default standardize mode) as SavedModel and as ONNX in batches of 1 and 256."""
    from switch_tf.data.examples import read_texts

    texts = list(read_texts(data))
    picked = np.random.default_rng(0).permutation(len(texts))[:count]
    texts = [texts[index] for index in picked]
    contenders, facts = _contenders(run, threads)
    report: dict[str, Any] = {"run": str(run), "texts": len(texts), "threads": threads, **facts, "batches": {}}
    report["characters_per_text"] = round(float(np.mean([len(text) for text in texts])))
    for size in (1, 256):
        seconds = _time(contenders, texts, size, rounds)  # [rounds] by name
        report["batches"][size] = _figures(seconds, len(texts))
    if as_json:
        click.echo(json.dumps(report))
    else:
        _print(report)


def _contenders(path: Path, threads: int) -> tuple[dict[str, Ask], dict[str, Any]]:
    import onnxruntime
    import tensorflow as tf

    from switch_tf.export.onnx_file.build import build_onnx
    from switch_tf.export.onnx_file.text_graph import build_text_front_end
    from switch_tf.export.proof.gate import Proof
    from switch_tf.export.saved_model.build import export_saved_model
    from switch_tf.runs.folder import open_run

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    run = open_run(path)
    if run.config.text.standardize != "lower_and_strip_punctuation":
        raise click.UsageError(f"{path} has standardize = {run.config.text.standardize!r}, which is not timed here.")
    proof = Proof(run, texts=16)
    with tempfile.TemporaryDirectory() as folder:
        exported, _ = export_saved_model(run, proof, Path(folder, "saved_model"))
        serving = tf.saved_model.load(str(exported))

    def serve(texts: Sequence[str]) -> np.ndarray:
        return serving.signatures["serving_default"](text=tf.constant(texts, tf.string))["probabilities"].numpy()

    def session(model: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    whole = session(build_onnx(run, proof.model, "text"))
    ids_only = session(build_onnx(run, proof.model, "ids"))
    front_end = session(build_text_front_end(run.config.text, run.vocabulary))
    number = {word.encode(): i + FIRST_WORD_ID for i, word in enumerate(run.vocabulary)}
    length = run.config.text.sequence_length

    def tokenize(texts: Sequence[str]) -> np.ndarray:
        ids = np.zeros([len(texts), length], np.int32)
        for row, text in enumerate(texts):
            words = text.encode().translate(_FOLDED, delete=_PUNCTUATION).split()[:length]
            ids[row, : len(words)] = [number.get(word, 1) for word in words]
        return ids

    asks: dict[str, Ask] = {
        "SavedModel": serve,
        "ONNX, text": lambda texts: whole.run(["probabilities"], {"text": np.array(texts, object)})[0],
        "Python tokenizer + ONNX, ids": lambda texts: ids_only.run(["probabilities"], {"ids": tokenize(texts)})[0],
        "text part": lambda texts: front_end.run(None, {"text": np.array(texts, object)})[0],
        "Python tokenizer": tokenize,
    }
    sample = ["An odd, 'quoted' text.\twith\0all kinds -- of things", ""]
    if not np.array_equal(tokenize(sample), asks["text part"](sample)):
        raise click.ClickException("The two tokenizers differ: there is nothing to compare.")
    return asks, {"words": len(run.vocabulary), "length": length}


def _time(contenders: dict[str, Ask], texts: Sequence[str], size: int, rounds: int) -> dict[str, np.ndarray]:
    """Seconds that each contender takes for all texts in batches of `size`, float [rounds]."""
    batches = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, ask in contenders.items():
            started = time.perf_counter()
            for batch in batches:
                ask(batch)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: np.array(each) for name, each in seconds.items()}


def _figures(seconds: dict[str, np.ndarray], texts: int) -> dict[str, Any]:
    def ratio(one: str, other: str) -> float:
        return round(float(np.median(seconds[one] / seconds[other])), 3)

    return {
        "milliseconds_per_text": {
            name: round(1000 * float(np.median(each)) / texts, 4) for name, each in seconds.items()
        },
        "ONNX, text / SavedModel": ratio("ONNX, text", "SavedModel"),
        "ONNX, text / Python tokenizer + ONNX, ids": ratio("ONNX, text", "Python tokenizer + ONNX, ids"),
        "text part / ONNX, text": ratio("text part", "ONNX, text"),
    }


def _print(report: dict[str, Any]) -> None:
    title = f"{report['run']}: {report['texts']:,} texts of {report['characters_per_text']:,} characters"
    table = Table(title=f"{title}, {report['threads']} thread(s)", title_justify="left")
    table.add_column("")
    for size in report["batches"]:
        table.add_column(f"batch {size}", justify="right")
    batches = report["batches"].values()
    for name in next(iter(batches))["milliseconds_per_text"]:
        table.add_row(f"{name}, ms a text", *(f"{each['milliseconds_per_text'][name]:.3f}" for each in batches))
    for name in [key for key in next(iter(batches)) if "/" in key]:
        table.add_row(name, *(f"{each[name]:.2f}x" for each in batches), style="bold")
    Console().print(table)


if __name__ == "__main__":
    main()
