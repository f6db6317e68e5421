"""The classifier on the real tokens of a batch alone, laid side by side: what runtimes on a CPU are given.

The layers of `switch_tf.layers` compute on [batch, length] and mask what is padding, so that every shape is static and
compiles. On a CPU that is work thrown away: a short message has 16 words of 80. Here the tokens of all texts stand in
one list, and what belongs to a text is added up by the number of its text. The sums, and so the answers, are the same
but for rounding; the shapes depend on what the ids are, so nothing here compiles for an accelerator.

For ids 7 8 0 and 9 0 0, of length 3, with 0 for the start and the end of a text:

    previous   0 7 8 0 | 0 9 0 0     int32 [batch, length + 1]
    this       7 8 0 0 | 9 0 0 0     int32 [batch, length + 1]
    pairs      (0,7) (7,8) (8,0) (0,9) (9,0)     int32 [pairs] both: those of which one side is a word
    tokens     7 8 9                             int32 [tokens], at the places 0 1 3 among the pairs

A text that begins with padding, so an empty one, has a pair and a token there that weigh nothing: LiteRT's kernels
refuse tensors of no elements.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.expert_map import GONE
from switch_tf.layers.common import activation
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.mean_context import MeanContextBlock
from switch_tf.layers.routers import weights_of
from switch_tf.layers.switch_ffn import SwitchFFN
from switch_tf.layers.token_routes import TokenRoutes
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.fused import FusedClassifier
from switch_tf.models.wide import WidePath
from switch_tf.text.packed_bytes import places
from switch_tf.text.spec import PADDING_ID


class Packed(NamedTuple):
    """The pairs and the tokens of a batch, text by text in their order.

    Attributes:
        previous: int32 [pairs]. The word before, 0 at the start of a text.
        this: int32 [pairs]. The word itself, 0 behind the last.
        text_of_pair: int32 [pairs]. Which text of the batch, rising.
        tokens: int32 [tokens]. The pairs whose `this` is a word, and the first of each text.
        text: int32 [tokens]. Which text of the batch, rising.
        real: float32 [tokens, 1]. 0 for the token of a text that begins with padding, else 1.
        divisor: float32 [batch, 1]. Tokens of each text, and 1 where there are none.
        batch: int32 []. Texts.
    """

    previous: tf.Tensor
    this: tf.Tensor
    text_of_pair: tf.Tensor
    tokens: tf.Tensor
    text: tf.Tensor
    real: tf.Tensor
    divisor: tf.Tensor
    batch: tf.Tensor


def can_pack(classifier: SwitchClassifier | FusedClassifier) -> bool:
    """Whether `packed_logits` knows all its layers: blocks of a mean context, one expert a token, a mean.

    Experts are those that a linear router likes best, without a bias, or those that tables say.
    """
    settings = classifier.settings
    by_router = settings.router == "top1" and settings.balance_rate == 0.0
    routed = (by_router or settings.router == "token") and settings.priority == "position"
    layers = settings.context == "mean" and settings.pooling == "mean" and settings.dispatch == "gather"
    return layers and (routed or settings.num_experts == 0)


def packed_logits(classifier: SwitchClassifier | FusedClassifier, ids: tf.Tensor) -> tf.Tensor:
    """What the classifier's own logits are, but for rounding: int32 [batch, ids] -> float32 [batch, classes].

    Args:
        classifier: one that `can_pack`.
    """
    if isinstance(classifier, SwitchClassifier):
        return _deep_logits(classifier, pack(ids), None)
    ids, letters = classifier.take_apart(ids)
    packed = pack(ids)
    rows = classifier.wide.rows_of_pairs(packed.previous, packed.this)  # [pairs]
    wide = _wide_logits(classifier.wide, packed, rows, letters)
    deep = _deep_logits(classifier.deep, packed, rows)
    return classifier.scales[0] * wide + classifier.scales[1] * deep  # [batch, classes]


def pack(ids: tf.Tensor) -> Packed:
    """int32 [batch, length], of which 0 is padding wherever it stands."""
    width = int(ids.shape[1]) + 1
    edge = tf.zeros_like(ids[:, :1])  # [batch, 1]
    begins = tf.reshape(tf.concat([edge + 1, tf.zeros_like(ids)], axis=1), [-1])  # [batch * (length + 1)]
    previous = tf.reshape(tf.concat([edge, ids], axis=1), [-1])  # [batch * (length + 1)]
    this = tf.reshape(tf.concat([ids, edge], axis=1), [-1])  # [batch * (length + 1)]
    place = places(tf.maximum(tf.maximum(previous, begins), this))  # [pairs]
    previous, this, text_of_pair = tf.gather(previous, place), tf.gather(this, place), place // width
    tokens = places(tf.maximum(this, tf.gather(begins, place)))  # [tokens]
    text = tf.gather(text_of_pair, tokens)
    real = tf.cast(tf.not_equal(tf.gather(this, tokens), PADDING_ID), tf.float32)[:, tf.newaxis]  # [tokens, 1]
    batch = tf.shape(ids)[0]
    divisor = tf.maximum(tf.math.unsorted_segment_sum(real, text, batch), 1.0)  # [batch, 1]
    return Packed(previous, this, text_of_pair, tokens, text, real, divisor, batch)


def _wide_logits(wide: WidePath, packed: Packed, rows: tf.Tensor, letters: tf.Tensor | None) -> tf.Tensor:
    """As `WidePath.call`: float32 [batch, classes]; a sum of either order, since its tables make sums exact."""
    found = tf.gather(wide.words, packed.this) + tf.gather(wide.pairs, rows)  # [pairs, columns + 1]
    sums = tf.math.unsorted_segment_sum(found, packed.text_of_pair, packed.batch)  # [batch, columns + 1]
    if wide.letters is not None and letters is not None:
        sums += wide.letters.packed_sums(letters, wide.unknown)
    return wide.logits_of_sums(sums)


def _deep_logits(deep: SwitchClassifier, packed: Packed, rows: tf.Tensor | None) -> tf.Tensor:
    """float32 [batch, classes]; the last block adds to the sums over texts alone, which are all that the head reads."""
    ids = tf.gather(packed.this, packed.tokens)  # [tokens]
    x = tf.gather(deep.tokens.embeddings, ids)  # [tokens, d_model]
    if deep.pairs is not None:
        x += tf.gather(deep.pairs.embeddings, tf.minimum(tf.gather(rows, packed.tokens), deep.num_pairs))
    x *= packed.real
    routes = [None if table is None else table(ids) for table in deep.routes]
    for block, given in zip(deep.blocks[:-1], routes[:-1], strict=True):
        x += _of_tokens(block.feed_forward, _normed(block, x, _sum(x, packed), packed), packed, given)
    total = _sum(x, packed)  # [batch, d_model]
    total += _of_texts(deep.blocks[-1].feed_forward, _normed(deep.blocks[-1], x, total, packed), packed, routes[-1])
    return deep.head(total / packed.divisor)  # [batch, classes]


def _normed(block: MeanContextBlock, x: tf.Tensor, total: tf.Tensor, packed: Packed) -> tf.Tensor:
    """What goes into a block's feed-forward layer, of tokens and their sums: float32 [tokens, d_model]."""
    context = block.context(total / packed.divisor)  # [batch, d_model]
    return _norm(x + tf.gather(context, packed.text), block.feed_forward_norm)


