"""Routing by the word alone: the expert and the gate of every word are tables, and a finished model only looks them up.

While it learns, the router is linear over the normalised vector of the token's own word, without its neighbours or its
place. So a word has one expert. `token_tables` writes down which, and its gate; what is exported compares and adds up
integers, which no rounding can change: every runtime routes alike, and there are no near-ties. (Hash Layers, Roller et
al. 2021, arXiv 2106.04426, route by the word too, by a hash that is not learned.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.expert_map import GONE
from switch_tf.layers.routers import Priority, Routing, chosen_load, fill, of_weights, weights_of

NORM_EPSILON = 1e-4  # of the variance; word vectors begin with entries of a few hundredths


class Words(NamedTuple):
    """What a router that learns routes of words sees.

    Attributes:
        vectors: float32 [batch, length, d_model]. Of each token's own word.
        known: bool [batch, length]. False where the word was left out in training: such a token has no expert.
    """

    vectors: tf.Tensor
    known: tf.Tensor


class TokenRoutes(NamedTuple):
    """Each token's expert, int32 [batch, length], and its gate, float32 [batch, length].

    `known` is as of `Words`, bool [batch, length]; None where nothing is left out.
    """

    expert: tf.Tensor
    gate: tf.Tensor
    known: tf.Tensor | None = None


class TokenTables(NamedTuple):
    """The expert, uint8 or int32 [ids], and the gate, float32 [ids], of every id."""

    expert: np.ndarray
    gate: np.ndarray


def token_input(words: tf.Tensor) -> tf.Tensor:
    """(w - mean(w)) / sqrt(var(w) + epsilon) of each word's vector: float32 [..., d_model] to the same."""
    centred = words - tf.reduce_mean(words, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)  # [..., 1]
    return centred * tf.math.rsqrt(variance + NORM_EPSILON)


def token_tables(
    embeddings: np.ndarray,
    router: np.ndarray,
    bias: np.ndarray | None = None,
    expert_map: Sequence[int] | None = None,
) -> TokenTables:
    """What the router says of every word: argmax and softmax of its logits, computed in float64.

    Args:
        embeddings: float32 [ids, d_model].
        router: float32 [d_model, experts].
        bias: float32 [experts], added to the probabilities where experts are chosen.
        expert_map: which experts are gone, and so are never chosen; None for none.
    """
    words = embeddings.astype(np.float64)
    centred = words - words.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + NORM_EPSILON)  # [ids, d_model]
    logits = normed @ router.astype(np.float64)  # [ids, experts]
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    scores = logits if bias is None else probabilities + bias  # [ids, experts]
    if expert_map is not None:
        scores = np.where(np.array(expert_map) != GONE, scores, -np.inf)
    expert = np.argmax(scores, axis=1)  # [ids]
    gate = np.take_along_axis(probabilities, expert[:, np.newaxis], axis=1)[:, 0]
    return TokenTables(expert.astype(expert_dtype(router.shape[1])), gate.astype(np.float32))


def expert_dtype(num_experts: int) -> type[np.unsignedinteger | np.signedinteger]:
    """Of the table: one byte an id where that is enough."""
    return np.uint8 if num_experts <= 256 else np.int32


class TokenTable(keras.layers.Layer):
    """The expert and the gate of every id, looked up; no optimizer is to touch them."""

    def __init__(self, num_ids: int, num_experts: int, **kwargs: object):
        super().__init__(trainable=False, **kwargs)
        self.num_ids, self.num_experts = num_ids, num_experts

    def build(self, input_shape: object) -> None:
        dtype = expert_dtype(self.num_experts)
        self.expert = self.add_weight("expert", [self.num_ids], dtype=dtype, initializer="zeros", trainable=False)
        self.gate = self.add_weight("gate", [self.num_ids], initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, ids: tf.Tensor) -> TokenRoutes:
        """int32 [batch, length] to the routes of its tokens."""
        return TokenRoutes(tf.cast(tf.gather(self.expert, ids), tf.int32), tf.gather(self.gate, ids))


def route_by_tables(
    routes: TokenRoutes,
    mask: tf.Tensor,
    num_experts: int,
    capacity: int,
    priority: Priority,
    expert_map: Sequence[int] | None = None,
) -> Routing:
    """`top1` where experts and gates have been looked up.

    Args:
        routes: of the tokens.
        mask: bool [batch, length], True at real tokens.
        capacity, priority, expert_map: as of `top1`; tokens of an expert that is gone find no slot.

    Returns:
        The same as `top1` gives, without what only training asks for: the losses and the entropy are 0, and
        `mean_probability` too. The margin is infinite: what is compared are table entries, which are equal everywhere.
    """
    chosen, owner = [tf.one_hot(routes.expert, num_experts)], weights_of(routes.expert, expert_map)
    queues, _ = fill(of_weights(chosen, [owner], expert_map), routes.gate, mask, capacity, priority)
    unserved = tf.logical_and(mask, tf.logical_not(queues.kept[..., 0]))  # [batch, length]
    return Routing(
        expert=owner[..., tf.newaxis],
        gate=routes.gate[..., tf.newaxis],
        position=queues.position,
        kept=queues.kept,
        tokens_per_expert=chosen_load(chosen, mask)[0],
        mean_probability=tf.zeros([num_experts]),
        dropped=tf.reduce_sum(tf.cast(unserved, tf.float32)),
        auxiliary_loss=tf.zeros([]),
        entropy=tf.zeros([]),
        margin=tf.fill(tf.shape(mask)[:1], float("inf")),
    )
