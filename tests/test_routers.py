"""Each router is pinned to values worked out by hand, and to plain loops that do what its paper says.

The recurring case is a text of four tokens and three experts, with these probabilities:

    token   0            1            2            3
    p       .6 .3 .1     .5 .1 .4     .2 .7 .1     .3 .6 .1
    best    0, then 1    0, then 2    1, then 0    1, then 0
"""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch_tf.layers.router_scores import (
    balanced_bias,
    direction_logits,
    hypersphere_dimensions,
    hypersphere_logits,
    linear_logits,
    scaled_directions,
    unit,
)
from switch_tf.layers.routers import Routing, expert_choice, keep_best, top1, top2
from switch_tf.layers.token_routes import TokenRoutes, expert_dtype, route_by_tables, token_input, token_tables

PROBABILITIES = [[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]]
ALL = [[True] * 4]


def of_probabilities(*texts: list[list[float]]) -> tf.Tensor:
    """Logits [texts, length, experts] whose softmax is given."""
    return tf.math.log(tf.constant(texts))


def ints(tensor: tf.Tensor) -> list[object]:
    """As nested lists of whole numbers."""
    return list(tensor.numpy().astype(int).tolist())


# --- top-1


def test_top1_by_hand() -> None:
    routing = top1(of_probabilities(PROBABILITIES), tf.constant(ALL), 1)
    assert ints(routing.expert) == [[[0], [0], [1], [1]]]
    assert ints(routing.position) == [[[0], [1], [0], [1]]]
    assert ints(routing.kept) == [[[1], [0], [1], [0]]]
    np.testing.assert_allclose(routing.gate, [[[0.6], [0.5], [0.7], [0.6]]], rtol=1e-6)
    assert ints(routing.tokens_per_expert) == [2, 2, 0]
    np.testing.assert_allclose(routing.mean_probability, [0.4, 0.425, 0.175], rtol=1e-6)
    assert routing.dropped.numpy() == 2
    np.testing.assert_allclose(routing.auxiliary_loss, 1.2375, rtol=1e-6)  # 3 x (0.5 x 0.4 + 0.5 x 0.425)
    np.testing.assert_allclose(routing.margin, [math.log(5 / 4)], rtol=1e-5)  # of token 1
    assert [each.dtype for each in routing[:4]] == [tf.int32, tf.float32, tf.int32, tf.bool]


def test_entropy_is_the_mean_over_real_tokens() -> None:
    logits = of_probabilities([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0], [0.98, 0.01, 0.01]])
    routing = top1(logits, tf.constant([[True, True, False]]), 3)
    np.testing.assert_allclose(routing.entropy, (1.5 * math.log(2) + math.log(3)) / 2, rtol=1e-6)


def test_a_bias_chooses_and_leaves_the_gate_alone() -> None:
    routing = top1(of_probabilities([[0.6, 0.4], [0.9, 0.1]]), tf.constant([[True, True]]), 2, tf.constant([0.0, 0.3]))
    assert ints(routing.expert) == [[[1], [0]]]
    np.testing.assert_allclose(routing.gate, [[[0.4], [0.9]]], rtol=1e-6)
    np.testing.assert_allclose(routing.margin, [0.1], rtol=1e-5)  # 0.7 and 0.6


def test_padding_is_never_routed_and_margins_are_of_real_tokens() -> None:
    logits = of_probabilities([[0.5, 0.5], [0.8, 0.2]], [[0.5, 0.5], [0.5, 0.5]])
    routing = top1(logits, tf.constant([[False, True], [False, False]]), 1)
    assert ints(routing.kept) == [[[0], [1]], [[0], [0]]]
    assert ints(routing.position) == [[[0], [0]], [[0], [0]]]
    np.testing.assert_allclose(routing.margin, [math.log(4), math.inf], rtol=1e-6)
    assert np.isfinite(routing.entropy.numpy())


def test_one_expert_leaves_no_choice() -> None:
    routing = top1(tf.zeros([1, 2, 1]), tf.constant([[True, True]]), 2)
    assert routing.margin.numpy().tolist() == [math.inf]
    assert ints(routing.kept) == [[[1], [1]]]


# --- batch-prioritised order

PRIORITY = of_probabilities([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.99, 0.01]])
PRIORITY_MASK = tf.constant([[True, True, True, True, False]])


