"""Routing decides what a model computes, so its indices and losses are pinned to values worked out by hand.

The recurring case is two examples of six tokens and two experts; the second example starts with padding:

    example 0   expert    0  0  1  0  1  1      example 1   expert    -  1  1  0  0  1
                position  0  1  0  2  1  2                  position  -  0  1  0  1  2
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch_tf.layers.dispatch import Slots, assign_slots
from switch_tf.layers.routers import top1
from switch_tf.layers.routing import expert_capacity, load_balancing_loss, position_in_expert, router_z_loss

EXPERTS = [[0, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 1]]
MASK = [[True] * 6, [False] + [True] * 5]


def logits_choosing(experts: list[list[int]], num_experts: int = 2, odds: float = 3.0) -> tf.Tensor:
    """Logits that favour each token's given expert by `odds` to 1 over each of the others."""
    return tf.one_hot(experts, num_experts, on_value=math.log(odds), off_value=0.0)


def random_case(batch: int, length: int, num_experts: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Normal logits, and a mask with holes anywhere, so that padding stands in front, between and behind."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=[batch, length, num_experts]).astype(np.float32)
    return tf.constant(logits), tf.constant(random.random([batch, length]) < 0.7)


def slots_of(logits: tf.Tensor, mask: tf.Tensor, capacity: int) -> Slots:
    return assign_slots(top1(logits, mask, capacity), logits.shape[-1], capacity)


# --- capacity


@pytest.mark.parametrize(
    ("length", "num_experts", "factor", "minimum", "expected"),
    [
        (256, 8, 1.25, 1, 40),  # 40 exactly
        (12, 4, 1.0, 1, 3),  # an even share
        (13, 4, 1.0, 1, 4),  # 3.25 rounds up
        (11, 4, 1.0, 1, 3),  # 2.75 rounds up
        (9, 8, 1.0, 1, 2),  # 1.125 rounds up
        (16, 4, 0.75, 1, 3),
        (16, 4, 1.000001, 1, 5),  # a trifle over 4 rounds up
        (16, 4, 0.999999, 1, 4),
        (100, 10, 1.1, 1, 11),  # 11.000000000000002 in floats
        (100, 5, 0.55, 1, 11),
        (3, 1, 2 / 3, 1, 2),  # rounded to six decimals, 0.666667, it would be 3
        (16, 4, 1.00000001, 1, 5),
        (64, 4, 1e308, 1, 64),
        (64, 4, 1.25, 1, 20),
        (8, 8, 0.5, 1, 1),  # the minimum
        (8, 8, 1.0, 4, 4),
        (8, 8, 5.0, 4, 5),  # not a maximum
        (1, 8, 1.25, 1, 1),
        (64, 4, 1e-9, 1, 1),
        (10, 4, 9.9, 1, 10),  # never more than there are tokens
        (8, 8, 1.0, 100, 8),
        (64, 1, 1.0, 1, 64),
    ],
)
def test_capacity_is_the_share_rounded_up_within_its_bounds(
    length: int, num_experts: int, factor: float, minimum: int, expected: int
) -> None:
    capacity = expert_capacity(length, num_experts, factor, minimum)
    assert capacity == expected
    assert type(capacity) is int


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.integers(1, 8192), st.integers(1, 4096), st.integers(1, 10_000), st.integers(1, 64))
def test_capacity_is_exact_for_factors_with_three_decimals(
    length: int, num_experts: int, thousandths: int, minimum: int
) -> None:
    share = math.ceil(Fraction(thousandths * length, 1000 * num_experts))
    assert expert_capacity(length, num_experts, thousandths / 1000, minimum) == min(length, max(minimum, share))


# --- positions, overflow, gate


def test_position_counts_earlier_tokens_of_the_same_expert_from_0() -> None:
    chosen = tf.one_hot([[0, 0, 1, 0, 1, 1], [-1, 1, 1, 0, -1, 1]], 2)  # one_hot(-1) is all zero, as at padding
    position = position_in_expert(chosen)
    assert position.numpy().tolist() == [[0, 1, 0, 2, 1, 2], [0, 0, 1, 0, 0, 2]]
    assert position.dtype == tf.int32


def test_position_of_long_texts_counts_from_0_too() -> None:
    experts = np.array([[0, 0, 1, -1, *[0] * 252, 1, 0, 0]])  # longer than the product is made for
    expected = [0, 1, 0, 0, *range(2, 254), 1, 254, 255]
    assert position_in_expert(tf.one_hot(experts, 2)).numpy().tolist() == [expected]


