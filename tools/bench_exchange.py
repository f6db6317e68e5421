"""What sharded experts send: a Switch layer on several processes of this machine beside the same layer on one.

`python tools/bench_exchange.py` prints the table of docs/scale.md; `--write docs` puts it there. Each worker is a
process with texts and experts of its own. Bytes are counted where tensors are put into the exchange, those slices alone
that leave the worker; and read from the counter of the loopback interface, which sees the frames around them and
everything else that was sent meanwhile. The same run says how far answers and gradients are from those of the layer
with all experts in one place.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.config import ModelConfig
from switch_tf.layers import replicas
from switch_tf.layers.exchange import Exchange, Swap, all_to_all, both_ways
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.token_routes import Words
from switch_tf.training.launching import free_ports
from switch_tf.training.sharded import OF_EXPERTS
from switch_tf.training.workers import TF_CONFIG, cluster_on_loopback

PAGE = "scale.md"
START, END = "<!-- table: exchange -->\n", "<!-- end of exchange -->"
_COUNTERS = Path("/proc/net/dev")
_BYTES = 4  # of a number that is exchanged: float32


@dataclass(frozen=True)
class Case:
    """A layer, and how it is shared.

    Attributes:
        texts: of all workers together.
        steps: that bytes are the mean of.
    """

    workers: int
    experts: int = 8
    texts: int = 32
    length: int = 64
    width: int = 64
    router: str = "top1"
    capacity_factor: float = 1.25
    steps: int = 20

    @property
    def expected(self) -> float:
        """Bytes a worker sends in a step: 4 x tokens x capacity factor x width x 4 x (D - 1) / D, tokens its own."""
        tokens = self.texts // self.workers * self.length
        return 4 * tokens * self.capacity_factor * self.width * _BYTES * (self.workers - 1) / self.workers


@dataclass(frozen=True)
class Figures:
    """Bytes that a worker sent in a step, and the largest differences from the layer on one device.

    Attributes:
        put: those that were put into the exchange for other workers.
        wire: those of the loopback interface, divided by the workers.
    """

    put: float
    wire: float
    answer: float
    gradient: float


CASES = (
    *(Case(workers=2, router=router) for router in ("top1", "top2", "expert_choice", "xmoe", "token")),
    Case(workers=2, texts=128),
    Case(workers=4, texts=64, length=50),
    Case(workers=4, texts=64, experts=16, capacity_factor=2.0),
)


def measure(cases: Sequence[Case]) -> list[Figures]:
    """Start the workers, as many for all cases, and wait for them.

    Raises:
        RuntimeError: one of them failed; with what it said.
    """
    count = cases[0].workers
    ports = free_ports(count)
    command = [sys.executable, __file__, "--worker", json.dumps([asdict(case) for case in cases])]
    started = []
    for index in range(count):
        environment = os.environ | {TF_CONFIG: cluster_on_loopback(ports, index), "CUDA_VISIBLE_DEVICES": ""}
        started.append(subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True))
    answers = [process.communicate(timeout=600) for process in started]
    for process, (_, said) in zip(started, answers, strict=True):
        if process.returncode:
            raise RuntimeError(f"A worker ended with {process.returncode}:\n{said}")
    said_by_each = [json.loads(out) for out, _ in answers]
    return [_of_all([Figures(**each) for each in of_case]) for of_case in zip(*said_by_each, strict=True)]


def _of_all(figures: Sequence[Figures]) -> Figures:
    return Figures(
        put=float(np.mean([each.put for each in figures])),
        wire=figures[0].wire,
        answer=max(each.answer for each in figures),
        gradient=max(each.gradient for each in figures),
    )


def work(strategy: Any, case: Case) -> Figures:
    """What one worker measures."""
    index = int(strategy.cluster_resolver.task_id)
    sent = tf.Variable(0, dtype=tf.int64, trainable=False)
    exchange = Exchange(case.workers, index, both_ways(_counted(all_to_all(case.workers), index, sent)))
    whole, batch = _layer(case), _batch(case)
    with strategy.scope():
        sharded = _layer(case, exchange)
    for mine, of_all in zip(sharded.weights, whole.weights, strict=True):
        mine.assign(exchange.cut(of_all) if mine.shape != of_all.shape else of_all)

    step = tf.function(lambda: strategy.run(_replica, (sharded, batch)), autograph=False)
    y, gradients = step()
    sent.assign(0)
    before = _on_the_wire()
    for _ in range(case.steps):
        y, gradients = step()
    y.numpy()
    wire = (_on_the_wire() - before) / case.steps / case.workers

    expected_y, expected = _learn(whole, *batch)
    rows = replicas.Replicas(index, case.workers).rows_of
    own: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"x": rows} | dict.fromkeys(OF_EXPERTS, exchange.cut)
    of_gradients = [_apart(gradients[name], own.get(name, tf.identity)(expected[name])) for name in expected]
    return Figures(int(sent) / case.steps, wire, _apart(y, rows(expected_y)), max(of_gradients))


def _replica(sharded: ReportingSwitchFFN, batch: Sequence[tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """This worker's answer, and gradients: its own of its experts, summed ones of what all have."""
    with replicas.sharing(replicas.here()) as part:
        y, gradients = _learn(sharded, *(part.rows_of(each) for each in batch))
        common = [name for name in gradients if name not in ("x", *OF_EXPERTS)]
        summed = part.sums([gradients[name] for name in common])
    return y, gradients | dict(zip(common, summed, strict=True))