@pytest.mark.parametrize(
    ("priority", "kept", "position"),
    [
        ("position", [[[1], [1], [1], [0], [0]]], [[[0], [1], [0], [2], [0]]]),
        ("gate", [[[0], [1], [1], [1], [0]]], [[[0], [0], [0], [1], [0]]]),
    ],
)
def test_room_goes_to_the_first_or_to_the_highest_gate(priority: str, kept: object, position: object) -> None:
    routing = top1(PRIORITY, PRIORITY_MASK, 2, priority=priority)  # type: ignore[arg-type]
    assert ints(routing.kept) == kept
    assert ints(routing.position) == position
    assert routing.dropped.numpy() == 1
    assert ints(routing.tokens_per_expert) == [3, 1]


def test_the_gap_of_gates_that_decided_counts_as_margin() -> None:
    by_gate = top1(PRIORITY, PRIORITY_MASK, 2, priority="gate")
    np.testing.assert_allclose(by_gate.margin, [0.1], rtol=1e-5)  # 0.7 was kept and 0.6 was not
    nothing_dropped = top1(PRIORITY, PRIORITY_MASK, 3, priority="gate")
    np.testing.assert_allclose(nothing_dropped.margin, [math.log(1.5)], rtol=1e-5)


def test_of_equal_gates_the_first_finds_room() -> None:
    routing = top1(of_probabilities([[0.75, 0.25]] * 3), tf.constant([[True] * 3]), 2, priority="gate")
    assert ints(routing.kept) == [[[1], [1], [0]]]
    assert routing.margin.numpy().tolist() == [0.0]


# --- top-2


@pytest.mark.parametrize(
    ("capacity", "kept", "dropped"),
    [
        (1, [[[1, 0], [0, 1], [1, 0], [0, 0]]], 1),
        (2, [[[1, 0], [1, 1], [1, 0], [1, 0]]], 0),
        (3, [[[1, 1], [1, 1], [1, 1], [1, 0]]], 0),
        (4, [[[1, 1], [1, 1], [1, 1], [1, 1]]], 0),
    ],
)
def test_top2_seconds_come_after_all_firsts(capacity: int, kept: object, dropped: int) -> None:
    routing = top2(of_probabilities(PROBABILITIES), tf.constant(ALL), capacity)
    assert ints(routing.expert) == [[[0, 1], [0, 2], [1, 0], [1, 0]]]
    assert ints(routing.position) == [[[0, 2], [1, 0], [0, 2], [1, 3]]]
    assert ints(routing.kept) == kept
    assert routing.dropped.numpy() == dropped
    assert ints(routing.tokens_per_expert) == [4, 3, 1]
    np.testing.assert_allclose(routing.auxiliary_loss, 1.2375, rtol=1e-6)  # of the first choices
    np.testing.assert_allclose(routing.margin, [math.log(5 / 4)], rtol=1e-5)


def test_top2_gates_are_normalised_or_not() -> None:
    logits, mask = of_probabilities(PROBABILITIES), tf.constant(ALL)
    ninths = [[[6 / 9, 3 / 9], [5 / 9, 4 / 9], [7 / 9, 2 / 9], [6 / 9, 3 / 9]]]
    np.testing.assert_allclose(top2(logits, mask, 2).gate, ninths, rtol=1e-6)
    plain = [[[0.6, 0.3], [0.5, 0.4], [0.7, 0.2], [0.6, 0.3]]]
    np.testing.assert_allclose(top2(logits, mask, 2, normalize=False).gate, plain, rtol=1e-6)


def test_top2_by_gate_orders_seconds_by_the_gates_of_their_firsts() -> None:
    zero, one, two, three = PROBABILITIES
    logits = of_probabilities([zero, one, three, two])  # two, of the higher gate, stands last
    by_position = top2(logits, tf.constant(ALL), 3)
    assert ints(by_position.kept) == [[[1, 1], [1, 1], [1, 1], [1, 0]]]
    by_gate = top2(logits, tf.constant(ALL), 3, priority="gate")
    assert ints(by_gate.kept) == [[[1, 1], [1, 1], [1, 0], [1, 1]]]
    assert ints(by_gate.position) == [[[0, 2], [1, 0], [0, 0], [1, 2]]]
    np.testing.assert_allclose(by_gate.margin, [0.1], rtol=1e-5)  # 0.7 and 0.6


