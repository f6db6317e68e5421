"""Turns rows of bytes into ids of WordPiece pieces in a graph of gathers, scatters and sums, for every runtime.

The ids are those of `switch_tf.text.plain_pieces.PlainPieces`, bit for bit. Here for "unlit? x" with N = 9 and L = 4
and the pieces un, ##lit and ?, with characters for their codes:

    codes     u n l i t ? _ x _ _    int32 [batch, N + 1]: what the bytes become, 0 for _; see `piece_tables`
    further   0 n l i t 0 0 0 0 0    codes that do not begin a word
    sizes     2 0 3 0 0 1 0 0 0 0    of the longest piece that begins there: all places walk down the trie at once
    jump      2 1 2 3 4 5 6 7 8 9    where the piece behind it begins, and the place itself where there is none
    last      2 1 2 3 4 5 6 7 8 9    of the pieces from there on, by jumps, whose number doubles in each of 7 rounds
    unknown   0 1 0 1 1 0 1 1 1 1    1 where the way ends without a piece, or is too long for a word
    next      2 5 5 5 5 7 7 9 9 9    jumps, and where a word ends or is unknown the next one's beginning, or else N
    tokens    0 2 5 7                int32 [batch, L], from the first beginning: as many again in each round
    ids       2 3 4 1                pieces at these places, and one id for a word that cannot be read

All shapes but the batch are static. The trie is walked in a loop, which ends when no place can go on. Values are below
2^24 wherever they are ordered, as integers converted to ONNX are ordered as float32.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.code_points import CodePointText, drop_last_word
from switch_tf.text.double_array import narrow
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.graph_rows import before, child_of, gather_rows, look_up, part, row_starts
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, PADDING_ID, TextSpec

_BEGINNING, _FURTHER = 0, 1  # roots of the trie
_ROUNDS = LONGEST_WORD.bit_length()  # of jumps that double
_FAR = 2**22  # further than any word ends


class NumericPieces(CodePointText):
    """Bytes to ids; its constants are part of every graph it is traced into."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        super().__init__(spec, vocabulary, name="numeric_pieces")
        trie = self._tables.trie
        # Of the longest piece on the way to a slot: no step has to keep what it has found.
        depths, values = trie.longest_on_the_way()
        values[trie.dead] = OUT_OF_VOCABULARY_ID
        self._depths, self._ids = narrow(depths), narrow(values)
        self._steps = int(trie.depths[trie.values > 0].max(initial=1))

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the rules or the vocabulary, by name: integers."""
        own = {"sizes": self._tables.sizes, "trie/depths": self._depths, "trie/ids": self._ids}
        return super().stored_arrays() | {f"bytes front-end/{name}": each for name, each in own.items()}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
        if self.spec.truncation == "drop":
            rows = drop_last_word(rows)  # [batch, N]
        codes = tf.pad(self.codes(rows), [[0, 0], [0, 1]])  # [batch, N + 1], as all below
        further = tf.where(tf.minimum(codes, before(codes)) > self._tables.last_apart, codes, 0)
        first = tf.not_equal(codes, further)
        node = self._longest(codes, further, first)
        size = look_up(self._depths, node)
        place = _places(codes)
        behind = place + size
        goes_on = tf.minimum(size, _at(further, behind)) > 0
        jump = tf.where(goes_on, behind, place)
        unknown = self._unknown(codes, size, behind, jump)
        begins, next_begins = _beginnings(first, place)  # [batch, N + 2], [batch, N + 1]
        stays = tf.equal(tf.where(unknown, place, jump), place)
        tokens = self._tokens(begins, tf.where(stays, next_begins, jump))  # [batch, L]
        ids = look_up(self._ids, _at(tf.where(unknown, self._tables.trie.dead, node), tokens))  # [batch, L]
        return tf.where(tokens - row_starts(codes, codes.shape[1]) < self.spec.num_bytes, ids, PADDING_ID)

    def _longest(self, codes: tf.Tensor, further: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """The last node that the codes from each place on lead to: int32 [batch, N + 1]."""
        width, dead = codes.shape[1], self._tables.trie.dead
        node = child_of(self._tables.trie, tf.where(first, _BEGINNING, _FURTHER), codes)
        last = tf.where(tf.equal(node, dead), _BEGINNING, node)
        behind = tf.pad(further, [[0, 0], [0, self._steps]])  # [batch, N + 1 + steps]

        def goes_on(step: tf.Tensor, node: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            del last
            return tf.logical_and(step < self._steps, tf.reduce_any(tf.not_equal(node, dead)))

        def walk(step: tf.Tensor, node: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            node = child_of(self._tables.trie, node, tf.slice(behind, [0, step], [-1, width]))
            return step + 1, node, tf.where(tf.equal(node, dead), last, node)

        row = tf.TensorShape([None, width])
        start = (tf.constant(1), node, last)
        return tf.while_loop(goes_on, walk, start, shape_invariants=(tf.TensorShape([]), row, row))[2]

    def _unknown(self, codes: tf.Tensor, size: tf.Tensor, behind: tf.Tensor, jump: tf.Tensor) -> tf.Tensor:
        """Whether what is read from each place on is too long, or ends without a piece: bool [batch, N + 1]."""
        start = tf.cumsum(look_up(self._tables.sizes, codes), axis=1, exclusive=True)
        end = tf.where(size > 0, _at(start, behind), _FAR)
        last = jump
        for _ in range(_ROUNDS):
            last = _at(last, last)
        return _at(end, last) - start > LONGEST_WORD

    def _tokens(self, begins: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        """The places of the first L tokens: int32 [batch, N + 2], [batch, N + 1] -> int32 [batch, L]."""
        length = self.spec.sequence_length
        tokens, known = part(begins, 0, 1), 1
        while True:
            tokens, known = tf.concat([tokens, _at(following, tokens)], axis=1), 2 * known  # [batch, known]
            if known >= length:
                return part(tokens, 0, length)
            following = _at(following, following)


def _places(codes: tf.Tensor) -> tf.Tensor:
    """The place of each value if rows stand one behind the other: int32 [batch, N + 1], as all that leads to places."""
    return np.arange(codes.shape[1], dtype=np.int32) + row_starts(codes, codes.shape[1])


def _at(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Of the values those at places: [batch, N + 1], int32 [...] -> [...]."""
    return tf.gather(tf.reshape(values, [-1]), places)


def _beginnings(first: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The places at which words begin, one behind the other, and of each place the next one: N where there is none.

    Args:
        first: bool [batch, N + 1].
        place: int32 [batch, N + 1].

    Returns:
        int32 [batch, N + 2], int32 [batch, N + 1].
    """
    width = first.shape[1]
    number = tf.cumsum(tf.cast(first, tf.int32), axis=1)  # [batch, N + 1], from 1 on
    end = row_starts(first, width) + (width - 1)  # [batch, 1]
    begins = end - scatter_rows(tf.where(first, number - 1, width), end - place, width + 1)  # [batch, N + 2]
    return begins, gather_rows(begins, number)
