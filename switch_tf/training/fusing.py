"""Joins a trained deep path with a wide one: fit, choose the scalars on validation, calibrate, refit on all texts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import tensorflow as tf

from switch_tf import files
from switch_tf.config import Config
from switch_tf.measuring.fusion import cross_entropy_of, expected_calibration_error, fuse, softmax, temperature
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.fused import deep_arrays, fused_arrays, put_first, with_exact_sums
from switch_tf.models.weights import assign_weights
from switch_tf.runs.folder import WEIGHTS, Run
from switch_tf.text.ngrams import word_grams
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.training.loop import balanced_weights
from switch_tf.training.sampling import KnownPairs
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import logits_in_batches
from switch_tf.training.wide_fit import fit_wide

_FEWEST_TEXTS = 50  # to choose scalars on
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
    return word_grams([word.encode() for word in vocabulary], len(vocabulary) + FIRST_WORD_ID, FIRST_WORD_ID)


def add_wide_path(run: Run, training: Encoded, validation: Encoded, grams: scipy.sparse.csr_matrix) -> Fusion:
    """Give a run folder with the weights of a deep path both paths; once done, doing it again changes nothing.

    The scalars and the temperature are chosen with a wide path that has not seen the validation texts. The one that
    stays is fitted on those too.
    """
    config, num_classes = run.config, len(run.labels)
    fitted = fit_wide(
        training.ids, training.labels, num_classes, grams, config.wide.pair_min_count, weights=training.weights
    )
    kept, _ = files.read_tensors(run.path / WEIGHTS)
    weights = deep_arrays(kept)
    known = KnownPairs(training.ids, grams.shape[0], config.model.pair_min_count)
    deep = deep_logits(run, weights, known, validation.ids)
    wide = with_exact_sums(fitted.tables, validation.ids.shape[1]).logits(validation.ids)
    a, b, cooled = choose_scales(wide, deep, validation.labels)
    joined = a * wide + b * deep  # [n, classes]

    ids = np.concatenate([training.ids, validation.ids])
    labels = np.concatenate([training.labels, validation.labels])
    refitted = fit_wide(
        ids,
        labels,
        num_classes,
        grams,
        config.wide.pair_min_count,
        start=fitted.weights,
        weights=None if training.weights is None else balanced_weights(labels, num_classes),
    )
    tables = put_first(with_exact_sums(refitted.tables, validation.ids.shape[1]), known.pairs)
    files.write_tensors(run.path / WEIGHTS, fused_arrays(weights, tables, np.array([a, b]) / cooled))
    probabilities = softmax(joined / cooled)
    figures = {
        "wide_scale": a / cooled,
        "deep_scale": b / cooled,
        "temperature": cooled,
        "calibration_error_before": expected_calibration_error(softmax(joined), validation.labels),
        "calibration_error_after": expected_calibration_error(probabilities, validation.labels),
        **{
            name: {
                "accuracy": float(np.mean(logits.argmax(axis=1) == validation.labels)),
                "log_loss": cross_entropy_of(logits, validation.labels),
            }
            for name, logits in (("wide", wide), ("deep", deep), ("fused", joined / cooled))
        },
    }
    return Fusion(probabilities, wide, deep, figures)


def choose_scales(wide: np.ndarray, deep: np.ndarray, expected: np.ndarray) -> tuple[float, float, float]:
    """a, b and the temperature: chosen on these texts, or what is usual where they are too few to tell.

    Four texts that are all answered right would ask for answers as sure as can be.

    Args:
        wide: logits [n, classes].
        deep: the same of the other path.
        expected: label indices [n].
    """
    if len(expected) < _FEWEST_TEXTS:
        return _USUAL
    a, b = fuse(wide, deep, expected)
    return a, b, temperature(a * wide + b * deep, expected)


def deep_logits(run: Run, weights: dict[str, np.ndarray], known: KnownPairs, ids: np.ndarray) -> np.ndarray:
    """float64 [n, classes] of a deep path, by rows of pairs that are found without an index."""
    model = SwitchClassifier(run.config, known.num_ids, len(run.labels), num_pairs=len(known.pairs))
    model.initialize()
    assign_weights(model, weights, str(run.path / WEIGHTS))
    signature = [tf.TensorSpec([None, ids.shape[1]], tf.int32)] * 2
    logits = tf.function(lambda ids, pairs: model(ids, pair_rows=pairs).logits, signature, autograph=False)
    return logits_in_batches(logits, ids, known.rows(ids))
