"""Fit a file into a number of bytes: the least loss first, and the loss measured.

Weights are stored smaller, and if that is not enough, the rarest words of the vocabulary go: they become out of
vocabulary, and their rows of the embedding table and of the text front-end are saved. Narrower embeddings would need
another training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from switch_tf.errors import ExportError
from switch_tf.export.options import Precision
from switch_tf.export.proof.parity import Comparison
from switch_tf.runs.folder import Run, read_metrics

_PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")  # in the order of their loss
_FEWEST_WORDS = 100
_ATTEMPTS = 12
_CLOSE = 500  # a 500th of the limit left over is close enough


@dataclass(frozen=True)
class Fit:
    """What fits: `content`, with `words` of the run's vocabulary, stored in `precision`."""

    precision: Precision
    words: int
    content: bytes


Build = Callable[[int | None, Precision], bytes]  # a file with that many words (None: all) in that precision


def fit_size(
    build: Build,
    whole: int,
    limit: int,
    precisions: Sequence[Precision] = _PRECISIONS,
    tell: Callable[[str], None] = lambda message: None,
) -> Fit:
    """The least lossy precision that fits with all words, or else as many words as fit in the last one.

    Args:
        whole: words of the run's vocabulary.
        limit: bytes.
        precisions: to try, the least lossy first.
        tell: called with a message before each build.

    Raises:
        ExportError: not even the most frequent hundred words fit.
    """
    content = b""
    for precision in precisions:
        tell(f"Building in {precision}")
        content = build(None, precision)
        if len(content) <= limit:
            return Fit(precision, whole, content)
    return _fit_words(build, precision, whole, len(content), limit, tell)


def _fit_words(
    build: Build, precision: Precision, whole: int, size: int, limit: int, tell: Callable[[str], None]
) -> Fit:
    """As many words as fit; the size grows nearly evenly with the words, so few builds find them.

    Where it does not, since frequent words bring more pairs along than rare ones, halving the range in turn helps.
    """
    fewest = min(_FEWEST_WORDS, whole)
    content = build(fewest, precision)
    if len(content) > limit:
        problem = f"{limit:,} bytes cannot be met: in {precision} with {fewest} words the file still has"
        raise ExportError(
            f"{problem} {len(content):,} bytes, with all {whole:,} words {size:,}. "
            "Allow more, or train a smaller model (model.d_model, model.d_ff).",
            argument="max_size",
        )
    best = Fit(precision, fewest, content)
    low, high = (fewest, len(content)), (whole, size)
    for attempt in range(_ATTEMPTS):
        share = 0.5 if attempt % 2 else (limit - low[1]) / (high[1] - low[1])
        words = low[0] + int(share * (high[0] - low[0]))
        words = min(max(words, low[0] + 1), high[0] - 1)
        if words <= low[0]:
            break
        tell(f"Building in {precision} with {words:,} of {whole:,} words")
        content = build(words, precision)
        if len(content) > limit:
            high = (words, len(content))
            continue
        low, best = (words, len(content)), Fit(precision, words, content)
        if limit - len(content) < limit // _CLOSE:
            break
    return best


def fit_cost(run: Run, fit: Fit, comparison: Comparison) -> dict[str, Any]:
    """What a fit keeps and loses, for JSON; accuracies are on the run's test split, or else its validation split."""
    whole = comparison.accuracy_of_trained_model
    if whole is None:  # float32 with all words, which answers as the trained model does: nothing was measured
        metrics = read_metrics(run.path)
        whole = metrics["test" if "test" in metrics else "validation"]["accuracy"]
    return {
        "precision": fit.precision,
        "words": fit.words,
        "words_of_run": len(run.vocabulary),
        "accuracy": whole if comparison.accuracy is None else comparison.accuracy,
        "accuracy_with_all_words": whole,
        "max_loss": comparison.max_loss,
    }
