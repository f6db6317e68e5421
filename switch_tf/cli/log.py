"""What --verbose shows: the log of `switch_tf`, each line after the seconds since the start, and that of TensorFlow."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from switch_tf.environment import show_log
from switch_tf.timing import LOG


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Show what is logged from level INFO on while the context lasts, and TensorFlow's log if it is still to load."""
    show_log()
    handler, before = _Stderr(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)


class _Stderr(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._started = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"[{time.perf_counter() - self._started:6.2f} s] {record.getMessage()}", err=True)
