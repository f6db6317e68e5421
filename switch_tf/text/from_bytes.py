"""Turns rows of bytes into token ids without a string operator, for TFLite, XLA and accelerators.

The ids are those of `switch_tf.text.from_strings.KerasText`, bit for bit, for what `kept_bytes` leaves of a text. Here
for "I'm  in!" under "lower_and_strip_punctuation", with N = 10, L = 4 and letters for their codes:

    row       I ' m _ _ i n ! 0 0    uint8 [batch, N]
    codes     i - m _ _ i n - _ _    int32 [batch, N]: - is stripped, _ is whitespace; see `byte_codes`
    letters   i m i n                int32 [batch, N + 1]: moved together by `rank_space`
    first     1 0 1 0                int32 [batch, N + 1]: 1 where a word begins
    begins    0 2 N N                int32 [batch, L]: by `word_boundaries`, N where there is no word
    ends      2 N N N                int32 [batch, L]: where the next word begins
    keys      (8, 5) (3, 9) - -      int32 [batch, L], two or more: see `word_keys`
    ids       7 12 0 0               int32 [batch, L]: by `look_up` in the table of `perfect_hash`

All shapes but the batch are static; the time grows with N and L, not with the vocabulary. The operators are gather,
cumsum, scatter_nd, floormod, arithmetic, comparison and select. All values lie in [0, 2^31), for batches of fewer than
2^30 / (N + 1) rows. Converted to ONNX, integers are ordered as float32, so only codes, counts and ranks are; keys are
tested for being equal, which is exact.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.text.byte_codes import FIRST_LETTER, SPACE, STRIPPED, is_reachable
from switch_tf.text.perfect_hash import KeyCollisionError, PerfectHash, build_perfect_hash
from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY_ID, TextSpec
from switch_tf.text.vocabulary import check_vocabulary
from switch_tf.text.word_keys import WordKeys, choose_word_keys

_SEEDS = 8  # sets of roots tried until no two words of the vocabulary collide; the first nearly always does


class NumericText(tf.Module):
    """Bytes to ids; its constants are part of every graph it is traced into.

    Attributes:
        false_positive_rate: how likely a word out of vocabulary is taken for one of it; see `choose_word_keys`.
        dropped_words: how many words of the vocabulary no text can produce; their ids go unused.
        table_bytes: size of the constants that grow with the vocabulary.
        num_keys: integers that name a word.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str], max_false_positive_rate: float = 1e-9):
        """`vocabulary` as for `KerasText`; `max_false_positive_rate` bounds `false_positive_rate`.

        Raises:
            DataError: the vocabulary is not one that a `TextSpec` allows; see `check_vocabulary`.
            ExportError: `spec.num_bytes` is too large, or so large that a vocabulary of this size has no table.
        """
        super().__init__(name="numeric_text")
        check_vocabulary(spec, vocabulary)
        encoded = [word.encode() for word in vocabulary]
        ids = {word: number for number, word in enumerate(encoded, FIRST_WORD_ID) if is_reachable(spec, word)}
        self.spec = spec
        self.keys, self.table = _build_table(spec, ids, max_false_positive_rate)
        self.false_positive_rate = len(ids) / self.keys.distinct
        self.dropped_words = len(vocabulary) - len(ids)
        self.table_bytes = self.table.nbytes
        self.num_keys = len(self.keys.primes) // 2

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every constant that follows from the specification or the vocabulary, by name: integers."""
        keys, table = self.keys, self.table
        arrays = {"codes": keys.codes, "shifts": table.shifts, "values": table.values}
        arrays |= {f"keys/{column}": each for column, each in enumerate(table.keys.T)}
        arrays |= {f"powers/{number}": each for number, each in enumerate(keys.powers)}
        arrays |= {f"inverse_powers/{number}": each for number, each in enumerate(keys.inverse_powers)}
        return {f"bytes front-end/{name}": array for name, array in arrays.items()}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """`rows` uint8 [batch, byte_length], as `pack` makes them -> ids int32 [batch, sequence_length]."""
        return self.read(rows)[0]

    def read(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The ids, and what `rank_space` makes of the bytes: int32 [batch, L] and [batch, N + 1] twice."""
        codes = tf.gather(self.keys.codes, tf.cast(rows, tf.int32))  # [batch, N]
        if self.spec.truncation == "drop":
            codes = strip_last_word(codes)  # [batch, N]
        letters, first = rank_space(codes)  # [batch, N + 1] both
        begins, ends = word_boundaries(first, self.spec.sequence_length)  # [batch, L] both
        keys = self.keys.of_spans(letters, begins, ends)  # each [batch, L]
        ids = look_up(self.table, keys)  # [batch, L]
        return tf.where(begins < self.spec.num_bytes, ids, 0), letters, first


