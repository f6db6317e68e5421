"""Turns rows of bytes into ids of words by Unicode's rules in a graph of gathers, scatters and sums, for every runtime.

The ids are those of `switch_tf.text.plain_pieces.PlainPieces`, bit for bit. Here for "Café 好好" with N = 13 and L = 4,
the words café and 好, and characters for their codes, ^ for the accent:

    codes     c a f e ^ _ 好 好 _ _ _ _ _    int32 [batch, N]: decomposed, 0 for _; see `switch_tf.text.code_points`
    first     1 0 0 0 0 0 1  1  0 0 0 0 0    1 where a word begins: nothing joins what stands apart but marks
    begins    0 6 7 N                        int32 [batch, L]: where the first L words do
    further   0 a f e ^ _ 0  0  _ _ _ _ _    the codes behind the first of a word
    node      of c a f e ^, 好, 好           int32 [batch, L]: where the trie leads to by a word's codes
    ids       2 3 3 0                        of the words that end in these nodes

Marks behind one letter are put in canonical order by neighbours that trade places until none has to: once if ever in
most texts, and never where the vocabulary has no two marks that could. All shapes but the batch are static; values are
below 2^24 wherever they are ordered, as integers converted to ONNX are ordered as float32.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.code_points import CodePointText, drop_last_word
from switch_tf.text.double_array import narrow
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.graph_rows import before, behind, child_of, gather_rows, part
from switch_tf.text.piece_tables import UNKNOWN_APART
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, PADDING_ID, TextSpec

_ROOT = 0  # of the trie
_ROUNDS = LONGEST_WORD // 2  # in which neighbours trade places twice: they sort as many marks as a word may have


class NumericWords(CodePointText):
    """Bytes to ids; its constants are part of every graph it is traced into."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        super().__init__(spec, vocabulary, name="numeric_words")
        trie = self._tables.trie
        self._ends = narrow(np.where(trie.values > 0, trie.values, OUT_OF_VOCABULARY_ID))
        self._steps = int(trie.depths.max()) + 1  # one more than the longest word: what goes on behind it is none
        self._orders = len(np.unique(self._tables.classes)) > 2  # zero, and two that may have to trade places

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the rules or the vocabulary, by name: integers."""
        own = {"trie/ends": self._ends, "marks": self._tables.marks}
        own |= {"classes": self._tables.classes} if self._orders else {}
        return super().stored_arrays() | {f"bytes front-end/{name}": each for name, each in own.items()}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
        if self.spec.truncation == "drop":
            rows = drop_last_word(rows)  # [batch, N]
        codes = self.codes(rows)  # [batch, N]
        if self._orders:
            codes = in_order(codes, self._tables.classes)
        first = self._first(codes)  # [batch, N]
        begins = self._begins(first)  # [batch, L], as all below
        node = self._walk(codes, tf.where(first, 0, codes), begins)
        ids = tf.cast(tf.gather(self._ends, node), tf.int32)
        return tf.where(begins < self.spec.num_bytes, ids, PADDING_ID)

    def _first(self, codes: tf.Tensor) -> tf.Tensor:
        """Where a word begins: int32 [batch, N] -> bool [batch, N]."""
        width = self.spec.num_bytes
        apart = tf.logical_and(codes >= UNKNOWN_APART, codes <= self._tables.last_apart)  # [batch, N], as all below
        is_base = 1 - tf.gather(self._tables.marks, codes)
        number = tf.cumsum(is_base, axis=1)  # of what is no mark, from 1 on
        stands = scatter_rows(tf.where(is_base > 0, number, width + 1), tf.cast(apart, tf.int32), width + 2)
        in_apart = gather_rows(stands, number)  # whether a place, or what the mark there belongs to, stands apart
        kind = before(tf.cast(codes > 0, tf.int32) + in_apart)  # 0 space, 1 of letters, 2 apart
        joins = tf.logical_or(tf.equal(kind, 1), tf.logical_and(kind > 0, tf.equal(is_base, 0)))
        return tf.logical_and(codes > 0, tf.logical_or(apart, tf.logical_not(joins)))

    def _begins(self, first: tf.Tensor) -> tf.Tensor:
        """The places of the first L words, N where there are fewer: bool [batch, N] -> int32 [batch, L]."""
        width, length = self.spec.num_bytes, self.spec.sequence_length
        rank = tf.cumsum(tf.cast(first, tf.int32), axis=1, exclusive=True)  # [batch, N]
        place = tf.where(tf.logical_and(first, rank < length), rank, length)  # [batch, N]
        from_end = scatter_rows(place, tf.zeros_like(rank) + np.arange(width, 0, -1, dtype=np.int32), length + 1)
        return width - part(from_end, 0, length)

    def _walk(self, codes: tf.Tensor, further: tf.Tensor, begins: tf.Tensor) -> tf.Tensor:
        """Where the codes of each word lead to: int32 [batch, N] twice, [batch, L] -> int32 [batch, L]."""
        codes = tf.pad(codes, [[0, 0], [0, 1]])  # [batch, N + 1]
        further = tf.pad(further, [[0, 0], [0, self._steps + 1]])  # [batch, N + steps + 1]
        trie, dead = self._tables.trie, self._tables.trie.dead
        root = tf.where(begins < self.spec.num_bytes, _ROOT, dead)  # [batch, L], as all below
        node = child_of(trie, root, gather_rows(codes, begins))

        def goes_on(step: tf.Tensor, node: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
            walks = tf.logical_and(code > 0, tf.not_equal(node, dead))
            return tf.logical_and(step < self._steps, tf.reduce_any(walks))

        def walk(step: tf.Tensor, node: tf.Tensor, code: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            node = tf.where(code > 0, child_of(trie, node, code), node)
            code = tf.where(code > 0, gather_rows(further, begins + step + 1), 0)
            return step + 1, node, code

        row = tf.TensorShape([None, self.spec.sequence_length])
        start = (tf.constant(1), node, gather_rows(further, begins + 1))
        return tf.while_loop(goes_on, walk, start, shape_invariants=(tf.TensorShape([]), row, row))[1]


def in_order(codes: tf.Tensor, classes: np.ndarray) -> tf.Tensor:
    """Marks that follow on each other in the order of their classes, those of one class as they were.

    Neighbours trade places, those that begin at even places and then the others, until none has to (odd-even
    transposition: Knuth, "Sorting and Searching", 5.3.4). More marks than a known word can have stay as they are, so
    that no text takes long.

    Args:
        codes: int32 [batch, N].
        classes: int32 [codes], 0 for what stays where it is.
    """
    column = np.arange(codes.shape[1], dtype=np.int32)

    def wrong(of: tf.Tensor) -> tf.Tensor:
        """Where a mark of such a class and the one behind it have to trade places: bool [batch, N]."""
        further = behind(of)  # [batch, N]
        return tf.logical_and(of > further, further > 0)

    def trade(parity: int, *rows: tf.Tensor) -> list[tf.Tensor]:
        first = tf.where(wrong(rows[1]), np.where(column % 2 == parity, 1, 0).astype(np.int32), 0)  # [batch, N]
        last = before(first)  # [batch, N]
        return [tf.where(first > 0, behind(row), tf.where(last > 0, before(row), row)) for row in rows]

    def goes_on(codes: tf.Tensor, of: tf.Tensor) -> tf.Tensor:
        del codes
        return tf.reduce_any(wrong(of))

    def both(codes: tf.Tensor, of: tf.Tensor) -> list[tf.Tensor]:
        return trade(1, *trade(0, codes, of))

    row = tf.TensorShape([None, codes.shape[1]])
    start = [codes, tf.gather(classes, codes)]
    return tf.while_loop(goes_on, both, start, shape_invariants=[row, row], maximum_iterations=_ROUNDS)[0]