def test_position_is_rounded_where_products_end_a_hair_below() -> None:
    chosen = 0.999 * tf.one_hot([[0, 0, 1, 0, 0]], 2)
    assert position_in_expert(chosen).numpy().tolist() == [[0, 1, 0, 2, 3]]


@pytest.mark.parametrize(
    ("capacity", "kept", "dropped"),
    [
        (1, [[1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0]], 7),
        (2, [[1, 1, 1, 0, 1, 0], [0, 1, 1, 1, 1, 0]], 3),
        (3, [[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]], 0),
        (6, [[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]], 0),
    ],
)
def test_exactly_the_tokens_behind_a_full_queue_are_dropped(capacity: int, kept: list[list[int]], dropped: int) -> None:
    routing = top1(logits_choosing(EXPERTS), tf.constant(MASK), capacity)
    assert routing.kept.numpy()[..., 0].astype(int).tolist() == kept
    assert routing.dropped.numpy() == dropped


def test_a_whole_routing_by_hand() -> None:
    routing = top1(logits_choosing(EXPERTS), tf.constant(MASK), 2)
    assert routing.expert.numpy()[..., 0].tolist() == EXPERTS
    assert routing.position.numpy()[..., 0].tolist() == [[0, 1, 0, 2, 1, 2], [0, 0, 1, 0, 1, 2]]
    assert routing.tokens_per_expert.numpy().tolist() == [5, 6]  # those dropped included
    np.testing.assert_allclose(routing.gate, np.full([2, 6, 1], 0.75), rtol=1e-6)
    # 5 real tokens give expert 0 a probability of 3/4 and 6 give it 1/4
    np.testing.assert_allclose(routing.mean_probability, [5.25 / 11, 5.75 / 11], rtol=1e-6)
    types = [tensor.dtype for tensor in routing]
    assert types == [tf.int32, tf.float32, tf.int32, tf.bool, *[tf.float32] * 6]


def test_gate_is_the_probability_of_the_chosen_expert() -> None:
    probabilities = np.array([[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.01, 0.01, 0.98]]], np.float32)
    routing = top1(tf.math.log(probabilities) + 7.0, tf.fill([1, 3], True), 3)
    assert routing.expert.numpy()[..., 0].tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(routing.gate, [[[0.5], [0.6], [0.98]]], rtol=1e-5)
    np.testing.assert_allclose(routing.mean_probability, probabilities.mean(axis=(0, 1)), rtol=1e-5)


def test_equal_logits_go_to_the_first_expert() -> None:
    routing = top1(tf.constant([[[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]]]), tf.fill([1, 2], True), 2)
    assert routing.expert.numpy()[..., 0].tolist() == [[0, 1]]


