"""A model of the time of one training step on 1 to 1,024 devices, the experts spread over all of them. No measurement.

`python tools/scale_model.py` prints the table of docs/scale.md; `--write docs` puts it there and draws the picture.
Every assumption is a number below, and stands on that page. Tokens for each device stay the same as devices are added,
and there are as many experts as devices, at least 16.
"""

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import quality_plots
from matplotlib.figure import Figure

DEVICES = (1, 2, 4, 8, 16, 64, 256, 1024)
PAGE, PICTURE = "scale.md", "scale-model.svg"
_START, _END = "<!-- table: steps -->\n", "<!-- end of table -->"
_GRADIENT = 4  # bytes of a number that is all-reduced: float32
_FEWEST_EXPERTS = 16
_BACKWARD = 2 / 3  # of the arithmetic of a step: what an all-reduce can hide behind


@dataclass(frozen=True)
class Machine:
    """Devices and what joins them.

    Attributes:
        flops: a second, at most.
        share: of those that a step reaches.
        near: bytes a second to and from one device inside a group that is joined closely.
        far: the same beyond it.
        group: devices in such a group.
        latency: seconds of one message.
        number: bytes of a number that is sent between devices.
    """

    name: str
    flops: float
    share: float
    near: float
    far: float
    group: int
    latency: float
    number: int


@dataclass(frozen=True)
class Network:
    """A model; every second block has a Switch layer.

    Attributes:
        width: of a token (d_model).
        hidden: of a feed-forward layer (d_ff).
        blocks: how many.
        vocabulary: rows of the embeddings.
        tokens: of each device, in a step.
        capacity: slots for each token (the capacity factor).
    """

    name: str
    width: int
    hidden: int
    blocks: int
    vocabulary: int
    tokens: int
    capacity: float = 1.25


MACHINES = (
    Machine("TPU v5e, one pod", 197e12, 0.40, 1e11, 1e11, 1024, 2e-6, 2),
    Machine("H100, 8 to a machine, 400 Gbit/s each", 989e12, 0.35, 4.5e11, 5e10, 8, 1e-5, 2),
    Machine("CPU servers, 10 Gbit/s", 1.5e12, 0.30, 1.25e9, 1.25e9, 1, 5e-5, 4),
)
NETWORKS = (
    Network("large here", 128, 512, 4, 50_000, 8_192),
    Network("Switch-Base", 768, 3_072, 12, 32_000, 32_768),
)


class Step(NamedTuple):
    """Seconds of one step."""

    compute: float
    exchange: float  # the all-to-all of tokens
    reduction: float  # the all-reduce of gradients

    @property
    def total(self) -> float:
        """With the all-reduce hidden behind the backward pass as far as that goes, and nothing else hidden."""
        return self.compute + self.exchange + max(0.0, self.reduction - _BACKWARD * self.compute)


def step(machine: Machine, network: Network, devices: int) -> Step:
    """The three times of a step.

    Compute: 6 operations for each weight that a token meets (2 forward, 4 backward): 4 d^2 of attention and 2 d d_ff
    of feed-forward in each block, the latter as often as there are slots for a token where the experts are, and there
    the router's d E. Exchange: there and back, forward and backward, tokens x capacity x d numbers, of which (D-1)/D
    leave a device. Reduction: a ring sends all weights but the experts' twice, less one part in D.
    """
    experts = max(_FEWEST_EXPERTS, devices)
    switches = network.blocks // 2
    plain = network.blocks - switches
    attention = 4 * network.width**2
    feed_forward = 2 * network.width * network.hidden
    met = network.blocks * attention + (plain + network.capacity * switches) * feed_forward
    met += switches * network.width * experts
    compute = 6 * network.tokens * met / (machine.flops * machine.share)

    sent = 4 * switches * network.tokens * network.capacity * network.width * machine.number  # bytes
    near = min(devices, machine.group)
    exchange = sent * ((near - 1) / devices / machine.near + (devices - near) / devices / machine.far)
    exchange += 4 * switches * machine.latency * math.log2(devices)

    shared = network.blocks * attention + plain * feed_forward + network.vocabulary * network.width
    slowest = machine.near if devices <= machine.group else machine.far
    reduction = 2 * shared * _GRADIENT * (devices - 1) / devices / slowest
    reduction += 2 * machine.latency * math.log2(devices)
    return Step(compute, exchange, reduction)


def efficiency(machine: Machine, network: Network, devices: int) -> float:
    """Tokens a second of each device, as a share of what one alone does."""
    return step(machine, network, 1).total / step(machine, network, devices).total


def table() -> str:
    """The lines of docs/scale.md."""
    lines = ["| devices, experts | model | " + " | ".join(each.name for each in MACHINES) + " |"]
    lines.append("|---|---|" + "---|" * len(MACHINES))
    for network in NETWORKS:
        for devices in DEVICES:
            cells = [_cell(machine, network, devices) for machine in MACHINES]
            experts = max(_FEWEST_EXPERTS, devices)
            lines.append(f"| {devices:,}, {experts:,} | {network.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(machine: Machine, network: Network, devices: int) -> str:
    times = " + ".join(_milliseconds(seconds) for seconds in step(machine, network, devices))
    return f"{times}: {efficiency(machine, network, devices):.0%}"


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw() -> Figure:
    """Efficiency over devices, a panel for each machine."""
    with matplotlib.rc_context(quality_plots.STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        figure.patch.set_alpha(0)
        panels: Any = figure.subplots(1, len(MACHINES), sharey=True)
        for axes, machine in zip(panels, MACHINES, strict=True):
            axes.patch.set_alpha(0)
            for network, color in zip(NETWORKS, ("#2f81f7", "#e3803c"), strict=True):
                shares = [100 * efficiency(machine, network, devices) for devices in DEVICES]
                axes.plot(DEVICES, shares, "o-", color=color, markersize=3, label=network.name)
            axes.set_xscale("log", base=2)
            axes.set_xticks((1, 8, 64, 1024), ("1", "8", "64", "1,024"))
            axes.set_title(machine.name, fontsize=8, color="#7d8590")
            axes.set_xlabel("devices")
            axes.set_ylim(0, 105)
        panels[0].set_ylabel("% of one device's pace")
        panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def write(folder: Path) -> None:
    """Put the table into the page, and the picture beside it."""
    page = folder / PAGE
    found = re.sub(f"(?<={_START}).*?(?={_END})", lambda _: f"\n{table()}\n", page.read_text("utf-8"), flags=re.DOTALL)
    page.write_text(found, "utf-8")
    (folder / PICTURE).write_text(quality_plots.svg(draw(), "tools/scale_model.py"), "utf-8")


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    if given.write is None:
        print(table(), end="")
    else:
        write(given.write)


if __name__ == "__main__":
    main()
