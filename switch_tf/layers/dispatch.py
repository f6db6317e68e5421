"""How tokens reach their experts and come back, all shapes static: one gather in, one gather out.

`assign_slots` says which token stands in which slot of which expert, `dispatch` puts it there and `combine` brings its
result back. `one_hot_slots` and the products below do the same for accelerators that refuse gathers. Pure functions
over tensors; every example fills its experts' slots alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from switch_tf.layers.routing import Routing


class Slots(NamedTuple):
    """Both directions of the one-to-one map between kept tokens and filled slots.

    Tokens are numbered example by example, 0 <= b * length + l < batch * length; slots expert by expert, then example
    by example, 0 <= (e * batch + b) * capacity + position < experts * batch * capacity.

    Attributes:
        of_token: int32 [batch * length]. Each token's slot; experts * batch * capacity where it has none.
        token: int32 [experts * batch * capacity]. The token in each slot; batch * length where the slot is empty.
    """

    of_token: tf.Tensor
    token: tf.Tensor


def assign_slots(routing: Routing, num_experts: int, capacity: int) -> Slots:
    """Number the slots, and invert the map by one scatter of indices that differ from each other.

    A token without a slot is scattered behind the last one, to a place of its own: where indices repeat, runtimes
    disagree about what stands there.
    """
    length = routing.expert.shape[1]
    batch = tf.shape(routing.expert)[0]
    tokens, slots = batch * length, num_experts * batch * capacity
    number = tf.range(tokens)  # [batch * length]
    kept = tf.reshape(routing.kept, [-1])

    slot = (routing.expert * batch + tf.range(batch)[:, tf.newaxis]) * capacity + routing.position  # [batch, length]
    slot = tf.reshape(slot, [-1])
    places = tf.where(kept, slot, slots + number)[:, tf.newaxis]  # [batch * length, 1]
    behind = tf.scatter_nd(places, number - tokens, [slots + tokens])[
        :slots
    ]  # [experts * batch * capacity], 0 if empty
    return Slots(of_token=tf.where(kept, slot, slots), token=behind + tokens)


def dispatch(tokens: tf.Tensor, slots: Slots, num_experts: int, training: bool = False) -> tf.Tensor:
    """Put each kept token in its slot; empty slots hold zeros.

    Args:
        tokens: [batch * length, width].
        slots: from `assign_slots`.
        training: True gives the gather a gradient that is itself a gather.

    Returns:
        [experts, batch * capacity, width].
    """
    width = tokens.shape[-1]
    placed = _permute(tokens, slots.token, slots.of_token, training)  # [experts * batch * capacity, width]
    return tf.reshape(placed, [num_experts, tf.shape(slots.token)[0] // num_experts, width])


def combine(expert_output: tf.Tensor, slots: Slots, training: bool = False) -> tf.Tensor:
    """Take each token's result out of its slot; tokens without one get zeros, so that the residual carries them.

    Args:
        expert_output: [experts, batch * capacity, width].
        slots: from `assign_slots`.
        training: as in `dispatch`.

    Returns:
        [batch * length, width].
    """
    rows = tf.reshape(expert_output, [-1, expert_output.shape[-1]])  # [experts * batch * capacity, width]
    return _permute(rows, slots.of_token, slots.token, training)


def one_hot_slots(routing: Routing, num_experts: int, capacity: int, dtype: tf.DType) -> tf.Tensor:
    """The same map as a matrix for each example: 1 where a token stands in a slot, else 0.

    It takes length times as much memory as `assign_slots`, and the products below length times the work of a gather:
    for accelerators without one. This is the formulation of Mesh TensorFlow.

    Returns:
        `dtype` [batch, length, experts * capacity].
    """
    slot = routing.expert * capacity + routing.position  # [batch, length]
    slot = tf.where(routing.kept, slot, num_experts * capacity)  # one that no column stands for
    columns = tf.range(num_experts * capacity)
    return tf.cast(tf.equal(slot[..., tf.newaxis], columns), dtype)  # [batch, length, experts * capacity]


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
        slots: as above.

    Returns:
        [batch, length, width].
    """
    width, capacity = expert_output.shape[-1], slots.shape[-1] // num_experts
    rows = tf.reshape(expert_output, [num_experts, -1, capacity, width])
    rows = tf.transpose(rows, [1, 0, 2, 3])  # [batch, experts, capacity, width]
    return tf.matmul(slots, tf.reshape(rows, [-1, num_experts * capacity, width]))


def _permute(rows: tf.Tensor, take: tf.Tensor, inverse: tf.Tensor, training: bool) -> tf.Tensor:
    """rows[take], with a row of zeros behind the last.

    `inverse` undoes `take`, so the gradient is the gather by `inverse`: faster than the scatter-add that `tf.gather`
    would use, and the same on every run.
    """

    def gather(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        zeros = tf.zeros([1, values.shape[-1]], values.dtype)
        return tf.gather(tf.concat([values, zeros], axis=0), indices)

    if not training:
        return gather(rows, take)

    @tf.custom_gradient
    def gather_both_ways(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return gather(values, take), lambda upstream: gather(upstream, inverse)

    return gather_both_ways(rows)
