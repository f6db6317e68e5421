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
