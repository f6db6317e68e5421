"""CPU time a text of batch scoring beside a plain loop over the same file, which reads, answers and writes and no more.

`python tools/bench_scoring.py MODEL.onnx TEXTS.parquet [--rounds 3]` runs both in processes of their own, one after
the other, each round anew, and prints microseconds of CPU a text (user and system, the children's too, with what it
takes to start) and the medians' ratio. Both answer 64 texts at a time with one thread. With `--workers 2` two plain
loops run at a time, each over the whole file, so that both ways share caches and memory with as many.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 64


def plain_loop(model: str, texts: str, output: str) -> None:
    """What one writes without this project: one process, one thread, one file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    file = pq.ParquetFile(texts)
    added = [("predicted_label", pa.string()), ("predicted_score", pa.float32())]
    schema = pa.schema([*file.schema_arrow, *added])
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for batch in file.iter_batches(batch_size=32_768):
            labels: list[str] = []
            scores: list[float] = []
            column = batch["text"].to_numpy(zero_copy_only=False)
            for start in range(0, batch.num_rows, BATCH):
                label, probabilities = session.run(["label", "probabilities"], {"text": column[start : start + BATCH]})
                labels += label.tolist()
                scores += probabilities.max(axis=1).tolist()
            answers = [pa.array(labels, pa.string()), pa.array(scores, pa.float32())]
            writer.write_batch(pa.record_batch([*batch.columns, *answers], schema=schema))


def measure(commands: Sequence[Sequence[str]], texts: int) -> tuple[float, float]:
    """(microseconds of CPU, of wall time) a text of commands that run at a time."""
    before, began = os.times(), time.perf_counter()
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in commands]
    if sum(each.wait() for each in running):
        sys.exit(f"{commands[0]} failed")
    after, wall = os.times(), time.perf_counter() - began
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return 1e6 * used / texts, 1e6 * wall / texts


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--plain", metavar="OUTPUT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_loop(given.model, given.texts, given.plain)
        return
    count = pq.ParquetFile(given.texts).metadata.num_rows
    found: dict[str, list[tuple[float, float]]] = {"plain loop": [], "switch-tf": []}
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            plain = [sys.executable, __file__, given.model, given.texts, "--plain"]
            loops = [[*plain, str(Path(folder, f"{number}.parquet"))] for number in range(given.workers)]
            job = [sys.executable, "-m", "switch_tf", "predict", given.model, "--input", given.texts]
            job += ["--output", str(Path(folder, "out")), "--workers", str(given.workers)]
            found["plain loop"].append(measure(loops, count * given.workers))
            found["switch-tf"].append(measure([job], count))
    medians = {way: [statistics.median(each) for each in zip(*times, strict=True)] for way, times in found.items()}
    for way, (cpu, wall) in medians.items():
        print(f"{way:12}{cpu:8.1f} us of CPU a text{wall:8.1f} us of wall time")
    ratio = medians["switch-tf"][0] / medians["plain loop"][0]
    print(
        json.dumps(
            {"texts": count, "rounds": given.rounds, "workers": given.workers, "cpu_ratio": round(ratio, 3), **medians}
        )
    )


if __name__ == "__main__":
    main()
