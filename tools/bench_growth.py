"""What more experts, longer texts, larger batches and more words cost: milliseconds by size, and their slope.

    python tools/bench_growth.py

One block of the base preset, forward, in TensorFlow on one thread: one size grows, the others stay. The sizes of a row
are asked in turns and the processor time of the fastest call of each counts, so that what else the machine does counts
little. The slope is that of the line through the logarithms of size and milliseconds.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import click
import numpy as np
from gpu_check import seconds_of

LENGTH, BATCH, WORDS = 256, 8, 20_000
_TEXTS = 64  # batches of raw text that are asked one after the other: one alone would stay in the cache
SIZES: dict[str, list[int]] = {
    "experts": [4, 8, 16, 32, 64],
    "length": [64, 128, 256, 512, 1024],
    "batch": [1, 4, 16, 64, 256],
    "vocabulary": [10_000, 100_000, 1_000_000],
}
_NAMES = {
    "experts": f"experts, {BATCH} texts of {LENGTH} tokens",
    "length": f"tokens of a text, {BATCH} texts",
    "batch": f"texts of a batch, of {LENGTH} tokens",
    "vocabulary": f"words, {BATCH} texts of {LENGTH} tokens, from raw text",
}


@click.command()
@click.option("--quick", is_flag=True, help="Two small sizes each: to see that it runs.")
@click.option("--json", "as_json", is_flag=True)
def main(quick: bool, as_json: bool) -> None:
    """Time the model while one size grows."""
    for row in (rows := measure(quick)):
        if not as_json:
            spent = ", ".join(f"{n:,}: {ms:.2f} ms" for n, ms in zip(row["sizes"], row["milliseconds"], strict=True))
            click.echo(f"{row['what']}: slope {row['slope']:.2f} ({spent})")
    if as_json:
        click.echo(json.dumps(rows))


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each size that grows: `section`, `what`, `sizes`, `milliseconds` of each and their `slope`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow runs already, as it does in tests, on the threads it has
        click.echo("TensorFlow was started before: it keeps its threads.", err=True)
    rows = []
    for name, sizes in SIZES.items():
        chosen = sizes[:2] if quick else sizes
        calls = [_call(**{name: size}, quick=quick) for size in chosen]
        limit = 0.1 if quick else 4.0
        taken = seconds_of(calls, least=2 if quick else 7, limit=limit, of=min, clock=time.process_time)
        milliseconds = [1000 * seconds for seconds in taken]
        row = {"section": "Growth", "what": _NAMES[name], "sizes": chosen, "milliseconds": milliseconds}
        rows.append(row | {"slope": slope(chosen, milliseconds)})
    return rows


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Of the line through the logarithms: 1 where time grows as the size does, 2 where as its square.

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _call(
    experts: int = 8, length: int = LENGTH, batch: int = BATCH, vocabulary: int | None = None, quick: bool = False
) -> Callable[[], Any]:
    """One batch, answered; from raw text where `vocabulary` is given."""
    import tensorflow as tf

    from switch_tf.config import load_config
    from switch_tf.models.classifier import SwitchClassifier
    from switch_tf.text.from_strings import KerasText

    words = vocabulary or WORDS
    assignments = [f"model.num_experts={experts}", f"text.sequence_length={length}", f"text.vocabulary_size={words}"]
    if quick:
        assignments += ["model.d_model=8", "model.d_ff=8", "model.num_heads=2"]
    config = load_config("base", assignments=assignments)
    classifier = SwitchClassifier(config, words, 2)
    classifier.initialize()
    random = np.random.default_rng(0)
    if vocabulary is None:
        ids = tf.constant(random.integers(2, words, [batch, length]), tf.int32)
        ask = tf.function(lambda: classifier(ids).logits, autograph=False)
        return lambda: ask().numpy()
    known = [f"w{number}" for number in range(words - 2)]
    front_end = KerasText(config.text, known)
    drawn = random.choice(known, [_TEXTS, batch, length])
    texts = cycle(tf.constant([" ".join(words) for words in each]) for each in drawn)
    read = tf.function(lambda texts: classifier(front_end(texts)).logits, autograph=False)
    return lambda: read(next(texts)).numpy()


if __name__ == "__main__":
    main()
