"""The family of routers: which experts each token goes to, and which of these tokens find room. One result for all.

    top1            each token takes the expert it likes best (Switch Transformers, arXiv 2101.03961, section 2.1)
    top2            and the one it likes second best (GShard, arXiv 2006.16668, algorithm 1; ST-MoE, arXiv 2202.08906)
    expert_choice   each expert takes the tokens it likes best (Zhou et al. 2022, arXiv 2202.09368, section 3.2)
    tables          the expert and the gate of each token are given: `switch_tf.layers.token_routes`

`xmoe` is `top1` over other logits: `switch_tf.layers.router_scores`. Pure functions over tensors. Every text is a group
of its own: it fills its experts' slots alone, so no answer depends on the other texts of the batch. Padding is never
routed, takes no slot and counts in no loss. All shapes but the batch are static.

Where experts were pruned, an expert map (`switch_tf.expert_map`) says whose weights a choice stands for. Choices that
are gone are never made; probabilities, and so gates, are still those over all of them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import tensorflow as tf

from switch_tf.expert_map import GONE, stored_experts
from switch_tf.layers.routing import load_balancing_loss, position_in_expert, real_tokens

Priority = Literal["position", "gate"]
_NEVER = float("inf")  # a gap where nothing else could have been chosen


class Routing(NamedTuple):
    """Where each token of a batch goes, whatever the router, and what the router did on the whole.

    A token has `choices` experts: 1 for top-1, 2 for top-2, and for expert choice one for each expert. They are all
    different, but where top-2 chooses two that share their weights.

    Where replicas share a batch (`switch_tf.layers.replicas`), the figures of a batch are what this one contributes:
    summed over the replicas they are those of the whole batch.

    Attributes:
        expert: int32 [batch, length, choices]. Among those that have weights. Meaningless at padding.
        gate: float32 [batch, length, choices]. What the expert's result is multiplied by.
        position: int32 [batch, length, choices]. The slot of the expert; below the capacity, and no other token's of
            the text, where the choice is kept.
        kept: bool [batch, length, choices]. True where a real token found a slot.
        tokens_per_expert: float32 [experts]. Real tokens that chose each expert, those without a slot included; with
            expert choice, the tokens that each expert took.
        mean_probability: float32 [experts]. Mean router probability of each expert over the real tokens.
        dropped: float32 []. Real tokens that found no slot at any expert: only the residual carries them.
        auxiliary_loss: float32 []. The load-balancing loss before its weight, 1 when balanced; 0 where it has no use.
        entropy: float32 []. Of the router's probabilities in nats, the mean over the real tokens.
        margin: float32 [batch]. The smallest gap between two scores of which one was chosen and one was not: a text
            whose gap is of the size of rounding errors may be routed otherwise elsewhere. Infinite without such a gap.
    """

    expert: tf.Tensor
    gate: tf.Tensor
    position: tf.Tensor
    kept: tf.Tensor
    tokens_per_expert: tf.Tensor
    mean_probability: tf.Tensor
    dropped: tf.Tensor
    auxiliary_loss: tf.Tensor
    entropy: tf.Tensor
    margin: tf.Tensor


def top1(
    logits: tf.Tensor,
    mask: tf.Tensor,
    capacity: int,
    bias: tf.Tensor | None = None,
    priority: Priority = "position",
    expert_map: Sequence[int] | None = None,
) -> Routing:
    """Every real token goes to the expert of its highest logit: p = softmax(logits), e = argmax p, gate p_e.

    Args:
        logits: float32 [batch, length, experts].
        mask: bool [batch, length], True at real tokens.
        capacity: slots of each expert for one text, from `expert_capacity`.
        bias: float32 [experts], added to p where experts are chosen, never in the gate; see `balanced_bias`.
        priority: who finds room where more choose an expert than it has slots: the first in the text, or those of the
            highest gate (batch prioritized routing, Riquelme et al. 2021, arXiv 2106.05974, section 4.1; the order is
            that of the text's own tokens here). By gate it is not causal unless there is room for all.
        expert_map: which weights each choice has; None for its own.
    """
    return _token_choice(logits, mask, capacity, 1, bias, priority, False, expert_map)


def top2(
    logits: tf.Tensor,
    mask: tf.Tensor,
    capacity: int,
    bias: tf.Tensor | None = None,
    priority: Priority = "position",
    normalize: bool = True,
    expert_map: Sequence[int] | None = None,
) -> Routing:
    """Every real token goes to its two best experts; second choices find room after all first ones.

    So it is not causal unless there is room for all: first choices of later tokens take room from earlier second ones.

    Args:
        logits, mask, capacity, bias, expert_map: as of `top1`; at least two experts.
        priority: as of `top1`, among first choices and then among second ones; a second choice counts with the gate of
            its token's first.
        normalize: divide both gates by their sum, as GShard and ST-MoE do; else they are the probabilities.

    The load-balancing loss is that of the first choices.
    """
    return _token_choice(logits, mask, capacity, 2, bias, priority, normalize, expert_map)


def expert_choice(
    logits: tf.Tensor,
    mask: tf.Tensor,
    capacity: int,
    rooms: Sequence[int],
    expert_map: Sequence[int] | None = None,
) -> Routing:
    """Every expert takes those of a text's real tokens to which the router gives it the highest probabilities.

    S = softmax(logits) over the experts, and each expert takes the k best tokens of its column, k = capacity factor x
    tokens / experts; so a token has any number of experts, none included, and load is balanced without a loss. Of equal
    tokens the first is taken. **Not causal**: whether a token is taken depends on those behind it, so the router is for
    encoders, never for a language model that is asked word by word.

    Args:
        logits: float32 [batch, length, experts].
        mask: bool [batch, length], True at real tokens.
        capacity: slots of each expert for one text, at least the largest of `rooms`.
        rooms: k for texts of 0, 1, ..., length real tokens.
        expert_map: as of `top1`; no two share their weights.
    """
    probabilities = of_all = tf.nn.softmax(logits)  # [batch, length, experts]
    if expert_map is not None:
        left = [list(expert_map).index(number) for number in range(stored_experts(expert_map))]
        probabilities = tf.gather(of_all, left, axis=-1)
    num_experts = probabilities.shape[-1]
    number = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)  # [batch]
    room = tf.gather(tf.constant(list(rooms), tf.float32), number)[:, tf.newaxis]  # [batch, 1]
    candidates = tf.tile(mask[..., tf.newaxis], [1, 1, num_experts])  # [batch, length, experts]
    kept, margin = keep_best(probabilities, candidates, room, capacity)
    taken = tf.cast(kept, tf.float32)  # [batch, length, experts]
    experts = tf.zeros_like(probabilities, tf.int32) + tf.range(num_experts)  # [batch, length, experts]
    mean, entropy = _of_probabilities(logits, of_all, mask)
    load = tf.reduce_sum(taken, axis=[0, 1])  # [experts]
    if expert_map is not None:
        load = tf.gather(tf.pad(load, [[0, 1]]), [num_experts if each == GONE else each for each in expert_map])
    return Routing(
        expert=experts,
        gate=probabilities,
        position=tf.cast(tf.cumsum(taken, axis=1, exclusive=True), tf.int32),  # [batch, length, experts]
        kept=kept,
        tokens_per_expert=load,
        mean_probability=mean,
        dropped=_dropped(kept, mask),
        auxiliary_loss=tf.zeros([]),
        entropy=entropy,
        margin=margin,
    )


def _token_choice(
    logits: tf.Tensor,
    mask: tf.Tensor,
    capacity: int,
    choices: int,
    bias: tf.Tensor | None,
    priority: Priority,
    normalize: bool,
    expert_map: Sequence[int] | None,
) -> Routing:
    num_experts = logits.shape[-1]
    probabilities = tf.nn.softmax(logits)  # [batch, length, experts]
    scores = logits if bias is None else probabilities + bias  # [batch, length, experts]
    if expert_map is not None:
        scores = tf.where([number != GONE for number in expert_map], scores, tf.float32.min)
    experts, chosen, gates, left = [], [], [], scores
    for _ in range(choices):
        expert = tf.argmax(left, axis=-1, output_type=tf.int32)  # [batch, length]
        one_hot = tf.one_hot(expert, num_experts)  # [batch, length, experts]
        experts.append(expert)
        chosen.append(one_hot)
        gates.append(tf.reduce_sum(one_hot * probabilities, axis=-1))  # [batch, length]
        left = tf.where(one_hot > 0.0, tf.float32.min, left)
    gate = tf.stack(gates, axis=-1)  # [batch, length, choices]
    owners = [weights_of(expert, expert_map) for expert in experts]  # [batch, length]
    queues, filling = fill(of_weights(chosen, owners, expert_map), gates[0], mask, capacity, priority)
    load = chosen_load(chosen, mask)  # [choices, experts]
    if normalize:
        gate /= tf.reduce_sum(gate, axis=-1, keepdims=True)
    mean, entropy = _of_probabilities(logits, probabilities, mask)
    return Routing(
        expert=tf.stack(owners, axis=-1),
        gate=gate,
        position=queues.position,
        kept=queues.kept,
        tokens_per_expert=tf.add_n(load),
        mean_probability=mean,
        dropped=_dropped(queues.kept, mask),
        auxiliary_loss=load_balancing_loss(load[0], mean),
        entropy=entropy,
        margin=tf.minimum(filling, _choice_margin(scores, mask, choices)),
    )


def weights_of(expert: tf.Tensor, expert_map: Sequence[int] | None) -> tf.Tensor:
    """The number of the weights that each choice stands for, int32 of the same shape; `GONE` for none."""
    return expert if expert_map is None else tf.gather(tf.constant(list(expert_map), tf.int32), expert)


def of_weights(
    chosen: Sequence[tf.Tensor], owners: Sequence[tf.Tensor], expert_map: Sequence[int] | None
) -> list[tf.Tensor]:
    """One-hot choices, float32 [batch, length, experts], as those among the experts that have weights."""
    return list(chosen) if expert_map is None else [tf.one_hot(each, stored_experts(expert_map)) for each in owners]


def chosen_load(chosen: Sequence[tf.Tensor], mask: tf.Tensor) -> list[tf.Tensor]:
    """The real tokens that chose each expert, float32 [experts] for each of the one-hot choices."""
    real = tf.cast(mask, tf.float32)[..., tf.newaxis]  # [batch, length, 1]
    return [tf.reduce_sum(one_hot * real, axis=[0, 1]) for one_hot in chosen]


class Queues(NamedTuple):
    """Who found room: int32 and bool [batch, length, choices]."""

    position: tf.Tensor
    kept: tf.Tensor


def fill(
    chosen: Sequence[tf.Tensor], first_gate: tf.Tensor, mask: tf.Tensor, capacity: int, priority: Priority
) -> tuple[Queues, tf.Tensor]:
    """Give out the slots: to all first choices, then to all second ones, by position or by gate.

    Args:
        chosen: float32 [batch, length, experts], one-hot, for each choice.
        first_gate: float32 [batch, length], of the first choices.
        mask: bool [batch, length].
        capacity: slots of each expert.

    Returns:
        who found room, and the smallest gap of gates that decided it, float32 [batch].
    """
    real = tf.cast(mask, tf.float32)[..., tf.newaxis]  # [batch, length, 1]
    taken = tf.zeros_like(chosen[0][:, :1])  # [batch, 1, experts]
    margin = tf.fill(tf.shape(first_gate)[:1], _NEVER)  # [batch]
    positions, kepts = [], []
    for one_hot in chosen:
        asking = one_hot * real  # [batch, length, experts]
        if priority == "gate":
            score = tf.zeros_like(asking) + first_gate[..., tf.newaxis]  # [batch, length, experts]
            best, gap = keep_best(score, asking > 0.0, capacity - taken[:, 0], capacity)
            asking, margin = tf.cast(best, tf.float32), tf.minimum(margin, gap)
        before = tf.cast(tf.reduce_sum(taken * asking, axis=-1), tf.int32)  # [batch, length], of earlier choices
        position = position_in_expert(asking) + before  # [batch, length]
        queued = tf.reduce_sum(asking, axis=-1) > 0.0  # [batch, length]
        positions.append(position)
        kepts.append(tf.logical_and(queued, position < capacity))
        taken += tf.reduce_sum(asking, axis=1, keepdims=True)
    return Queues(tf.stack(positions, axis=-1), tf.stack(kepts, axis=-1)), margin


def keep_best(score: tf.Tensor, candidates: tf.Tensor, room: tf.Tensor, capacity: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The `room` candidates of the highest scores along the length, for each text and expert; of equals the first.

    By the `room`-th highest score as a threshold: no scatter, and no order among the kept is needed.

    Args:
        score: float32 [batch, length, experts], above -1 and below 2.
        candidates: bool [batch, length, experts].
        room: float32 [batch, experts] or [batch, 1], whole numbers; none above `capacity`, negative for 0.
        capacity: the most that `room` may be, at most the length.

    Returns:
        bool [batch, length, experts], and the smallest gap between a kept and another candidate, float32 [batch].
    """
    room = room[:, tf.newaxis]  # [batch, 1, experts or 1]
    score = tf.where(candidates, score, -1.0)  # [batch, length, experts]
    best = tf.math.top_k(tf.transpose(score, [0, 2, 1]), k=capacity).values  # [batch, experts, capacity]
    best = tf.transpose(best, [0, 2, 1])  # [batch, capacity, experts]
    place = tf.range(1.0, capacity + 1.0)[tf.newaxis, :, tf.newaxis]  # [1, capacity, 1]
    # Without room the threshold is beyond every score.
    threshold = tf.reduce_min(tf.where(place <= room, best, 2.0), axis=1, keepdims=True)  # [batch, 1, experts]
    above = tf.logical_and(candidates, score > threshold)  # [batch, length, experts]
    tied = tf.logical_and(candidates, tf.equal(score, threshold))  # [batch, length, experts]
    rest = room - tf.reduce_sum(tf.cast(above, tf.float32), axis=1, keepdims=True)  # [batch, 1, experts]
    earlier = tf.cumsum(tf.cast(tied, tf.float32), axis=1, exclusive=True)  # [batch, length, experts]
    kept = tf.logical_or(above, tf.logical_and(tied, earlier < rest))
    refused = tf.where(tf.logical_and(candidates, tf.logical_not(kept)), score, -_NEVER)  # [batch, length, experts]
    gap = threshold - tf.reduce_max(refused, axis=1, keepdims=True)  # [batch, 1, experts]
    gap = tf.where(room > 0.0, gap, _NEVER)
    return kept, tf.reduce_min(gap, axis=[1, 2])


def _choice_margin(scores: tf.Tensor, mask: tf.Tensor, choices: int) -> tf.Tensor:
    """The smallest gap between neighbours among each real token's best scores, down to the first not chosen."""
    compared = min(choices + 1, scores.shape[-1])
    if compared < 2:
        return tf.fill(tf.shape(mask)[:1], _NEVER)
    rest, best = scores, [tf.reduce_max(scores, axis=-1)]  # [batch, length]
    for _ in range(compared - 1):  # not top_k, of which XLA makes a size that is set at run time
        first = tf.one_hot(tf.argmax(rest, axis=-1), scores.shape[-1], True, False, dtype=tf.bool)
        rest = tf.where(first, -_NEVER, rest)  # [batch, length, experts], without one that is best
        best.append(tf.reduce_max(rest, axis=-1))
    gap = tf.reduce_min(tf.stack([high - low for high, low in pairwise(best)]), axis=0)  # [batch, length]
    return tf.reduce_min(tf.where(mask, gap, _NEVER), axis=1)


def _of_probabilities(logits: tf.Tensor, probabilities: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Over the real tokens: the mean probability of each expert, [experts], and the mean entropy in nats, []."""
    real = tf.cast(mask, tf.float32)  # [batch, length]
    tokens = real_tokens(mask)
    mean = tf.reduce_sum(probabilities * real[..., tf.newaxis], axis=[0, 1]) / tokens
    surprise = tf.reduce_logsumexp(logits, axis=-1, keepdims=True) - logits  # [batch, length, experts], -log p
    entropy = tf.reduce_sum(probabilities * surprise, axis=-1)  # [batch, length]
    return mean, tf.reduce_sum(entropy * real) / tokens


def _dropped(kept: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """How many real tokens have no choice that was kept."""
    served = tf.reduce_any(kept, axis=-1)  # [batch, length]
    return tf.reduce_sum(tf.cast(tf.logical_and(mask, tf.logical_not(served)), tf.float32))
