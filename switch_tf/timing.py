"""What is being done and how long it took, in the log `switch_tf` of Python's logging."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("switch_tf")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Log at level INFO what is about to be done, and at its end the seconds that it took."""
    started = time.perf_counter()
    LOG.info("%s", what)
    yield
    LOG.info("%s: %.2f s", what, time.perf_counter() - started)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> clock(7.4), clock(750), clock(3600)
    ('0:07', '12:30', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
