"""Turns rows of bytes into ids of unigram pieces in a graph of gathers, scatters, sums and maxima, for every runtime.

The ids are those of `switch_tf.text.plain_unigram.PlainUnigram`, bit for bit. Here for " Ab  a" and pieces ▁a, ▁, a, b
and ▁ab, with characters for their codes and M = N + 1 = 7:

    normal        _ a b _ _ a        int32 [batch, N]: characters by their rules, _ for white space
    marked        ▁ a b ▁ a 0 0      int32 [batch, M]: one mark before each word; 0 behind the text
    found         of each place all pieces that begin there: all places walk down the trie at once, a size a step
    cut           1 0 0 1 0 1 1 1    bool [batch, M + 1]: ends that no piece goes over, the text's start included
    best          0 . s 0 s 0 0 0    float32 [batch, M + 1]: the highest sum of pieces from the cut before each end
    sizes         . . 3 . 2          of the last piece of that sum, at its end
    ids           ▁ab ▁a             from each cut backwards by jumps, whose number doubles in each round

Sums of scores on a grid are exact in any order, so each begins at a cut, and all ends are made better at once until no
more get better. With `unigram_sums` = "sequential" these are a first guess of the sums from the text's start, rounded
at each piece as the library rounds them, which is made better until each follows from those before it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.text.code_points import CharacterText, drop_last_word
from switch_tf.text.double_array import narrow
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.graph_rows import (
    before,
    child_of,
    gather_rows,
    look_up,
    part,
    row_starts,
    set_before,
    write_sequences,
)
from switch_tf.text.normalization import read_normalization
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, TextSpec
from switch_tf.text.unigram_table import UnigramTable
from switch_tf.text.unigram_tables import UnigramTables, build_unigram_tables
from switch_tf.text.utf8 import read_characters_of

_ROOT = 0
_UNKNOWN = 0  # in place of the id of what is no piece
NEVER = np.float32(-(2.0**62))  # the score of what is no piece, and a sum that is not reached: below every other


class _Found(NamedTuple):
    """The pieces of each size, from 1 on, that begin at each place.

    Attributes:
        nodes: int32 [batch, sizes, M], where in the trie the walk stands.
        scores: float32 [batch, sizes, M].
        longest: int32 [batch, M], the size of the longest, 1 where there is none.
    """

    nodes: tf.Tensor
    scores: tf.Tensor
    longest: tf.Tensor


class NumericUnigram(CharacterText):
    """Bytes to ids of unigram pieces; no piece is left out."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str], sentinels: int = 0):
        """
        Args:
            sentinels: tokens that `_classes` finds in a text before it is read; see `build_unigram_tables`.

        Raises:
            DataError: no front-end takes the vocabulary; see `UnigramTable`.
        """
        super().__init__(name="numeric_unigram")
        table = UnigramTable(spec, vocabulary)
        self.spec = spec
        tables = build_unigram_tables(table, read_normalization(spec.normalization), sentinels)
        rules, trie = tables.rules, tables.trie
        self._tables: UnigramTables = tables
        self._number_bits = int(tables.sequences.numbers.max() + 1).bit_length()
        found = (rules.depths - 1) << self._number_bits | rules.values
        self._rule_found = narrow(np.where(rules.values > 0, found, 0))
        # One more place without children: where the walk of a character ends that no piece begins with.
        self._trie, self._stranger = replace(trie, base=np.append(trie.base, trie.base[trie.dead])), len(trie.base)
        self._ids = narrow(np.append(trie.values, _UNKNOWN))
        scores = np.array([0, 0, *table.scores.values(), *[0] * sentinels], np.int32)  # by id
        of_others = np.where(trie.depths == 1, table.unknown_score, 1)  # 1: no piece ends there
        self._scores = narrow(np.append(np.where(trie.values > 0, scores[trie.values], of_others), table.unknown_score))
        self._steps, self._rule_steps = table.longest, int(rules.depths.max(initial=0))

    def stored_arrays(self) -> dict[str, np.ndarray]:
        tables, rules, trie = self._tables, self._tables.rules, self._trie
        arrays = {name: getattr(tables, name) for name in ("characters", "further", "alone")}
        arrays |= {"lengths": tables.sequences.lengths, "codes": tables.sequences.codes, "scores": self._scores}
        arrays |= {"rules/base": rules.base, "rules/labels": rules.labels, "rules/found": self._rule_found}
        arrays |= {"trie/base": trie.base, "trie/labels": trie.labels, "trie/ids": self._ids}
        return {f"bytes front-end/{name}": each for name, each in arrays.items()}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        if self.spec.truncation == "drop":
            rows = drop_last_word(rows)  # [batch, N]
        text, length = self._mark(self._normal(rows))  # [batch, M], [batch, 1]
        found = self._find(text)
        ends = _candidates(found)  # [batch, sizes, M + 1]
        end = np.arange(text.shape[1] + 1, dtype=np.int32)[np.newaxis]
        inside = tf.logical_and(end > 0, end <= length)  # [batch, M + 1], as all below
        cut = tf.logical_or(_furthest(found.longest, text, self._steps) <= end, end == 0)
        best = _best_between_cuts(ends, cut)
        if self.spec.unigram_sums == "sequential":
            best = _best_from_the_left(ends, cut, inside, self._restarts(text), best)
        sizes = _last_sizes(ends, best)
        is_read = tf.pad(text, [[0, 0], [1, 0]]) > 0  # not what `_mark` took away
        token = tf.logical_and(_on_the_way(cut, inside, end - sizes), is_read)
        return self._write(*self._tokens(found, token, sizes))

    def _classes(self, rows: tf.Tensor) -> tf.Tensor:
        """The class of each character at its first byte, 0 at its others: uint8 [batch, N] -> int32 [batch, N]."""
        return read_characters_of(rows, self._tables.characters, self._tables.bad)

    def _mark(self, normal: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `_marked` has it."""
        return _marked(normal)

    def _restarts(self, text: tf.Tensor) -> tf.Tensor | None:
        """The ends at which sums begin anew, bool [batch, M + 1]; None where that is the text's start alone."""
        del text
        return None

    def _normal(self, rows: tf.Tensor) -> tf.Tensor:
        """Codes of the normal text, 0 for white space and behind it: uint8 [batch, N] -> int32 [batch, N]."""
        tables, width = self._tables, self.spec.num_bytes
        classes = self._classes(rows)  # [batch, N], as all below
        if not self._rule_steps:
            return self._written(look_up(tables.alone, classes))
        leads = classes > 0
        rank = tf.cumsum(tf.cast(leads, tf.int32), axis=1, exclusive=True)
        classes = part(scatter_rows(tf.where(leads, rank, width), classes, width + 1), 0, width)  # side by side
        joining = tf.where(classes <= tables.last_joining, classes, 0)
        found = look_up(tables.alone, classes) + 1
        behind = tf.pad(joining, [[0, 0], [0, self._rule_steps]])
        node = child_of(tables.rules, _ROOT, joining)
        for step in range(1, self._rule_steps):
            node = child_of(tables.rules, node, part(behind, step, width))
            found = tf.maximum(found, look_up(self._rule_found, node))
        column = np.arange(width, dtype=np.int32)[np.newaxis]
        further = look_up(tables.further, classes)
        numbers = 1 << self._number_bits
        jump = column + found // numbers + 1
        goes_on = gather_rows(tf.pad(further, [[0, 0], [0, 1]]), jump) > 0
        first = tf.logical_or(tf.equal(further, 0), column == 0)
        starts = reached(first, tf.where(goes_on, jump, width))
        return self._written(tf.where(starts, tf.math.floormod(found, numbers) - 1, 0))

    def _written(self, numbers: tf.Tensor) -> tf.Tensor:
        """The codes of sequences, one behind the other: int32 [batch, N] -> int32 [batch, N]."""
        sequences = self._tables.sequences
        return write_sequences(numbers, sequences.lengths, sequences.codes, sequences.room)

    def _find(self, text: tf.Tensor) -> _Found:
        """The pieces that begin at each place: int32 [batch, M]."""
        width = text.shape[1]
        behind = tf.pad(text, [[0, 0], [0, self._steps]])
        nodes = [child_of(self._trie, _ROOT, text, self._stranger)]
        for step in range(1, self._steps):
            nodes.append(child_of(self._trie, nodes[-1], part(behind, step, width)))
        node = tf.reshape(tf.concat(nodes, axis=1), [-1, self._steps, width])  # [batch, sizes, M], as below
        score = look_up(self._scores, node)
        is_piece = score <= 0
        sizes = _highest(tf.cast(is_piece, tf.float32) * _sizes(self._steps))
        return _Found(node, tf.where(is_piece, tf.cast(score, tf.float32), NEVER), tf.cast(sizes, tf.int32))

    def _tokens(self, found: _Found, token: tf.Tensor, sizes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Which ends are a token's, and its id, `_UNKNOWN` of what is no piece: bool, int32 [batch, M + 1]."""
        width = sizes.shape[1] - 1
        end = np.arange(width + 1, dtype=np.int32)
        nodes = tf.reshape(found.nodes, [-1, self._steps * width])
        node = gather_rows(nodes, tf.where(token, (sizes - 1) * width + end - sizes, 0))  # [batch, M + 1], as below
        ids = look_up(self._ids, node)
        unknown = tf.logical_and(token, tf.equal(ids, _UNKNOWN))
        repeated = tf.logical_and(unknown, set_before(unknown))  # several are one
        return tf.logical_and(token, tf.logical_not(repeated)), ids

    def _write(self, token: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The ids of tokens, side by side: bool, int32 [batch, M + 1] -> int32 [batch, L]."""
        length = self.spec.sequence_length
        known = tf.where(tf.equal(ids, _UNKNOWN), OUT_OF_VOCABULARY_ID, ids)
        rank = tf.cumsum(tf.cast(token, tf.int32), axis=1, exclusive=True)
        place = tf.where(tf.logical_and(token, rank < length), rank, length)
        return part(scatter_rows(place, known, length + 1), 0, length)


def _marked(normal: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A mark before each word, none behind the last, and how many codes that are: int32 [batch, N + 1], [batch, 1]."""
    width = normal.shape[1] + 1
    is_letter = normal > 0
    begins = tf.logical_and(is_letter, tf.logical_not(set_before(is_letter)))
    place = tf.cumsum(tf.cast(is_letter, tf.int32) + tf.cast(begins, tf.int32), axis=1) - 1
    letters = part(scatter_rows(tf.where(is_letter, place, width), normal, width + 1), 0, width)
    column = np.arange(width, dtype=np.int32)
    length = tf.reduce_max(tf.where(letters > 1, column + 1, 0), axis=1, keepdims=True)  # 1 is the mark
    return tf.where(column < length, tf.maximum(letters, 1), 0), length


def _sizes(steps: int) -> np.ndarray:
    """The size of each row of what is [batch, sizes, n]."""
    return np.arange(1, steps + 1, dtype=np.float32)[:, np.newaxis]


def _candidates(found: _Found) -> tf.Tensor:
    """Of each size the score of the piece that ends at each end: float32 [batch, sizes, M + 1].

    Rows of M + 2 that are read as rows of M + 1 stand each one place further than the one before: what begins at a
    place then ends there. No piece goes over the text's end, so that what comes in from the row before is `NEVER`.
    """
    steps, width = found.scores.shape[1], found.scores.shape[2] + 1
    wider = tf.pad(found.scores, [[0, 0], [0, 0], [1, 1]], constant_values=NEVER)
    return _in_rows(tf.reshape(wider, [-1, steps * (width + 1)]), steps, width)


def _in_rows(row: tf.Tensor, steps: int, width: int) -> tf.Tensor:
    """What a row begins with in several: float32 [batch, n] -> float32 [batch, steps, width]."""
    return tf.reshape(part(row, 0, steps * width), [-1, steps, width])


def _furthest(longest: tf.Tensor, text: tf.Tensor, steps: int) -> tf.Tensor:
    """The furthest that a piece reaches that begins before each end: int32 [batch, M] -> int32 [batch, M + 1]."""
    column = np.arange(text.shape[1], dtype=np.int32)
    furthest = tf.where(text > 0, column + longest, column)
    covered = 1
    while covered < steps:
        furthest = tf.maximum(furthest, before(furthest, covered))
        covered *= 2
    return tf.pad(furthest, [[0, 0], [1, 0]])


def _sums(ends: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """What each size's piece adds up to with the best before it.

    The best sums stand in the row of each size by as many places further, by the same turn as in `_candidates`; what
    comes in is added to `NEVER`.

    Args:
        ends: float32 [batch, sizes, M + 1], of `_candidates`.
        best: float32 [batch, M + 1].

    Returns:
        float32 [batch, sizes, M + 1].
    """
    steps, width = ends.shape[1], ends.shape[2]
    repeated = tf.tile(tf.pad(best, [[0, 0], [1, 0]]), [1, steps])  # [batch, sizes (M + 2)]
    return _in_rows(repeated, steps, width) + ends


def _highest(of_sizes: tf.Tensor) -> tf.Tensor:
    """float32 [batch, sizes, n] -> float32 [batch, n]."""
    return tf.reduce_max(of_sizes, axis=1)


def _best_between_cuts(ends: tf.Tensor, cut: tf.Tensor) -> tf.Tensor:
    """The highest sum of pieces from the cut before each end, 0 at cuts: float32 [batch, M + 1]."""
    between = tf.cast(tf.logical_not(cut), tf.float32)
    first = between * NEVER

    def go_on(best: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        del best
        return changed > 0

    def relax(best: tf.Tensor, changed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        del changed
        better = _highest(_sums(ends, best)) * between
        return better, _difference(better, best)

    shapes = (cut.shape, tf.TensorShape([]))
    return tf.while_loop(go_on, relax, (first, _difference(between - 1, 0)), shape_invariants=shapes)[0]


def _difference(values: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """The largest, which is 0 only where all are equal: float32 [batch, n] twice -> float32 []."""
    return tf.reduce_max(tf.abs(values - others))


def _best_from_the_left(
    ends: tf.Tensor, cut: tf.Tensor, inside: tf.Tensor, restarts: tf.Tensor | None, best: tf.Tensor
) -> tf.Tensor:
    """The highest sum of pieces from the text's start to each end, rounded at each piece: float32 [batch, M + 1].

    No sums but these follow from those of earlier ends. So any that are near are made to, all ends at once: where sums
    at cuts are off, what is behind is shifted by as much. Those at the first ends are right after each round, and one
    more at least, whatever was shifted.

    Args:
        ends: float32 [batch, sizes, M + 1], of `_candidates`.
        cut: bool [batch, M + 1], ends that no piece goes over.
        inside: bool [batch, M + 1], ends of the text without its start.
        restarts: bool [batch, M + 1], ends whose sum is 0 whatever stands before, or None.
        best: float32 [batch, M + 1], sums from the cut before each end.
    """
    follows = inside if restarts is None else tf.logical_and(inside, tf.logical_not(restarts))
    # 1 or 0: LiteRT multiplies faster than it chooses.
    cut, inside, follows = (tf.cast(each, tf.float32) for each in (tf.logical_and(cut, inside), inside, follows))

    def following(best: tf.Tensor) -> tf.Tensor:
        return _highest(_sums(ends, best)) * follows

    def go_on(best: tf.Tensor, better: tf.Tensor) -> tf.Tensor:
        return _difference(better, best) > 0

    def shift(best: tf.Tensor, better: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        off = tf.cumsum((better - best) * cut, axis=1, exclusive=True)
        best = (better + off) * inside
        return best, following(best)

    start = (best + tf.cumsum(following(best) * cut, axis=1)) * inside
    shapes = (cut.shape, cut.shape)
    return tf.while_loop(go_on, shift, (start, following(start)), shape_invariants=shapes)[0]


def _last_sizes(ends: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """The size of the longest last piece of the highest sum, at each end: int32 [batch, M + 1]."""
    sums = _sums(ends, best)
    is_highest = sums >= tf.reduce_max(sums, axis=1, keepdims=True)
    return tf.cast(_highest(tf.cast(is_highest, tf.float32) * _sizes(ends.shape[1])), tf.int32)


def _on_the_way(cut: tf.Tensor, inside: tf.Tensor, previous: tf.Tensor) -> tf.Tensor:
    """Which ends the way back from each cut to the one before leads over: bool, bool, int32 [batch, M + 1]."""
    width = cut.shape[1]
    stops = gather_rows(tf.cast(cut, tf.int32), tf.maximum(previous, 0)) > 0
    return reached(tf.logical_and(cut, inside), tf.where(stops, width, previous))


def reached(first: tf.Tensor, jump: tf.Tensor) -> tf.Tensor:
    """Which places jumps lead to from first ones, these included: bool, int32 [batch, n] -> bool [batch, n].

    Args:
        jump: from each place to another, n where there is none.
    """
    width = first.shape[1]
    # Places of all rows, one behind the other, of which each has one more, that what goes nowhere goes to.
    starts = row_starts(first, width + 1)  # [batch, 1]
    marks = tf.reshape(tf.pad(tf.cast(first, tf.int32), [[0, 0], [0, 1]]), [-1])  # [batch (n + 1)], as all below
    jumps = tf.reshape(tf.pad(jump, [[0, 0], [0, 1]], constant_values=width) + starts, [-1])
    nowhere = tf.reshape(starts + np.full([1, width + 1], width, np.int32), [-1])
    ones = tf.ones_like(jumps)

    def go_on(marks: tf.Tensor, jumps: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.where(jumps < nowhere, marks, 0)) > 0

    def double(marks: tf.Tensor, jumps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        places = tf.reshape(tf.where(marks > 0, jumps, nowhere), [-1, 1])
        hit = tf.scatter_nd(places, ones, tf.shape(marks))
        return tf.cast(marks + hit > 0, tf.int32), tf.gather(jumps, jumps)

    shapes = (marks.shape, jumps.shape)
    marks, _ = tf.while_loop(go_on, double, (marks, jumps), shape_invariants=shapes)
    return part(tf.reshape(marks, [-1, width + 1]), 0, width) > 0
