"""Does an artifact answer as the trained model does? Compared text by text, in several batch sizes, within bounds.

The reference is the saved run reloaded: TensorFlow in graph mode on the CPU, float32, without XLA. An artifact is asked
by an `Asker`; the bounds and their reasons are in `switch_tf.export.proof.bounds`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.errors import ModelError
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof import bounds, rejecting
from switch_tf.export.proof.reference import Reference
from switch_tf.export.proof.runner import Asker
from switch_tf.runs.rejection import Rejection, label_indexes

BATCH_SIZES = (64, 7, 1)
_OF_A_THRESHOLD = ("rejected", "threshold_ties", "rejections_changed")


@dataclass(frozen=True)
class Comparison:
    """One artifact beside the trained model, and what was out of bounds; nothing was if `problems` is empty."""

    path: str
    door: Door
    size: int  # bytes
    precision: Precision
    texts: int
    ids_equal: int  # texts
    max_abs_diff: float  # of probabilities, near-ties over the bound left out
    labels_equal: int  # texts
    routing_ties: int  # near-tie texts over the bound
    batch_invariance: float  # largest difference of a probability between two answers, such ties left out
    problems: list[str]
    rejected: int | None = None  # texts that the trained model rejects; None without a reject threshold
    threshold_ties: int | None = None  # texts at the threshold that the artifact decides otherwise
    words: int = 0  # of the vocabulary, each asked alone and between others; 0 where ids go in
    words_equal: int = 0  # that had the right ids everywhere
    arrays: int = 0  # weights and tables of the run that were read back from the artifact
    experts_unvisited: list[str] = field(default_factory=list)  # by no text that was asked or found
    seconds: float = 0.0  # that all of this took
    accuracy: float | None = None  # on labelled texts, where weights were made smaller or words left out
    accuracy_of_trained_model: float | None = None  # on the same, with all its words
    max_loss: float | None = None  # of accuracy, that is allowed
    mean_abs_diff: float | None = None  # of a quantized artifact's probabilities, on the same
    labels_changed: float | None = None  # share of the same
    rejections_changed: float | None = None  # share of the same that is rejected by one of the two alone

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no word for a number that is none: null stands for it.

        What is of a reject threshold is left out where there is none.
        """
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
            if value is not None or key not in _OF_A_THRESHOLD
        }


def compare(runner: Asker, reference: Reference, texts: Sequence[bytes]) -> Comparison:
    """Run an artifact on texts in every batch size and hold all its answers against the reference.

    Raises:
        ModelError: it fails, or its answers have other shapes, as those of another run do.
    """
    expected = reference.answers
    answers = runner.answer(texts, BATCH_SIZES)
    for each in answers:
        _refuse_shapes(runner, each, expected)
    received, *others = answers
    exact = runner.precision == "float32"
    ids_equal = np.all([np.all(each.ids == expected.ids, axis=1) for each in answers], axis=0)  # [n]
    labels_equal = np.all([np.array(each.labels) == np.array(expected.labels) for each in answers], axis=0)  # [n]
    differences = np.max([_differences(each, expected) for each in answers], axis=0)  # [n]
    variation = np.max([_differences(other, received) for other in others], axis=0)  # [n]
    invariance_bound = bounds.INVARIANCE_BOUND if exact else bounds.QUANTIZED_INVARIANCE_BOUND

    off = differences > bounds.PROBABILITY_BOUND if exact else ~np.isfinite(differences)  # [n]
    relabelled = ~labels_equal & exact  # [n]
    varies = variation > invariance_bound  # [n]
    ties = reference.near_tie & (off | relabelled | varies) & exact  # [n]
    contradictory = np.any([rejecting.contradictory(each, reference) for each in answers], axis=0)  # [n]
    flips = relabelled & rejecting.threshold_ties(answers, reference) & ~(ties | off | contradictory)  # [n]
    far = ties & (np.maximum(differences, variation) > bounds.NEAR_TIE_BOUND)  # [n]
    bound = f"off by more than {bounds.PROBABILITY_BOUND:g}" if exact else "that are no numbers"
    varying = f"probabilities that differ by more than {invariance_bound:g} between batch sizes or signatures"
    found = [
        (~ids_equal, "other token ids"),
        (off & ~ties, f"probabilities {bound}"),
        (relabelled & ~ties & ~flips, "another label"),
        (contradictory, "a label that does not follow from its own probabilities and the reject threshold"),
        (far, f"a near-tie off by more than {bounds.NEAR_TIE_BOUND:g}"),
        (varies & ~ties, varying),
    ]
    problems = [first(wrong, texts, problem) for wrong, problem in found if wrong.any()]
    if bounds.too_many_near_ties(int(ties.sum()), len(texts)):
        expected_share = (
            f"at most {bounds.NEAR_TIE_SHARE:.1%} of the texts, and so many by chance less than once in 1,000"
        )
        problems.append(f"{ties.sum()} near-ties over the bound among {len(texts)} texts: expected {expected_share}")
    if bounds.too_many_near_ties(rejecting.distinct(flips, reference), len(texts)):
        problems.append(f"{flips.sum()} texts at the reject threshold among {len(texts)} are decided otherwise")
    if any(not np.array_equal(other.ids, received.ids) for other in others):
        problems.append("token ids depend on the batch size")
    return Comparison(
        path=runner.path,
        door=runner.door,
        size=runner.size,
        precision=runner.precision,
        texts=len(texts),
        ids_equal=int(ids_equal.sum()),
        max_abs_diff=float(np.max(np.where(ties, 0.0, differences), initial=0.0)),
        labels_equal=int(labels_equal.sum()),
        routing_ties=int(ties.sum()),
        batch_invariance=float(np.max(np.where(ties, 0.0, variation), initial=0.0)),
        problems=problems,
        rejected=None if reference.rejection is None else int(rejecting.rejected(expected, reference).sum()),
        threshold_ties=None if reference.rejection is None else int(flips.sum()),
    )


