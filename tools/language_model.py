"""Where experts pay: language models with E experts at equal work for each token, on the texts of any file.

\b
    python tools/language_model.py imdb/train.tsv.xz --write docs/quality.md
    python tools/language_model.py shakespeare.txt --experts 1,4 --steps 500

Each model is a small decoder: causal attention, and this package's Switch layer as feed-forward layer, or for
--experts 1 a dense one of the same width. It learns to say which byte comes next. The models of a seed learn from the
same windows of text in the same order; the last windows are held out, and the loss on them is what is told.

Later bytes have no say in what is answered to earlier ones: slots are given out in the order of the text. Routers that
look ahead are refused.

A run is kept in the results as soon as it ends, and is not made again: after a kill the same command goes on, and more
--experts or --seeds add runs. Results belong to one text and to one set of settings; for others name another file.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from language_plots import draw, table
from quality import fill

from switch_tf.config import Config, config_to_dict, dense_twin, load_config
from switch_tf.data.examples import iter_texts
from switch_tf.errors import SwitchTFError
from switch_tf.files import write_bytes

SETTINGS = (  # so small that a dense model has learned what it can hold within a minute
    "text.sequence_length=128",
    "train.batch_size=16",
    "train.learning_rate=0.003",
    "model.d_model=32",
    "model.d_ff=128",
    "model.num_heads=2",
    "model.num_blocks=2",
    "model.dropout=0.0",
    "model.expert_dropout=0.0",
    "model.router_jitter=0.0",
    "model.initializer_scale=1.0",
)
QUICK = ("text.sequence_length=16", "train.batch_size=4", "model.d_model=8", "model.d_ff=8", "model.num_blocks=1")
SYMBOLS = 256  # the bytes
_HELD_OUT = 512  # windows, and at most a tenth of all
_LEAST = 20  # windows that a text must have
_ROUNDS = 31  # of the steps whose time is taken


class Windows(NamedTuple):
    """Pieces of the text, int32 [n, length + 1]: what is asked, and behind each byte its answer."""

    training: np.ndarray
    held_out: np.ndarray


@click.command(help=__doc__)
@click.argument("texts", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--experts", default="1,2,4,8,16", show_default=True, metavar="E,E,...", help="1 is the dense model.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Runs of each: seeds 0, 1, ...")
@click.option("--steps", default=6000, show_default=True, type=click.IntRange(1), help="Of each run.")
@click.option("--points", default=20, show_default=True, type=click.IntRange(1), help="Measurements during a run.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of `switch-tf train`.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("language-model.json"), show_default=True)
@click.option("--write", "page", type=click.Path(path_type=Path, exists=True), help="A page to put table and plot in.")
@click.option("--quick", is_flag=True, help="A tiny model and six steps, to see that it works.")
def main(
    texts: Path,
    experts: str,
    seeds: int,
    steps: int,
    points: int,
    settings: tuple[str, ...],
    results: Path,
    page: Path | None,
    quick: bool,
) -> None:
    if quick:
        steps, points, settings = 6, 2, (*QUICK, *settings)
    try:
        configs = {number: config_of(number, settings) for number in numbers_of(experts)}
        measured = measure(texts, configs, range(seeds), steps, min(points, steps), Results(results))
        click.echo(table(measured))
        if page is not None:
            write_bytes(page, fill(page.read_text("utf-8"), {"language model": table(measured)}).encode())
            click.echo(f"{draw(measured, page.parent)} is drawn", err=True)
    except SwitchTFError as error:
        raise click.ClickException(str(error)) from error


def numbers_of(experts: str) -> list[int]:
    """The numbers of --experts.

    >>> numbers_of("1,16")
    [1, 16]
    """
    words = experts.split(",")
    if not all(word.isdecimal() and int(word) >= 1 for word in words):
        raise click.BadParameter(f"{experts!r}. Expected whole numbers from 1, such as 1,4,16.", param_hint="--experts")
    return sorted({int(word) for word in words})


def config_of(experts: int, settings: Iterable[str]) -> Config:
    """Of one model; that of one expert is dense, so that it has neither a router nor a gate."""
    config = load_config(assignments=[*SETTINGS, *settings, f"model.num_experts={max(experts, 2)}"])
    return dense_twin(config) if experts == 1 else config


class Results:
    """What has been measured, in a JSON file that is whole at any moment: {"experiment", "runs", "milliseconds"}."""

    def __init__(self, path: Path):
        self.path = path
        self.figures: dict[str, Any] = {"experiment": None, "runs": {}, "milliseconds": {}}
        if path.exists():
            try:
                self.figures = json.loads(path.read_text("utf-8"))
                self.figures["experiment"], self.figures["runs"], self.figures["milliseconds"]
            except (ValueError, KeyError, TypeError) as error:
                raise click.ClickException(
                    f"{path} holds no results of this program ({error}). Name another file as --results."
                ) from None

    def begin(self, experiment: dict[str, Any]) -> None:
        """Say what is measured; a file that holds something else is refused."""
        before = self.figures["experiment"]
        if before not in (None, experiment):
            other = [key for key in experiment if before.get(key) != experiment[key]]
            raise click.ClickException(
                f"{self.path} holds an experiment with other {', '.join(other)}. Name another file as --results."
            )
        self.figures["experiment"] = experiment

    def keep(self, part: str, key: str, value: Any) -> None:
        self.figures[part][key] = value
        write_bytes(self.path, (json.dumps(self.figures, indent=1) + "\n").encode())


def measure(
    texts: Path, configs: Mapping[int, Config], seeds: Iterable[int], steps: int, points: int, results: Results
) -> dict[str, Any]:
    """Make the runs that are missing, all models of a seed before the next seed's, and take the times of a step."""
    import tensorflow as tf
    from bench_layer import one_thread
    from causal_decoder import refuse_routing_that_looks_ahead

    for config in configs.values():
        refuse_routing_that_looks_ahead(config.model)
    first = next(iter(configs.values()))
    content = b"\n".join(text.encode() for text in iter_texts(texts))
    results.begin(experiment_of(first, texts.name, content, steps, points))
    windows = windows_of(content, first.text.sequence_length)
    one_thread()
    tf.get_logger().setLevel("ERROR")  # it takes the models' traces for those of one function
    for seed in seeds:
        for experts, config in configs.items():
            key = f"{experts}/{seed}"
            if key not in results.figures["runs"]:
                told = Progress(f"E={experts} seed={seed}", steps)
                results.keep("runs", key, train(config, windows, seed, steps, points, told))
    untimed = {
        experts: config for experts, config in configs.items() if str(experts) not in results.figures["milliseconds"]
    }
    if untimed:  # all of them again: only times that were taken in turns can be compared
        for experts, milliseconds in time_steps(configs, windows).items():
            results.keep("milliseconds", str(experts), milliseconds)
    return results.figures