def test_the_gate_of_equal_logits_moves_with_the_chosen_expert_alone() -> None:
    logits = tf.constant([[[1.0, 1.0]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        gate = top1(logits, tf.constant([[True]]), 1).gate
    assert tape.gradient(gate, logits).numpy().tolist() == [[[0.25, -0.25]]]  # p (1 - p) and -p (1 - p)


def test_huge_logits_stay_finite() -> None:
    routing = top1(tf.constant([[[1e30, -1e30], [0.0, 3e38]]]), tf.fill([1, 2], True), 2)
    assert routing.gate.numpy()[..., 0].tolist() == [[1.0, 1.0]]
    assert routing.mean_probability.numpy().tolist() == [0.5, 0.5]


def test_one_expert_takes_every_token_with_a_gate_of_1() -> None:
    routing = top1(tf.random.stateless_normal([2, 5, 1], [1, 2]), tf.fill([2, 5], True), 5)
    assert routing.gate.numpy()[..., 0].tolist() == [[1.0] * 5] * 2
    assert routing.position.numpy()[..., 0].tolist() == [[0, 1, 2, 3, 4]] * 2


# --- padding


@pytest.mark.parametrize("mask", ["001111", "110011", "111100", "010101", "000000", "111111"])
def test_padding_is_never_routed(mask: str) -> None:
    """All six tokens want expert 1, so that each padding token would push a real one out."""
    real = np.array([[digit == "1" for digit in mask]])
    count = int(real.sum())
    routing = top1(logits_choosing([[1] * 6]), tf.constant(real), 2)
    assert routing.position.numpy()[..., 0][real].tolist() == list(range(count))
    assert not routing.kept.numpy()[..., 0][~real].any()
    assert routing.kept.numpy()[..., 0][real].tolist() == [i < 2 for i in range(count)]
    assert routing.tokens_per_expert.numpy().tolist() == [0, count]
    assert routing.dropped.numpy() == max(count - 2, 0)
    np.testing.assert_allclose(routing.mean_probability, [0.25, 0.75] if count else [0.0, 0.0], rtol=1e-6)

    slots = assign_slots(routing, 2, 2)
    assert (slots.of_choice.numpy()[~real[0]] == 4).all()  # 4 is no slot
    filled = np.flatnonzero(real[0])[:2].tolist()
    assert slots.choice.numpy().tolist() == [6, 6, *filled, *[6] * (2 - len(filled))]  # 6 is no token


def test_what_stands_at_padding_changes_nothing() -> None:
    logits, mask = random_case(4, 10, 3, seed=0)
    other = tf.where(mask[..., tf.newaxis], logits, 50.0 * random_case(4, 10, 3, seed=1)[0])
    for capacity in (1, 2, 10):
        routing, changed = top1(logits, mask, capacity), top1(other, mask, capacity)
        assert_same(changed.kept, routing.kept)
        assert_same(changed.tokens_per_expert, routing.tokens_per_expert)
        assert_same(changed.mean_probability, routing.mean_probability)
        assert_same(changed.dropped, routing.dropped)
        for field in ("expert", "gate", "position"):
            assert_same(getattr(changed, field)[mask], getattr(routing, field)[mask])
        for slots, expected in zip(slots_of(other, mask, capacity), slots_of(logits, mask, capacity), strict=True):
            assert_same(slots, expected)
    assert router_z_loss(other, mask) == router_z_loss(logits, mask)


def test_padding_columns_behind_change_nothing_at_equal_capacity() -> None:
    logits, mask = random_case(4, 10, 3, seed=2)
    longer = tf.concat([logits, 9.0 * random_case(4, 5, 3, seed=3)[0]], axis=1)
    longer_mask = tf.concat([mask, tf.fill([4, 5], False)], axis=1)
    for capacity in (1, 2, 10):
        routing, padded = top1(logits, mask, capacity), top1(longer, longer_mask, capacity)
        for field in ("expert", "gate", "position", "kept"):
            assert_same(getattr(padded, field)[:, :10], getattr(routing, field))
        assert not padded.kept.numpy()[:, 10:].any()
        assert_same(padded.tokens_per_expert, routing.tokens_per_expert)
        np.testing.assert_allclose(padded.mean_probability, routing.mean_probability, rtol=1e-6)
        assert padded.dropped == routing.dropped
    np.testing.assert_allclose(router_z_loss(longer, longer_mask), router_z_loss(logits, mask), rtol=1e-6)


# --- each example is a group of its own


@pytest.mark.parametrize("batch", [7, 64])
def test_a_text_is_routed_the_same_alone_and_in_a_batch(batch: int) -> None:
    logits, mask = random_case(batch, 16, 4, seed=batch)
    together = top1(logits, mask, 3)
    assert together.dropped > 0
    for b in range(batch):
        alone = top1(logits[b : b + 1], mask[b : b + 1], 3)
        for field in ("expert", "gate", "position", "kept"):
            assert_same(getattr(together, field)[b], getattr(alone, field)[0])


# --- losses


def test_balanced_routing_costs_1() -> None:
    assert load_balancing_loss(tf.fill([4], 25.0), tf.fill([4], 0.25)) == 1.0


@pytest.mark.parametrize("num_experts", [1, 2, 8])
def test_collapsed_routing_costs_the_number_of_experts(num_experts: int) -> None:
    routing = top1(logits_choosing([[0] * 6] * 3, num_experts, odds=1e30), tf.fill([3, 6], True), 6)
    assert load_balancing_loss(routing.tokens_per_expert, routing.mean_probability) == num_experts


def test_load_balancing_loss_of_two_examples_of_four_tokens_by_hand() -> None:
    routing = top1(logits_choosing([[0, 0, 0, 1], [0, 0, 1, 1]]), tf.fill([2, 4], True), 1)
    # f = 5/8, 3/8;  P = (5 x 3/4 + 3 x 1/4) / 8, (5 x 1/4 + 3 x 3/4) / 8 = 4.5/8, 3.5/8
    # 2 (5 x 4.5 + 3 x 3.5) / 64 = 33/32, whatever the capacity
    assert load_balancing_loss(routing.tokens_per_expert, routing.mean_probability).numpy() == pytest.approx(33 / 32)


def test_load_balancing_loss_counts_real_tokens_only() -> None:
    mask = tf.constant([[True, True, False, False], [False, True, True, True]])
    routing = top1(logits_choosing([[0, 1, 1, 1], [1, 0, 0, 0]]), mask, 4)
    # f = 4/5, 1/5;  P = (4 x 3/4 + 1/4) / 5, (4 x 1/4 + 3/4) / 5 = 3.25/5, 1.75/5
    # 2 (4 x 3.25 + 1.75) / 25 = 29.5/25
    assert load_balancing_loss(routing.tokens_per_expert, routing.mean_probability).numpy() == pytest.approx(1.18)


def test_load_balancing_loss_differentiates_the_probabilities_alone() -> None:
    tokens, probability = tf.constant([5.0, 3.0]), tf.constant([0.6, 0.4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([tokens, probability])
        loss = load_balancing_loss(tokens, probability)
    assert loss.numpy() == pytest.approx(2 * (5 * 0.6 + 3 * 0.4) / 8)
    assert tape.gradient(loss, tokens) is None
    assert tape.gradient(loss, probability).numpy().tolist() == [2 * 5 / 8, 2 * 3 / 8]  # E f


def test_z_loss_by_hand() -> None:
    logits = tf.math.log([[[3.0, 1.0], [1.0, 1.0]], [[6.0, 4.0], [1e9, 1e9]]])
    mask = tf.constant([[True, True], [True, False]])
    expected = (math.log(4) ** 2 + math.log(2) ** 2 + math.log(10) ** 2) / 3
    assert router_z_loss(logits, mask).numpy() == pytest.approx(expected)


def test_z_loss_is_zero_for_normalised_logits() -> None:
    assert router_z_loss(tf.math.log([[[0.25, 0.75]]]), tf.constant([[True]])).numpy() == pytest.approx(0, abs=1e-12)


def test_a_batch_without_a_real_token_costs_nothing() -> None:
    logits, nobody = logits_choosing(EXPERTS), tf.fill([2, 6], False)
    routing = top1(logits, nobody, 2)
    assert load_balancing_loss(routing.tokens_per_expert, routing.mean_probability) == 0.0
    assert router_z_loss(logits, nobody) == 0.0
    assert routing.dropped == 0.0


def test_a_batch_with_one_real_token_divides_by_one() -> None:
    logits, one = logits_choosing(EXPERTS), tf.constant([[False] * 6, [False, True] + [False] * 4])
    routing = top1(logits, one, 2)
    np.testing.assert_allclose(routing.mean_probability, [0.25, 0.75], rtol=1e-6)
    # f = 0, 1: 2 x 1 x 3/4;  logsumexp = ln(3 + 1)
    assert load_balancing_loss(routing.tokens_per_expert, routing.mean_probability).numpy() == pytest.approx(1.5)
    assert router_z_loss(logits, one).numpy() == pytest.approx(math.log(4) ** 2)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    batch, length, num_experts = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    wanted = st.lists(st.integers(0, num_experts - 1), min_size=batch * length, max_size=batch * length)
    masks = st.lists(st.booleans(), min_size=batch * length, max_size=batch * length)
    logits = np.eye(num_experts, dtype=np.float32)[draw(wanted)].reshape([batch, length, num_experts])
    return logits, np.reshape(draw(masks), [batch, length]), draw(st.integers(1, length))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_first_come_first_served_as_in_a_plain_loop(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    logits, mask, capacity = case
    batch, length, num_experts = logits.shape
    queues: dict[tuple[int, int], list[int]] = {(e, b): [] for e in range(num_experts) for b in range(batch)}
    for b, i in np.ndindex(batch, length):
        if mask[b, i]:
            queues[int(logits[b, i].argmax()), b].append(b * length + i)

    routing = top1(tf.constant(logits), tf.constant(mask), capacity)
    slots = assign_slots(routing, num_experts, capacity)
    token = slots.choice.numpy().reshape([num_experts, batch, capacity])
    seated: dict[int, int] = {}
    for (e, b), queue in queues.items():
        served = queue[:capacity]
        assert token[e, b].tolist() == served + [batch * length] * (capacity - len(served))
        seated |= {t: (e * batch + b) * capacity + place for place, t in enumerate(served)}
    nowhere = num_experts * batch * capacity
    assert slots.of_choice.numpy().tolist() == [seated.get(t, nowhere) for t in range(batch * length)]
    assert np.flatnonzero(routing.kept).tolist() == sorted(seated)
    assert routing.dropped.numpy() == mask.sum() - len(seated)


def assert_same(received: tf.Tensor, expected: tf.Tensor) -> None:
    np.testing.assert_array_equal(np.asarray(received), np.asarray(expected))
