"""The fit reaches the minimum of the loss it states, whichever way it starts, and its tables say what it found."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from switch_tf.config import WideConfig
from switch_tf.errors import DataError
from switch_tf.text.ngrams import word_grams
from switch_tf.training import wide_fit
from switch_tf.training.wide_features import count_features, make_features
from switch_tf.training.wide_fit import WideFit, WideWeights, cross_entropy, fit_wide

WORDS = [b"good", b"goods", b"bad", b"badly", b"not", b"film", b"films", b"plot", b"filmed", b"plots"]
NUM_IDS = len(WORDS) + 2
GRAMS = word_grams(WORDS, NUM_IDS, 2)


def made_up(classes: int, count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Texts of up to 6 words, a class for what the first word and its neighbour say."""
    random = np.random.default_rng(seed)
    ids = random.integers(1, NUM_IDS, [count, 6]).astype(np.int32)
    ids[np.arange(6) >= random.integers(0, 7, [count, 1])] = 0
    labels = (ids[:, 0] * 2 + ids[:, 1] + random.integers(0, 2, count)) % classes
    return ids, labels.astype(np.int32)


def fit(ids: np.ndarray, labels: np.ndarray, classes: int, **options: object) -> WideFit:
    return fit_wide(ids, labels, classes, GRAMS, **options)  # type: ignore[arg-type]


def objective_of(ids: np.ndarray, labels: np.ndarray, classes: int, pool: ThreadPoolExecutor) -> wide_fit._Objective:
    words, pairs, _ = count_features(ids, NUM_IDS, 1)
    features = make_features(words, pairs, GRAMS, labels, classes)
    return wide_fit._Objective(features, labels, 1 if classes == 2 else classes, 50.0, pool, 2)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


class TestCrossEntropy:
    def test_of_three_classes(self) -> None:
        logits = np.log(np.array([[1.0, 2.0, 1.0], [4.0, 4.0, 2.0]], np.float32))
        loss, slopes = cross_entropy(logits, np.array([1, 2]))
        assert loss == pytest.approx((np.log(2) + np.log(5)) / 2)
        np.testing.assert_allclose(slopes, [[0.125, -0.25, 0.125], [0.2, 0.2, -0.4]], atol=1e-6)

    def test_of_two_classes_in_one_column(self) -> None:
        loss, slopes = cross_entropy(np.log(np.array([[3.0], [3.0]], np.float32)), np.array([1, 0]))
        assert loss == pytest.approx((np.log(4 / 3) + np.log(4)) / 2)
        np.testing.assert_allclose(slopes, [[-0.125], [0.375]], atol=1e-6)
        assert slopes.dtype == np.float32

    def test_of_huge_logits(self) -> None:
        loss, slopes = cross_entropy(np.array([[2e4], [-2e4]], np.float32), np.array([0, 1]))
        assert loss == 2e4 and slopes.tolist() == [[0.5], [-0.5]]
        loss, slopes = cross_entropy(np.array([[2e4, 0.0, 0.0]], np.float32), np.array([1]))
        assert loss == 2e4 and slopes.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize("classes", [2, 4])
class TestLoss:
    def test_its_gradient_is_that_of_finite_differences(self, classes: int) -> None:
        ids, labels = made_up(classes)
        with ThreadPoolExecutor(2) as pool:
            objective = objective_of(ids, labels, classes, pool)
            random = np.random.default_rng(1)
            x = random.standard_normal(len(objective.zeros())).astype(np.float32)
            _, gradient = objective(x)
            for _ in range(20):
                direction = random.standard_normal(len(x)).astype(np.float32)
                ahead, behind = (objective(x + np.float32(step) * direction)[0] for step in (0.01, -0.01))
                assert gradient @ direction == pytest.approx((ahead - behind) / 0.02, rel=2e-3, abs=2e-4)

    def test_it_is_what_the_tables_lose_and_the_penalty(self, classes: int) -> None:
        """So whatever is folded into the tables, they are the model that was fitted."""
        ids, labels = made_up(classes)
        found = fit(ids, labels, classes)
        weights = found.weights
        squares = sum(float(np.sum(part**2)) for part in (weights.words, weights.pairs, weights.grams))
        penalty = squares / (2 * 50 * len(labels))
        assert penalty > 0.01
        assert found.losses[-1] == pytest.approx(log_loss(found.tables.logits(ids), labels) + penalty, rel=1e-5)

    def test_it_starts_at_that_of_guessing(self, classes: int) -> None:
        assert fit(*made_up(classes), classes).losses[0] == pytest.approx(np.log(classes), rel=1e-6)

    def test_its_minimum_is_found(self, classes: int) -> None:
        """By another method, in float64, on the features as one dense matrix."""
        ids, labels = made_up(classes)
        words, pairs, _ = count_features(ids, NUM_IDS, 1)
        features = make_features(words, pairs, GRAMS, labels, classes)
        dense = scipy.sparse.hstack([features.words @ features.word_parts, features.pairs]).toarray().astype(float)
        columns, chosen = 1 if classes == 2 else classes, np.eye(classes)[labels]

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            weights, bias = np.split(x.reshape(-1, columns), [dense.shape[1]])
            logits = dense @ weights + bias
            if classes == 2:
                logits = np.concatenate([0 * logits, logits], axis=1)
            p = np.exp(logits - scipy.special.logsumexp(logits, axis=1, keepdims=True))
            slopes = ((p - chosen) / len(labels))[:, -columns:]
            penalty = np.sum(weights**2) / (2 * 50 * len(labels))
            gradient = np.concatenate([dense.T @ slopes + weights / (50 * len(labels)), slopes.sum(0, keepdims=True)])
            return float(-np.log((p * chosen).sum(axis=1)).mean() + penalty), gradient.ravel()

        start = np.zeros((dense.shape[1] + 1) * columns)
        best = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", tol=1e-12).fun
        found = fit(ids, labels, classes).losses
        assert best - 1e-6 <= found[-1] <= best * 1.002


