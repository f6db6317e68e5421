"""Training by several workers: processes that are started here, GPUs of this machine, or a cluster that this one is in.

Every worker reads the same data, draws the same batches and computes its part of each. Worker 0, the chief, does what
is done once: it writes the run folder, fits the wide path, chooses the threshold and measures, while the others wait.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch_tf.config import Config
from switch_tf.data.examples import Examples
from switch_tf.data.request import DataRequest
from switch_tf.errors import ArgumentError, RunError
from switch_tf.runs import folder as run
from switch_tf.runs.folder import Run, unfinished
from switch_tf.training.encoding import choose_vocabulary
from switch_tf.training.launching import Voice, launch
from switch_tf.training.paths import fit_deep
from switch_tf.training.prepared import NOTHING, Prepared, check_folders
from switch_tf.training.session import prepare, train
from switch_tf.training.workers import Workers

if TYPE_CHECKING:
    from switch_tf.training.loop import Progress


def train_together(
    request: DataRequest,
    config: Config,
    output: Path,
    progress: "Progress",
    workers: Workers,
    resume: bool = False,
    in_memory: Mapping[str, Examples] = NOTHING,
    prepared: Prepared | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    tune: Any = None,
    voice: Voice | None = None,
) -> Run | None:
    """As `switch_tf.training.session.train`, by so many workers; None where another one has the run.

    Args:
        voice: of the processes that are started here.

    Raises:
        ArgumentError: a search by several workers.
        RunError: besides, a worker has gone; or data that is in memory here is for processes that do not have it.
    """
    if workers.count > 1 and tune is not None:
        raise ArgumentError(
            f"Received autotune with {workers.count} workers. A search trains small models, each on one device: search "
            "with one worker, then train with what it found.",
            argument="autotune",
        )
    if workers.place == "processes":
        if in_memory:
            raise RunError(
                f"Received {' and '.join(sorted(in_memory))} in memory for {workers.count} processes, which read for "
                "themselves. Write it to a file, parquet say, and give its path.",
                argument="workers",
            )
        check_folders(output, unfinished(output), resume)  # sooner than the processes can
        launch(request, config, output, workers.count, resume, Voice() if voice is None else voice)
        return run.open_run(output)
    if workers.in_cluster:
        return train_in_cluster(request, config, output, progress, workers, resume, in_memory, prepared, tell)
    return train(request, config, output, progress, resume, in_memory, prepared, tell, tune, workers=workers)


def train_in_cluster(
    request: DataRequest,
    config: Config,
    output: Path,
    progress: "Progress",
    workers: Workers,
    resume: bool,
    in_memory: Mapping[str, Examples] = NOTHING,
    prepared: Prepared | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> Run | None:
    """What this process of a cluster does; None if it is not the chief.

    Raises:
        RunError, DataError, ConfigError: as of `train_together`.
    """
    if workers.index == 0:
        return train(request, config, output, progress, resume, in_memory, prepared, tell, workers=workers)
    check_folders(output, unfinished(output), resume)  # the chief makes none before all are there
    prepared = prepare(request.resolved(), config, in_memory) if prepared is None else prepared
    _train_along(prepared, config, output, progress, workers, resume)
    return None


def _train_along(
    prepared: Prepared, config: Config, output: Path, progress: "Progress", workers: Workers, resume: bool
) -> None:
    """Compute this worker's part of each step, and write nothing."""
    from switch_tf.training.team import formed  # which loads TensorFlow

    team = formed(workers, config)  # before TensorFlow is at work
    folder = unfinished(output)
    vocabulary = run.read_vocabulary(folder / run.VOCABULARY) if resume else choose_vocabulary(config, prepared)
    with team.naming_the_lost(output):
        fit_deep(Run(folder, config, prepared.labels, vocabulary, {}), prepared, progress, team=team)
        team.meet()
