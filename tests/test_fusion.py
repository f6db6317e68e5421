"""The scalars that join two models and what calibration is measured by, against values worked out by hand."""

import math

import numpy as np
import pytest

from switch_tf.measuring.fusion import (
    cross_entropy_of,
    expected_calibration_error,
    fuse,
    softmax,
    temperature,
)


def test_cross_entropy_by_hand() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).astype(np.float32) + 7.0
    assert cross_entropy_of(logits, np.array([0, 1])) == pytest.approx((math.log(2) + math.log(10)) / 2, rel=1e-6)


def test_cross_entropy_of_no_numbers_is_no_number() -> None:
    assert math.isnan(cross_entropy_of(np.array([[np.nan, 0.0]]), np.array([0])))


def test_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0 + math.log(3)]])), [[0.25, 0.75]], rtol=1e-9)


def test_fusing_finds_the_scalars_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    wide, deep = random.normal(size=[2, 40_000, 3]) * 2
    chosen = (softmax(0.7 * wide + 0.4 * deep).cumsum(axis=1) > random.random([40_000, 1])).argmax(axis=1)
    assert fuse(wide, deep, chosen) == pytest.approx((0.7, 0.4), abs=0.101)
    assert fuse(wide, random.normal(size=[40_000, 3]), (wide.argmax(axis=1)))[0] == pytest.approx(1.4)


def test_a_deep_path_that_knows_nothing_gets_no_say() -> None:
    random = np.random.default_rng(1)
    wide, noise = random.normal(size=[2, 2000, 2])
    chosen = (softmax(wide)[:, 1] > random.random(2000)).astype(int)
    assert fuse(wide, 10 * noise, chosen)[1] == 0.0


def test_of_few_texts_a_little_better_is_no_better() -> None:
    random = np.random.default_rng(2)
    wide, noise = random.normal(size=[2, 99, 2])
    chosen = (softmax(wide)[:, 1] > random.random(99)).astype(int)
    helpful = np.where(np.eye(2)[chosen] > 0, 1.0, 0.0)
    # Against chance it takes one more text: with 100 the least loss counts, of however little it is the least.
    lucky = noise + 0.1 * helpful
    more = (np.concatenate([each, each[:1]]) for each in (wide, lucky, chosen))
    assert fuse(wide, lucky, chosen)[1] == 0.0 < fuse(*more)[1]
    assert fuse(wide, helpful, chosen)[1] == 1.0  # what is clear is clear on few texts


def test_temperature_finds_what_the_logits_were_multiplied_by() -> None:
    # three of four right at every text: the honest logit is log 3
    expected = np.array([0, 0, 0, 1])
    for factor in (0.5, 1.0, 3.0):
        logits = np.tile([[factor * math.log(3), 0.0]], [4, 1])
        assert temperature(logits, expected) == pytest.approx(factor, rel=1e-3)


def test_temperature_stays_within_its_bounds() -> None:
    assert temperature(np.array([[1.0, 0.0]]), np.array([0])) == pytest.approx(0.2, rel=1e-2)
    assert temperature(np.array([[9.0, 0.0]]), np.array([1])) == pytest.approx(5.0, rel=1e-2)


def test_calibration_error_by_hand() -> None:
    # bins of 0.25: two texts at 0.6 of which one is right (gap 0.2 together), one at 0.9 that is wrong (0.9),
    # one at 1.0 that is right (0): the last two share the last bin, gap 0.9
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.0, 1.0]])
    expected = np.array([0, 0, 1, 1])
    assert expected_calibration_error(probabilities, expected, bins=4) == pytest.approx((0.2 + 0.9) / 4)


def test_calibration_error_of_honest_answers_is_zero() -> None:
    probabilities = np.tile([[0.75, 0.25]], [4, 1])
    assert expected_calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-12)
