"""Memory of training and evaluation on a table that is larger than it: the resident set at its peak, by kind.

`python tools/bench_streaming.py FOLDER --gigabytes 5` makes FOLDER/texts.csv, once, of made-up texts
of some 150 words, which follow Zipf's law and lean to their class's own; then runs `switch-tf train` and
`switch-tf evaluate` on it as anyone would, each in a process of its own, and prints a row for each. What a process
holds is asked for twice a second; kernels that do not say what of it is files count all of it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_CLASSES, _WORDS, _LEAN = 4, 200_000, 0.03  # share of words that are a class's own
_CHUNK = 20_000  # texts that are made at a time


def make(path: Path, size: int) -> None:
    """A csv of `size` bytes and somewhat more."""
    random = np.random.default_rng(0)
    words = np.array([f"w{number:x}" for number in range(_WORDS)], dtype=object)
    frequency = 1.0 / np.arange(3, _WORDS + 3)
    edges = np.cumsum(frequency / frequency.sum())
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        while file.tell() < size:
            labels = random.integers(_CLASSES, size=_CHUNK)
            lengths = np.maximum(1, random.gamma(2.0, 75.0, size=_CHUNK).astype(np.int64))
            drawn = np.searchsorted(edges, random.random(int(lengths.sum()))).clip(max=_WORDS - 1)
            own = random.random(len(drawn)) < _LEAN
            drawn[own] = 1000 + np.repeat(labels, lengths)[own] * 50 + drawn[own] % 50
            texts = np.split(words[drawn], np.cumsum(lengths)[:-1])
            file.writelines(f"{' '.join(text)},class {label}\n" for text, label in zip(texts, labels, strict=True))
    unfinished.rename(path)


def run(command: Sequence[str], log: Path) -> dict[str, float]:
    """The greatest resident set of a command, in MiB, and of that what is not files; and how long it took."""
    began, peak, own = time.perf_counter(), 0, 0
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                break
            pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
            held = {name: int(value.split()[0]) for name, value in pairs}
            peak, own = max(peak, held.get("VmRSS", 0)), max(own, held.get("RssAnon", held.get("VmRSS", 0)))
            time.sleep(0.5)
    if process.wait():
        sys.exit(f"{' '.join(command)} failed: see {log}")
    return {"MiB": round(peak / 1024), "own MiB": round(own / 1024), "seconds": round(time.perf_counter() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `switch-tf train`")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    data, output = asked.folder / "texts.csv", asked.folder / "run"
    if not data.exists():
        make(data, int(asked.gigabytes * 1e9))
    shutil.rmtree(output, ignore_errors=True)
    shutil.rmtree(output.with_name("run.unfinished"), ignore_errors=True)
    program = [sys.executable, "-m", "switch_tf"]
    changes = [word for setting in asked.set for word in ("--set", setting)]
    train = [*program, "train", str(data), "--preset", asked.preset, "--output", str(output), *changes]
    print("| what | memory at the peak | without files | seconds |\n|---|---|---|---|")
    for name, command in {"train": train, "evaluate": [*program, "evaluate", str(output), str(data)]}.items():
        found = run(command, asked.folder / f"{name}.log")
        print(f"| `{name}` | {found['MiB']:,} MiB | {found['own MiB']:,} MiB | {found['seconds']:,} |", flush=True)
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    print(f"\n{data.stat().st_size:,} bytes; accuracy on validation {metrics['validation']['accuracy']:.3f}")


if __name__ == "__main__":
    main()