@pytest.mark.parametrize("classes", [2, 4])
class TestStart:
    def test_where_it_ended_saves_nearly_all_steps(self, classes: int) -> None:
        ids, labels = made_up(classes)
        cold = fit(ids, labels, classes)
        warm = fit(ids, labels, classes, start=cold.weights)
        assert warm.losses[0] == pytest.approx(cold.losses[-1], rel=1e-4)
        assert len(warm.losses) < len(cold.losses) / 2

    def test_of_a_part_of_the_texts(self, classes: int) -> None:
        ids, labels = made_up(classes, count=400)
        part = fit(ids[:300], labels[:300], classes)
        cold, warm = fit(ids, labels, classes), fit(ids, labels, classes, start=part.weights)
        assert len(part.weights.known_pairs) < len(cold.weights.known_pairs)
        assert warm.losses[0] < 0.9 * cold.losses[0]
        assert warm.losses[-1] == pytest.approx(cold.losses[-1], rel=5e-3)

    def test_pairs_keep_their_weights_by_name(self, classes: int) -> None:
        start = WideWeights(
            words=np.zeros([5, 1], np.float32),
            pairs=np.array([[1.0], [2.0], [3.0]], np.float32),
            grams=np.zeros([0, 1], np.float32),
            bias=np.zeros(1, np.float32),
            known_pairs=np.array([[0, 2], [2, 3], [4, 0]], np.int32),
        )
        now = np.array([[0, 1], [0, 2], [4, 0], [4, 4]], np.int32)
        assert wide_fit._for_pairs(start, now).pairs.tolist() == [[0.0], [1.0], [3.0], [0.0]]


class TestResult:
    @pytest.mark.parametrize("classes", [2, 4])
    def test_any_number_of_threads_gives_the_same(self, classes: int) -> None:
        ids, labels = made_up(classes)
        one, many = (fit(ids, labels, classes, threads=threads).tables.to_arrays() for threads in (1, 5))
        for name, array in one.items():
            np.testing.assert_array_equal(array, many[name])

    @pytest.mark.parametrize("classes", [2, 4])
    def test_the_shapes_and_zeros_of_tables(self, classes: int) -> None:
        ids, labels = made_up(classes)
        tables = fit(ids, labels, classes, settings=WideConfig(pair_min_count=4)).tables
        columns = 1 if classes == 2 else classes
        assert tables.words.shape == (NUM_IDS, columns + 1) and not tables.words[0].any()
        assert tables.pairs.shape == (tables.index.num_pairs + 1, columns + 1) and not tables.pairs[-1].any()
        assert (tables.words[1:, -1] >= 1.0).all() and (tables.pairs[:-1, -1] >= 1.0).all()
        assert {array.dtype.name for array in (tables.words, tables.pairs, tables.bias)} == {"float32"}

    def test_the_order_of_words_is_learned(self) -> None:
        """ "not bad" and "bad not" are the same words."""
        ids = np.array([[6, 4], [4, 6]] * 10, np.int32)
        tables = fit(ids, np.array([1, 0] * 10, np.int32), 2).tables
        assert tables.logits(ids[:2]).argmax(axis=1).tolist() == [1, 0]

    def test_without_any_pair_or_gram(self) -> None:
        ids, labels = made_up(4)
        no_grams, no_pairs = scipy.sparse.csr_matrix((NUM_IDS, 0), dtype=np.float32), WideConfig(pair_min_count=10_000)
        found = fit_wide(ids, labels, 4, no_grams, no_pairs)
        assert found.tables.index.num_pairs == 0 and found.losses[-1] < found.losses[0]
        assert np.isfinite(found.tables.logits(ids)).all()

    def test_a_class_without_texts(self) -> None:
        ids, labels = made_up(2)
        found = fit(ids, labels * 2, 3)
        assert np.isfinite(found.tables.logits(ids)).all() and 1 not in found.tables.logits(ids).argmax(axis=1)

    def test_a_word_that_no_text_has_says_nothing_and_weighs_as_the_rarest(self) -> None:
        ids = np.array([[2, 3], [4, 5], [2, 0]], np.int32)
        words = fit(ids, np.array([0, 1, 0], np.int32), 2).tables.words
        assert words[8].tolist() == [0.0, pytest.approx((np.log(4) + 1) ** 2)]

    def test_all_texts_of_one_class(self) -> None:
        ids, labels = made_up(2)
        with pytest.raises(DataError, match="All 120 training texts are of one class"):
            fit(ids, 0 * labels, 2)
