"""Two models' logits as one answer: the scalars that join them, and how well probabilities hold what they promise.

Pure functions over arrays. Nothing here is fitted on the texts that the models were trained on.
"""

import numpy as np
import scipy.optimize
import scipy.special

from switch_tf.measuring.outcomes import Outcomes, outcomes

FEWEST_TEXTS = 50  # to choose scalars on
_WIDE = np.arange(4, 15) / 10  # scalars tried for the wide path, and below for the deep one
_DEEP = np.arange(0, 11) / 10
_MANY = 100  # texts on which chance is small
_BINS = 15  # of the calibration error, the number that is customary
_TEMPERATURES = (0.2, 5.0)


def cross_entropy_of(logits: np.ndarray, expected: np.ndarray) -> float:
    """Mean cross-entropy in nats, from logits [n, classes] and label indices [n]."""
    return float(cross_entropies(logits, expected).mean())


def cross_entropies(logits: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The same of each text: float64 [n]."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # where training went wrong, the answer is NaN
        log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -log_probabilities[np.arange(len(logits)), expected]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 [n, classes]."""
    return np.asarray(scipy.special.softmax(logits.astype(np.float64), axis=1))


def fuse(wide: np.ndarray, deep: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """a and b for which a x wide + b x deep has the least cross-entropy on texts that neither was trained on.

    Two scalars on a coarse grid: finer ones would fit the texts they are chosen on. `temperature` then scales both. Of
    few texts chance makes much: then b is the least whose cross-entropy is within a standard error of the best one's,
    the rule of Breiman et al. 1984 ("Classification and regression trees", section 3.4.3).

    Args:
        wide: logits [n, classes].
        deep: the same of the other model.
        expected: label indices [n].
    """
    means = {(a, b): cross_entropy_of(a * wide + b * deep, expected) for a in _WIDE for b in _DEEP}
    best = min(means, key=lambda scales: means[scales])
    if len(expected) < _MANY:
        losses = {(a, b): cross_entropies(a * wide + b * deep, expected) for a, b in means}  # each [n]
        level = [scales for scales in means if _is_level(losses[scales], losses[best])]
        best = min(level, key=lambda scales: (scales[1], means[scales]))
    return float(best[0]), float(best[1])


def _is_level(losses: np.ndarray, least: np.ndarray) -> bool:
    """Whether the mean of `losses` is within a standard error of that of `least`, text by text; both float64 [n]."""
    more = losses - least
    return bool(more.mean() <= more.std() / np.sqrt(len(more)))


def temperature(logits: np.ndarray, expected: np.ndarray) -> float:
    """What to divide logits by, so that their cross-entropy is least (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    Answers stay the same, probabilities become honest. Between 0.2 and 5.
    """
    bounds = tuple(np.log(_TEMPERATURES))
    found = scipy.optimize.minimize_scalar(
        lambda log: cross_entropy_of(logits / np.exp(log), expected), bounds=bounds, method="bounded"
    )
    return float(np.exp(found.x))


def expected_calibration_error(probabilities: np.ndarray, expected: np.ndarray, bins: int = _BINS) -> float:
    """How far the probability of the answer is from the share of right answers: 0 at best, 1 at worst.

    Sum over bins of |share right - mean probability| x share of texts, bins of equal width over the probability of the
    answer (Guo et al. 2017, arXiv 1706.04599, equation 3).

    Args:
        probabilities: [n, classes].
        expected: label indices [n].
    """
    return calibration_error(outcomes(probabilities, expected), bins)


def calibration_error(found: Outcomes, bins: int = _BINS) -> float:
    """The same of outcomes."""
    gaps = np.zeros(bins)  # times the texts in each
    for piece in found.pieces():
        confidence = piece.confidence.astype(np.float64)  # [n]
        right = (piece.best == piece.expected).astype(np.float64)  # [n]
        place = np.minimum((confidence * bins).astype(np.int64), bins - 1)  # [n]
        gaps += np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(found.expected), 1))
