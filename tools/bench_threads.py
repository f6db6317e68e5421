"""How to spend the cores of a machine: one process with several threads, or several processes with one each.

    python tools/bench_threads.py RUN TEST.tsv
    python tools/bench_threads.py                 a model of the built-in reviews, trained for it

Every process opens the exported file and answers batches of 64 texts of TEST for a while; what counts is by the clock,
since cores are what is shared out. Arrangements take turns, and ratios are medians of ratios within a round.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from bench_raw_text import trained_on_reviews

BATCH = 64
_WORKER = """
import json, sys, time
import switch_tf
path, threads, seconds, batch = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
classifier = switch_tf.load(path, threads=threads)
texts = json.loads(sys.stdin.readline())
batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
classifier.predict_proba(batches[0])
print("ready", flush=True)
sys.stdin.readline()
answered, start = 0, time.perf_counter()
while (spent := time.perf_counter() - start) < seconds:
    answered += len(classifier.predict_proba(batches[answered // batch % len(batches)]))
print(answered / spent, flush=True)
"""


class Arrangement(NamedTuple):
    """How cores are used."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{_count(self.processes, 'process', 'es')}, {_count(self.threads, 'thread', 's')} each"


ONE = Arrangement(1, 1)


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.argument("test", default="reviews")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="How long an arrangement answers in a round.")
@click.option("--quick", is_flag=True, help="One short round, and training cut short: to see that it runs.")
@click.option("--json", "as_json", is_flag=True)
def main(run: Path | None, test: str, rounds: int, seconds: float, quick: bool, as_json: bool) -> None:
    """Time the ONNX and the LiteRT file of RUN with one core, and with all in both ways."""
    if quick:
        rounds, seconds = 1, 0.1
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(run or trained_on_reviews(Path(folder), quick), test, rounds, seconds)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['what']}: {row['milliseconds']:.3f} ms a text ({row['ratio']:.2f}x)")


def measure(run: Path, test: str, rounds: int, seconds: float, cores: int | None = None) -> list[dict[str, Any]]:
    """A row for each file and arrangement: milliseconds by the clock for a text, and times those of one core."""
    from switch_tf.data.examples import read_texts
    from switch_tf.export.formats import FORMATS
    from switch_tf.export.options import ExportOptions
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.runs.folder import open_run

    opened, cores = open_run(run), cores or os.cpu_count() or 1
    texts = [text for _, text in zip(range(1024), read_texts(test), strict=False)]
    model = load_classifier(opened)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, shown in (("onnx", "ONNX"), ("tflite", "LiteRT")):
            form: Any = FORMATS[name]
            file = Path(folder, f"model.{name}")
            file.write_bytes(form.build(opened, model, ExportOptions(name)))
            arrangements = [ONE, Arrangement(1, cores), Arrangement(cores, 1)]
            rates = np.array(
                [[texts_per_second(file, texts, each, seconds) for each in arrangements] for _ in range(rounds)]
            )  # [rounds, arrangements]
            for each, own in zip(arrangements[1:], rates.T[1:], strict=True):
                rows.append(
                    {
                        "section": "Threads",
                        "what": f"{run.name}: {shown}, {each}",
                        "ratio_to": str(ONE),
                        "ratio": float(np.median(rates[:, 0] / own)),
                        "milliseconds": float(1000 / np.median(own)),
                        "peer_milliseconds": float(1000 / np.median(rates[:, 0])),
                    }
                )
    return rows


def texts_per_second(file: Path, texts: list[str], arrangement: Arrangement, seconds: float) -> float:
    """The sum over processes that answer at the same time; all have opened the file before any begins."""
    words = [sys.executable, "-c", _WORKER, str(file), str(arrangement.threads), str(seconds), str(BATCH)]
    workers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(arrangement.processes)
    ]
    try:
        for line in (json.dumps(texts), "start"):
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write(line + "\n")
                worker.stdin.flush()
            told = [worker.stdout.readline() for worker in workers if worker.stdout is not None]
        return sum(map(float, told))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _count(number: int, one: str, ending: str) -> str:
    return f"{number} {one}{ending if number != 1 else ''}"


if __name__ == "__main__":
    main()
