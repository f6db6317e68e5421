"""How tokens reach experts and come back, for every router: against values worked out by hand, and each other.

The recurring case is two texts of six tokens and two experts; the second text starts with padding:

    text 0   expert    0  0  1  0  1  1      text 1   expert    -  1  1  0  0  1
             position  0  1  0  2  1  2               position  -  0  1  0  1  2
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.layers.dispatch import (
    assign_slots,
    combine,
    combine_by_product,
    dispatch,
    dispatch_by_product,
    one_hot_slots,
)
from switch_tf.layers.routers import Routing, expert_choice, top1, top2

EXPERTS = [[0, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 1]]
MASK = [[True] * 6, [False] + [True] * 5]
BATCH, LENGTH, NUM_EXPERTS, WIDTH = 5, 12, 4, 3
ROUTERS: dict[str, Callable[[tf.Tensor, tf.Tensor, int], Routing]] = {
    "top1": top1,
    "top1 by gate": lambda logits, mask, capacity: top1(logits, mask, capacity, priority="gate"),
    "top2": top2,
    "top2 by gate": lambda logits, mask, capacity: top2(logits, mask, capacity, priority="gate"),
    "expert_choice": lambda logits, mask, capacity: expert_choice(
        logits, mask, capacity, [min(capacity, tokens) for tokens in range(LENGTH + 1)]
    ),
}
every_router = pytest.mark.parametrize("router", ROUTERS)


def by_hand(capacity: int) -> Routing:
    """The recurring case; each gate is 3/4."""
    return top1(tf.one_hot(EXPERTS, 2, on_value=math.log(3)), tf.constant(MASK), capacity)


def routed(router: str, capacity: int, seed: int) -> Routing:
    """Normal logits, and a mask with holes anywhere."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=[BATCH, LENGTH, NUM_EXPERTS]).astype(np.float32)
    return ROUTERS[router](tf.constant(logits), tf.constant(random.random([BATCH, LENGTH]) < 0.7), capacity)


def test_slots_by_hand_with_overflow() -> None:
    slots = assign_slots(by_hand(2), 2, 2)
    # expert 0, text 0 holds slots 0 and 1; expert 0, text 1 slots 2 and 3; expert 1 then 4 to 7; 8 is no slot
    assert slots.of_choice.numpy().tolist() == [0, 1, 4, 8, 5, 8, 8, 6, 7, 2, 3, 8]
    assert slots.choice.numpy().tolist() == [0, 1, 9, 10, 2, 4, 7, 8]
    assert slots.of_choice.dtype == slots.choice.dtype == tf.int32
    assert slots.choices == 1


def test_slots_by_hand_with_room_to_spare() -> None:
    slots = assign_slots(by_hand(3), 2, 3)
    assert slots.of_choice.numpy().tolist() == [0, 1, 6, 2, 7, 8, 12, 9, 10, 3, 4, 11]  # 12 is no slot
    assert slots.choice.numpy().tolist() == [0, 1, 3, 9, 10, 12, 2, 4, 5, 7, 8, 11]  # and 12 is no token


def test_slots_of_two_choices_by_hand() -> None:
    """Tokens prefer 0 then 1, 0 then 2, 1 then 0: each expert has two slots, and 6 is no slot."""
    probabilities = tf.constant([[[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1]]])
    slots = assign_slots(top2(tf.math.log(probabilities), tf.constant([[True] * 3]), 2), 3, 2)
    assert slots.of_choice.numpy().tolist() == [0, 3, 1, 4, 2, 6]
    assert slots.choice.numpy().tolist() == [0, 2, 4, 1, 3, 6]  # the second of token 2 found expert 0 full
    assert slots.choices == 2


@pytest.mark.parametrize("training", [False, True])
def test_dispatch_and_combine_by_hand(training: bool) -> None:
    routing = by_hand(3)
    slots = assign_slots(routing, 2, 3)
    tokens = tf.reshape(tf.range(1.0, 25.0), [12, 2])  # token t is [2t + 1, 2t + 2]
    placed = dispatch(tokens, slots, 2, training)
    assert placed[..., 0].numpy().tolist() == [[1, 3, 7, 19, 21, 0], [5, 9, 11, 15, 17, 23]]
    assert placed[..., 1].numpy().tolist() == [[2, 4, 8, 20, 22, 0], [6, 10, 12, 16, 18, 24]]

    answers = 10.0 * placed + 100.0  # the empty slot answers, too, and nobody must hear it
    returned = combine(answers, slots, tf.fill([2, 6, 1], 0.5), training)
    assert returned[:, 0].numpy().tolist() == [55, 65, 75, 85, 95, 105, 0, 125, 135, 145, 155, 165]


