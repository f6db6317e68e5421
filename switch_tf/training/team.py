"""Those who train one model together, as TensorFlow has them: a strategy, and what the chief alone decides and writes.

Worker 0 is the chief. It measures, keeps the best weights and writes checkpoints; the others compute steps, hear the
figures of each epoch from it, and so stop when it does.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.config import Config
from switch_tf.errors import RunError
from switch_tf.layers import replicas
from switch_tf.training.workers import ALONE, LostWorkerError, Workers, check_settings

_TASK = re.compile(r"/job:(chief|worker)/(?:replica:\d+/)?task:(\d+)")
_LOST = (  # what a collective operation ends with on those that are left
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class Team:
    """One process of those that train together; without a strategy it trains alone, on one device."""

    def __init__(self, workers: Workers = ALONE, strategy: Any = None):
        self.workers = workers
        self.strategy = strategy  # of tf.distribute
        self._total = tf.function(self._summed, autograph=False)

    @property
    def is_chief(self) -> bool:
        return self.workers.index == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Where variables are made that all replicas have."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def from_chief(self, figures: Callable[[], Sequence[float]], count: int) -> list[float]:
        """So many figures, which the chief computes and all get, to the bit; the others wait for it."""
        given = figures() if self.is_chief else [0.0] * count
        if not self.workers.in_cluster:
            return list(given)
        return self._total(tf.constant(np.array(given, np.float64))).numpy().tolist()

    def agree(self, digest: Callable[[], bytes]) -> None:
        """Make sure that all workers are about to train the same.

        Args:
            digest: of what the training follows from.

        Raises:
            RunError: another worker has another one.
        """
        if not self.workers.in_cluster:
            return
        own = np.frombuffer(digest(), np.uint8).astype(np.float64)
        if not np.array_equal(self._total(tf.constant(own)).numpy(), own * self.workers.count):
            raise RunError(
                "The workers are not about to train the same: their texts, settings or checkpoints differ. Give all of "
                "them the same command, data and releases, and a run folder that all of them see."
            )

    def meet(self) -> None:
        """Wait until the chief is done, too; it does not mind who has gone by then."""
        with suppress(*_LOST) if self.is_chief else nullcontext():
            self.from_chief(lambda: [0.0], 1)

    @contextmanager
    def naming_the_lost(self, output: Path) -> Iterator[None]:
        """
        Raises:
            LostWorkerError: a worker has gone while the block ran.
        """
        try:
            yield
        except _LOST as error:
            found = _TASK.search(str(error))
            own = found is None and isinstance(error, tf.errors.InternalError)
            if own or not self.workers.in_cluster:
                raise
            gone = "Another worker" if found is None else f"Worker {self.workers.number_of(found[1], int(found[2]))}"
            raise LostWorkerError(
                f"{gone} of {self.workers.count} that train {output} is gone, and none can go on without it. Start all "
                "of them again to resume from the last checkpoint.",
                argument="resume",
            ) from error

    def _summed(self, given: tf.Tensor) -> tf.Tensor:
        """What every process gives, float64 [n], summed."""

        def of_replica(value: tf.Tensor) -> tf.Tensor:
            part = replicas.here()
            first = part.index * self.workers.count % part.count == 0  # of the replicas of its process
            return part.sum(value if first else tf.zeros_like(value))

        return self.strategy.experimental_local_results(self.strategy.run(of_replica, (given,)))[0]


def formed(workers: Workers, config: Config) -> Team:
    """The team of this process; in a cluster, once all of its workers are there. To be formed before other work.

    Raises:
        ConfigError: the batch cannot be shared among the replicas.
        RunError: TensorFlow is at work already, or a worker has gone.
    """
    if workers.count == 1:
        return Team()
    if not workers.in_cluster:
        devices = [f"GPU:{number}" for number in range(workers.count)]
        return Team(workers, tf.distribute.MirroredStrategy(devices))
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RunError(
            "TensorFlow has been at work in this process already, which then cannot join a cluster. Train in a fresh "
            "process, or restart the notebook and train first."
        ) from error
    check_settings(config, strategy.num_replicas_in_sync)
    return Team(workers, strategy)