def strip_last_word(codes: tf.Tensor) -> tf.Tensor:
    """Strip what has no whitespace behind it, for its word may go on: int32 [batch, N] -> int32 [batch, N]."""
    spaces_behind = tf.cumsum(tf.cast(tf.equal(codes, SPACE), tf.int32), axis=1, reverse=True)  # [batch, N]
    return tf.where(spaces_behind > 0, codes, STRIPPED)


def rank_space(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Letters moved together, each to its rank: the number of letters before it.

    Args:
        codes: int32 [batch, N], of `byte_codes`.

    Returns:
        letters: int32 [batch, N + 1]. Codes at their ranks, then zeros.
        first: int32 [batch, N + 1]. 1 at the first letter of each word, else 0.
    """
    length = codes.shape[1]
    is_letter = codes >= FIRST_LETTER  # [batch, N]
    rank = tf.cumsum(tf.cast(is_letter, tf.int32), axis=1, exclusive=True)  # [batch, N]

    # One scatter fills two rows of N + 1: letters go to their ranks in the first, whitespace to the rank of the next
    # letter in the second, and what is stripped to the last place of the first, which no rank reaches: a zero.
    # So only whitespace meets whitespace, and more than nothing is left of it, be it a sum or a single one.
    width = length + 1
    # The last place as a whole row: LiteRT lets a caller resize the input, and this refuses rows that are not N wide.
    last = np.full([1, length], length, np.int32)
    place = tf.where(tf.equal(codes, SPACE), rank + width, tf.where(is_letter, rank, last))  # [batch, N]
    rows = tf.reshape(scatter_rows(place, codes, 2 * width), [-1, 2, width])  # [batch, 2, N + 1]
    letters, spaces = tf.unstack(rows, axis=1)  # [batch, N + 1] both
    spaces += np.eye(1, width, dtype=np.int32)  # a text begins a word without whitespace
    return letters, tf.cast(tf.where(letters > 0, spaces, 0) > 0, tf.int32)


def word_boundaries(first: tf.Tensor, words: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The ranks at which each word begins and at which the next one does, N where there is none.

    Args:
        first: int32 [batch, N + 1], of `rank_space`.
        words: how many.

    Returns:
        Two int32 [batch, words].
    """
    width = first.shape[1]
    length = width - 1
    number = tf.cumsum(first, axis=1, exclusive=True)  # [batch, N + 1], of words that began before
    nowhere = max(length, words + 1)  # a place behind all that are read; only zeros go there
    place = tf.where(first > 0, number, nowhere)  # [batch, N + 1]
    from_end = scatter_rows(place, first * np.arange(length, -1, -1, dtype=np.int32), nowhere + 1)
    begins = length - from_end  # [batch, nowhere + 1]; places without a word hold 0, and so give N
    return begins[:, :words], begins[:, 1 : words + 1]


def scatter_rows(place: tf.Tensor, value: tf.Tensor, width: int) -> tf.Tensor:
    """Each value at its place in a row of zeros: int32 [batch, n], int32 [batch, n] -> int32 [batch, width].

    Where places repeat, TensorFlow gives the sum of the values and ONNX one of them, so callers must not care.
    """
    batch = tf.shape(place)[0]
    row_start = tf.range(batch)[:, tf.newaxis] * width  # [batch, 1]
    places = tf.reshape(place + row_start, [-1, 1])  # [batch n, 1]
    row = tf.scatter_nd(places, tf.reshape(value, [-1]), [batch * width])  # [batch width]
    return tf.reshape(row, [-1, width])  # [batch, width]


def look_up(table: PerfectHash, keys: Sequence[tf.Tensor]) -> tf.Tensor:
    """`table.find` in a graph: int32 [...] for each integer of a key -> int32 [...]."""
    slots, groups = len(table.values), len(table.shifts)
    shift = tf.cast(tf.gather(table.shifts, tf.math.floormod(keys[1], groups)), tf.int32)
    slot = tf.math.floormod(tf.math.floormod(keys[0], slots) + shift, slots)
    found = tf.equal(tf.gather(table.keys[:, 0], slot), keys[0])
    for column in range(1, len(keys)):
        found = tf.logical_and(found, tf.equal(tf.gather(table.keys[:, column], slot), keys[column]))
    return tf.where(found, tf.cast(tf.gather(table.values, slot), tf.int32), table.missing)


def _build_table(spec: TextSpec, ids: dict[bytes, int], max_false_positive_rate: float) -> tuple[WordKeys, PerfectHash]:
    """Keys under which no two of the words collide, and the table from them to the ids."""
    words, values = list(ids), np.array(list(ids.values()), np.int64)
    for seed in range(_SEEDS):
        keys = choose_word_keys(spec.standardize, spec.num_bytes, len(words), max_false_positive_rate, seed)
        try:
            return keys, build_perfect_hash(keys.of_words(words), values, OUT_OF_VOCABULARY_ID)
        except KeyCollisionError:
            continue
    raise ExportError(
        f"The bytes input has no table for {len(words)} words at text.byte_length = {spec.num_bytes}: the longer the "
        "texts, the fewer words it can tell apart. Set fewer bytes or a smaller vocabulary."
    )