def test_two_results_are_weighted_and_summed() -> None:
    probabilities = tf.constant([[[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1]]])
    slots = assign_slots(top2(tf.math.log(probabilities), tf.constant([[True] * 3]), 2), 3, 2)
    placed = dispatch(tf.constant([[1.0], [2.0], [3.0]]), slots, 3)
    assert placed[..., 0].numpy().tolist() == [[1, 2], [3, 1], [2, 0]]
    answers = placed + tf.constant([[[10.0]], [[20.0]], [[30.0]]])
    gate = tf.constant([[[0.5, 0.25], [1.0, 0.5], [2.0, 9.0]]])
    # 11 / 2 + 21 / 4; 12 + 32 / 2; 2 x 23, since its second choice was dropped
    assert combine(answers, slots, gate)[:, 0].numpy().tolist() == [10.75, 28.0, 46.0]


def test_the_matrix_of_slots_by_hand_with_overflow() -> None:
    slots = one_hot_slots(by_hand(2), 2, 2, tf.float32)  # columns: expert 0's two slots, then expert 1's
    places = [[int(np.argmax(row)) if row.any() else None for row in each] for each in slots.numpy()]
    assert places == [[0, 1, 2, None, 3, None], [None, 2, 3, 0, 1, None]]
    assert slots.numpy().sum() == 8 and slots.dtype == tf.float32
    gate = tf.fill([2, 6, 1], 0.25)
    assert one_hot_slots(by_hand(2), 2, 2, tf.float32, gate).numpy().tolist() == (0.25 * slots).numpy().tolist()


@every_router
@pytest.mark.parametrize("capacity", [1, 2, 5, 12])
def test_slots_are_where_the_router_put_the_tokens(router: str, capacity: int) -> None:
    """The map and its inverse, by plain loops."""
    routing = routed(router, capacity, seed=capacity)
    slots = assign_slots(routing, NUM_EXPERTS, capacity)
    expert, position, kept = (each.numpy() for each in (routing.expert, routing.position, routing.kept))
    of_choice = np.full(kept.size, NUM_EXPERTS * BATCH * capacity)
    choice = np.full(NUM_EXPERTS * BATCH * capacity, kept.size)
    for number, (text, token, which) in enumerate(np.ndindex(kept.shape)):
        if kept[text, token, which]:
            slot = (expert[text, token, which] * BATCH + text) * capacity + position[text, token, which]
            of_choice[number], choice[slot] = slot, number
    np.testing.assert_array_equal(slots.of_choice, of_choice)
    np.testing.assert_array_equal(slots.choice, choice)
    assert 0 < kept.sum() == np.sum(choice < kept.size)


@every_router
@pytest.mark.parametrize("capacity", [1, 5, 12])
def test_products_move_tokens_as_gathers_do(router: str, capacity: int) -> None:
    routing = routed(router, capacity, seed=20 + capacity)
    slots = assign_slots(routing, NUM_EXPERTS, capacity)
    x = tf.random.stateless_normal([BATCH, LENGTH, WIDTH], [4, 5])
    placed = dispatch_by_product(x, one_hot_slots(routing, NUM_EXPERTS, capacity, tf.float32), NUM_EXPERTS)
    assert_same(placed, dispatch(tf.reshape(x, [-1, WIDTH]), slots, NUM_EXPERTS))
    answers = tf.random.stateless_normal([NUM_EXPERTS, BATCH * capacity, WIDTH], [2, 2])
    weighted = one_hot_slots(routing, NUM_EXPERTS, capacity, tf.float32, routing.gate)
    by_product = combine_by_product(answers, weighted, NUM_EXPERTS)
    np.testing.assert_allclose(
        tf.reshape(by_product, [-1, WIDTH]), combine(answers, slots, routing.gate), rtol=1e-6, atol=1e-6
    )


@every_router
@pytest.mark.parametrize("training", [False, True])
def test_combine_undoes_dispatch(router: str, training: bool) -> None:
    """Experts that do nothing give back each token times the sum of its kept gates."""
    routing = routed(router, 3, seed=3)
    slots = assign_slots(routing, NUM_EXPERTS, 3)
    tokens = tf.random.stateless_normal([BATCH * LENGTH, WIDTH], [4, 5])
    placed = dispatch(tokens, slots, NUM_EXPERTS, training)
    assert placed.shape == [NUM_EXPERTS, BATCH * 3, WIDTH]
    gates = np.sum(routing.gate.numpy() * routing.kept.numpy(), axis=-1).reshape([-1, 1])
    np.testing.assert_allclose(combine(placed, slots, routing.gate, training), tokens * gates, rtol=1e-6)


