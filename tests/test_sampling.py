"""Which tokens and rows a batch has, by hand; what is left out leaves no gap and follows from the seed."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from switch_tf.data import spill
from switch_tf.training import sampling
from switch_tf.training.sampling import KnownPairs, Sample, sample, scale_grams
from switch_tf.training.steps import Encoded

IDS = np.array([[5, 6, 5, 6, 0, 0, 0, 0], [6, 5, 0, 0, 0, 0, 0, 0], [7, 6, 5, 0, 0, 0, 0, 0]], np.int32)
DATA = Encoded(IDS, np.array([0, 1, 2], np.int32))
# word 5 has the grams 0 and 2, word 6 the grams 1, 2 and two that no test needs, word 7 none
GRAMS = scipy.sparse.csr_matrix(([1.0] * 6, ([5, 5, 6, 6, 6, 6], [0, 2, 1, 2, 3, 4])), (8, 5), np.float32)


def drawn(rows: list[int], *, dropout: tuple[float, float] = (0.0, 0.0), batch: int = 3, **changes: Any) -> Sample:
    known = KnownPairs(IDS, 8, 2)
    seed = changes.get("seed", [0, 0, 0])
    return sample(DATA, known.rows(IDS), len(known.pairs), scale_grams(GRAMS), np.array(rows), batch, dropout, seed)


def test_known_pairs_are_the_frequent_ones() -> None:
    known = KnownPairs(IDS, 8, 2)  # (5, 6) twice, (6, 5) three times; the starts and (7, 6) once
    assert known.pairs.tolist() == [[5, 6], [6, 5]]
    assert known.rows(IDS)[:2].tolist() == [[2, 0, 1, 0, 2, 2, 2, 2], [2, 1, 2, 2, 2, 2, 2, 2]]
    assert KnownPairs(IDS, 8, 1).pairs.tolist() == [[0, 5], [0, 6], [0, 7], [5, 6], [6, 5], [7, 6]]


@pytest.mark.parametrize("texts", [1, 2])
def test_pairs_of_parts_are_those_of_all_together(texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_TEXTS", texts)
    monkeypatch.setattr(spill, "_CHUNK", 8 * texts)
    test_known_pairs_are_the_frequent_ones()
    assert KnownPairs(IDS, 8, 2).rows(IDS)[2].tolist() == [2, 2, 1, 2, 2, 2, 2, 2]


def test_no_count_is_no_pairs() -> None:
    known = KnownPairs(IDS, 8, 0)
    assert known.pairs.shape == (0, 2)
    assert not known.rows(IDS).any()


def test_grams_are_scaled_by_the_root_of_their_number() -> None:
    expected = np.array([[0.707107, 0, 0.707107, 0, 0], [0, 0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0, 0]])
    np.testing.assert_allclose(scale_grams(GRAMS).toarray()[[5, 6, 7]], expected, atol=1e-6)


def test_a_batch_by_hand() -> None:
    batch = drawn([2, 1], batch=3)
    assert batch.word_ids.tolist() == [5, 6, 7]
    assert batch.words.tolist() == [[3, 2, 1], [2, 1, 0], [0, 0, 0]]
    assert batch.pair_rows.tolist() == [1]
    assert batch.pairs.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert (batch.labels.tolist(), batch.weights.tolist()) == ([2, 1, 0], [1.0, 1.0, 0.0])
    assert batch.gram_rows.tolist() == [0, 1, 2, 3, 4]
    assert batch.gram_owners.tolist() == [0, 0, 1, 1, 1, 1]
    assert batch.gram_places.tolist() == [0, 2, 1, 2, 3, 4]
    np.testing.assert_allclose(batch.gram_weights, [0.707107, 0.707107, 0.5, 0.5, 0.5, 0.5], atol=1e-6)


def test_left_out_tokens_leave_no_gap() -> None:
    only_pairs = drawn([0], dropout=(1.0, 0.0), batch=1)
    assert only_pairs.word_ids.tolist() == only_pairs.gram_rows.tolist() == []
    assert only_pairs.pair_rows.tolist() == [0, 1]
    assert only_pairs.pairs.tolist() == [[1, 2, 1]]  # the first token had no pair, and its place is taken
    only_words = drawn([0], dropout=(0.0, 1.0), batch=1)
    assert (only_words.words.tolist(), only_words.pairs.tolist()) == ([[1, 2, 1, 2]], [[0, 0, 0, 0]])


def test_nothing_left_is_one_empty_place() -> None:
    empty = drawn([1], dropout=(1.0, 1.0), batch=2)
    assert empty.words.tolist() == empty.pairs.tolist() == [[0], [0]]


def test_what_is_left_out_follows_from_the_seed() -> None:
    def words(*seed: int) -> list[list[int]]:
        return drawn([0, 1, 2], dropout=(0.5, 0.5), seed=list(seed)).words.tolist()

    assert words(0, 1, 2) == words(0, 1, 2)
    assert len({str(words(0, 0, number)) for number in range(8)}) > 4
    assert words(0, 1, 2) != words(1, 1, 2)


def test_the_share_left_out_is_the_one_asked_for() -> None:
    data = Encoded(np.full([1, 4000], 5, np.int32), np.zeros(1, np.int32))
    known = KnownPairs(data.ids, 8, 1)
    batch = sample(
        data, known.rows(data.ids), len(known.pairs), scale_grams(GRAMS), np.array([0]), 1, (0.3, 0.8), [0, 0, 0]
    )
    assert abs(np.sum(batch.words > 0) / 4000 - 0.7) < 0.03
    assert abs(np.sum(batch.pairs > 0) / 4000 - 0.2) < 0.03
    assert abs(np.sum((batch.words > 0) & (batch.pairs > 0)) / 4000 - 0.14) < 0.03  # independent of each other
