"""Fits the wide path (`switch_tf.models.wide`): a convex problem, solved by L-BFGS on the CPU.

On the features of `switch_tf.training.wide_features` multinomial logistic regression is fitted: the mean cross-entropy
plus the ridge penalty |V|^2 / (2 C n) is minimised over the coefficients V, and these are folded into the tables.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.special

from switch_tf.config import WideConfig
from switch_tf.errors import DataError
from switch_tf.models.wide import WideTables
from switch_tf.text.ngrams import build_pair_index
from switch_tf.training.lbfgs import minimize
from switch_tf.training.wide_features import Features, Matrix, count_features, diagonal, make_features

USUAL_STRENGTH = 50.0  # C; from 20 to 200 the same within noise on most sets
_CURVATURE = 0.005  # of the loss in each class's logit, times the classes: what variables are scaled by
_MAX_STEPS = 100
_MAX_THREADS = 8  # beyond, blocks are too small to pay
_TOLERANCE = 1e-4  # relative; labels no longer change where it is reached


@dataclass(frozen=True, eq=False)
class WideWeights:
    """The coefficients V before they are folded into tables: where another fit may start.

    Attributes:
        words: float32 [num_ids, columns].
        pairs: float32 [pairs, columns].
        grams: float32 [grams, columns].
        bias: float32 [columns].
        known_pairs: int32 [pairs, 2], in rising order.
    """

    words: np.ndarray
    pairs: np.ndarray
    grams: np.ndarray
    bias: np.ndarray
    known_pairs: np.ndarray


@dataclass(frozen=True, eq=False)
class GramRows:
    """What a word has of its grams, before it is divided by the norm of their idf.

    Attributes:
        rows: float32 [grams, columns + 1], idf times weight, and idf^2; zeros for grams of no training text.
        rare_idf: of a word that one training text has.
    """

    rows: np.ndarray
    rare_idf: float


@dataclass(frozen=True, eq=False)
class WideFit:
    """A fitted wide path.

    Attributes:
        tables: what answers.
        weights: a start for another fit.
        losses: what was minimised, at the start and after every step.
        grams: what each gram weighs by itself, for words that are not known.
    """

    tables: WideTables
    weights: WideWeights
    losses: tuple[float, ...]
    grams: GramRows


def fit_wide(
    ids: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    grams: Matrix,
    settings: WideConfig | None = None,
    start: WideWeights | None = None,
    threads: int | None = None,
    weights: np.ndarray | None = None,
) -> WideFit:
    """Fit on texts; the same for the same arguments, whatever `threads`.

    Args:
        ids: int32 [texts, length], padded with 0.
        labels: int32 [texts], below `num_classes`.
        num_classes: at least two.
        grams: float32 [num_ids, grams], of `switch_tf.text.ngrams.word_grams`.
        settings: which pairs are features, and what holds the coefficients small; by default those of `WideConfig`.
        start: of a fit with the same vocabulary and classes; saves steps.
        threads: at most so many; by default as many as there are processors, up to 8.
        weights: float32 [texts], of texts in the loss, 1 on average; by default all 1.

    Raises:
        DataError: all texts are of one class.
    """
    present = np.unique(labels)
    if len(present) < 2:
        raise DataError(f"All {len(labels)} training texts are of one class. Expected two classes at least.")
    settings = settings or WideConfig()
    words, pairs, known = count_features(ids, grams.shape[0], settings.pair_min_count)
    power, as_unknown = settings.naive_bayes_power, settings.rare_as_unknown
    features = make_features(words, pairs, grams, labels, num_classes, power, as_unknown)
    del words, pairs  # the features have all of it, and as much memory
    threads = threads or min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        columns = 1 if num_classes == 2 else num_classes
        objective = _Objective(
            features, labels, columns, settings.inverse_regularization or USUAL_STRENGTH, pool, threads, weights
        )
        begin = objective.zeros() if start is None else objective.pack(_for_pairs(start, known))
        found = minimize(objective, begin, _MAX_STEPS, _TOLERANCE)
    found_weights = objective.unpack(found.x, known)
    tables, rows = _fold(features, found_weights, num_classes), _gram_rows(features, found_weights)
    return WideFit(tables, found_weights, found.values, rows)


class _Objective:
    """The mean cross-entropy and the ridge penalty, and their gradient, for `minimize`.

    Its variables are V divided by steps that an estimate of the curvature allows: nearly 1 for what few texts have, and
    less for what many have. Then all variables are curved alike, and the search takes fewer steps.
    """

    def __init__(
        self,
        features: Features,
        labels: np.ndarray,
        columns: int,
        inverse_regularization: float,
        pool: ThreadPoolExecutor,
        blocks: int,
        weights: np.ndarray | None = None,
    ):
        self._features, self._labels, self._columns, self._weights = features, labels, columns, weights
        self._ridge = 1.0 / (inverse_regularization * len(labels))
        curvature = self._curvatures() * (_CURVATURE / max(columns, 2))  # [rows of x]
        self._steps = np.sqrt(self._ridge / (curvature + self._ridge)).astype(np.float32)
        self._cuts = [features.word_parts.shape[1], len(self._steps) - 1]
        part_steps, pair_steps, self._bias_step = np.split(self._steps, self._cuts)
        self._penalty = np.append(self._ridge * self._steps[:-1] ** 2, 0.0).astype(np.float32)[:, np.newaxis]
        parts, pairs = features.word_parts @ diagonal(part_steps), features.pairs @ diagonal(pair_steps)
        self._forward = [_Product(each, pool, blocks) for each in (features.words, parts, pairs)]
        self._backward = [_Product(each.T, pool, blocks) for each in (features.words, parts, pairs)]

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """float32 [variables] to the loss there and its gradient, float32 [variables]."""
        x = x.reshape(-1, self._columns)  # [rows of x, columns]
        parts, pairs, bias = np.split(x, self._cuts)
        words_forward, parts_forward, pairs_forward = self._forward
        logits = words_forward(parts_forward(parts))  # [texts, columns]
        logits += pairs_forward(pairs)
        logits += bias * self._bias_step
        loss, slopes = cross_entropy(logits, self._labels, self._weights)
        words_backward, parts_backward, pairs_backward = self._backward
        gradient = self._penalty * x  # [rows of x, columns]
        loss += 0.5 * float(np.einsum("ij,ij->", gradient, x))
        gradient[: self._cuts[0]] += parts_backward(words_backward(slopes))
        gradient[self._cuts[0] : self._cuts[1]] += pairs_backward(slopes)
        gradient[self._cuts[1] :] += slopes.sum(axis=0) * self._bias_step
        return loss, gradient.ravel()

    def zeros(self) -> np.ndarray:
        """Where to start from nothing: float32 [variables]."""
        return np.zeros(len(self._steps) * self._columns, np.float32)

    def pack(self, weights: WideWeights) -> np.ndarray:
        """The variables of weights that are for the pairs of this problem: float32 [variables]."""
        features = self._features
        used = [weights.words[features.used_words], weights.grams[features.used_grams], weights.pairs]
        return (np.concatenate([*used, weights.bias[np.newaxis]]) / self._steps[:, np.newaxis]).ravel()

    def unpack(self, x: np.ndarray, known_pairs: np.ndarray) -> WideWeights:
        """The weights of variables, float32 [variables]."""
        features = self._features
        parts, pairs, bias = np.split(x.reshape(-1, self._columns) * self._steps[:, np.newaxis], self._cuts)
        words = np.zeros([len(features.word_idf), self._columns], np.float32)
        grams = np.zeros([features.num_grams, self._columns], np.float32)
        words[features.used_words] = parts[: len(features.used_words)]
        grams[features.used_grams] = parts[len(features.used_words) :]
        return WideWeights(words, pairs, grams, bias[0], known_pairs)

    def _curvatures(self) -> np.ndarray:
        """The mean square of each feature, of grams as if one word had each, and 1 for the bias: [rows of x]."""
        features = self._features
        of_words, of_pairs = (each.power(2).mean(axis=0) for each in (features.words, features.pairs))
        of_parts = features.word_parts.power(2).T @ np.asarray(of_words).ravel()
        return np.concatenate([of_parts, np.asarray(of_pairs).ravel(), [1.0]])


class _Product:
    """A sparse matrix to multiply with, block of rows by block of rows, so that each row is summed in one order."""

    def __init__(self, matrix: Matrix, pool: ThreadPoolExecutor, blocks: int):
        matrix, self._pool = matrix.tocsr(), pool
        cuts = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, blocks + 1)[1:-1])
        edges = [0, *cuts.tolist(), matrix.shape[0]]
        self._blocks = [_rows(matrix, begin, end) for begin, end in itertools.pairwise(edges)]

    def __call__(self, dense: np.ndarray) -> np.ndarray:
        """float32 [columns, n] -> float32 [rows, n]."""
        return np.concatenate(list(self._pool.map(lambda block: block @ dense, self._blocks)))


def _rows(matrix: Matrix, begin: int, end: int) -> Matrix:
    """Some rows, which share the memory of the whole."""
    first, last = matrix.indptr[begin], matrix.indptr[end]
    parts = matrix.data[first:last], matrix.indices[first:last], matrix.indptr[begin : end + 1] - first
    return scipy.sparse.csr_matrix(parts, (end - begin, matrix.shape[1]))


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """The mean over texts, and its gradient.

    Args:
        logits: float32 [texts, columns]; one column is the second class's, with 0 for the first. Overwritten.
        labels: int32 [texts].
        weights: float32 [texts]; by default all 1.

    Returns:
        The loss, and float32 [texts, columns].
    """
    texts, columns = logits.shape
    weight = np.ones(texts, np.float32) if weights is None else weights  # [texts]
    if columns == 1:
        sign = np.where(labels == 1, np.float32(1), np.float32(-1))[:, np.newaxis]  # [texts, 1]
        margin = sign * logits
        loss = (weight * np.logaddexp(np.float32(0), -margin)[:, 0]).mean(dtype=np.float64)
        return float(loss), scipy.special.expit(-margin) * (-sign * weight[:, np.newaxis] / np.float32(texts))
    rows = np.arange(texts)
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, labels]  # [texts]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)  # [texts, 1]
    loss = (weight * (np.log(total[:, 0]) - chosen)).mean(dtype=np.float64)
    logits /= total
    logits[rows, labels] -= 1
    logits *= weight[:, np.newaxis] / np.float32(texts)
    return float(loss), logits


def _for_pairs(start: WideWeights, known_pairs: np.ndarray) -> WideWeights:
    """The same weights for other pairs; those that were not known start from 0."""
    ids = len(start.words)
    before, now = (pairs[:, 0].astype(np.int64) * ids + pairs[:, 1] for pairs in (start.known_pairs, known_pairs))
    _, there, here = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    pairs = np.zeros([len(known_pairs), start.pairs.shape[1]], np.float32)
    pairs[here] = start.pairs[there]
    return WideWeights(start.words, pairs, start.grams, start.bias, known_pairs)


def _fold(features: Features, weights: WideWeights, num_classes: int) -> WideTables:
    """The tables in which a word stands for itself and its grams, with the idf, the scale and the norm in them."""
    used = features.used_words
    parts = np.concatenate([weights.words[used], weights.grams[features.used_grams]])
    words = np.zeros([len(features.word_idf), parts.shape[1] + 1], np.float32)
    words[used, :-1] = features.word_idf[used, np.newaxis] * (features.word_parts @ parts)
    words[1:, -1] = features.word_idf[1:] ** 2
    pairs = np.zeros([len(weights.pairs) + 1, parts.shape[1] + 1], np.float32)
    pairs[:-1, :-1] = (features.pair_idf * features.pair_scale)[:, np.newaxis] * weights.pairs
    pairs[:-1, -1] = features.pair_idf**2
    bias = np.append(np.float32(0), weights.bias) if num_classes == 2 else weights.bias
    return WideTables(words, pairs, bias, build_pair_index(weights.known_pairs, len(words)))


def _gram_rows(features: Features, weights: WideWeights) -> GramRows:
    used, idf = features.used_grams, features.gram_idf
    rows = np.zeros([features.num_grams, weights.grams.shape[1] + 1], np.float32)
    rows[used, :-1] = (idf * features.gram_scale)[:, np.newaxis] * weights.grams[used]
    rows[used, -1] = idf**2
    return GramRows(rows, features.rare_idf)
