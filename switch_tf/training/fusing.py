"""Joins a trained deep path with a wide one: fit, choose the scalars on validation, calibrate, refit on all texts."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import tensorflow as tf

from switch_tf import files
from switch_tf.config import Config, WideConfig
from switch_tf.measuring.fusion import (
    FEWEST_TEXTS,
    cross_entropy_of,
    expected_calibration_error,
    fuse,
    softmax,
    temperature,
)
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.fused import deep_arrays, fused_arrays, put_first, with_exact_sums
from switch_tf.models.weights import assign_weights
from switch_tf.models.wide import WideTables
from switch_tf.runs.folder import WEIGHTS, Run
from switch_tf.text.ngrams import word_grams
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.text.spelling import token_names
from switch_tf.training.counted import counted
from switch_tf.training.known_runs import KnownRuns, known_runs
from switch_tf.training.loop import balanced_weights
from switch_tf.training.sampling import KnownPairs
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import logits_in_batches
from switch_tf.training.wide_fit import USUAL_STRENGTH, WideFit, fit_wide

_ENOUGH_TEXTS = 200  # to choose the strength of a penalty on, which changes less
_STRENGTHS = (USUAL_STRENGTH, 10.0, 2.0)  # of the wide path's penalty, to choose from where none is set
_USUAL = (0.6, 0.4, 1.0)  # near the middle of what ten sets chose


class Fusion(NamedTuple):
    """What joining gave.

    Attributes:
        validation: float64 [n, classes], the probabilities of the validation texts, which no weight had seen.
        wide: float [n, classes], the logits that the wide path alone gave them.
        deep: float64 [n, classes], those of the deep path alone.
        figures: scalars, temperature, and accuracy and log loss of each path on validation.
    """

    validation: np.ndarray
    wide: np.ndarray
    deep: np.ndarray
    figures: dict[str, Any]


def grams_of(config: Config, vocabulary: Sequence[str]) -> scipy.sparse.csr_matrix | None:
    """The letters of each word, as a wide path and composed embeddings need them; None where neither does."""
    if not (config.wide.enabled or config.model.character_grams):
        return None
    names = token_names(config.text, vocabulary)
    return word_grams([name.encode() for name in names], len(vocabulary) + FIRST_WORD_ID, FIRST_WORD_ID)


class WideAlone(NamedTuple):
    """A wide path as the training texts alone have made it.

    Attributes:
        settings: what it was fitted with, the strength of its penalty included.
        fitted: the coefficients and tables.
        logits: float [n, classes], of the validation texts.
    """

    settings: WideConfig
    fitted: WideFit
    logits: np.ndarray


class Joined(NamedTuple):
    """Both paths as the training texts alone have made them, and what joins their answers.

    Attributes:
        alone: the wide path.
        weights: of the deep path.
        known: the pairs that the deep path has vectors of.
        deep: float64 [n, classes], its logits of the validation texts.
        scales: of the wide path, of the deep one, and the temperature that divides both.
    """

    alone: WideAlone
    weights: dict[str, np.ndarray]
    known: KnownPairs
    deep: np.ndarray
    scales: tuple[float, float, float]

    @property
    def logits(self) -> np.ndarray:
        """Of the validation texts, joined and not yet divided by the temperature: float64 [n, classes]."""
        return self.scales[0] * self.alone.logits + self.scales[1] * self.deep


def add_wide_path(
    run: Run, training: Encoded, unseen: Encoded, validation: Encoded, grams: scipy.sparse.csr_matrix
) -> Fusion:
    """Give a run folder with the weights of a deep path both paths; once done, doing it again changes nothing.

    The scalars and the temperature are chosen with a wide path that has not seen the validation texts. The one that
    stays is fitted on those too.

    Args:
        training: the texts that are counted, of `switch_tf.training.counted.counted`.
        unseen: the validation texts as a model reads them that knows the words of the training texts alone.
    """
    runs = known_runs(run.config.text, run.vocabulary)
    alone = fit_on_validation(run.config.wide, training, unseen, len(run.labels), grams, runs)
    joined = join_paths(run, alone, training, unseen)
    write_paths(run, training, validation, grams, joined, runs)
    probabilities = softmax(joined.logits / joined.scales[2])
    figures = _figures(joined, probabilities, unseen.labels, counted_texts=len(training.labels))
    return Fusion(probabilities, joined.alone.logits, joined.deep, figures)


def join_paths(run: Run, alone: WideAlone, training: Encoded, validation: Encoded) -> Joined:
    """Choose what joins a wide path with the deep one in a run folder, which stays as it is."""
    kept, _ = files.read_tensors(run.path / WEIGHTS)
    weights = deep_arrays(kept)
    known = KnownPairs(training.ids, alone.fitted.tables.index.num_ids, run.config.model.pair_min_count)
    deep = deep_logits(run, weights, known, validation.ids)
    return Joined(alone, weights, known, deep, choose_scales(alone.logits, deep, validation.labels))


def fit_on_validation(
    settings: WideConfig,
    training: Encoded,
    validation: Encoded,
    num_classes: int,
    grams: scipy.sparse.csr_matrix,
    runs: KnownRuns | None = None,
) -> WideAlone:
    """Fit a wide path on the training texts, with the strength of the penalty that validation prefers if none is set.

    Penalties are tried from the weakest on, each fit beginning where the last one ended, until one is no better.

    Args:
        runs: by which unknown words are told; `validation` then has the letters of its own.
    """
    found: WideAlone | None = None
    least = np.inf
    for strength in _strengths(settings, len(validation.labels)):
        tried = dataclasses.replace(settings, inverse_regularization=strength)
        start = None if found is None else found.fitted.weights
        fitted = fit_wide(
            training.ids, training.labels, num_classes, grams, tried, start=start, weights=training.weights
        )
        logits = _exact(fitted, validation.ids.shape[1], runs).logits(validation.ids, validation.letters)
        loss = cross_entropy_of(logits / temperature(logits, validation.labels), validation.labels)
        if found is not None and not loss < least:
            break
        found, least = WideAlone(tried, fitted, logits), loss
    assert found is not None
    return found


def _exact(fitted: WideFit, length: int, runs: KnownRuns | None) -> WideTables:
    """The tables that answer."""
    return with_exact_sums(fitted.tables, length, None if runs is None else runs.weighed(fitted.grams))


def _strengths(settings: WideConfig, texts: int) -> Sequence[float]:
    """C to try: what is set, or a few if `texts` are enough to choose by."""
    if settings.inverse_regularization is not None:
        return [settings.inverse_regularization]
    return _STRENGTHS if texts >= _ENOUGH_TEXTS else _STRENGTHS[:1]


def write_paths(
    run: Run,
    training: Encoded,
    validation: Encoded,
    grams: scipy.sparse.csr_matrix,
    joined: Joined,
    runs: KnownRuns | None = None,
) -> None:
    """Write the weights of both paths into the run folder, after fitting the wide one on all texts."""
    num_classes = len(run.labels)
    more = counted(validation, run.config.train.counted_tokens)
    ids = np.concatenate([training.ids, more.ids])
    labels = np.concatenate([training.labels, more.labels])
    weights = None if training.weights is None else balanced_weights(labels, num_classes)
    refitted = fit_wide(
        ids, labels, num_classes, grams, joined.alone.settings, start=joined.alone.fitted.weights, weights=weights
    )
    tables = put_first(_exact(refitted, validation.ids.shape[1], runs), joined.known.pairs)
    a, b, cooled = joined.scales
    files.write_tensors(run.path / WEIGHTS, fused_arrays(joined.weights, tables, np.array([a, b]) / cooled))


def _figures(joined: Joined, probabilities: np.ndarray, expected: np.ndarray, counted_texts: int) -> dict[str, Any]:
    """What joining chose and gave, for JSON."""
    a, b, cooled = joined.scales
    paths = (("wide", joined.alone.logits), ("deep", joined.deep), ("fused", joined.logits / cooled))
    return {
        "inverse_regularization": joined.alone.settings.inverse_regularization,
        "counted_texts": counted_texts,
        "wide_scale": a / cooled,
        "deep_scale": b / cooled,
        "temperature": cooled,
        "calibration_error_before": expected_calibration_error(softmax(joined.logits), expected),
        "calibration_error_after": expected_calibration_error(probabilities, expected),
        **{
            name: {
                "accuracy": float(np.mean(logits.argmax(axis=1) == expected)),
                "log_loss": cross_entropy_of(logits, expected),
            }
            for name, logits in paths
        },
    }


def choose_scales(wide: np.ndarray, deep: np.ndarray, expected: np.ndarray) -> tuple[float, float, float]:
    """a, b and the temperature: chosen on these texts, or what is usual where they are too few to tell.

    Four texts that are all answered right would ask for answers as sure as can be.

    Args:
        wide: logits [n, classes].
        deep: the same of the other path.
        expected: label indices [n].
    """
    if len(expected) < FEWEST_TEXTS:
        return _USUAL
    a, b = fuse(wide, deep, expected)
    return a, b, temperature(a * wide + b * deep, expected)


def deep_logits(run: Run, weights: dict[str, np.ndarray], known: KnownPairs, ids: np.ndarray) -> np.ndarray:
    """float64 [n, classes] of a deep path, by rows of pairs that are found without an index."""
    model = SwitchClassifier(run.config, known.num_ids, len(run.labels), num_pairs=len(known.pairs), finished=True)
    model.initialize()
    assign_weights(model, weights, str(run.path / WEIGHTS))
    signature = [tf.TensorSpec([None, ids.shape[1]], tf.int32)] * 2
    logits = tf.function(lambda ids, pairs: model(ids, pair_rows=pairs).logits, autograph=False)
    # Asked as what was traced: TensorFlow counts the traces of a function that is called, and warns in a search.
    return logits_in_batches(logits.get_concrete_function(*signature), ids, known.rows(ids))
