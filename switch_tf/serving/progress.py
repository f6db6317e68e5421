"""What one sees while files are answered: a live line on a terminal, one now and then in a log. Always on stderr."""

import time

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn
from rich.table import Column

from switch_tf.timing import clock

_LOG_SECONDS = 20.0  # between lines where there is no terminal


class ScoringProgress:
    """Implements `switch_tf.serving.job.Progress` with rich; use as a context manager."""

    def __init__(self, console: Console):
        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bars.add_task("", total=None, visible=False)
        self.started = self.logged = time.monotonic()
        self.rows = self.new_rows = 0
        self.share = self.new_share = 0.0

    def __enter__(self) -> "ScoringProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def note(self, message: str) -> None:
        """A line that stays."""
        self.console.print(message, highlight=False, soft_wrap=True)

    def begin(self, workers: int) -> None:
        """So many processes are about to answer."""
        self.note(f"Answering with {workers} process{'es' * (workers > 1)}")
        self.started = self.logged = time.monotonic()

    def part(self, rows: int, share: float, is_new: bool) -> None:
        """A part is there, this share of the input."""
        self.rows, self.share = self.rows + rows, self.share + share
        if is_new:
            self.new_rows, self.new_share = self.new_rows + rows, self.new_share + share
        line = self.line()
        self.bars.update(self.task, description=line, visible=True)
        if not self.console.is_terminal and time.monotonic() - self.logged > _LOG_SECONDS:
            self.logged = time.monotonic()
            self.note(line)

    def line(self) -> str:
        """How far it is, and how long it still takes at the pace so far."""
        words = [f"{min(self.share, 1.0):4.0%}", f"{self.rows:,} rows"]
        seconds = time.monotonic() - self.started
        if self.new_share > 0 and seconds > 0:
            left = seconds / self.new_share * max(1.0 - self.share, 0.0)
            words += [f"{clock(left)} left", f"{self.new_rows / seconds:,.0f} rows/s"]
        return "  ".join(words)
