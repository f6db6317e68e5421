"""Does an artifact answer as the trained model does? Compared text by text, in several batch sizes, within bounds.

The reference is the saved run reloaded: TensorFlow in graph mode on the CPU, float32, without XLA. An artifact is run
by a `Runner`, one per format; a new format joins by adding one.

Float32 kernels differ in the last bit, so an argmax over nearly equal router logits may flip. A text is a near-tie
when some real token's two best router logits are closer than `NEAR_TIE` in some Switch layer of the reference. Near-tie
texts over the bound are counted, and bounded in their turn; any other text over the bound fails.

An artifact whose weights were made smaller cannot keep those bounds: it must give the same ids, must not depend on the
batch, and may lose one point of accuracy on labelled texts; how far its probabilities are off is reported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, get_args

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.errors import ModelError
from switch_tf.export.options import Door, Precision

if TYPE_CHECKING:
    import tensorflow as tf

    from switch_tf.models.text_classifier import TextClassifier

PROBABILITY_BOUND = 1e-5
INVARIANCE_BOUND = 1e-6
NEAR_TIE = 1e-6  # between router logits
NEAR_TIE_SHARE = 0.001  # of the texts
NEAR_TIE_BOUND = 1e-2  # on their probabilities
QUANTIZED_INVARIANCE_BOUND = 1e-3
ACCURACY_LOSS_BOUND = 0.01  # of a quantized artifact
BATCH_SIZES = (64, 7, 1)


class Runner(Protocol):
    """Asks an artifact through its own runtime."""

    path: str
    door: Door
    size: int  # bytes on disk
    precision: Precision
    admits_invalid_utf8: bool

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all texts: once for each batch size, then what further signatures or runtimes say of them."""
        ...


class Reference(NamedTuple):
    """The trained model's answers, and which texts are near-ties, bool [n]."""

    answers: Answers
    near_tie: np.ndarray


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
    accuracy: float | None = None  # on labelled texts, of a quantized artifact
    accuracy_of_trained_model: float | None = None  # on the same, with the words that the artifact has

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no word for a number that is none: null stands for it."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def precision_of(facts: Mapping[str, str], path: str) -> Precision:
    """The precision that an artifact says it has.

    Raises:
        ModelError: it is none of ours.
    """
    received = facts.get("precision")
    for precision in get_args(Precision):
        if received == precision:
            return precision
    expected = ", ".join(get_args(Precision))
    raise ModelError(f"{path}: its metadata say precision = {received!r}. Expected one of {expected}. Export it again.")


def refuse_other_run(path: str, labels: Sequence[str], expected: Sequence[str]) -> None:
    """
    Raises:
        ModelError: an artifact names other classes than the trained model.
    """
    if list(labels) != list(expected):
        raise ModelError(f"{path} is not of this run: its labels are {list(labels)}. Expected {list(expected)}.")


def ask_reference(model: "TextClassifier", texts: Sequence[bytes], batch_size: int = BATCH_SIZES[0]) -> Reference:
    """The trained model's own answers."""
    import tensorflow as tf

    function = tf.function(model.classifier.__call__, autograph=False)
    ids_of_any_batch = tf.TensorSpec([None, model.spec.sequence_length], tf.int32)
    report = function.get_concrete_function(ids_of_any_batch)  # one trace for all sizes
    ids, probabilities, labels, ties = [], [], [], []
    for start in range(0, len(texts), batch_size):
        text = tf.constant(texts[start : start + batch_size], tf.string)
        ids.append(model.tokenize(text)["ids"])
        answer = model.classify_text(text)
        probabilities.append(answer["probabilities"].numpy())
        labels += [label.decode() for label in answer["label"].numpy()]
        ties.append(_near_ties(report(ids[-1]).reports, ids[-1] != 0, batch=len(text)))
    answers = Answers(np.concatenate([each.numpy() for each in ids]), np.concatenate(probabilities), labels)
    return Reference(answers, np.concatenate(ties))


def in_batches(
    ask: Callable[[list[bytes]], Answers], texts: Sequence[bytes], batch_sizes: Sequence[int], fixed: int | None
) -> list[Answers]:
    """Answers to all texts, once for each batch size; where that is `fixed`, as often among other batch-mates.

    `ask` gets at most as many texts as the size, and exactly as many where it is fixed: the last batch is filled up.
    """

    def answer(rows: Sequence[bytes], size: int) -> Answers:
        ids, probabilities, labels = [], [], []
        for start in range(0, len(rows), size):
            batch = list(rows[start : start + size])
            received = ask(batch + [b""] * ((fixed or 0) - len(batch)))
            ids.append(received.ids[: len(batch)])
            probabilities.append(received.probabilities[: len(batch)])
            labels += received.labels[: len(batch)]
        return Answers(np.concatenate(ids), np.concatenate(probabilities), labels)

    if fixed is None:
        return [answer(texts, size) for size in batch_sizes]
    results = []
    for number in range(len(batch_sizes)):
        order = np.random.default_rng(number).permutation(len(texts)) if number else np.arange(len(texts))
        ids, probabilities, labels = answer([texts[index] for index in order], fixed)
        back = np.argsort(order)
        results.append(Answers(ids[back], probabilities[back], [labels[index] for index in back]))
    return results


