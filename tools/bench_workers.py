"""Throughput of a training by loopback workers beside one, and how far apart the two end.

`python tools/bench_workers.py [DATA] [--presets tiny base] [--workers 2] [--rounds 3] [--epochs 3]` trains with one
worker and with several in turns, each process with one thread, and prints a row of docs/scale.md's table for each
preset: tokens a second (medians over rounds and all epochs but the first, which traces), their ratio, and the largest
differences of the training losses and of the weights. A gain is not to be expected where workers share cores.
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
from typing import NamedTuple

import numpy as np

from switch_tf import files

HEADER = (
    "| preset | one worker, tokens/s | {0} workers, tokens/s | ratio | losses differ by | weights differ by |",
    "|---|---|---|---|---|---|",
)


class Trained(NamedTuple):
    """What is compared of a run."""

    paces: list[float]  # tokens a second, of all epochs but the first
    losses: list[float]
    weights: dict[str, np.ndarray]


def train(words: Sequence[str], output: Path) -> Trained:
    """Run the command in a process of its own, one thread for each worker."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", "switch_tf", "--quiet", "train", *words, "--output", str(output)]
    subprocess.run(command, env=os.environ | one, stdout=subprocess.DEVNULL, check=True)
    with (output / "history.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    weights, _ = files.read_tensors(output / "weights.safetensors")
    return Trained([float(row["tokens_per_second"]) for row in rows[1:]], [float(row["loss"]) for row in rows], weights)


def row(preset: str, alone: Sequence[Trained], together: Sequence[Trained]) -> str:
    """A line of the table."""
    one, several = (statistics.median(pace for each in runs for pace in each.paces) for runs in (alone, together))
    losses = max(abs(a - b) for a, b in zip(alone[0].losses, together[0].losses, strict=True))
    weights = max(float(np.abs(alone[0].weights[name] - together[0].weights[name]).max()) for name in alone[0].weights)
    return f"| {preset} | {one:,.0f} | {several:,.0f} | {several / one:.2f} | {losses:.1e} | {weights:.1e} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="reviews")
    parser.add_argument("--presets", nargs="+", default=["tiny", "base"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    print(HEADER[0].format(given.workers), HEADER[1], sep="\n", flush=True)
    for preset in given.presets:
        words = [given.data, "--preset", preset, "--epochs", str(given.epochs), "--set", "train.baseline=false"]
        words += ["--set", "train.patience=1000"]
        found: dict[int, list[Trained]] = {1: [], given.workers: []}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(given.rounds):
                for count, runs in found.items():
                    runs.append(train([*words, "--workers", str(count)], Path(folder, f"{preset}-{count}-{number}")))
        print(row(preset, found[1], found[given.workers]), flush=True)


if __name__ == "__main__":
    main()
