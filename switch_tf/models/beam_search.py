"""Beam search: of each text the several beginnings that are most probable so far, until none of them can win.

The rules are those that transformers' `generate` has with `early_stopping=False`, so that both write the same: twice as
many continuations as beams are looked at, of which finished ones among the first `num_beams` join the finished texts;
a finished text's score is its log-probability over length ** length_penalty; a text is done when the best beam that
goes on would not beat the worst finished one if it ended here.
"""

from typing import NamedTuple

import tensorflow as tf

from switch_tf.layers.relative_attention import NEVER
from switch_tf.models.decoding import repeat_memory, while_loop
from switch_tf.models.seq2seq import Seq2Seq
from switch_tf.models.t5 import KeysAndValues


class _Beams(NamedTuple):
    """Several texts for each that was given, best first.

    Attributes:
        ids: int32 [batch, beams, 1 + longest].
        scores: float32 [batch, beams].
    """

    ids: tf.Tensor
    scores: tf.Tensor

    def best(self, count: int) -> tuple["_Beams", tf.Tensor]:
        """The `count` of the highest scores, and where they stood: int32 [batch, count]."""
        scores, places = tf.math.top_k(self.scores, count)
        return _Beams(tf.gather(self.ids, places, axis=1, batch_dims=1), scores), places


def beam_search(model: Seq2Seq, ids: tf.Tensor, longest: int, beams: int, length_penalty: float = 1.0) -> tf.Tensor:
    """int32 [batch, length] to the best text for each, int32 [batch, 1 + longest], as `decoding.write` gives it."""
    memory = repeat_memory(model.decoder.remember(model.encode(ids), model.mask(ids)), beams)
    biases = model.decoder.positions.between(longest, longest)  # [1, heads, longest, longest]
    batch = tf.shape(ids)[0]

    def body(
        place: tf.Tensor, open_: tf.Tensor, running: _Beams, finished: _Beams, cache: tuple[KeysAndValues, ...]
    ) -> tuple[tf.Tensor, ...]:
        last = tf.reshape(tf.gather(running.ids, place, axis=2), [-1])  # [batch * beams]
        logits, cache = model.step(last, place, cache, memory, biases)
        continued, came_from = _continue(running, logits, place)
        ends = tf.gather(continued.ids, place + 1, axis=2) == model.settings.eos_token_id  # [batch, 2 * beams]
        ends = tf.logical_or(ends, place + 1 == longest)
        finished = _finish(finished, continued, ends, open_, tf.cast(place + 1, tf.float32) ** length_penalty)
        running, chosen = _Beams(continued.ids, _barred(continued.scores, ends)).best(beams)
        came_from = tf.gather(came_from, chosen, axis=1, batch_dims=1)  # [batch, beams]
        rows = tf.reshape(came_from + beams * tf.range(batch)[:, tf.newaxis], [-1])  # [batch * beams]
        cache = tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), cache)
        best_to_come = running.scores[:, 0] / tf.cast(place + 1, tf.float32) ** length_penalty  # [batch]
        open_ = tf.logical_and(open_, best_to_come > finished.scores[:, -1])
        return place + 1, open_, running, finished, cache

    state = (
        tf.constant(0),
        tf.fill(batch[tf.newaxis], True),
        *_start(model, batch, beams, longest),
        model.decoder.empty_cache(batch * beams, longest),
    )
    return while_loop(lambda place, open_, *_: (place < longest) & tf.reduce_any(open_), body, state)[3].ids[:, 0]


def _start(model: Seq2Seq, batch: tf.Tensor, beams: int, longest: int) -> tuple[_Beams, _Beams]:
    """The beams before the first id, of which only one counts, since they are all alike; and no finished text."""
    padding = model.settings.pad_token_id
    first = tf.where(tf.range(1 + longest) == 0, model.settings.decoder_start_token_id, padding)  # [1 + longest]
    ids = tf.broadcast_to(first, tf.stack([batch, beams, 1 + longest]))
    ids = tf.ensure_shape(ids, [None, beams, 1 + longest])
    scores = tf.broadcast_to(tf.where(tf.range(beams) == 0, 0.0, NEVER), tf.stack([batch, beams]))
    scores = tf.ensure_shape(scores, [None, beams])
    return _Beams(ids, scores), _Beams(ids, tf.fill(tf.shape(scores), NEVER) + tf.zeros_like(scores))


def _continue(running: _Beams, logits: tf.Tensor, place: tf.Tensor) -> tuple[_Beams, tf.Tensor]:
    """The best continuations of all beams by one id, twice as many as beams.

    Returns:
        Them, and which beam each continues, int32 [batch, 2 * beams].
    """
    beams, vocab_size = running.scores.shape[1], logits.shape[-1]
    log_probabilities = tf.reshape(tf.nn.log_softmax(logits), [-1, beams, vocab_size])
    totals = log_probabilities + running.scores[..., tf.newaxis]  # [batch, beams, vocab_size]
    scores, places = tf.math.top_k(tf.reshape(totals, [-1, beams * vocab_size]), 2 * beams)  # [batch, 2 * beams]
    came_from, following = places // vocab_size, places % vocab_size
    ids = tf.gather(running.ids, came_from, axis=1, batch_dims=1)  # [batch, 2 * beams, 1 + longest]
    here = tf.range(ids.shape[-1]) == place + 1  # [1 + longest]
    return _Beams(tf.where(here, following[..., tf.newaxis], ids), scores), came_from


def _finish(finished: _Beams, continued: _Beams, ends: tf.Tensor, open_: tf.Tensor, divisor: tf.Tensor) -> _Beams:
    """The best of the finished texts and of those that end now, where a text is still open.

    Only those among the first half of the continuations may: the others are there so that enough beams go on.
    """
    beams = finished.scores.shape[1]
    first_half = tf.range(2 * beams) < beams  # [2 * beams]
    may_join = tf.logical_and(tf.logical_and(ends, first_half), open_[:, tf.newaxis])  # [batch, 2 * beams]
    scores = _barred(continued.scores / divisor, tf.logical_not(may_join))
    both = _Beams(
        tf.concat([finished.ids, continued.ids], axis=1), tf.concat([finished.scores, scores], axis=1)
    )  # [batch, 3 * beams]
    return both.best(beams)[0]


def _barred(scores: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    return scores + tf.where(where, NEVER, 0.0)
