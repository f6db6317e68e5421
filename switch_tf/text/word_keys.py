"""Names every word by a few integers, so that words can be compared without strings: in NumPy and in TensorFlow.

A word of codes c[0], c[1]... (see `switch_tf.text.byte_codes`) has one residue for each of several primes p,

    h = (c[0] + c[1] r + c[2] r^2 + ...) mod p

with r a primitive root mod p, and a key for each two primes p and q: h q + h', which is below p q. This is Rabin's
fingerprint over residues (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987).

In a graph the letters of a text stand in one row, so the sum of a word is the difference of two prefix sums, divided by
the power of r at which it begins: one multiplication and one running sum a letter, whatever the length of the words.

All values stay in [0, 2^31): prefix sums because (largest code) (p - 1) N < 2^31, products and keys because p^2 < 2^31.
Nothing is left to overflow, to the sign of a remainder or to a detour through floats, which runtimes treat differently.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.text.byte_codes import byte_codes
from switch_tf.text.spec import Standardize

MAX_BYTE_LENGTH = 32_768  # beyond, primes would be so small that they tell few words apart
_INT32 = 2**31 - 1
_FEWEST_KEYS = 2  # what a `switch_tf.text.perfect_hash` table needs


@dataclass(frozen=True, eq=False)
class WordKeys:
    """How words of up to `byte_length` letters are turned into keys.

    Attributes:
        byte_length: letters in a row at most, N.
        codes: int32 [256], the code of every byte.
        primes: two for each key, all different.
        roots: a primitive root for each prime.
    """

    byte_length: int
    codes: np.ndarray
    primes: tuple[int, ...]
    roots: tuple[int, ...]

    @cached_property
    def powers(self) -> np.ndarray:
        """r^0 to r^N mod p for each prime, int32 [primes, N + 1]."""
        return np.stack([_powers(*each, self.byte_length + 1) for each in zip(self.roots, self.primes, strict=True)])

    @cached_property
    def inverse_powers(self) -> np.ndarray:
        """r^0 to r^-N mod p for each prime, int32 [primes, N + 1]."""
        inverses = [pow(root, -1, prime) for root, prime in zip(self.roots, self.primes, strict=True)]
        return np.stack([_powers(*each, self.byte_length + 1) for each in zip(inverses, self.primes, strict=True)])

    @property
    def distinct(self) -> int:
        """How many values all keys of a word can take together, the product of the primes."""
        return math.prod(self.primes)

    def of_words(self, words: Sequence[bytes]) -> np.ndarray:
        """int64 [words, keys]; for words of letters only, none of them empty."""
        if not words:
            return np.zeros([0, len(self.primes) // 2], np.int64)
        lengths = np.array([len(word) for word in words])  # [words]
        starts = np.cumsum(lengths) - lengths  # [words]
        codes = self.codes[np.frombuffer(b"".join(words), np.uint8)].astype(np.int64)  # [letters]
        exponents = np.arange(len(codes)) - np.repeat(starts, lengths)  # [letters], from 0 in each word
        residues = [
            np.add.reduceat(codes * powers[exponents], starts) % prime
            for prime, powers in zip(self.primes, self.powers, strict=True)
        ]  # each [words]
        return np.stack(self.pair_up(residues), axis=1)  # [words, keys]

    def of_spans(self, letters: tf.Tensor, begins: tf.Tensor, ends: tf.Tensor) -> list[tf.Tensor]:
        """The keys of words that stand side by side in rows of letters.

        Args:
            letters: int32 [batch, N + 1], codes; 0 behind the last one and in the last place.
            begins: int32 [batch, words], the place of each word's first letter.
            ends: int32 [batch, words], the place behind its last one, at most N.

        Returns:
            int32 [batch, words] for each key; 0 for a word without letters.
        """
        residues = []
        for prime, powers, inverses in zip(self.primes, self.powers, self.inverse_powers, strict=True):
            sums = tf.cumsum(letters * powers, axis=1, exclusive=True)  # [batch, N + 1]
            span = tf.gather(sums, ends, batch_dims=1) - tf.gather(sums, begins, batch_dims=1)  # [batch, words]
            residues.append(tf.math.floormod(tf.math.floormod(span, prime) * tf.gather(inverses, begins), prime))
        return self.pair_up(residues)

    def pair_up(self, residues: Sequence[Any]) -> list[Any]:
        first, second = residues[0::2], residues[1::2]
        return [one * prime + other for one, other, prime in zip(first, second, self.primes[1::2], strict=True)]


def choose_word_keys(
    standardize: Standardize, byte_length: int, vocabulary_size: int, max_false_positive_rate: float, seed: int = 0
) -> WordKeys:
    """As few keys as tell words out of vocabulary from its `vocabulary_size` words often enough; at least two.

    A word that is not in the vocabulary is taken for one that is when all residues agree. Over random words that
    happens with probability vocabulary_size / (product of the primes).

    Args:
        seed: which roots; the same arguments always give the same keys.

    Raises:
        ExportError: `byte_length` is over `MAX_BYTE_LENGTH`, or the rate cannot be reached.
    """
    if byte_length > MAX_BYTE_LENGTH:
        raise ExportError(
            f"The bytes input cannot read text.byte_length = {byte_length} bytes. Expected at most {MAX_BYTE_LENGTH}; "
            "train with fewer bytes, or export an input other than bytes."
        )
    codes = byte_codes(standardize)
    largest = min(math.isqrt(_INT32), _INT32 // (int(codes.max()) * byte_length) + 1)
    primes = _primes_down_from(largest)
    chosen = list(itertools.islice(primes, 2 * _FEWEST_KEYS))
    while vocabulary_size > max_false_positive_rate * math.prod(chosen):
        if len(more := list(itertools.islice(primes, 2))) < 2:
            raise ExportError(f"No keys reach a false-positive rate of {max_false_positive_rate}; raise it.")
        chosen += more
    random = np.random.RandomState(seed)  # its numbers are the same in all versions of NumPy
    return WordKeys(byte_length, codes, tuple(chosen), tuple(_primitive_root(prime, random) for prime in chosen))


def _primes_down_from(largest: int) -> Iterator[int]:
    """The largest primes first, down to 5."""
    return (number for number in range(largest, 4, -1) if _prime_factors(number) == {number})


def _prime_factors(number: int) -> set[int]:
    factors, divisor = set(), 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.add(divisor)
            number //= divisor
        divisor += 1
    return factors | {number} if number > 1 else factors


def _primitive_root(prime: int, random: np.random.RandomState) -> int:
    """A random number with p - 1 different powers mod p, so that letters that trade places change the sum.

    Among a few primes the roots must differ and be large: with small ones, short words would agree in all residues.
    """
    factors = _prime_factors(prime - 1)
    while True:
        root = int(random.randint(2, prime))
        if all(pow(root, (prime - 1) // factor, prime) != 1 for factor in factors):
            return root


def _powers(root: int, prime: int, count: int) -> np.ndarray:
    """root^0, root^1... mod prime, int32 [count]."""
    powers = itertools.accumulate(range(count - 1), lambda power, _: power * root % prime, initial=1)
    return np.fromiter(powers, np.int32, count)
