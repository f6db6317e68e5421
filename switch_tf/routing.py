"""The maths of top-1 routing: which expert each token goes to, which tokens find room, and what the router pays.

Pure functions over tensors, without variables or Keras; `switch_tf.layers.SwitchFFN` puts them together. The source is
Fedus, Zoph and Shazeer, "Switch Transformers", arXiv 2101.03961, sections 2.1 and 2.2.

Every example is a group of its own: it fills its experts' slots alone, so no answer depends on the other examples of
the batch. Padding is never routed, takes no slot and counts in no loss. All shapes but the batch are static.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import tensorflow as tf


class Routing(NamedTuple):
    """Where each token of a batch goes, and what the router did on the whole.

    Attributes:
        expert: int32 [batch, length]. The expert with the highest router logit; meaningless at padding.
        gate: float32 [batch, length]. The router's probability of that expert, p in y = p E(x).
        position: int32 [batch, length]. How many earlier tokens of the example chose the same expert, from 0.
        kept: bool [batch, length]. True where a real token found a slot: position < capacity.
        tokens_per_expert: float32 [experts]. Real tokens that chose each expert, dropped ones included.
        mean_probability: float32 [experts]. Mean router probability of each expert over the real tokens.
        dropped: float32 []. Real tokens that found no slot.
    """

    expert: tf.Tensor
    gate: tf.Tensor
    position: tf.Tensor
    kept: tf.Tensor
    tokens_per_expert: tf.Tensor
    mean_probability: tf.Tensor
    dropped: tf.Tensor


def expert_capacity(length: int, num_experts: int, capacity_factor: float, min_capacity: int = 1) -> int:
    """Slots that each expert has for one example, max(min_capacity, ceil(capacity_factor x length / experts)).

    Equation 3 of the paper with one example as the group. Never more than `length`, since no expert can be chosen
    more often; computed in exact arithmetic, so that 1.1 x 100 / 10 is 11 and not 12.

    >>> expert_capacity(length=256, num_experts=8, capacity_factor=1.25)
    40
    """
    share = math.ceil(Fraction(str(capacity_factor)) * length / num_experts)
    return min(length, max(min_capacity, share))


def route(logits: tf.Tensor, mask: tf.Tensor, capacity: int) -> Routing:
    """Send every real token to the expert with its highest logit, first come first served within the example.

    Args:
        logits: float32 [batch, length, experts].
        mask: bool [batch, length], True at real tokens.
        capacity: slots of each expert for one example, from `expert_capacity`.
    """
    num_experts = logits.shape[-1]
    probabilities = tf.nn.softmax(logits)  # [batch, length, experts]
    expert = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [batch, length]
    real = tf.cast(mask, tf.float32)  # [batch, length]
    chosen = tf.one_hot(expert, num_experts)  # [batch, length, experts]
    gate = tf.reduce_sum(chosen * probabilities, axis=-1)  # [batch, length]
    chosen *= real[..., tf.newaxis]

    position = position_in_expert(chosen)  # [batch, length]
    kept = tf.logical_and(mask, position < capacity)
    num_tokens = tf.maximum(tf.reduce_sum(real), 1.0)  # a batch of empty texts has none
    return Routing(
        expert=expert,
        gate=gate,
        position=position,
        kept=kept,
        tokens_per_expert=tf.reduce_sum(chosen, axis=[0, 1]),
        mean_probability=tf.reduce_sum(probabilities * real[..., tf.newaxis], axis=[0, 1]) / num_tokens,
        dropped=tf.reduce_sum(real) - tf.reduce_sum(tf.cast(kept, tf.float32)),
    )


def position_in_expert(chosen: tf.Tensor) -> tf.Tensor:
    """Each token's place in the queue of its expert, counted from 0 along the sequence.

    Args:
        chosen: float32 [batch, length, experts], one-hot at real tokens and all zero at padding.

    Returns:
        int32 [batch, length]; 0 at padding.
    """
    earlier = tf.cumsum(chosen, axis=1, exclusive=True)  # [batch, length, experts]
    return tf.cast(tf.reduce_sum(earlier * chosen, axis=-1), tf.int32)  # [batch, length]


def load_balancing_loss(tokens_per_expert: tf.Tensor, mean_probability: tf.Tensor) -> tf.Tensor:
    """E x sum_i f_i P_i, equation 4 without its alpha: 1 when balanced, E when one expert takes all.

    f_i is the share of the batch's real tokens that chose expert i and P_i the mean probability it was given; only P
    has a gradient. Returns 0 for a batch without a real token.
    """
    num_experts = tokens_per_expert.shape[-1]
    share = tokens_per_expert / tf.maximum(tf.reduce_sum(tokens_per_expert), 1.0)  # [experts]
    return num_experts * tf.reduce_sum(tf.stop_gradient(share) * mean_probability)


def router_z_loss(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over real tokens of logsumexp(logits)^2: keeps logits small (ST-MoE, arXiv 2202.08906, equation 5).

    Args:
        logits: float32 [batch, length, experts].
        mask: bool [batch, length], True at real tokens.
    """
    real = tf.cast(mask, tf.float32)  # [batch, length]
    squared = tf.square(tf.reduce_logsumexp(logits, axis=-1))  # [batch, length]
    return tf.reduce_sum(squared * real) / tf.maximum(tf.reduce_sum(real), 1.0)


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
    """Number the slots and invert the map by `top_k`, which every runtime has and which needs no scatter.

    An expert's tokens, scored length - l where they are kept and 0 elsewhere, come out of `top_k` in the order of the
    sequence, which is the order of their positions.
    """
    length = routing.expert.shape[1]
    batch = tf.shape(routing.expert)[0]
    example = tf.range(batch)[:, tf.newaxis]  # [batch, 1]

    slot = (routing.expert * batch + example) * capacity + routing.position  # [batch, length]
    slot = tf.where(routing.kept, slot, num_experts * batch * capacity)

    experts = tf.range(num_experts)[:, tf.newaxis, tf.newaxis]  # [experts, 1, 1]
    held = tf.logical_and(routing.expert == experts, routing.kept)  # [experts, batch, length]
    score = tf.where(held, tf.range(length, 0, -1, dtype=tf.float32), 0.0)  # [experts, batch, length]
    best, place = tf.math.top_k(score, k=capacity)  # [experts, batch, capacity]
    token = tf.where(best > 0.0, example * length + place, batch * length)  # [experts, batch, capacity]
    return Slots(of_token=tf.reshape(slot, [-1]), token=tf.reshape(token, [-1]))


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
