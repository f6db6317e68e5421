"""How fast the bytes input is in LiteRT: the text part by the width of its input, and a whole model with its memory.

    python tools/bench_tflite.py runs/quickstart

Everything runs on one thread, one text at a time. Machines are noisy: the least of many times is what the work takes,
the median what a caller sees. Memory is the peak of a process that loads the file with LiteRT and NumPy alone and
answers; it is read from /proc, so this runs on Linux.
"""

import dataclasses
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

WIDTHS = (256, 512, 1024, 2048, 4096)
_MEMORY = """
import re, sys
import numpy
from ai_edge_litert.interpreter import Interpreter
peak = lambda: re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]
before = peak()
run = Interpreter(sys.argv[1], num_threads=1).get_signature_runner("bytes")
for _ in range(10):
    run(bytes=numpy.zeros([1, int(sys.argv[2])], numpy.uint8))
print(before, peak())
"""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", default="reviews", show_default=True, help="Texts to ask: a table or `reviews`.")
@click.option("--texts", "count", default=300, show_default=True, help="How many of them.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(run: Path, data: str, count: int, rounds: int, as_json: bool) -> None:
    """Time the text front-end of RUN at several widths, and RUN's TFLite files."""
    from switch_tf.data.examples import read_texts
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.runs.folder import open_run

    opened = open_run(run)
    texts = [text.encode() for _, text in zip(range(count), read_texts(data), strict=False)]
    model = load_classifier(opened)
    report = {
        "run": str(run),
        "words": len(opened.vocabulary),
        "length": opened.config.text.sequence_length,
        "text_part": _time_text_part(model, texts, rounds),
        "models": _time_models(opened, model, texts, rounds),
    }
    if as_json:
        click.echo(json.dumps(report))
    else:
        _print(report)


def _time_text_part(model: Any, texts: list[bytes], rounds: int) -> dict[int, dict[str, float]]:
    """Microseconds a text at each width, for rows that are full: the texts run on until they are."""
    from switch_tf.text.from_bytes import NumericText

    line = b" ".join(texts)
    asks: dict[int, tuple[Callable[[np.ndarray], Any], list[np.ndarray]]] = {}
    for width in WIDTHS:
        spec = dataclasses.replace(model.spec, byte_length=width)
        ask = _tokenizer(NumericText(spec, model.vocabulary), width)
        starts = np.random.default_rng(0).integers(0, max(1, len(line) - width), len(texts))
        rows = [np.frombuffer(line[start : start + width].ljust(width, b"\0"), np.uint8)[None] for start in starts]
        asks[width] = (ask, rows)
    return {width: _microseconds(*each, rounds) for width, each in asks.items()}


def _tokenizer(text: Any, width: int) -> Callable[[np.ndarray], Any]:
    """The text front-end alone, in LiteRT."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    spec = tf.TensorSpec([1, width], tf.uint8, name="bytes")
    function = tf.function(lambda bytes: {"ids": text(bytes)}, input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"tokenize": function})
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return functools.partial(_ask, Interpreter(model_content=content, num_threads=1).get_signature_runner("tokenize"))


def _time_models(run: Any, model: Any, texts: list[bytes], rounds: int) -> dict[str, dict[str, float]]:
    from ai_edge_litert.interpreter import Interpreter

    from switch_tf.export.tflite_file.build import build_tflite
    from switch_tf.text.byte_codes import pack

    rows = [pack([text], model.spec.num_bytes) for text in texts]
    figures = {}
    for precision in ("float32", "float16", "int8"):
        content = build_tflite(run, model, None, precision)
        runner = Interpreter(model_content=content, num_threads=1).get_signature_runner("bytes")
        figures[precision] = _microseconds(functools.partial(_ask, runner), rows, rounds)
        figures[precision] |= {"bytes": len(content)} | _memory(content, model.spec.num_bytes)
    return figures


def _ask(runner: Any, row: np.ndarray) -> Any:
    return runner(bytes=row)


def _microseconds(ask: Callable[[np.ndarray], Any], rows: list[np.ndarray], rounds: int) -> dict[str, float]:
    taken = []
    for number in range(rounds + 1):
        for row in rows:
            started = time.perf_counter()
            ask(row)
            if number:  # the first round warms up
                taken.append(time.perf_counter() - started)
    return {"least_us": round(1e6 * min(taken), 1), "median_us": round(1e6 * float(np.median(taken)), 1)}


def _memory(content: bytes, width: int) -> dict[str, float]:
    """Peak memory of a process before and after the model answered, in MB."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(content)
        file.flush()
        words = [sys.executable, "-I", "-c", _MEMORY, file.name, str(width)]
        finished = subprocess.run(words, capture_output=True, text=True, check=True)
    before, peak = (int(number) / 1024 for number in finished.stdout.split())
    return {"memory_before_mb": round(before, 1), "peak_memory_mb": round(peak, 1)}


def _print(report: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"Text part, {report['words']:,} words, {report['length']} ids", title_justify="left")
    for name in ("bytes of a row", "least, us", "median, us", "least, us a 1,000 bytes"):
        table.add_column(name, justify="right")
    for width, each in report["text_part"].items():
        cells = (f"{each['least_us']:.0f}", f"{each['median_us']:.0f}", f"{1000 * each['least_us'] / width:.0f}")
        table.add_row(f"{width:,}", *cells)
    console.print(table)
    table = Table(title=f"{report['run']}, one text at a time", title_justify="left")
    for name in ("weights", "bytes", "least, us", "median, us", "peak memory, MB", "of it before loading"):
        table.add_column(name, justify="right")
    for name, each in report["models"].items():
        table.add_row(
            name,
            f"{each['bytes']:,}",
            *(f"{each[key]:.0f}" for key in ("least_us", "median_us", "peak_memory_mb", "memory_before_mb")),
        )
    console.print(table)


if __name__ == "__main__":
    main()
