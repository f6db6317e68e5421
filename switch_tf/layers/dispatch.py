"""How tokens reach their experts and come back, all shapes static: one gather in, one gather out.

`assign_slots` says which token stands in which slot of which expert, `dispatch` puts it there and `combine` brings its
results back, times their gates. `one_hot_slots` and the products below do the same for accelerators that refuse
gathers. Pure functions over tensors, which do not know what router chose; every text fills its experts' slots alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from switch_tf.layers.routers import Routing


class Slots(NamedTuple):
    """Both directions of the map between kept choices and filled slots, of which each is of one choice.

    Tokens are numbered text by text, 0 <= b * length + l < batch * length, and choices token by token; slots expert by
    expert, then text by text, 0 <= (e * batch + b) * capacity + position < experts * batch * capacity.

    Attributes:
        of_choice: int32 [batch * length * choices]. The slot of each choice; experts * batch * capacity where it has
            none.
        choice: int32 [experts * batch * capacity]. The choice in each slot; batch * length * choices where the slot is
            empty.
        choices: of each token.
    """

    of_choice: tf.Tensor
    choice: tf.Tensor
    choices: int


def assign_slots(routing: Routing, num_experts: int, capacity: int) -> Slots:
    """Number the slots, and invert the map by one scatter of indices that differ from each other.

    A choice without a slot is scattered behind the last one, to a place of its own: where indices repeat, runtimes
    disagree about what stands there.
    """
    length, choices = routing.expert.shape[1:]
    batch = tf.shape(routing.expert)[0]
    total, slots = batch * length * choices, num_experts * batch * capacity
    number = tf.range(total)  # [batch * length * choices]
    kept = tf.reshape(routing.kept, [-1])

    text = tf.range(batch)[:, tf.newaxis, tf.newaxis]  # [batch, 1, 1]
    slot = (routing.expert * batch + text) * capacity + routing.position  # [batch, length, choices]
    slot = tf.reshape(slot, [-1])
    places = tf.where(kept, slot, slots + number)[:, tf.newaxis]  # [batch * length * choices, 1]
    behind = tf.scatter_nd(places, number - total, [slots + total])  # 0 where nothing was put
    return Slots(of_choice=tf.where(kept, slot, slots), choice=behind[:slots] + total, choices=choices)


def dispatch(tokens: tf.Tensor, slots: Slots, num_experts: int, training: bool = False) -> tf.Tensor:
    """Put each token in the slots of its kept choices; empty slots hold zeros.

    Args:
        tokens: [batch * length, width].
        slots: from `assign_slots`.
        training: True gives the gather a gradient that is itself a gather.

    Returns:
        [experts, batch * capacity, width].
    """
    width, choices = tokens.shape[-1], slots.choices
    token = slots.choice // choices if choices > 1 else slots.choice  # [experts * batch * capacity]

    def to_tokens(upstream: tf.Tensor) -> tf.Tensor:
        each = _gather(upstream, slots.of_choice)  # [batch * length * choices, width]
        return each if choices == 1 else tf.reduce_sum(tf.reshape(each, [-1, choices, width]), axis=1)

    placed = _move(tokens, token, to_tokens if training else None)  # [experts * batch * capacity, width]
    return tf.reshape(placed, [num_experts, tf.shape(slots.choice)[0] // num_experts, width])


def combine(expert_output: tf.Tensor, slots: Slots, gate: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Sum each token's results, each times its gate; a token without a slot gets zeros: the residual carries it.

    Args:
        expert_output: [experts, batch * capacity, width].
        slots: from `assign_slots`.
        gate: float32 [batch, length, choices].
        training: as in `dispatch`.

    Returns:
        float32 [batch * length, width].
    """
    width, choices = expert_output.shape[-1], slots.choices
    rows = tf.reshape(expert_output, [-1, width])  # [experts * batch * capacity, width]
    backward = (lambda upstream: _gather(upstream, slots.choice)) if training else None
    results = tf.cast(_move(rows, slots.of_choice, backward), tf.float32)  # [batch * length * choices, width]
    weighted = results * tf.reshape(gate, [-1, 1])
    return weighted if choices == 1 else tf.reduce_sum(tf.reshape(weighted, [-1, choices, width]), axis=1)


def one_hot_slots(
    routing: Routing, num_experts: int, capacity: int, dtype: tf.DType, gate: tf.Tensor | None = None
) -> tf.Tensor:
    """The same map as a matrix for each text: 1 where a token stands in a slot, or its gate there, else 0.

    It takes length times as much memory as `assign_slots`, and the products below length times the work of a gather:
    for accelerators without one. This is the formulation of Mesh TensorFlow.

    Args:
        gate: float32 [batch, length, choices]; None for 1.

    Returns:
        `dtype` [batch, length, experts * capacity].
    """
    slot = routing.expert * capacity + routing.position  # [batch, length, choices]
    slot = tf.where(routing.kept, slot, num_experts * capacity)  # one that no column stands for
    columns = tf.range(num_experts * capacity)
    matrix = tf.zeros([], dtype)
    for number in range(slot.shape[-1]):
        stands = tf.cast(tf.equal(slot[..., number, tf.newaxis], columns), dtype)  # [batch, length, experts * capacity]
        matrix += stands if gate is None else stands * tf.cast(gate[..., number, tf.newaxis], dtype)
    return matrix


def dispatch_by_product(x: tf.Tensor, slots: tf.Tensor, num_experts: int) -> tf.Tensor:
    """As `dispatch`, without a gather: the product of each example's matrix and its tokens.

    Args:
        x: [batch, length, width].
        slots: [batch, length, experts * capacity], from `one_hot_slots`.

    Returns:
        [experts, batch * capacity, width].
    """
    width, capacity = x.shape[-1], slots.shape[-1] // num_experts
    placed = tf.matmul(slots, x, transpose_a=True)  # [batch, experts * capacity, width]
    placed = tf.reshape(placed, [-1, num_experts, capacity, width])
    placed = tf.transpose(placed, [1, 0, 2, 3])  # [experts, batch, capacity, width]
    return tf.reshape(placed, [num_experts, -1, width])


def combine_by_product(expert_output: tf.Tensor, slots: tf.Tensor, num_experts: int) -> tf.Tensor:
    """As `combine`, without a gather.

    Args:
        expert_output: [experts, batch * capacity, width].
        slots: as above, with the gates in it.

    Returns:
        [batch, length, width].
    """
    width, capacity = expert_output.shape[-1], slots.shape[-1] // num_experts
    rows = tf.reshape(expert_output, [num_experts, -1, capacity, width])
    rows = tf.transpose(rows, [1, 0, 2, 3])  # [batch, experts, capacity, width]
    return tf.matmul(slots, tf.reshape(rows, [-1, num_experts * capacity, width]))


def _gather(rows: tf.Tensor, take: tf.Tensor) -> tf.Tensor:
    """rows[take], with a row of zeros behind the last."""
    zeros = tf.zeros([1, rows.shape[-1]], rows.dtype)
    return tf.gather(tf.concat([rows, zeros], axis=0), take)


def _move(rows: tf.Tensor, take: tf.Tensor, backward: Callable[[tf.Tensor], tf.Tensor] | None) -> tf.Tensor:
    """`_gather` with a gradient of its own.

    The map is known in both directions, so the gradient is a gather too: faster than the scatter-add that `tf.gather`
    would use, and the same on every run.
    """
    if backward is None:
        return _gather(rows, take)

    @tf.custom_gradient
    def gather_both_ways(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return _gather(values, take), backward

    return gather_both_ways(rows)