@every_router
@pytest.mark.parametrize("capacity", [1, 3, 12])
def test_gradients_of_the_training_gathers_are_those_of_plain_ones(router: str, capacity: int) -> None:
    routing = routed(router, capacity, seed=10 + capacity)
    slots = assign_slots(routing, NUM_EXPERTS, capacity)
    tokens = tf.random.stateless_normal([BATCH * LENGTH, WIDTH], [1, 1])
    answers = tf.random.stateless_normal([NUM_EXPERTS, BATCH * capacity, WIDTH], [2, 2])
    directions: list[tuple[Callable[[tf.Tensor, bool], tf.Tensor], tf.Tensor]] = [
        (lambda x, training: dispatch(x, slots, NUM_EXPERTS, training), tokens),
        (lambda x, training: combine(x, slots, routing.gate, training), answers),
        (lambda gate, training: combine(answers, slots, gate, training), routing.gate),
    ]
    for move, x in directions:
        upstream = tf.random.stateless_normal(move(x, False).shape, [3, 3])
        plain, gathered = (gradient(move, x, upstream, training) for training in (False, True))
        np.testing.assert_allclose(gathered, plain, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_token_is_that_of_its_slot() -> None:
    slots = assign_slots(routed("top1", 3, seed=13), NUM_EXPERTS, 3)
    upstream = tf.random.stateless_normal([NUM_EXPERTS, BATCH * 3, WIDTH], [3, 3])
    rows = np.concatenate([upstream.numpy().reshape([-1, WIDTH]), np.zeros([1, WIDTH], np.float32)])
    tokens = tf.random.stateless_normal([BATCH * LENGTH, WIDTH], [1, 1])
    received = gradient(lambda x, training: dispatch(x, slots, NUM_EXPERTS, training), tokens, upstream, True)
    assert_same(received, rows[slots.of_choice.numpy()])


@every_router
@pytest.mark.parametrize("training", [False, True])
def test_in_training_no_gradient_scatters(router: str, training: bool) -> None:
    """A scatter is slower, and adds in another order on every run of a GPU."""
    routing = routed(router, 3, seed=30)
    slots = assign_slots(routing, NUM_EXPERTS, 3)

    def there_and_back(x: tf.Tensor, training: bool) -> tf.Tensor:
        return combine(dispatch(x, slots, NUM_EXPERTS, training), slots, routing.gate, training)

    tokens = tf.random.stateless_normal([BATCH * LENGTH, WIDTH], [1, 1])
    function = tf.function(lambda x: gradient(there_and_back, x, x, training), autograph=False)
    kinds = {op.type for op in function.get_concrete_function(tokens).graph.get_operations()}
    assert any("Segment" in kind or "Scatter" in kind for kind in kinds) != training, kinds


@pytest.mark.slow
@every_router
@pytest.mark.parametrize("training", [False, True])
def test_xla_agrees(router: str, training: bool) -> None:
    random = np.random.default_rng(5)
    logits = tf.constant(random.normal(size=[BATCH, LENGTH, NUM_EXPERTS]).astype(np.float32))
    mask = tf.constant(random.random([BATCH, LENGTH]) < 0.7)
    tokens = tf.random.stateless_normal([BATCH * LENGTH, WIDTH], [1, 2])

    def whole(logits: tf.Tensor, mask: tf.Tensor, tokens: tf.Tensor) -> tuple[Routing, list[tf.Tensor]]:
        routing = ROUTERS[router](logits, mask, 2)
        slots = assign_slots(routing, NUM_EXPERTS, 2)
        placed = dispatch(tokens, slots, NUM_EXPERTS, training)
        return routing, [slots.of_choice, slots.choice, combine(placed, slots, routing.gate, training)]

    compiled = tf.nest.flatten(tf.function(whole, jit_compile=True, autograph=False)(logits, mask, tokens))
    for result, expected in zip(compiled, tf.nest.flatten(whole(logits, mask, tokens)), strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def gradient(
    move: Callable[[tf.Tensor, bool], tf.Tensor], x: tf.Tensor, upstream: tf.Tensor, training: bool
) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        moved = move(x, training)
    return tf.convert_to_tensor(tape.gradient(moved, x, output_gradients=upstream))


def assert_same(received: tf.Tensor, expected: tf.Tensor) -> None:
    np.testing.assert_array_equal(np.asarray(received), np.asarray(expected))
