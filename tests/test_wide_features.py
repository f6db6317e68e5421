"""Four texts of which every feature is worked out by hand."""

import numpy as np
import pytest

from switch_tf.text.ngrams import word_grams
from switch_tf.training import wide_features
from switch_tf.training.wide_features import count_classes, count_features, make_features, weigh_features

GRAMS = word_grams([b"cat", b"cats", b"dog"], 5, 2)  # ids 2, 3 and 4; the first two share <ca, cat and <cat
IDS = np.array([[2, 4, 0], [3, 2, 2], [4, 0, 0], [1, 2, 0]], np.int32)
LABELS = np.array([1, 0, 1, 1], np.int32)
SIZES = np.array([1, 3])


def test_words_and_pairs_are_counted() -> None:
    words, pairs, known = count_features(IDS, 5, 1)
    assert words.toarray().tolist() == [[0, 0, 1, 0, 1], [0, 0, 2, 1, 0], [0, 0, 0, 0, 1], [0, 1, 1, 0, 0]]
    assert known.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 0], [2, 2], [2, 4], [3, 2], [4, 0]]
    assert known.dtype == np.int32 and words.dtype == pairs.dtype == np.float32
    assert pairs.toarray().tolist() == [
        [0, 1, 0, 0, 0, 0, 0, 1, 0, 1],
        [0, 0, 1, 0, 0, 1, 1, 0, 1, 0],
        [0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 1, 1, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("texts", [1, 3])
def test_counts_of_parts_are_those_of_all_together(texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = count_features(IDS, 5, 2)
    monkeypatch.setattr(wide_features, "_TEXTS", texts)
    found = count_features(IDS, 5, 2)
    assert [each.tolist() for each in (found[0].toarray(), found[1].toarray(), found[2])] == [
        each.tolist() for each in (expected[0].toarray(), expected[1].toarray(), expected[2])
    ]


@pytest.mark.parametrize(("at_least", "known"), [(2, [[2, 0], [4, 0]]), (3, [])])
def test_rare_pairs_are_left_out(at_least: int, known: list[list[int]]) -> None:
    _, pairs, found = count_features(IDS, 5, at_least)
    assert found.tolist() == known and pairs.shape == (4, len(known)) and pairs.sum() == 2 * len(known)


def test_pairs_of_a_large_vocabulary_are_told_apart() -> None:
    ids = np.array([[999_999, 999_998], [999_999, 999_998]], np.int32)
    _, pairs, known = count_features(ids, 1_000_000, 2)
    assert known.tolist() == [[0, 999_999], [999_998, 0], [999_999, 999_998]]
    assert pairs.toarray().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_texts_of_each_class_are_counted_once_a_feature() -> None:
    words, _, _ = count_features(IDS, 5, 1)
    assert count_classes(words, LABELS, 2).tolist() == [[0, 0], [0, 1], [1, 2], [1, 0], [0, 2]]


def test_weights_of_words() -> None:
    idf, scale = weigh_features(np.array([[0.0, 1.0], [1.0, 2.0], [1.0, 0.0], [0.0, 2.0], [2.0, 2.0]]), SIZES)
    # 1 more than the logarithms of 5/2, 5/4, 5/2, 5/3 and 5/5
    np.testing.assert_allclose(idf, [1.9162907, 1.2231436, 1.9162907, 1.5108256, 1.0], rtol=1e-6)
    # the larger of |log(1 / (1/3 + 1))| and log 2; of log(2 / (2/3 + 1)) and |log(3/4)|; of log 2 and |log(1/4)|; of
    # |log(1 / (2/3 + 1))| and log 3; of log(3 / (2/3 + 1)) and |log(3/7)|; all to the power 3/4
    np.testing.assert_allclose(scale, [0.7596589, 0.3928115, 1.2775887, 1.0730830, 0.8831353], rtol=1e-5)


def test_a_class_without_texts_leaves_finite_weights() -> None:
    idf, scale = weigh_features(np.array([[1.0, 0.0, 2.0]]), np.array([2, 0, 2]))
    assert np.isfinite(idf).all() and np.isfinite(scale).all()


def test_features() -> None:
    words, pairs, _ = count_features(IDS, 5, 2)
    features = make_features(words, pairs, GRAMS, LABELS, 2)
    assert features.used_words.tolist() == [1, 2, 3, 4] and features.used_grams.tolist() == [0, 1, 2]
    assert features.num_grams == 3
    np.testing.assert_allclose(features.word_idf, [2.6094379, 1.9162907, 1.2231436, 1.9162907, 1.5108256], rtol=1e-6)
    # roots of the sums of squares: 2.461965, 2.991142, 2.136630 and 2.729624
    np.testing.assert_allclose(
        features.words.toarray(),
        [[0, 0.496816, 0, 0.613667], [0, 0.817844, 0.640655, 0], [0, 0, 0, 0.707107], [0.702035, 0.448100, 0, 0]],
        atol=2e-6,
    )
    np.testing.assert_allclose(
        features.pairs.toarray(), [[0, 0.658515], [0.383704, 0], [0, 0.758785], [0.420465, 0]], atol=2e-6
    )
    gram = 0.8831353 / 3**0.5
    np.testing.assert_allclose(
        features.word_parts.toarray(),
        [
            [0.7596589, 0, 0, 0, 0, 0, 0],
            [0, 0.3928115, 0, 0, gram, gram, gram],
            [0, 0, 1.2775887, 0, gram, gram, gram],
            [0, 0, 0, 1.0730830, 0, 0, 0],
        ],
        rtol=1e-5,
    )


def test_a_word_of_one_text_stands_for_the_unknown_word_too() -> None:
    """Word 3 is in one text of class 0, the unknown word in one of class 1: together in one text of each class."""
    words, pairs, _ = count_features(IDS, 5, 2)
    plain = make_features(words, pairs, GRAMS, LABELS, 2)
    features = make_features(words, pairs, GRAMS, LABELS, 2, rare_as_unknown=True)
    expected = plain.word_parts.toarray()
    # of log(2 / (1/3 + 1)) and |log(2 / (3 + 1))| the larger one, to the power 3/4
    expected[2, 0] = 0.6931472**0.75
    np.testing.assert_allclose(features.word_parts.toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(features.words.toarray(), plain.words.toarray())
    unseen, _, _ = count_features(np.array([[2, 3, 0], [2, 4, 4]], np.int32), 5, 9)
    features = make_features(unseen, pairs[:2, :0], GRAMS, np.array([0, 1]), 2, rare_as_unknown=True)
    assert features.used_words.tolist() == [1, 2, 3, 4]  # the unknown word has a column, though no text has it
    # words 3 and 4 are in one text each: the unknown one in a text of each class, where log(2 / (1 + 1)) is 0
    assert features.word_parts.toarray()[:, 0].tolist() == [0, 0, 0, 0]


def test_words_and_grams_that_no_text_has_take_no_room() -> None:
    words, pairs, _ = count_features(np.array([[4, 0], [1, 4]], np.int32), 5, 1)
    features = make_features(words, pairs, GRAMS, np.array([0, 1]), 2)
    assert features.used_words.tolist() == [1, 4] and features.used_grams.tolist() == []
    assert features.word_parts.shape == (2, 2)