def _counted(send: Swap, index: int, sent: tf.Variable) -> Swap:
    def counting(value: tf.Tensor) -> tf.Tensor:
        others = tf.concat([value[:index], value[index + 1 :]], axis=0)
        sent.assign_add(tf.size(others, tf.int64) * value.dtype.size)
        return send(value)

    return counting


def _on_the_wire() -> int:
    """Bytes that the loopback interface has sent."""
    found = re.search(r"^\s*lo:\s*(.*)$", _COUNTERS.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1].split()[8])


def _layer(case: Case, exchange: Exchange | None = None) -> ReportingSwitchFFN:
    settings = ModelConfig(
        num_experts=case.experts, d_model=case.width, d_ff=2 * case.width, router=case.router,  # type: ignore[arg-type]
        capacity_factor=case.capacity_factor, router_jitter=0.0, expert_dropout=0.0,
    )  # fmt: skip
    layer = ReportingSwitchFFN.from_settings(settings, case.length)
    if exchange is not None:
        layer.shard_experts(exchange)
    layer.build([None, case.length, case.width])
    random = np.random.default_rng(0)
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape, scale=case.width**-0.5))
    return layer


def _batch(case: Case) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Tokens, of which some texts have fewer, and what the answers are multiplied by in the loss, a mean over texts."""
    random = np.random.default_rng(1)
    x, upstream = (random.normal(size=[case.texts, case.length, case.width]) for _ in range(2))
    mask = np.arange(case.length) < random.integers(1, case.length + 1, [case.texts, 1])
    return tf.constant(x, tf.float32), tf.constant(mask), tf.constant(upstream / case.texts, tf.float32)


def _learn(
    layer: ReportingSwitchFFN, x: tf.Tensor, mask: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The answer, and the gradients by name of sum(answer x upstream)."""
    names = {variable.name.removesuffix(":0").split("/")[-1]: variable for variable in layer.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = layer(x, mask, training=True, words=Words(x, mask) if layer.router == "token" else None)
        loss = tf.reduce_sum(y * upstream)
    return y, tape.gradient(loss, {"x": x} | names)


def _apart(received: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(received) - np.asarray(expected)).max())


def table(cases: Sequence[Case] = CASES) -> str:
    """The lines of docs/scale.md."""
    lines = [
        "| workers, experts, router | tokens a worker, factor | by the formula | put in | on the wire | y, gradients |",
        "|---|---|---|---|---|---|",
    ]
    for _, group in groupby(cases, lambda case: case.workers):
        alike = list(group)
        lines += [_line(case, figures) for case, figures in zip(alike, measure(alike), strict=True)]
    return "\n".join(lines) + "\n"


def _line(case: Case, figures: Figures) -> str:
    expected = case.expected
    tokens = case.texts // case.workers * case.length
    cells = [
        f"{case.workers}, {case.experts}, {case.router}",
        f"{tokens:,}, {case.capacity_factor:g}",
        f"{expected:,.0f}",
        f"{figures.put:,.0f}: {figures.put / expected:.3f}",
        f"{figures.wire:,.0f}: {figures.wire / expected:.3f}",
        f"{figures.answer:.1g}, {figures.gradient:.1g}",
    ]
    return f"| {' | '.join(cells)} |"


def write(folder: Path, lines: str) -> None:
    """Put the table into the page."""
    page = folder / PAGE
    found = re.sub(f"(?<={START}).*?(?={END})", lambda _: f"\n{lines}\n", page.read_text("utf-8"), flags=re.DOTALL)
    page.write_text(found, "utf-8")


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--steps", type=int, help="steps of each case")
    parser.add_argument("--worker", metavar="CASE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        print(json.dumps([asdict(work(strategy, Case(**case))) for case in json.loads(given.worker)]))
        return
    cases = CASES if given.steps is None else [replace(case, steps=given.steps) for case in CASES]
    lines = table(cases)
    if given.write is None:
        print(lines, end="")
    else:
        write(given.write, lines)


if __name__ == "__main__":
    main()
