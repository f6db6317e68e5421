"""What one sees while a model trains: a live bar on a terminal, a line now and then in a log. Always on stderr."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from switch_tf.training.loop import Totals

_LOG_SECONDS = 20.0  # between lines where there is no terminal


class TrainingProgress:
    """Implements `switch_tf.training.loop.Progress` with rich; use as a context manager."""

    def __init__(self, console: Console):
        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.experts = 0
        self.logged = 0.0

    def __enter__(self) -> "TrainingProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        self.name = f"epoch {epoch}/{epochs}"
        self.steps = steps
        self.task = self.bars.add_task(self.name, total=steps, figures="")
        self.logged = time.monotonic()

    def step(self, totals: Totals, seconds: float) -> None:
        """Show the figures of the epoch so far."""
        if totals.load is not None:
            self.experts = totals.load.size
        summary = totals.summary()
        figures = f"loss {summary['loss']:.4f}  accuracy {summary['accuracy']:.4f}"
        figures += f"{self._routing(summary)}  {totals.tokens / seconds:,.0f} tokens/s"
        self.bars.update(self.task, completed=totals.steps, figures=figures)
        if not self.console.is_terminal and time.monotonic() - self.logged > _LOG_SECONDS:
            self.logged = time.monotonic()
            left = seconds / totals.steps * (self.steps - totals.steps)
            self.console.print(
                f"{self.name}  step {totals.steps}/{self.steps}  {figures}  {left:.0f} s left", soft_wrap=True
            )

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
        """One lasting line per epoch."""
        self.bars.remove_task(self.task)
        self.console.print(
            f"{self.name}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"validation loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.4f}"
            f"{self._routing(row)}  {row['seconds']:.0f} s{'  best so far' if is_best else ''}",
            highlight=False,
            soft_wrap=True,
        )

    def _routing(self, summary: dict[str, Any]) -> str:
        if not self.experts:
            return ""
        return f"  experts {summary['experts_in_use']}/{self.experts}  dropped {summary['dropped_share']:.1%}"
