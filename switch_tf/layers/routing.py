"""What all routers share: how much room experts have, the places in their queues, and what a router pays.

Pure functions over tensors, without variables or Keras; the routers are in `switch_tf.layers.routers`. The source is
Fedus, Zoph and Shazeer, "Switch Transformers", arXiv 2101.03961, sections 2.1 and 2.2.
"""

import math
from fractions import Fraction

import numpy as np
import tensorflow as tf

from switch_tf.layers import replicas

_LONGEST_PRODUCT = 256  # tokens; up to there a product takes half the time of a cumulative sum, beyond it grows


def expert_capacity(length: int, num_experts: int, capacity_factor: float, min_capacity: int = 1) -> int:
    """Slots that each expert has for one example, max(min_capacity, ceil(capacity_factor x length / experts)).

    Equation 3 of the paper with one example as the group. Never more than `length`, since no expert can be chosen
    more often; computed in exact arithmetic, so that 1.1 x 100 / 10 is 11 and not 12.

    >>> expert_capacity(length=256, num_experts=8, capacity_factor=1.25)
    40
    """
    share = math.ceil(Fraction(str(capacity_factor)) * length / num_experts)
    return min(length, max(min_capacity, share))


def position_in_expert(chosen: tf.Tensor) -> tf.Tensor:
    """Each token's place in the queue of its expert, counted from 0 along the sequence.

    Args:
        chosen: float32 [batch, length, experts], one-hot at real tokens and all zero at padding.

    Returns:
        int32 [batch, length]; 0 at padding.
    """
    length = chosen.shape[1]
    if length > _LONGEST_PRODUCT:
        earlier = tf.cumsum(chosen, axis=1, exclusive=True)  # [batch, length, experts]
        return tf.cast(tf.reduce_sum(earlier * chosen, axis=-1), tf.int32)  # [batch, length]
    queues = tf.transpose(chosen, [0, 2, 1])  # [batch, experts, length]
    before = tf.constant(np.tri(length, k=-1).T, chosen.dtype)  # [length, length], 1 above the diagonal
    earlier = tf.reshape(tf.matmul(tf.reshape(queues, [-1, length]), before), [-1, *queues.shape[1:]])  # as `queues`
    # A sum of numbers 0 and 1, exact in any order; rounded, as quantized ones end a hair below.
    return tf.cast(tf.reduce_sum(earlier * queues, axis=1) + 0.5, tf.int32)  # [batch, length]


def load_balancing_loss(tokens_per_expert: tf.Tensor, mean_probability: tf.Tensor) -> tf.Tensor:
    """E x sum_i f_i P_i, equation 4 without its alpha: 1 when balanced, E when one expert takes all.

    f_i is the share of the batch's real tokens that chose expert i and P_i the mean probability it was given; only P
    has a gradient. Returns 0 for a batch without a real token.
    """
    num_experts = tokens_per_expert.shape[-1]
    # Of the whole batch, where replicas share one; their P sum to that of the whole.
    tokens_per_expert = replicas.current().sum(tokens_per_expert)  # [experts]
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
    return tf.reduce_sum(squared * real) / real_tokens(mask)


def real_tokens(mask: tf.Tensor) -> tf.Tensor:
    """How many a batch has, the whole one where replicas share it; 1 for none, to divide by. float32 []."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32))
    return tf.maximum(replicas.current().sum(count), 1.0)  # a batch of empty texts has none
