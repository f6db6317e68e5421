"""Throughput of a training by loopback workers beside one.

`python tools/bench_workers.py [DATA] [--presets tiny base] [--workers 2] [--rounds 3] [--epochs 3]` trains with one
worker and with several in turns, each process with one thread, and prints a row of docs/scale.md's table for each
preset: tokens a second (medians over rounds and all epochs but the first, which traces) and their ratio. No gain is to
be expected where the workers' cores are busy with something else.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HEADER = "| preset | one worker, tokens/s | {0} workers, tokens/s | ratio |\n|---|---|---|---|"


def paces(words: Sequence[str], output: Path) -> list[float]:
    """Tokens a second of all epochs but the first, of the command in a process of its own, a thread for each worker."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", "switch_tf", "--quiet", "train", *words, "--output", str(output)]
    subprocess.run(command, env=os.environ | one, stdout=subprocess.DEVNULL, check=True)
    with (output / "history.csv").open(encoding="utf-8") as stream:
        return [float(row["tokens_per_second"]) for row in csv.DictReader(stream)][1:]


def row(preset: str, alone: Sequence[float], together: Sequence[float]) -> str:
    """A line of the table, from all paces of each."""
    one, several = statistics.median(alone), statistics.median(together)
    return f"| {preset} | {one:,.0f} | {several:,.0f} | {several / one:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="reviews")
    parser.add_argument("--presets", nargs="+", default=["tiny", "base"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    print(HEADER.format(given.workers), flush=True)
    for preset in given.presets:
        words = [given.data, "--preset", preset, "--epochs", str(given.epochs), "--set", "train.baseline=false"]
        words += ["--set", "train.patience=1000"]
        found: dict[int, list[float]] = {1: [], given.workers: []}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(given.rounds):
                for count, seen in found.items():
                    seen += paces([*words, "--workers", str(count)], Path(folder, f"{preset}-{count}-{number}"))
        print(row(preset, found[1], found[given.workers]), flush=True)


if __name__ == "__main__":
    main()
