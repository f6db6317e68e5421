"""Pairs of neighbouring words and character grams of words: what the wide path reads beside the words themselves.

A text of ids a b c has the pairs (0, a), (a, b), (b, c) and (c, 0): 0, the id of padding, stands for its start and its
end. A pair is named by codes, exactly and in int32, whatever the number of ids V:

    V <= 46,340    one code,   46,340 previous + this
    beyond         two codes,  M previous + this  and  M this + previous, with M as large as int32 allows; together
                   they tell all pairs apart, since M^2 > 1

Pairs seen in training are found again in a table of `switch_tf.text.perfect_hash`. Frequent words would crowd in it if
it were given ids, or codes, which grow with them; so a code c is mixed first,

    c -> (c mod p) q + (c mod q)

which is different for every c below p q (the Chinese remainder theorem), and below 2^31. All that a graph does is
gather, multiply, add, floormod, compare for equality and select, so all runtimes agree to the bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import tensorflow as tf

from switch_tf.errors import RunError
from switch_tf.text.perfect_hash import build_perfect_hash

MAX_IDS = 1_000_000  # beyond, M would be so small that codes hardly depend on one of the words
_ONE_CODE = 46_340  # ids up to which one code does: the largest number whose square is below 2^31
# Primes whose product is over all codes and below 2^31. Both leave about 0.618 of themselves when they divide 46,340,
# so that pairs of frequent words, whose codes are near multiples of it, are spread evenly by either.
PRIMES = _P, _Q = 28_627, 75_013
_NO_CODE = -1  # in empty slots; no pair has it
_GRAM_LENGTHS = (3, 4, 5)
_GRAM_LENGTH_BIT = 40  # above the bytes of the longest gram


@dataclass(frozen=True, eq=False)
class PairIndex:
    """Numbers the pairs known from training: pair number i has row i, and all others have row `num_pairs`.

    The arrays may be NumPy's or, for `look_up`, TensorFlow variables of the same shapes.

    Attributes:
        num_ids: V, ids in use; all that are asked for must be below.
        num_pairs: how many pairs are known.
        shifts: int32 [groups], of the perfect hash.
        codes: int32 [codes, slots], of the pair in each slot; -1 where there is none.
        rows: int32 [slots], the row of the pair in each slot, `num_pairs` where there is none.
    """

    num_ids: int
    num_pairs: int
    shifts: Any
    codes: Any
    rows: Any

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The row of every pair of every text: int32 [batch, length] -> int32 [batch, length + 1]."""
        previous, this = neighbours(ids)
        codes = pair_codes(previous, this, self.num_ids)
        home, group = _mix(codes)
        slot = (home % len(self.rows) + self.shifts[group % len(self.shifts)]) % len(self.rows)
        found = np.logical_and.reduce([self.codes[i][slot] == code for i, code in enumerate(codes)])
        return np.where(found, self.rows[slot], np.int32(self.num_pairs))

    def look_up(self, ids: tf.Tensor) -> tf.Tensor:
        """What `find` does, in a graph: int32 [batch, length] -> int32 [batch, length + 1]."""
        edge = tf.zeros_like(ids[:, :1])  # [batch, 1]; a graph that pads integers would leave the GPU in ONNX Runtime
        return self.look_up_pairs(tf.concat([edge, ids], axis=1), tf.concat([ids, edge], axis=1))

    def look_up_pairs(self, previous: tf.Tensor, this: tf.Tensor) -> tf.Tensor:
        """The row of each pair, in a graph: int32 of one shape, both sides of the pairs -> int32 of the same."""
        slots, groups = int(self.rows.shape[0]), int(self.shifts.shape[0])
        codes = pair_codes(previous, this, self.num_ids)  # each of that shape, as all below
        home, group = _mix(codes)
        shift = tf.gather(self.shifts, tf.math.floormod(group, groups))
        slot = tf.math.floormod(tf.math.floormod(home, slots) + shift, slots)
        found = tf.equal(tf.gather(self.codes[0], slot), codes[0])
        for i, code in enumerate(codes[1:], 1):
            found = tf.logical_and(found, tf.equal(tf.gather(self.codes[i], slot), code))
        return tf.where(found, tf.gather(self.rows, slot), self.num_pairs)

    @property
    def factors(self) -> list[int]:
        """What each code multiplies one side of a pair with: the first code `previous`, the second `this`."""
        return [_ONE_CODE] if count_codes(self.num_ids) == 1 else [_factor(self.num_ids)] * 2

    @property
    def pairs(self) -> np.ndarray:
        """The pairs in the order of their rows, solved for from their codes: int64 [num_pairs, 2]."""
        codes = np.zeros([len(self.codes), self.num_pairs], np.int64)
        used = self.rows < self.num_pairs  # [slots]
        codes[:, self.rows[used]] = self.codes[:, used]
        if len(codes) == 1:
            return np.stack(np.divmod(codes[0], _ONE_CODE), axis=1)
        factor = _factor(self.num_ids)
        previous = (factor * codes[0] - codes[1]) // (factor**2 - 1)
        return np.stack([previous, codes[0] - factor * previous], axis=1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` needs beside `num_ids` and `num_pairs`, all int32."""
        return {"shifts": self.shifts, "codes": self.codes, "rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], num_ids: int, num_pairs: int, source: str) -> "PairIndex":
        """The index that `to_arrays` took apart.

        Args:
            source: where the arrays come from, for the message.

        Raises:
            RunError: an array is missing or could not be one of an index of `num_pairs` pairs.
        """
        shifts, codes, rows = (int32_array(arrays, name, source) for name in ("shifts", "codes", "rows"))
        expected = (count_codes(num_ids), len(rows))
        if shifts.ndim != 1 or rows.ndim != 1 or codes.shape != expected or not len(shifts) or not len(rows):
            raise RunError(
                f"{source} holds a pair index of shapes {shifts.shape}, {codes.shape} and {rows.shape}. Expected "
                f"[groups], {expected} and [slots] with {num_ids} ids. Restore the file, or train again."
            )
        if shifts.min() < 0 or shifts.max() >= len(rows) or rows.min() < 0 or rows.max() > num_pairs:
            raise RunError(
                f"{source} holds a pair index with shifts from {shifts.min()} to {shifts.max()} and rows from "
                f"{rows.min()} to {rows.max()}. Expected 0 to {len(rows) - 1} and 0 to {num_pairs}. Restore the file, "
                "or train again."
            )
        return cls(num_ids, num_pairs, shifts, codes, rows)


def build_pair_index(pairs: np.ndarray, num_ids: int) -> PairIndex:
    """The index of `pairs`, int32 [pairs, 2] without repetition, for ids below `num_ids`.

    Raises:
        KeyCollisionError: two pairs are the same.
        ValueError: an id is out of range, or `num_ids` is over `MAX_IDS`.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    if np.any((pairs < 0) | (pairs >= num_ids)):
        raise ValueError(f"Received pairs of ids from {pairs.min()} to {pairs.max()}. Expected 0 to {num_ids - 1}.")
    codes = pair_codes(pairs[:, 0], pairs[:, 1], num_ids)
    table = build_perfect_hash(np.stack(_mix(codes), axis=1), np.arange(len(pairs)), missing=len(pairs))
    rows = table.values.astype(np.int32)  # [slots]
    by_row = np.stack([np.append(code, _NO_CODE) for code in codes]).astype(np.int32)  # [codes, pairs + 1]
    return PairIndex(num_ids, len(pairs), table.shifts.astype(np.int32), by_row[:, rows], rows)


def neighbours(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two sides of every pair; padding has pairs of zeros.

    >>> neighbours(np.array([[7, 8, 0]]))
    (array([[0, 7, 8, 0]]), array([[7, 8, 0, 0]]))

    Args:
        ids: integers [batch, length].

    Returns:
        Two of the same kind, [batch, length + 1].
    """
    padded = np.pad(ids, [[0, 0], [1, 1]])  # [batch, length + 2]
    return padded[:, :-1], padded[:, 1:]


def count_codes(num_ids: int) -> int:
    """How many codes name a pair."""
    return 1 if num_ids <= _ONE_CODE else 2


def pair_codes(previous: Any, this: Any, num_ids: int) -> list[Any]:
    """One or two codes for each pair; see the module. In NumPy or in a graph, int32 in and out, of any one shape.

    Raises:
        ValueError: `num_ids` is over `MAX_IDS`.
    """
    if num_ids > MAX_IDS:
        raise ValueError(f"Received {num_ids} ids. Expected at most {MAX_IDS}.")
    if num_ids <= _ONE_CODE:
        return [previous * _ONE_CODE + this]
    factor = _factor(num_ids)
    return [previous * factor + this, this * factor + previous]


def _factor(num_ids: int) -> int:
    """M, the largest with which all codes are below p q."""
    return (_P * _Q - 1) // (num_ids - 1) - 1


def _mix(codes: Sequence[Any]) -> tuple[Any, Any]:
    """Two integers in [0, p q) that are different for different pairs and look like chance."""
    first, last = codes[0], codes[-1]
    return (first % _P) * _Q + first % _Q, (last % _Q) * _P + last % _P


class Grams(NamedTuple):
    """Runs of letters in the order of their length and bytes.

    Attributes:
        matrix: float32 [num_ids, grams], ones where a word has one.
        codes: int64 [grams]. Its length times 2^40, and its bytes, the first one highest.
    """

    matrix: scipy.sparse.csr_matrix
    codes: np.ndarray

    @property
    def letters(self) -> np.ndarray:
        """The bytes of each: int64 [grams, 5], -1 behind one that is shorter."""
        length = self.codes >> _GRAM_LENGTH_BIT  # [grams]
        places = length[:, np.newaxis] - 1 - np.arange(_GRAM_LENGTHS[-1])  # [grams, 5], of bytes from the last one on
        found = self.codes[:, np.newaxis] >> 8 * np.maximum(places, 0) & 255  # [grams, 5]
        return np.where(places < 0, -1, found)


def word_grams(words: Sequence[bytes], num_ids: int, first_id: int) -> scipy.sparse.csr_matrix:
    """The matrix of `named_grams`.

    >>> word_grams([b"cats", b"bats"], 4, 2).sum(axis=1).ravel().tolist()  # ats ts> ats>
    [[0.0, 0.0, 3.0, 3.0]]
    """
    return named_grams(words, num_ids, first_id).matrix


def named_grams(words: Sequence[bytes], num_ids: int, first_id: int) -> Grams:
    """Which runs of 3 to 5 bytes each word of the vocabulary has, with < before it and > behind.

    A word is not a gram of itself, and grams of one word alone are left out: they could say nothing of other words.

    >>> [bytes(gram[gram >= 0].tolist()) for gram in named_grams([b"cats", b"bats"], 4, 2).letters]
    [b'ats', b'ts>', b'ats>']

    Args:
        words: of ids `first_id`, `first_id` + 1...
        num_ids: rows; ids that are no words have none.
    """
    framed = [b"<" + word + b">" for word in words]
    lengths = np.array([len(word) for word in framed], np.int64)  # [words]
    letters = np.frombuffer(b"".join(framed), np.uint8).astype(np.int64)  # [letters]
    owner = np.repeat(np.arange(len(words)), lengths)  # [letters]
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(letters))  # [letters], in the word from here on
    codes, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for length in _GRAM_LENGTHS:
        starts = np.flatnonzero((left >= length) & (lengths[owner] > length))
        code = np.full(len(starts), length << _GRAM_LENGTH_BIT)
        for place in range(length):
            code += letters[starts + place] << 8 * (length - 1 - place)
        codes.append(code)
        owners.append(owner[starts])
    known, column = np.unique(np.concatenate(codes), return_inverse=True)
    shape = (num_ids, len(known))
    rows = np.concatenate(owners) + first_id
    grams = scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, column)), shape)
    grams.data[:] = 1.0  # a gram that a word has twice
    several = np.asarray(grams.sum(axis=0)).ravel() > 1  # [grams]
    return Grams(grams[:, several].tocsr(), known[several])


def int32_array(arrays: Mapping[str, np.ndarray], name: str, source: str) -> np.ndarray:
    """One of the arrays of an index that `source` holds.

    Raises:
        RunError: it is missing, or of another type.
    """
    array = arrays.get(name)
    if array is None or array.dtype != np.int32:
        found = "no such array" if array is None else str(array.dtype)
        raise RunError(f"{source} holds {found} as {name!r}. Expected int32. Restore the file, or train again.")
    return array
