"""What one sees while a model trains: a live bar on a terminal, a line now and then in a log. Always on stderr.

No line is longer than the console is wide; on a narrow one the last figures of a line are left out.
"""

import time
from collections import deque
from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from switch_tf.timing import clock

if TYPE_CHECKING:
    from switch_tf.training.steps import Totals

_LOG_SECONDS = 20.0  # between lines where there is no terminal
_BAR = 12  # characters
_PACES = 99  # steps that tell how long the others will take


class TrainingProgress:
    """Implements `switch_tf.training.loop.Progress` with rich; use as a context manager.

    The share done and the time left are those of the whole training, as if no epoch were saved by stopping early.

    Args:
        silent: shows nothing: another process does.
    """

    def __init__(self, console: Console, silent: bool = False):
        self.console = Console(quiet=True, force_terminal=False) if silent else console
        self.bars = Bars(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bars.add_task("", total=None, figures="", visible=False)
        self.epoch = self.epochs = self.steps = 0
        self.experts = 0
        self.logged = 0.0
        self.paces: deque[float] = deque(maxlen=_PACES)  # seconds a step, of the last ones
        self.last: tuple[float, int] | None = None  # when a step was last done, and how many were by then
        self.has_header = False

    def __enter__(self) -> "TrainingProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def stage(self, name: str) -> None:
        """A line on what comes next, where that takes a while."""
        self.bars.update(self.task, visible=False)
        self.paces.clear()  # what trains next has a pace, experts and a header of its own
        self.last, self.experts, self.has_header = None, 0, False
        self._print(name)

    def search(self, name: str, share: float, figures: str) -> None:
        """Show how far a search is, a trial at a time, where there is a bar.

        Args:
            share: of its time that is over.
        """
        room = self.console.width - len(name) - _BAR - 2
        self.bars.update(
            self.task, total=1.0, completed=share, description=name, figures=figures[: max(room, 0)], visible=True
        )

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Name the epoch, counted from 1."""
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.logged = time.monotonic()
        done = (epoch - 1) * steps
        self.bars.update(self.task, total=epochs * steps, completed=done, description=self.name, visible=True)

    @property
    def name(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}"

    def step(self, totals: "Totals", seconds: float) -> None:
        """Show how far training is, and the figures of the epoch so far."""
        if totals.load is not None:
            self.experts = totals.load.shape[1]
        done = (self.epoch - 1) * self.steps + totals.steps
        figures = self._figures(done, totals, seconds)
        room = self.console.width - len(self.name) - 2
        self.bars.update(self.task, completed=done, figures=_joined(figures, room - _BAR))
        if not self.console.is_terminal and time.monotonic() - self.logged > _LOG_SECONDS:
            self.logged = time.monotonic()
            self._print(f"{self.name}  {_joined(figures, room)}")

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
        """One lasting line per epoch."""
        width = max(len("epoch"), len(f"{self.epochs}/{self.epochs}"))
        routing = self.experts > 0
        if not self.has_header:
            self.has_header = True
            self._print(f"{'':{width}}{'training':>18}{'validation':>18}")
            columns = f"{'epoch':>{width}}{'loss':>8}{'accuracy':>10}{'loss':>8}{'accuracy':>10}"
            self._print(columns + f"{'experts':>9}{'dropped':>9}" * routing + f"{'seconds':>9}")
        line = f"{f'{self.epoch}/{self.epochs}':>{width}}{row['loss']:>8.4f}{row['accuracy']:>10.4f}"
        line += f"{row['validation_loss']:>8.4f}{row['validation_accuracy']:>10.4f}"
        if routing:
            line += f"{_experts(row, self.experts):>9}{row['dropped_share']:>9.1%}"
        self._print(line + f"{row['seconds']:>9.0f}" + "  best" * is_best)

    def _figures(self, done: int, totals: "Totals", seconds: float) -> list[str]:
        """What a line says after the epoch's name, the most important first."""
        summary, total = totals.summary(), self.epochs * self.steps
        figures = [f"{done / total:>4.0%}"]
        if self.last is not None:
            self.paces.append((time.monotonic() - self.last[0]) / max(done - self.last[1], 1))
            # The median: a step that is traced first takes long, which says nothing of the others.
            figures.append(f"{clock(median_low(self.paces) * (total - done))} left")
        self.last = time.monotonic(), done
        figures += [f"loss {summary['loss']:.4f}", f"accuracy {summary['accuracy']:.4f}"]
        if self.experts:
            figures += [f"experts {_experts(summary, self.experts)}", f"dropped {summary['dropped_share']:.1%}"]
        figures.append(f"{totals.tokens / seconds:,.0f} tokens/s")
        return figures + _of_layers(summary["layers"])

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


def _experts(figures: dict[str, Any], experts: int) -> str:
    """How many are in use, of how many."""
    return f"{figures['experts_in_use']}/{experts}"


def _of_layers(layers: list[dict[str, Any]]) -> list[str]:
    """The share of the busiest expert and the entropy of the router, of each Switch layer."""
    if not layers:
        return []
    busiest = "/".join(f"{max(each['load']):.0%}" for each in layers)
    entropy = "/".join(f"{each['entropy']:.2f}" for each in layers)
    return [f"busiest {busiest}", f"entropy {entropy}"]


def _joined(figures: Sequence[str], room: int) -> str:
    """The first figures, as many as there is room for."""
    line = figures[0]
    for figure in figures[1:]:
        if len(line) + 2 + len(figure) > room:
            break
        line += f"  {figure}"
    return line