def test_top2_margin_looks_at_the_third() -> None:
    routing = top2(of_probabilities([[0.5, 0.26, 0.24]]), tf.constant([[True]]), 1)
    np.testing.assert_allclose(routing.margin, [math.log(26 / 24)], rtol=1e-4)
    routing = top1(of_probabilities([[0.5, 0.26, 0.24]]), tf.constant([[True]]), 1)
    np.testing.assert_allclose(routing.margin, [math.log(50 / 26)], rtol=1e-4)


# --- expert choice


def test_expert_choice_by_hand() -> None:
    routing = expert_choice(of_probabilities(PROBABILITIES), tf.constant(ALL), 2, rooms=[0, 1, 1, 2, 2])
    # expert 0 likes 0 (.6), 1 (.5), 3, 2; expert 1 likes 2 (.7), 3 (.6), 0, 1; expert 2 likes 1 (.4), then equally
    assert ints(routing.kept) == [[[1, 0, 1], [1, 0, 1], [0, 1, 0], [0, 1, 0]]]
    assert ints(routing.position) == [[[0, 0, 0], [1, 0, 1], [2, 0, 2], [2, 1, 2]]]
    assert ints(routing.expert) == [[[0, 1, 2]] * 4]
    np.testing.assert_allclose(routing.gate, [PROBABILITIES], rtol=1e-6)
    assert ints(routing.tokens_per_expert) == [2, 2, 2]
    assert routing.dropped.numpy() == 0
    assert routing.auxiliary_loss.numpy() == 0
    np.testing.assert_allclose(routing.margin, [0.0], atol=1e-7)  # expert 2 likes three tokens equally


def test_expert_choice_leaves_tokens_out() -> None:
    routing = expert_choice(of_probabilities(PROBABILITIES), tf.constant(ALL), 2, rooms=[0, 0, 0, 0, 1])
    assert ints(routing.kept) == [[[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]]
    assert routing.dropped.numpy() == 1  # the last
    np.testing.assert_allclose(routing.margin, [0.1], rtol=1e-5)  # .6 before .5, .7 before .6


def test_experts_never_take_padding_and_count_the_real_tokens_of_each_text() -> None:
    text = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]
    mask = tf.constant([[False, True, True], [False, True, False], [False, False, False], [True, True, True]])
    routing = expert_choice(of_probabilities(text, text, text, text), mask, 2, rooms=[0, 1, 1, 2])
    kept = [
        [[0, 0], [0, 1], [1, 0]],
        [[0, 0], [1, 1], [0, 0]],
        [[0, 0], [0, 0], [0, 0]],
        [[1, 0], [0, 1], [1, 1]],
    ]
    assert ints(routing.kept) == kept
    assert ints(routing.tokens_per_expert) == [4, 4]
    # .7 before .6; nothing was left; nothing was there; .7 before .6 for expert 0 and .3 before .1 for expert 1
    np.testing.assert_allclose(routing.margin, [0.1, math.inf, math.inf, 0.1], rtol=1e-5)


def test_keeping_none() -> None:
    kept, margin = keep_best(tf.ones([1, 3, 1]), tf.ones([1, 3, 1], tf.bool), tf.zeros([1, 1]), 2)
    assert not kept.numpy().any()
    assert margin.numpy().tolist() == [math.inf]


# --- against plain loops