def compare(runner: Runner, reference: Reference, texts: Sequence[bytes]) -> Comparison:
    """Run an artifact on texts in every batch size and hold all its answers against the reference.

    Raises:
        ModelError: its answers have other shapes, as those of another run do.
    """
    expected = reference.answers
    answers = runner.answer(texts, BATCH_SIZES)
    for each in answers:
        for name, mine, theirs in zip(Answers._fields, expected[:2], each[:2], strict=False):
            if mine.shape != theirs.shape:
                wrong = f"{runner.path} answers {name} {theirs.shape}"
                raise ModelError(f"{wrong}. Expected {mine.shape}: is it of this run?")
    received, *others = answers
    exact = runner.precision == "float32"
    ids_equal = np.all(received.ids == expected.ids, axis=1)  # [n]
    labels_equal = np.all([np.array(each.labels) == np.array(expected.labels) for each in answers], axis=0)  # [n]
    differences = np.max([_differences(each, expected) for each in answers], axis=0)  # [n]
    variation = np.max([_differences(other, received) for other in others], axis=0)  # [n]
    invariance_bound = INVARIANCE_BOUND if exact else QUANTIZED_INVARIANCE_BOUND

    off = differences > PROBABILITY_BOUND if exact else ~np.isfinite(differences)  # [n]
    relabelled = ~labels_equal & exact  # [n]
    varies = variation > invariance_bound  # [n]
    ties = reference.near_tie & (off | relabelled | varies) & exact  # [n]

    problems = []
    if not ids_equal.all():
        problems.append(_first(~ids_equal, texts, "other token ids"))
    if (off & ~ties).any():
        bound = f"off by more than {PROBABILITY_BOUND:g}" if exact else "that are no numbers"
        problems.append(_first(off & ~ties, texts, f"probabilities {bound}"))
    if (relabelled & ~ties).any():
        problems.append(_first(relabelled & ~ties, texts, "another label"))
    if ties.sum() > NEAR_TIE_SHARE * len(texts):
        problems.append(f"{ties.sum()} near-ties over the bound: expected at most {NEAR_TIE_SHARE:.1%} of the texts")
    far = ties & (np.maximum(differences, variation) > NEAR_TIE_BOUND)
    if far.any():
        problems.append(_first(far, texts, f"a near-tie off by more than {NEAR_TIE_BOUND:g}"))
    if any(not np.array_equal(other.ids, received.ids) for other in others):
        problems.append("token ids depend on the batch size")
    if (varies & ~ties).any():
        bound = f"probabilities that differ by more than {invariance_bound:g} between batch sizes or signatures"
        problems.append(_first(varies & ~ties, texts, bound))
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
    )


def incomparable(runner: Runner, texts: int, problem: str) -> Comparison:
    """What failed before its answers could be compared."""
    off = math.inf
    return Comparison(runner.path, runner.door, runner.size, runner.precision, texts, 0, off, 0, 0, off, [problem])


def with_accuracy(comparison: Comparison, accuracy: float, of_trained_model: float) -> Comparison:
    """The comparison of a quantized artifact, judged by accuracies on labelled texts besides."""
    problems = list(comparison.problems)
    if not accuracy >= of_trained_model - ACCURACY_LOSS_BOUND:
        lost = f"accuracy {accuracy:.4f}, over {ACCURACY_LOSS_BOUND:g} below the trained model's {of_trained_model:.4f}"
        problems.append(lost)
    return replace(comparison, accuracy=accuracy, accuracy_of_trained_model=of_trained_model, problems=problems)


def _differences(received: Answers, expected: Answers) -> np.ndarray:
    """Each text's largest difference of a probability, float [n]; infinite where one is no number."""
    with np.errstate(invalid="ignore"):  # infinite less infinite
        differences = np.max(np.abs(received.probabilities - expected.probabilities), axis=1)  # [n]
    return np.where(np.isfinite(differences), differences, np.inf)


def _near_ties(reports: Sequence[Any], real: "tf.Tensor", batch: int) -> np.ndarray:
    """Which texts have a real token with two nearly equal best experts in some layer, bool [batch]."""
    import tensorflow as tf

    ties = np.zeros(batch, bool)
    for report in reports:
        if report.logits.shape[-1] < 2:
            continue
        best = tf.math.top_k(report.logits, k=2).values  # [batch, length, 2]
        close = best[..., 0] - best[..., 1] < NEAR_TIE  # [batch, length]
        ties |= tf.reduce_any(tf.logical_and(close, real), axis=1).numpy()
    return ties


def _first(wrong: np.ndarray, texts: Sequence[bytes], problem: str) -> str:
    index = int(np.argmax(wrong))
    shown = texts[index] if len(texts[index]) <= 80 else texts[index][:80] + b"..."
    return f"{int(wrong.sum())} of {len(texts)} texts: {problem}; the first is {shown!r}"