def experiment_of(config: Config, name: str, content: bytes, steps: int, points: int) -> dict[str, Any]:
    """All that the runs of one file of results have in common."""
    settings = config_to_dict(config)
    del settings["model"]["num_experts"]
    length, batch = config.text.sequence_length, config.train.batch_size
    return {
        "text": {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        "steps": steps,
        "points": points,
        "tokens_per_step": length * batch,
        "settings": {table: settings[table] for table in ("text", "model", "train")},
    }


def windows_of(content: bytes, length: int) -> Windows:
    """The text cut into windows, the last of them held out."""
    number = len(content) // (length + 1)
    if number < _LEAST:
        raise click.ClickException(
            f"The texts have {len(content):,} bytes. Expected {_LEAST * (length + 1):,} at least: "
            f"{_LEAST} windows of {length} and the byte behind. Name a longer text, or --set text.sequence_length."
        )
    cut = np.frombuffer(content, np.uint8)[: number * (length + 1)].reshape(number, length + 1).astype(np.int32)
    held_out = min(_HELD_OUT, number // 10)
    return Windows(cut[:-held_out], cut[-held_out:])


class Progress:
    """One line a run: on a terminal it is written over, in a log it comes when the run ends. Below 80 columns."""

    def __init__(self, name: str, steps: int):
        self.name, self.steps = name, steps
        self.live = sys.stderr.isatty()

    def __call__(self, step: int, loss: float, seconds: float) -> None:
        ended = step == self.steps
        if self.live or ended:
            line = f"{self.name:12} step {step}/{self.steps}, held-out loss {loss:.4f}, {seconds:.0f} CPU s"
            click.echo(("\r" if self.live else "") + line, err=True, nl=ended)


def train(
    config: Config, windows: Windows, seed: int, steps: int, points: int, told: Callable[[int, float, float], None]
) -> dict[str, Any]:
    """Figures of one run; of the same seed all models see the same windows in the same order."""
    from causal_decoder import Learner, flops_per_token

    learner = Learner(config, SYMBOLS, seed, steps)
    order, size = np.random.default_rng(seed).permutation(len(windows.training)), config.train.batch_size
    at = {round(steps * (place + 1) / points) for place in range(points)}
    curve, dropped, spent = [], 0.0, 0.0
    for number in range(steps):
        rows = order[np.arange(number * size, (number + 1) * size) % len(order)]  # [batch]
        spent += learner.learn(windows.training[rows], number)
        if number + 1 in at:
            loss, dropped = learner.held_out(windows.held_out)
            curve.append([number + 1, round(loss, 5)])
            told(number + 1, loss, spent / 1000)
    length = config.text.sequence_length
    return {
        "parameters": sum(int(np.prod(weight.shape)) for weight in learner.weights),
        "flops": flops_per_token(config.model, SYMBOLS, length),
        "flops_of_tokens": flops_per_token(config.model, SYMBOLS, length, empty_slots=False),
        "curve": curve,
        "dropped_share": round(dropped, 4),
        "cpu_seconds": round(spent / 1000, 1),
    }


def time_steps(configs: Mapping[int, Config], windows: Windows) -> dict[int, list[float]]:
    """Milliseconds of processor time that a step of each model takes, in turns, round after round."""
    from bench_layer import in_rounds
    from causal_decoder import Learner

    batch = windows.training[: next(iter(configs.values())).train.batch_size]
    learners = {str(experts): Learner(config, SYMBOLS, 0, 1000) for experts, config in configs.items()}
    steps: dict[str, Callable[[], float]] = {
        name: partial(learner.learn, batch, 0) for name, learner in learners.items()
    }
    taken = in_rounds(steps, _ROUNDS)
    return {experts: [round(each, 3) for each in taken[str(experts)]] for experts in configs}


if __name__ == "__main__":
    main()
