"""Whatever kind of run a folder holds."""

from pathlib import Path

from switch_tf.errors import RunError
from switch_tf.runs.fine_tuned import FineTunedRun, is_fine_tuned, open_fine_tuned
from switch_tf.runs.folder import Run, open_run

Trained = Run | FineTunedRun


def refuse_fine_tuned(trained: Trained, verb: str) -> Run:
    """The run, if it is no fine-tuned one.

    Args:
        verb: what is to be done with it, for the message: "pruned".

    Raises:
        RunError: it was fine-tuned from a checkpoint.
    """
    if isinstance(trained, Run):
        return trained
    problem = f"{trained.path} was fine-tuned from a checkpoint, whose encoder cannot be {verb}"
    raise RunError(f"{problem}. Expected a run that was trained from the start.")


def open_trained(path: Path) -> Trained:
    """A finished run, trained from the start or fine-tuned.

    Raises:
        RunError: there is none, it is unfinished, or a file of it is missing, damaged or was changed.
    """
    return open_fine_tuned(path) if is_fine_tuned(path) else open_run(path)