def random_case(seed: int, texts: int = 3) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities with many equal ones, a mask with holes, and a capacity."""
    random = np.random.default_rng(seed)
    length, experts = int(random.integers(1, 9)), int(random.integers(2, 5))
    weights = random.integers(1, 5, [texts, length, experts]).astype(np.float32)
    probabilities = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities, random.random([texts, length]) < 0.8, int(random.integers(1, length + 1))


def by_loops(probabilities: np.ndarray, mask: np.ndarray, capacity: int, choices: int, priority: str) -> np.ndarray:
    """bool [texts, length, choices]: queues as GShard's algorithm 1 and V-MoE's section 4.1 have them."""
    kept = np.zeros([*mask.shape, choices], bool)
    for text, real in enumerate(mask):
        order = np.argsort(-probabilities[text], axis=-1, kind="stable")  # [length, experts]
        tokens = [int(token) for token in np.flatnonzero(real)]
        if priority == "gate":
            tokens.sort(key=lambda token, text=text: -probabilities[text, token].max())  # type: ignore[misc]
        room = [capacity] * probabilities.shape[-1]
        for choice in range(choices):
            for token in tokens:
                expert = order[token, choice]
                if room[expert] > 0:
                    room[expert] -= 1
                    kept[text, token, choice] = True
    return kept


LOOPS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@LOOPS
@given(st.integers(0, 10_000), st.sampled_from(["position", "gate"]), st.sampled_from([1, 2]))
def test_token_choice_is_what_loops_do(seed: int, priority: str, choices: int) -> None:
    probabilities, mask, capacity = random_case(seed)
    logits = tf.math.log(probabilities)
    router = top1 if choices == 1 else top2
    routing = router(logits, tf.constant(mask), capacity, priority=priority)  # type: ignore[arg-type]
    softmax = tf.nn.softmax(logits).numpy()
    np.testing.assert_array_equal(routing.kept.numpy(), by_loops(softmax, mask, capacity, choices, priority))
    _assert_slots_are_taken_once(routing, capacity)


@LOOPS
@given(st.integers(0, 10_000))
def test_expert_choice_is_what_loops_do(seed: int) -> None:
    probabilities, mask, capacity = random_case(seed)
    logits = tf.math.log(probabilities)
    rooms = [min(number, capacity) for number in range(mask.shape[1] + 1)]
    routing = expert_choice(logits, tf.constant(mask), capacity, rooms)
    softmax = tf.nn.softmax(logits).numpy()
    expected = np.zeros(softmax.shape, bool)
    for text, real in enumerate(mask):
        for expert in range(softmax.shape[-1]):
            tokens = sorted(np.flatnonzero(real), key=lambda token: (-softmax[text, token, expert], token))
            expected[text, tokens[: rooms[int(real.sum())]], expert] = True
    np.testing.assert_array_equal(routing.kept.numpy(), expected)
    _assert_slots_are_taken_once(routing, capacity)


def _assert_slots_are_taken_once(routing: Routing, capacity: int) -> None:
    expert, position, kept = (each.numpy() for each in (routing.expert, routing.position, routing.kept))
    assert position[kept].max(initial=0) < capacity
    text = np.indices(kept.shape)[0]
    taken = list(zip(text[kept], expert[kept], position[kept], strict=True))
    assert len(set(taken)) == len(taken)


# --- logits


def test_linear_logits_by_hand() -> None:
    logits = linear_logits(tf.constant([[[1.0, 2.0]]]), tf.constant([[3.0, 0.0, -1.0], [0.5, 1.0, 2.0]]))
    assert logits.numpy().tolist() == [[[4.0, 2.0, 3.0]]]


def test_hypersphere_logits_are_cosines_over_the_temperature() -> None:
    x = tf.constant([[[3.0, 4.0, 7.0], [-30.0, 0.0, 1.0], [0.0, 0.0, 9.0]]])
    projection = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    router = tf.constant([[1.0, 0.0, -3.0], [0.0, 2.0, -4.0]])
    logits = hypersphere_logits(x, projection, router, tf.math.log(0.5))
    np.testing.assert_allclose(logits, [[[1.2, 1.6, -2.0], [-2.0, 0.0, 1.2], [0.0, 0.0, 0.0]]], atol=1e-6)


def test_directions_are_as_long_as_the_logits_need_them() -> None:
    router = np.array([[3.0, 0.0], [4.0, 0.0]], np.float32)
    directions = scaled_directions(router, np.array(math.log(0.5), np.float32))
    np.testing.assert_allclose(directions, [[1.2, 0.0], [1.6, 0.0]], rtol=1e-6)
    assert directions.dtype == np.float32
    logits = direction_logits(tf.constant([[[30.0, 0.0]]]), tf.constant([[1.0, 0.0], [0.0, 1.0]]), directions)
    np.testing.assert_allclose(logits, [[[1.2, 0.0]]], rtol=1e-6)


def test_a_vector_has_a_direction_from_a_millionth_on() -> None:
    short = [[3e-5, 4e-5], [3e-6, 4e-6], [3e-7, 4e-7]]
    expected = [[0.6, 0.8], [0.6, 0.8], [0.3, 0.4]]  # the last is divided by 1e-6, not by its length
    np.testing.assert_allclose(unit(tf.constant(short), axis=-1), expected, rtol=1e-5)
    directions = scaled_directions(np.array(short, np.float32).T, np.array(0.0, np.float32))
    np.testing.assert_allclose(directions.T, expected, rtol=1e-5)


def test_hypersphere_has_half_as_many_dimensions_as_experts() -> None:
    assert [hypersphere_dimensions(experts) for experts in (1, 4, 5, 8, 64)] == [2, 2, 2, 4, 32]


def test_the_bias_of_the_busy_falls_and_of_the_idle_rises() -> None:
    bias = balanced_bias(tf.constant([0.5, 0.0, 0.25]), tf.constant([6.0, 2.0, 4.0]), 0.125)
    assert bias.numpy().tolist() == [0.375, 0.125, 0.25]


def test_a_bias_updated_from_loads_balances_them() -> None:
    random = np.random.default_rng(0)
    logits = tf.constant(random.normal(size=[8, 32, 4]) + np.array([1.5, 0.0, 0.0, -1.0]), tf.float32)
    mask, bias = tf.ones([8, 32], tf.bool), tf.zeros([4])
    loads = []
    for _ in range(60):
        loads.append(top1(logits, mask, 32, bias).tokens_per_expert)
        bias = balanced_bias(bias, loads[-1], 0.01)
    assert np.ptp(loads[0].numpy()) > 100
    assert np.ptp(loads[-1].numpy()) <= 20  # of 64 each


# --- the word alone


def test_token_input_and_tables_by_hand() -> None:
    embeddings = np.array([[3.0, 1.0], [5.0, 9.0], [2.0, 2.0]], np.float32)  # less their means: 1 -1, -2 2, 0 0
    one = 1 / math.sqrt(1.0001)
    two = 2 / math.sqrt(4.0001)
    np.testing.assert_allclose(token_input(embeddings), [[one, -one], [-two, two], [0.0, 0.0]], rtol=1e-6)
    router = np.array([[math.log(3) / 2 / one, 0.0], [0.0, math.log(3) / 2 / one]], np.float32)
    tables = token_tables(embeddings, router)
    assert tables.expert.tolist() == [0, 1, 0]
    assert tables.expert.dtype == np.uint8
    exponent = math.exp(-math.log(3) * two / one)
    np.testing.assert_allclose(tables.gate, [0.75, 1 / (1 + exponent), 0.5], rtol=1e-6)
    assert tables.gate.dtype == np.float32
    biased = token_tables(embeddings, router, np.array([0.0, 0.6], np.float32))
    assert biased.expert.tolist() == [1, 1, 1]
    np.testing.assert_allclose(biased.gate, [0.25, 1 / (1 + exponent), 0.5], rtol=1e-6)


@pytest.mark.parametrize(("experts", "dtype"), [(256, np.uint8), (257, np.int32)])
def test_a_byte_holds_256_experts(experts: int, dtype: type) -> None:
    assert expert_dtype(experts) is dtype
    tables = token_tables(
        np.array([[0.0, 1.0]], np.float32), np.array(np.arange(2 * experts).reshape(2, experts), np.float32)
    )
    assert tables.expert.dtype == dtype


@pytest.mark.parametrize("priority", ["position", "gate"])
def test_tables_route_as_the_router_they_come_from(priority: str) -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=[50, 8]).astype(np.float32)
    router, bias = random.normal(size=[8, 4]).astype(np.float32), np.array([0.0, 0.2, -0.1, 0.0], np.float32)
    ids = random.integers(0, 50, [5, 12])
    mask = tf.constant(ids > 5)
    learnt = top1(
        linear_logits(token_input(tf.gather(embeddings, ids)), router),
        mask,
        3,
        tf.constant(bias),
        priority,  # type: ignore[arg-type]
    )
    tables = token_tables(embeddings, router, bias)
    routes = TokenRoutes(tf.cast(tf.gather(tables.expert, ids), tf.int32), tf.gather(tables.gate, ids))
    looked_up = route_by_tables(routes, mask, 4, 3, priority)  # type: ignore[arg-type]
    for name in ("expert", "position", "kept", "tokens_per_expert", "dropped"):
        np.testing.assert_array_equal(getattr(looked_up, name), getattr(learnt, name), err_msg=name)
    np.testing.assert_allclose(looked_up.gate, learnt.gate, rtol=1e-5)
    assert looked_up.margin.numpy().tolist() == [math.inf] * 5
    assert looked_up.dropped.numpy() > 0


# --- experts that were pruned: the map [0, -1, 1] has dropped the second, [0, 1, 0] has the third share the first's


def test_top1_without_an_expert_by_hand() -> None:
    routing = top1(of_probabilities(PROBABILITIES), tf.constant(ALL), 2, expert_map=[0, -1, 1])
    assert ints(routing.expert) == [[[0], [0], [0], [0]]]  # tokens 2 and 3 take the best of the others
    assert ints(routing.kept) == [[[1], [1], [0], [0]]]
    np.testing.assert_allclose(routing.gate, [[[0.6], [0.5], [0.2], [0.3]]], rtol=1e-6)  # not divided by what is left
    assert ints(routing.tokens_per_expert) == [4, 0, 0]
    np.testing.assert_allclose(routing.margin, [math.log(5 / 4)], rtol=1e-5)  # of token 1, between what is left


def test_top1_of_experts_that_share_weights_by_hand() -> None:
    logits = of_probabilities([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    routing = top1(logits, tf.constant([[True] * 3]), 1, expert_map=[0, 1, 0])
    assert ints(routing.expert) == [[[0], [0], [1]]]
    assert ints(routing.position) == [[[0], [1], [0]]]  # one queue for both that share
    assert ints(routing.kept) == [[[1], [0], [1]]]
    assert ints(routing.tokens_per_expert) == [1, 1, 1]


def test_top2_without_an_expert_and_with_shared_weights_by_hand() -> None:
    logits = of_probabilities(PROBABILITIES)
    routing = top2(logits, tf.constant(ALL), 4, normalize=False, expert_map=[0, -1, 1])
    assert ints(routing.expert) == [[[0, 1]] * 4]
    np.testing.assert_allclose(routing.gate, [[[0.6, 0.1], [0.5, 0.4], [0.2, 0.1], [0.3, 0.1]]], rtol=1e-6)
    shared = top2(logits, tf.constant(ALL), 4, normalize=False, expert_map=[0, 0, 1])
    assert ints(shared.expert) == [[[0, 0], [0, 1], [0, 0], [0, 0]]]
    assert ints(shared.position) == [[[0, 4], [1, 0], [2, 5], [3, 6]]]  # seconds behind all firsts of the same weights
    assert ints(shared.kept) == [[[1, 0], [1, 1], [1, 0], [1, 0]]]


def test_expert_choice_without_an_expert_by_hand() -> None:
    routing = expert_choice(
        of_probabilities(PROBABILITIES), tf.constant(ALL), 2, [0, 1, 1, 2, 2], expert_map=[-1, 1, 0]
    )
    assert ints(routing.kept) == [[[1, 0], [1, 0], [0, 1], [0, 1]]]  # the third takes 1, and 0 before 2 and 3
    np.testing.assert_allclose(routing.gate[0, :, 1], [0.3, 0.1, 0.7, 0.6], rtol=1e-6)
    assert ints(routing.tokens_per_expert) == [0, 2, 2]


def test_routes_of_words_whose_experts_share_weights_by_hand() -> None:
    routes = TokenRoutes(tf.constant([[0, 2, 1, 0]]), tf.constant([[0.5, 0.6, 0.7, 0.8]]))
    routing = route_by_tables(routes, tf.constant(ALL), 3, 2, "position", [0, 1, 0])
    assert ints(routing.expert) == [[[0], [0], [1], [0]]]
    assert ints(routing.kept) == [[[1], [1], [1], [0]]]
    assert ints(routing.tokens_per_expert) == [2, 1, 1]


def test_tables_name_no_expert_that_is_gone() -> None:
    random = np.random.default_rng(0)
    embeddings, router = random.normal(size=[40, 4]), random.normal(size=[4, 3])
    tables = token_tables(embeddings.astype(np.float32), router.astype(np.float32), expert_map=[0, -1, 1])
    assert set(tables.expert.tolist()) == {0, 2}