def incomparable(runner: Asker, texts: int, problem: str) -> Comparison:
    """What failed before its answers could be compared."""
    off = math.inf
    return Comparison(runner.path, runner.door, runner.size, runner.precision, texts, 0, off, 0, 0, off, [problem])


def with_accuracy(comparison: Comparison, accuracy: float, of_trained_model: float, max_loss: float) -> Comparison:
    """The comparison of an artifact that may have lost something, judged by accuracies on labelled texts besides.

    `max_loss` is how much lower the artifact's may be.
    """
    problems = list(comparison.problems)
    if not accuracy >= of_trained_model - max_loss:
        lost = f"accuracy {accuracy:.4f}, over {max_loss:g} below the trained model's {of_trained_model:.4f}"
        problems.append(f"{lost}; allow more bytes, or a larger loss")
    return replace(
        comparison,
        accuracy=accuracy,
        accuracy_of_trained_model=of_trained_model,
        max_loss=max_loss,
        problems=problems,
    )


def with_rounding(
    comparison: Comparison, received: np.ndarray, expected: np.ndarray, rejection: Rejection | None = None
) -> Comparison:
    """The comparison of a quantized artifact, judged by its probabilities on labelled texts besides.

    Args:
        received: float32 [n, classes], the artifact's.
        expected: the same of the trained model, with the words that the artifact has.
        rejection: when both answer by no class.
    """
    comparison = _with_rejections(comparison, received, expected, rejection)
    differences = np.max(np.abs(received - expected), axis=1)  # [n]
    mean, changed = float(np.mean(differences)), float(np.mean(received.argmax(axis=1) != expected.argmax(axis=1)))
    limits = bounds.ROUNDING[comparison.precision]
    problems = list(comparison.problems)
    if not mean <= limits.mean_abs_diff:
        problems.append(f"probabilities off by {mean:.1e} on average: expected at most {limits.mean_abs_diff:g}")
    if not changed <= limits.changed_share(len(received)):
        expected_share = f"at most {limits.changed_share(len(received)):.2%}"
        problems.append(f"{changed:.2%} of the labels changed by rounding: expected {expected_share}")
    largest = max(float(np.max(differences, initial=0.0)), comparison.max_abs_diff)
    if not largest <= limits.max_abs_diff:
        problems.append(f"a probability off by {largest:.1e}: expected at most {limits.max_abs_diff:g} of rounding")
    return replace(comparison, mean_abs_diff=mean, labels_changed=changed, max_abs_diff=largest, problems=problems)


def _with_rejections(
    comparison: Comparison, received: np.ndarray, expected: np.ndarray, rejection: Rejection | None
) -> Comparison:
    """The comparison with the share of texts that rounding took over the threshold, one way or the other."""
    if rejection is None:
        return comparison
    both = [label_indexes(each, rejection) == each.shape[1] for each in (received, expected)]
    changed, limits, problems = float(np.mean(both[0] != both[1])), bounds.ROUNDING[comparison.precision], []
    if not changed <= limits.rejected_share(len(received)):
        expected_share = f"at most {limits.rejected_share(len(received)):.2%}"
        problems.append(f"{changed:.2%} of the texts rejected or answered otherwise: expected {expected_share}")
    return replace(comparison, rejections_changed=changed, problems=comparison.problems + problems)


def first(wrong: np.ndarray, texts: Sequence[bytes], problem: str) -> str:
    """A problem with how many texts have it and which is the first; `wrong` is bool [texts]."""
    index = int(np.argmax(wrong))
    shown = texts[index] if len(texts[index]) <= 80 else texts[index][:80] + b"..."
    return f"{int(wrong.sum())} of {len(texts)} texts: {problem}; the first is {shown!r}"


def _refuse_shapes(runner: Asker, received: Answers, expected: Answers) -> None:
    for name, mine, theirs in zip(Answers._fields, expected[:2], received[:2], strict=False):
        if mine.shape != theirs.shape:
            wrong = f"{runner.path} answers {name} {theirs.shape}"
            raise ModelError(f"{wrong}. Expected {mine.shape}: is it of this run?")
        if mine.dtype != theirs.dtype:
            raise ModelError(f"{runner.path} answers {name} as {theirs.dtype}. Expected {mine.dtype}. Export it again.")
    if len(received.labels) != len(expected.labels):
        wrong = f"{runner.path} answers {len(received.labels)} labels to {len(expected.labels)} texts"
        raise ModelError(f"{wrong}. Expected one for each. Export it again.")


def _differences(received: Answers, expected: Answers) -> np.ndarray:
    """Each text's largest difference of a probability, float [n]; infinite where one is no number."""
    with np.errstate(invalid="ignore"):  # infinite less infinite
        differences = np.max(np.abs(received.probabilities - expected.probabilities), axis=1)  # [n]
    return np.where(np.isfinite(differences), differences, np.inf)
