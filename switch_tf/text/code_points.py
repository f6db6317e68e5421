"""What the front-ends that read characters share: bytes to codes of characters in a graph, and a trie of them.

Codes are those of `switch_tf.text.piece_tables`: what each code point becomes, one behind the other, cut at N.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from switch_tf.text.byte_codes import WHITESPACE
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.graph_rows import write_sequences
from switch_tf.text.piece_tables import GraphTables, build_graph_tables
from switch_tf.text.plain_pieces import PieceTable
from switch_tf.text.spec import TextSpec
from switch_tf.text.utf8 import read_characters_of


class CharacterText(tf.Module):
    """Bytes to ids by way of characters; its constants are part of every graph it is traced into.

    Attributes:
        spec: of the text.
        false_positive_rate: how likely a token out of vocabulary is taken for one of it: never.
        dropped_words: how many words or pieces of the vocabulary no text can be read as; their ids go unused.
    """

    spec: TextSpec
    false_positive_rate = 0.0
    dropped_words = 0

    @property
    def table_bytes(self) -> int:
        """Size of all constants."""
        return sum(each.nbytes for each in self.stored_arrays().values())

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the rules or the vocabulary, by name: integers."""
        raise NotImplementedError

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
        raise NotImplementedError


class CodePointText(CharacterText):
    """The same of characters that each become what they become, in a trie of words or pieces."""

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str], name: str):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        super().__init__(name=name)
        table = PieceTable(spec, vocabulary)
        self.spec = spec
        self.dropped_words = len(vocabulary) - len(table)
        self._tables: GraphTables = build_graph_tables(table)

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the rules or the vocabulary, by name: integers."""
        sequences = self._tables.sequences
        arrays = {"characters": self._tables.characters, "lengths": sequences.lengths, "codes": sequences.codes}
        arrays |= {"trie/base": self._tables.trie.base, "trie/labels": self._tables.trie.labels}
        return {f"bytes front-end/{name}": each for name, each in arrays.items()}

    def codes(self, rows: tf.Tensor) -> tf.Tensor:
        """uint8 [batch, N] to codes, one behind the other and cut at N: int32 [batch, N]."""
        tables, sequences = self._tables, self._tables.sequences
        numbers = read_characters_of(rows, tables.characters, tables.bad)
        return write_sequences(numbers, sequences.lengths, sequences.codes, sequences.room)


class StringCodePoints(tf.Module):
    """Strings to ids: their first N bytes, as the bytes input reads them. It loads wherever TensorFlow does."""

    def __init__(self, of_bytes: CharacterText | NumericText):
        super().__init__(name="string_code_points")
        self.of_bytes = of_bytes

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """`text` string [batch], any bytes -> ids int32 [batch, sequence_length], or what else `of_bytes` gives."""
        width = self.of_bytes.spec.num_bytes
        rows = tf.io.decode_raw(text, tf.uint8, fixed_length=width)  # [batch, N], with zeros behind a text
        return self.of_bytes(tf.ensure_shape(rows, [None, width]))


def drop_last_word(rows: tf.Tensor) -> tf.Tensor:
    """Zeros for what has no white space behind it, for its word may go on: uint8 [batch, N] -> int32 [batch, N]."""
    rows = tf.cast(rows, tf.int32)  # LiteRT does not choose between bytes
    is_space = np.isin(np.arange(256), list(WHITESPACE)).astype(np.int32)
    spaces = tf.gather(is_space, rows)  # [batch, N]
    before = tf.cumsum(spaces, axis=1, exclusive=True)  # LiteRT has no sum from behind
    return tf.where(before < tf.reduce_sum(spaces, axis=1, keepdims=True), rows, 0)
