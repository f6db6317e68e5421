"""Bounds of the gate, by hand: what is improbable of a healthy model, and what rounding may change."""

from math import comb

import pytest

from switch_tf.export.proof.bounds import (
    NEAR_TIE_IMPROBABLE,
    NEAR_TIE_SHARE,
    ROUNDING,
    max_loss,
    probability_of_as_many,
    too_many_near_ties,
)


@pytest.mark.parametrize(
    ("count", "trials", "share", "expected"),
    [
        (0, 5, 0.5, 1.0),
        (1, 2, 0.5, 0.75),  # all but both missing
        (2, 3, 0.5, 0.5),  # 3/8 + 1/8
        (1, 528, 0.001, 0.410372),  # 1 - 0.999 ** 528
        (2, 528, 0.001, 0.098737),  # less 528 x 0.001 x 0.999 ** 527
        (4, 528, 0.001, 0.002113),
        (5, 528, 0.001, 0.000218),
        (4, 3, 0.5, 0.0),
    ],
)
def test_as_many_have_the_probability_of_the_binomial_distribution(count, trials, share, expected):
    assert probability_of_as_many(count, trials, share) == pytest.approx(expected, abs=6e-6)


def test_it_is_the_sum_of_the_terms_written_out():
    terms = [comb(40, k) * 0.1**k * 0.9 ** (40 - k) for k in range(41)]
    for count in range(41):
        assert probability_of_as_many(count, 40, 0.1) == pytest.approx(sum(terms[count:]), rel=1e-9)


@pytest.mark.parametrize(
    ("texts", "most"),
    # One text alone may be a near-tie by chance (0.001 is not below 0.001); two of ten have 45e-6.
    [(1, 1), (10, 1), (100, 2), (528, 4), (2000, 8), (10_000, 21), (1_000_000, 1_099)],
)
def test_most_near_ties_that_pass(texts, most):
    assert (NEAR_TIE_SHARE, NEAR_TIE_IMPROBABLE) == (0.001, 0.001)
    assert not too_many_near_ties(most, texts)
    assert too_many_near_ties(most + 1, texts)


def test_a_share_of_one_percent_is_too_many_once_it_can_be_told():
    assert not too_many_near_ties(1, 100)
    assert too_many_near_ties(10, 1000)


def test_two_labels_may_change_however_few_texts_there_are():
    assert ROUNDING["int8"].changed_share(40) == 0.05
    assert ROUNDING["int8"].changed_share(1000) == 0.03
    assert ROUNDING["float16"].changed_share(1000) == 0.005


def test_points_of_accuracy():
    assert (max_loss(complete=True), max_loss(complete=False)) == (1.0, 2.0)
