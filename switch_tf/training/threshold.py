"""Gives a run its reject threshold, chosen on the validation texts for the precision that is wanted."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from switch_tf.data.examples import Examples, encode_labels
from switch_tf.data.labels import unlike
from switch_tf.errors import ConfigError
from switch_tf.measuring.rejecting import choose_cut, most_precise
from switch_tf.runs.folder import REJECT, Run, write_rejection
from switch_tf.runs.labels import labels_problem
from switch_tf.runs.rejection import DEFAULT_LABEL, Rejection

if TYPE_CHECKING:
    from switch_tf.training.fusing import Fusion

_TEXT_BATCH = 1024


class Threshold(Protocol):
    """The settings that ask for one."""

    @property
    def reject(self) -> float | None: ...

    @property
    def reject_label(self) -> str | None: ...


def refuse_reject_label(settings: Threshold, labels: list[str], data: str, table: str = "train") -> None:
    """A text that is rejected must not read as one that has a class.

    Args:
        table: of the settings, as messages name it.

    Raises:
        ConfigError: the reject label is one of `labels`, looks like one, or is no name for one.
    """
    if settings.reject is None:
        return
    name = settings.reject_label or DEFAULT_LABEL
    taken = name if name in labels else unlike(name, labels)
    if taken is not None:
        problem = f"{name!r} is to be answered where the model is unsure, and {taken!r} is a label of {data}"
        raise ConfigError(f"{problem}. Expected another {table}.reject_label.", "reject_label")
    wrong = labels_problem([*labels, name])
    if wrong is not None:
        raise ConfigError(f"With {table}.reject_label = {name!r} the labels {wrong}. Expected a name.", "reject_label")


def choose_threshold(run: Run, validation: Examples, fusion: "Fusion | None") -> Rejection | None:
    """Choose the threshold of a trained run and write it down beside the weights; None if none is wanted.

    Args:
        fusion: what joining the wide path gave: probabilities of before that path has seen the validation texts.

    Raises:
        ConfigError: no threshold reaches the precision that is wanted.
    """
    settings = run.config.train
    (run.path / REJECT).unlink(missing_ok=True)  # of a training that was resumed
    if settings.reject is None:
        return None
    probabilities = _probabilities(run, validation) if fusion is None else fusion.validation  # [n, classes]
    rejection, measured = find_threshold(settings, probabilities, encode_labels(validation, run.labels))
    write_rejection(run.path, rejection, measured)
    return rejection


def find_threshold(
    settings: Threshold, probabilities: np.ndarray, expected: np.ndarray, table: str = "train"
) -> tuple[Rejection, dict[str, Any]]:
    """The threshold that reaches the precision that is wanted on validation texts, and what it does there.

    Args:
        settings: which want one.
        probabilities: [n, classes].
        expected: label indices [n].
        table: of the settings, as messages name it.

    Raises:
        ConfigError: none does.
    """
    wanted = settings.reject
    assert wanted is not None
    cut = choose_cut(probabilities, expected, wanted)
    if cut is None:
        best = most_precise(probabilities, expected)
        reached = f"at most {best.precision:.4f} is, by answering {best.answered:,} of them ({best.coverage:.1%})"
        problem = f"{table}.reject = {wanted:g} is not reached on the {best.texts:,} validation texts: {reached}"
        raise ConfigError(f"{problem}. The training is kept: resume it with a lower {table}.reject.", "reject")
    measured = {"texts": cut.texts, "answered": cut.answered, "coverage": cut.coverage, "precision": cut.precision}
    rejection = Rejection(cut.threshold, settings.reject_label or DEFAULT_LABEL)
    return rejection, {"wanted_precision": wanted, "validation": measured}


def _probabilities(run: Run, texts: Examples) -> np.ndarray:
    from switch_tf.models.text_classifier import load_classifier

    classifier = load_classifier(run)
    return np.concatenate([classifier.probabilities(batch) for batch in texts.text_batches(_TEXT_BATCH)])
