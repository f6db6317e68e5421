"""Fit a file into a number of bytes: the least loss first, and the loss measured.

Weights are stored smaller, and if that is not enough, the rarest words of the vocabulary go: they become out of
vocabulary, and their rows of the embedding table and of the text front-end are saved. Narrower embeddings would need
another training.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from switch_tf.config import Dispatch
from switch_tf.errors import ArgumentError, ExportError
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.proof.parity import Comparison, Door, Precision
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run, read_metrics

Build = Callable[[TextClassifier, Precision], int]  # the size of a file, in bytes
_PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")  # in the order of their loss
_FEWEST_WORDS = 100
_ATTEMPTS = 8
_ONNX_MARGIN = 1024  # bytes: tf2onnx does not name constants alike each time
_CLOSE = 500  # a 500th of the limit left over is close enough
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}


@dataclass(frozen=True)
class Fit:
    """What fits: `size` bytes with `words` of the run's vocabulary, stored in `precision`."""

    precision: Precision
    words: int
    size: int


def parse_size(text: str) -> int:
    """Bytes, of a number with K, M or G for thousands, millions or billions.

    >>> parse_size("1M"), parse_size("1.5K"), parse_size("300")
    (1000000, 1500, 300)

    Raises:
        ArgumentError: it is something else.
    """
    matched = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMG]?)", text)
    if matched is None or float(matched[1]) == 0:
        expected = "a number of bytes such as 800000, 800K or 1.5M"
        raise ArgumentError(f"Received the size {text!r}. Expected {expected}.", argument="max_size")
    return int(float(matched[1]) * _UNITS[matched[2]])


def measure_with(kind: Literal["tflite", "onnx"], run: Run, inputs: Door, batch: int | None) -> Build:
    """How large a file of this kind gets, by building it."""
    if kind == "tflite":
        from switch_tf.export.tflite_file.build import build_tflite

        return lambda model, precision: len(build_tflite(run, model, batch, precision))
    from switch_tf.export.onnx_file.build import build_onnx

    return lambda model, precision: build_onnx(run, model, inputs, batch, precision).ByteSize() + _ONNX_MARGIN


def fit_size(
    run: Run,
    build: Build,
    limit: int,
    precisions: tuple[Precision, ...] = _PRECISIONS,
    dispatch: Dispatch | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Fit:
    """The least lossy precision that fits with all words, or else as many words as fit in the last one.

    Args:
        limit: bytes.
        precisions: to try, the least lossy first.
        dispatch: how tokens reach experts in the file; None is as in the run.
        tell: called with a message before each build.

    Raises:
        ExportError: not even the most frequent hundred words fit.
    """
    model, whole = load_exported(run, dispatch=dispatch), len(run.vocabulary)
    size = 0
    for precision in precisions:
        tell(f"Building in {precision}")
        size = build(model, precision)
        if size <= limit:
            return Fit(precision, whole, size)
    fewest = min(_FEWEST_WORDS, whole)
    smallest = build(load_exported(run, fewest, dispatch), precision)
    if smallest > limit:
        raise ExportError(
            f"{limit:,} bytes cannot be met: in {precision} with {fewest} words the file still has {smallest:,} bytes, "
            f"with all {whole:,} words {size:,}. Allow more, or train a smaller model (model.d_model, model.d_ff)."
        )
    low, high = (fewest, smallest), (whole, size)  # the size grows nearly evenly with the words
    best = Fit(precision, *low)
    for _ in range(_ATTEMPTS):
        words = low[0] + int((limit - low[1]) / (high[1] - low[1]) * (high[0] - low[0]))
        words = min(max(words, low[0] + 1), high[0] - 1)
        if words <= low[0]:
            break
        tell(f"Building in {precision} with {words:,} of {whole:,} words")
        size = build(load_exported(run, words, dispatch), precision)
        if size <= limit:
            low, best = (words, size), Fit(precision, words, size)
            if limit - size < limit // _CLOSE:
                break
        else:
            high = (words, size)
    return best


def fit_cost(run: Run, proof: Proof, fit: Fit, comparison: Comparison) -> dict[str, Any]:
    """What a fit keeps and loses, for JSON; accuracies are on the run's test split, or else its validation split."""
    metrics = read_metrics(run.path)
    whole = metrics["test" if "test" in metrics else "validation"]["accuracy"]
    accuracy = comparison.accuracy
    if accuracy is None:  # float32, which answers as the trained model does
        accuracy = whole if fit.words == len(run.vocabulary) else proof.accuracy
    return {
        "precision": fit.precision,
        "words": fit.words,
        "words_of_run": len(run.vocabulary),
        "accuracy": accuracy,
        "accuracy_with_all_words": whole,
    }
