"""Whatever kind of run a folder holds."""

from pathlib import Path

from switch_tf.runs.fine_tuned import FineTunedRun, is_fine_tuned, open_fine_tuned
from switch_tf.runs.folder import Run, open_run

Trained = Run | FineTunedRun


def open_trained(path: Path) -> Trained:
    """A finished run, trained from the start or fine-tuned.

    Raises:
        RunError: there is none, it is unfinished, or a file of it is missing, damaged or was changed.
    """
    return open_fine_tuned(path) if is_fine_tuned(path) else open_run(path)
