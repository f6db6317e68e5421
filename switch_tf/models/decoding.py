"""Writing a text id by id in one graph with a static cache, which compiles under XLA and exports.

What is written for a text depends on that text alone: every text of a batch is drawn for with the same random numbers.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from switch_tf.layers.relative_attention import NEVER
from switch_tf.models.seq2seq import Seq2Seq
from switch_tf.models.t5 import KeysAndValues, Memory


def write(
    model: Seq2Seq, ids: tf.Tensor, longest: int, choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Write a text for each text that is given.

    Args:
        ids: int32 [batch, length], padding at the end alone; the length is static.
        longest: ids that are written at most.
        choose: from the logits, float32 [batch, vocab_size], and the place, int32 [], to each next id, int32 [batch].

    Returns:
        int32 [batch, 1 + longest]: `decoder_start_token_id`, what was written up to `eos_token_id`, and padding.
    """
    start, end, padding = (
        model.settings.decoder_start_token_id,
        model.settings.eos_token_id,
        model.settings.pad_token_id,
    )
    memory = model.decoder.remember(model.encode(ids), model.mask(ids))
    biases = model.decoder.positions.between(longest, longest)  # [1, heads, longest, longest]
    places = tf.range(longest + 1)
    batch = tf.shape(ids)[0]

    def body(
        place: tf.Tensor, last: tf.Tensor, done: tf.Tensor, written: tf.Tensor, cache: tuple[KeysAndValues, ...]
    ) -> tuple[tf.Tensor, ...]:
        logits, cache = model.step(last, place, cache, memory, biases)
        following = tf.where(done, padding, choose(logits, place))  # [batch]
        written = tf.where(places == place + 1, following[:, tf.newaxis], written)  # [batch, 1 + longest]
        return place + 1, following, tf.logical_or(done, following == end), written, cache

    first = tf.fill(batch[tf.newaxis], start)  # [batch]
    state = (
        tf.constant(0),
        first,
        tf.zeros_like(first, tf.bool),
        tf.where(places == 0, first[:, tf.newaxis], padding),
        model.decoder.empty_cache(batch, longest),
    )
    return while_loop(lambda place, _, done, *__: (place < longest) & ~tf.reduce_all(done), body, state)[3]


def while_loop(
    condition: Callable[..., tf.Tensor], body: Callable[..., tuple[tf.Tensor, ...]], state: tuple[tf.Tensor, ...]
) -> tuple[tf.Tensor, ...]:
    """`tf.while_loop` over tensors that keep their shapes, of which the first dimension may be unknown."""
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, state)
    return tf.while_loop(condition, body, state, shape_invariants=shapes)


def repeat_memory(memory: Memory, times: int) -> Memory:
    """What is remembered of each text, `times` in a row."""
    return Memory(
        tf.nest.map_structure(lambda tensor: tf.repeat(tensor, times, axis=0), memory.keys_and_values),
        tf.repeat(memory.bias, times, axis=0),
    )


def most_probable(logits: tf.Tensor) -> tf.Tensor:
    """float32 [batch, vocab_size] to int32 [batch], the first where several are equal."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def drawn(logits: tf.Tensor, place: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """An id of each text, each with its probability: float32 [batch, vocab_size] to int32 [batch].

    The highest of logit + Gumbel noise is id i with probability softmax(logits)_i (Gumbel 1954; Maddison et al. 2014,
    arXiv 1411.0030, section 2). The noise is the same for each text: none depends on its place in the batch.
    """
    tiny = 1e-20  # keeps both logarithms finite
    uniform = tf.random.stateless_uniform(
        [logits.shape[-1]], tf.random.fold_in(seed, place), minval=tiny, alg="philox"
    )  # [vocab_size]
    return most_probable(logits - tf.math.log(-tf.math.log(uniform)))


def most_probable_alone(logits: tf.Tensor, top_k: int, top_p: float) -> tf.Tensor:
    """Logits far below zero at all ids but the `top_k` most probable, and of those but the first that make up `top_p`.

    Args:
        logits: float32 [batch, vocab_size].
        top_k: 0 keeps all.
        top_p: 1 keeps all. The most probable id is always kept.
    """
    if 0 < top_k < logits.shape[-1]:
        least = tf.math.top_k(logits, top_k).values[:, -1:]  # [batch, 1]
        logits = tf.where(logits < least, NEVER, logits)
    if top_p < 1.0:
        ordered = tf.sort(logits, axis=-1, direction="DESCENDING")  # [batch, vocab_size]
        before = tf.cumsum(tf.nn.softmax(ordered), axis=-1, exclusive=True)  # [batch, vocab_size]
        least = tf.reduce_min(tf.where(before < top_p, ordered, math.inf), axis=-1, keepdims=True)  # [batch, 1]
        logits = tf.where(logits < least, NEVER, logits)
    return logits
