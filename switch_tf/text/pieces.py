"""Turns rows of bytes into ids of WordPiece pieces in a graph of gathers, scatters and sums, for every runtime.

The ids are those of `switch_tf.text.plain_pieces.PlainPieces`, bit for bit. Here for "unlit?" with N = 8 and L = 4 and
the pieces un, ##lit and ?, with characters for their codes:

    code points   u n l i t ? 0 0    int32 [batch, N]: `switch_tf.text.utf8`
    codes         u n l i t ? _ _    int32 [batch, N]: what these become, 0 for _; see `switch_tf.text.piece_tables`
    first         1 0 0 0 0 1 0 0    1 where a word begins
    sizes         2 0 3 0 0 1 0 0    of the longest piece that begins there: all places walk down the trie at once
    jump          2 8 8 8 8 8 8 8    where the piece behind it begins, N where there is none
    reached       1 0 1 0 0 1 0 0    from the first of a word by jumps, whose number doubles in each of 7 rounds
    ids           3 4 5 0            pieces at the reached places, one id for a word that cannot be read

All shapes but the batch are static. The trie is walked in a loop, which ends when no place can go on. Values are below
2^24 wherever they are ordered, as integers converted to ONNX are ordered as float32.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.code_points import CodePointText, drop_last_word
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.graph_rows import gather_rows, set_before
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, TextSpec

_BEGINNING, _FURTHER = 0, 1  # roots of the trie
_ID_BITS = 20  # above the million ids that there may be
_ROUNDS = LONGEST_WORD.bit_length()  # of jumps that double


class NumericPieces(CodePointText):
    """Bytes to ids; its constants are part of every graph it is traced into."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        super().__init__(spec, vocabulary, name="numeric_pieces")
        trie = self._tables.trie
        # Length and id of the piece that ends at a slot, in one number: one look-up a step fewer.
        self._found = np.where(trie.values > 0, trie.depths << _ID_BITS | trie.values, 0).astype(np.int32)
        self._steps = int(trie.depths[trie.values > 0].max(initial=1))

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the rules or the vocabulary, by name: integers."""
        own = {"sizes": self._tables.sizes, "trie/found": self._found}
        return super().stored_arrays() | {f"bytes front-end/{name}": each for name, each in own.items()}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
        if self.spec.truncation == "drop":
            rows = drop_last_word(rows)  # [batch, N]
        codes = self.codes(rows)  # [batch, N], as all below
        is_letter = codes > self._tables.last_apart
        begins = tf.logical_not(tf.logical_and(is_letter, set_before(is_letter)))
        first = tf.logical_and(codes > 0, begins)
        further = tf.where(first, 0, codes)  # no step of the trie goes over the beginning of a word
        sizes, pieces = self._longest(codes, further, first)
        jump = self._jumps(sizes, further)
        reached = _reached(first, jump)
        word = tf.cumsum(tf.cast(first, tf.int32), axis=1)  # its number, from 1 on
        unknown = self._unknown(codes, word, first, tf.logical_and(reached, tf.equal(sizes, 0)))
        token = tf.where(unknown, first, reached)
        token = tf.logical_and(token, codes > 0)
        rank = tf.cumsum(tf.cast(token, tf.int32), axis=1, exclusive=True)
        length = self.spec.sequence_length
        place = tf.where(tf.logical_and(token, rank < length), rank, length)
        ids = tf.where(unknown, OUT_OF_VOCABULARY_ID, pieces)
        return scatter_rows(place, ids, length + 1)[:, :length]  # [batch, L]

    def _longest(self, codes: tf.Tensor, further: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Size and id of the longest piece that begins at each place, zeros where none does: int32 [batch, N] both."""
        width = self.spec.num_bytes
        node, found = self._step(tf.where(first, _BEGINNING, _FURTHER), tf.zeros_like(codes), codes)
        behind = tf.pad(further, [[0, 0], [0, self._steps]])  # [batch, N + steps]

        def goes_on(step: tf.Tensor, node: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
            del found
            return tf.logical_and(step < self._steps, tf.reduce_any(tf.not_equal(node, self._tables.trie.dead)))

        def walk(step: tf.Tensor, node: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return step + 1, *self._step(node, found, tf.slice(behind, [0, step], [-1, width]))

        row = tf.TensorShape([None, width])
        start = (tf.constant(1), node, found)
        _, _, found = tf.while_loop(goes_on, walk, start, shape_invariants=(tf.TensorShape([]), row, row))
        return found // 2**_ID_BITS, tf.math.floormod(found, 2**_ID_BITS)

    def _step(self, node: tf.Tensor, found: tf.Tensor, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Where each place of the trie leads by one code more, and the longest piece found so far."""
        node = self.child(node, codes)
        longer = tf.gather(self._found, node)
        return node, tf.where(longer > 0, longer, found)

    def _jumps(self, sizes: tf.Tensor, further: tf.Tensor) -> tf.Tensor:
        """The place behind each piece, N where the word ends there or there is no piece: int32 [batch, N]."""
        width = self.spec.num_bytes
        behind = sizes + np.arange(width, dtype=np.int32)
        goes_on = gather_rows(tf.pad(further, [[0, 0], [0, 1]]), behind) > 0
        return tf.where(tf.logical_and(sizes > 0, goes_on), behind, width)

    def _unknown(self, codes: tf.Tensor, word: tf.Tensor, first: tf.Tensor, stuck: tf.Tensor) -> tf.Tensor:
        """Whether the word of a place is too long, or cannot be read to its end: bool [batch, N]."""
        width = self.spec.num_bytes
        size = tf.gather(self._tables.sizes, codes)
        behind = tf.cumsum(size, axis=1, exclusive=True)
        at_first = scatter_rows(tf.where(first, word, 0), behind, width + 1)  # by the number of a word
        too_long = behind + size - gather_rows(at_first, word) > LONGEST_WORD
        failed = tf.logical_and(tf.logical_or(stuck, too_long), codes > 0)
        words = scatter_rows(tf.where(failed, word, 0), tf.ones_like(word), width + 1)  # number 0 is no word's
        return tf.logical_and(gather_rows(words, word) > 0, word > 0)


def _reached(first: tf.Tensor, jump: tf.Tensor) -> tf.Tensor:
    """Which places a word's first one leads to, itself included: bool, int32 [batch, N] -> bool [batch, N]."""
    width = first.shape[1]
    reached = tf.pad(tf.cast(first, tf.int32), [[0, 0], [0, 1]])  # [batch, N + 1], as all below
    jump = tf.pad(jump, [[0, 0], [0, 1]], constant_values=width)
    for _ in range(_ROUNDS):
        hit = scatter_rows(tf.where(reached > 0, jump, width), tf.ones_like(jump), width + 1)
        reached = tf.cast(reached + hit > 0, tf.int32)
        jump = gather_rows(jump, jump)
    return reached[:, :width] > 0