def _norm(x: tf.Tensor, norm: keras.layers.LayerNormalization) -> tf.Tensor:
    """A `LayerNormalization` over the last axis, written out: Keras' takes a detour through a batch norm."""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)  # [tokens, width]
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)  # [tokens, 1]
    return centred * tf.math.rsqrt(variance + norm.epsilon) * norm.gamma + norm.beta


class _Routed(NamedTuple):
    """The tokens of a batch in the order of their experts, in which those of a text stand side by side.

    Attributes:
        order: int32 [tokens]. The token at each place.
        group: int32 [tokens]. expert * batch + text, rising.
        gate: float32 [tokens, 1]. 0 where the token found no slot.
        source: int32 [experts, slots]. The place in each slot of an expert; what stands behind its last is not read.
        slot: int32 [tokens]. The slot of each place, expert * slots + number.
    """

    order: tf.Tensor
    group: tf.Tensor
    gate: tf.Tensor
    source: tf.Tensor
    slot: tf.Tensor


def _choose(layer: SwitchFFN, x: tf.Tensor, routes: TokenRoutes | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The expert of each token among those that have weights, int32 [tokens], and its gate, float32 [tokens, 1]."""
    if routes is not None:
        return weights_of(routes.expert, layer.expert_map), routes.gate[:, tf.newaxis]
    logits = tf.matmul(x, layer.router_kernel)  # [tokens, experts]
    probabilities = tf.nn.softmax(logits)  # [tokens, experts]
    if layer.expert_map is not None:  # choices that are gone are never the best
        left = np.array([number != GONE for number in layer.expert_map])
        logits, probabilities = tf.where(left, logits, tf.float32.min), tf.where(left, probabilities, 0.0)
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [tokens]
    return weights_of(best, layer.expert_map), tf.reduce_max(probabilities, axis=-1, keepdims=True)


def _route(layer: SwitchFFN, x: tf.Tensor, packed: Packed, routes: TokenRoutes | None) -> _Routed:
    """As the routers of `switch_tf.layers`, without a report.

    An expert has as many slots as the busiest of the batch needs. Which tokens find one is decided within each text all
    the same, by the capacity that the full length gives.
    """
    experts = layer.stored_experts
    expert_of_token, gate = _choose(layer, x, routes)
    chosen = tf.equal(expert_of_token, tf.range(experts)[:, tf.newaxis])  # [experts, tokens]
    sizes = tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1)  # [experts]
    tokens = tf.shape(x)[0]
    cell = places(tf.reshape(chosen, [-1]))  # [tokens], of [experts, tokens]
    expert = cell // tokens  # [tokens]
    order = cell - expert * tokens  # [tokens]
    group = expert * packed.batch + tf.gather(packed.text, order)  # [tokens]
    place = tf.range(tokens)  # [tokens]
    first = tf.cumsum(sizes, exclusive=True)  # [experts]

    slots = tf.range(tf.reduce_max(sizes))  # [slots]
    source = tf.minimum(first[:, tf.newaxis] + slots, tokens - 1)  # [experts, slots]
    slot = place + tf.gather(tf.range(experts) * tf.shape(slots)[0] - first, expert)  # [tokens]

    gate = gate if layer.scale_by_gate else tf.ones_like(gate)  # [tokens, 1]
    gate = tf.gather(gate * packed.real, order)  # [tokens, 1]
    capacity, length = layer.full_capacity()
    if capacity < length:
        real = tf.gather(tf.cast(packed.real[:, 0], tf.int32), order)  # [tokens]
        in_group = tf.math.unsorted_segment_sum(real, group, experts * packed.batch)  # [experts * batch]
        first_of_group = tf.gather(tf.cumsum(in_group, exclusive=True), group)  # [tokens]
        position = tf.cumsum(real, exclusive=True) - first_of_group  # [tokens]
        gate *= tf.cast(position < capacity, tf.float32)[:, tf.newaxis]
    return _Routed(order, group, gate, source, slot)


def _hidden(layer: SwitchFFN, x: tf.Tensor, routed: _Routed) -> tf.Tensor:
    """The hidden units of each slot: float32 [experts, slots, d_ff]."""
    placed = tf.gather(x, tf.gather(routed.order, routed.source))  # [experts, slots, d_model]
    return activation(layer.activation)(tf.matmul(placed, layer.w_in) + layer.b_in)


def _of_tokens(layer: SwitchFFN | DenseFFN, x: tf.Tensor, packed: Packed, routes: TokenRoutes | None) -> tf.Tensor:
    """What the layer makes of each token: float32 [tokens, d_model] to the same."""
    if isinstance(layer, DenseFFN):
        return layer.of_rows(x) * packed.real
    routed = _route(layer, x, packed, routes)
    y = tf.matmul(_hidden(layer, x, routed), layer.w_out) + layer.b_out  # [experts, slots, d_model]
    y = tf.gather(tf.reshape(y, [-1, y.shape[-1]]), routed.slot) * routed.gate  # [tokens, d_model], by expert
    return tf.scatter_nd(routed.order[:, tf.newaxis], y, tf.shape(x))  # [tokens, d_model], by text


def _of_texts(layer: SwitchFFN | DenseFFN, x: tf.Tensor, packed: Packed, routes: TokenRoutes | None) -> tf.Tensor:
    """The sums of that over the tokens of each text: float32 [tokens, d_model] -> [batch, d_model].

    Hidden units are summed before the second product, which is linear: it is taken once for each text and expert.
    """
    if isinstance(layer, DenseFFN):
        return _sum(layer.of_rows(x) * packed.real, packed)
    routed = _route(layer, x, packed, routes)
    hidden = tf.reshape(_hidden(layer, x, routed), [-1, layer.d_ff])  # [experts * slots, d_ff]
    hidden = tf.gather(hidden, routed.slot) * routed.gate  # [tokens, d_ff]
    experts = layer.stored_experts
    groups = experts * packed.batch
    hidden = tf.math.unsorted_segment_sum(hidden, routed.group, groups)  # [experts * batch, d_ff]
    gates = tf.math.unsorted_segment_sum(routed.gate, routed.group, groups)  # [experts * batch, 1]
    hidden, gates = (
        tf.reshape(each, [experts, -1, each.shape[-1]]) for each in (hidden, gates)
    )  # [experts, batch, d_ff] and [experts, batch, 1]
    return tf.reduce_sum(tf.matmul(hidden, layer.w_out) + gates * layer.b_out, axis=0)


def _sum(rows: tf.Tensor, packed: Packed) -> tf.Tensor:
    """The sum over the tokens of each text: float32 [tokens, width] -> [batch, width]."""
    return tf.math.unsorted_segment_sum(rows, packed.text, packed.batch)
