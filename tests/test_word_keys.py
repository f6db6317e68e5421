"""Keys of words: by hand for a small prime, the same in NumPy and in a graph, and far enough apart."""

import itertools
import math
import string
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import ExportError
from switch_tf.text.byte_codes import letters
from switch_tf.text.spec import Standardize
from switch_tf.text.word_keys import MAX_BYTE_LENGTH, WordKeys, choose_word_keys

MODES: tuple[Standardize, ...] = get_args(Standardize)
SMALL = WordKeys(8, np.arange(256, dtype=np.int32), primes=(11, 7), roots=(2, 3))


def word(*codes: int) -> bytes:
    return bytes(codes)


def test_keys_worked_out_by_hand() -> None:
    words = [word(5), word(2, 4, 3), word(3, 4, 2)]
    # 5 mod 11 = 5, 5 mod 7 = 5, and 5 x 7 + 5 = 40
    # 2 + 4x2 + 3x4 = 22 = 0 mod 11, 2 + 4x3 + 3x9 = 41 = 6 mod 7, and 0 x 7 + 6 = 6
    # 3 + 4x2 + 2x4 = 19 = 8 mod 11, 3 + 4x3 + 2x9 = 33 = 5 mod 7, and 8 x 7 + 5 = 61
    assert SMALL.of_words(words).tolist() == [[40], [6], [61]]
    assert SMALL.of_words([]).shape == (0, 1)
    assert SMALL.distinct == 77


def test_keys_in_a_row_worked_out_by_hand() -> None:
    letters = tf.constant([[5, 2, 4, 3, 3, 4, 2, 0, 0]])  # the same words side by side
    (keys,) = SMALL.of_spans(letters, begins=tf.constant([[0, 1, 4, 8]]), ends=tf.constant([[1, 4, 7, 8]]))
    assert keys.numpy().tolist() == [[40, 6, 61, 0]]


@pytest.mark.parametrize("byte_length", [64, 2048, MAX_BYTE_LENGTH])
def test_same_keys_in_numpy_and_in_a_graph_wherever_a_word_stands(byte_length: int) -> None:
    keys = choose_word_keys("none", byte_length, 20_000, 1e-9)

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=12).map(str.encode), min_size=1, max_size=5))
    def same(words: list[bytes]) -> None:
        row = np.zeros([1, byte_length + 1], np.int32)
        ends = byte_length - np.cumsum([0, *(len(word) for word in words[::-1])])  # from the last place backwards
        for word, end in zip(words[::-1], ends, strict=False):
            row[0, end - len(word) : end] = keys.codes[list(word)]
        begins, ends = ends[:0:-1], ends[-2::-1]
        in_graph = keys.of_spans(tf.constant(row), tf.constant([begins], tf.int32), tf.constant([ends], tf.int32))
        np.testing.assert_array_equal(np.stack([key.numpy()[0] for key in in_graph], axis=1), keys.of_words(words))

    same()


@pytest.mark.parametrize("standardize", MODES)
@pytest.mark.parametrize("byte_length", [1, 256, 1024, 2048, 8192, MAX_BYTE_LENGTH])
@pytest.mark.parametrize("vocabulary_size", [1, 1_000_000])
def test_primes_and_roots(standardize: Standardize, byte_length: int, vocabulary_size: int) -> None:
    keys = choose_word_keys(standardize, byte_length, vocabulary_size, 1e-9)
    largest_code = int(keys.codes.max())
    assert len(set(keys.primes)) == len(keys.primes) >= 4
    assert len(keys.primes) % 2 == 0
    assert vocabulary_size / keys.distinct <= 1e-9
    for prime, root in zip(keys.primes, keys.roots, strict=True):
        assert all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))
        assert largest_code * (prime - 1) * byte_length < 2**31
        assert prime**2 < 2**31
        powers = [1]
        for _ in range(prime - 2):
            powers.append(powers[-1] * root % prime)
        assert len(set(powers)) == prime - 1  # a primitive root has all residues among its powers


@pytest.mark.parametrize(
    ("byte_length", "vocabulary_size", "keys"),
    [(512, 20_000, 2), (2048, 50_000, 2), (4096, 50_000, 2), (8192, 20_000, 3), (MAX_BYTE_LENGTH, 20_000, 3)],
)
def test_number_of_keys(byte_length: int, vocabulary_size: int, keys: int) -> None:
    chosen = choose_word_keys("lower_and_strip_punctuation", byte_length, vocabulary_size, 1e-9)
    assert len(chosen.primes) == 2 * keys


def test_largest_values_stay_below_the_limit_of_int32() -> None:
    """A row full of the largest code, computed without a limit."""
    keys = choose_word_keys("none", 8192, 20_000, 1e-9)
    for prime, root in zip(keys.primes, keys.roots, strict=True):
        total = sum(int(keys.codes.max()) * pow(root, exponent, prime) for exponent in range(8192))
        assert total < 2**31
        assert largest_key(prime) < 2**31
    row = np.full([1, 8193], keys.codes.max(), np.int32)
    row[0, -1] = 0
    in_graph = keys.of_spans(tf.constant(row), tf.constant([[0]]), tf.constant([[8192]]))
    byte = int(np.argmax(keys.codes))
    assert [int(key[0, 0]) for key in in_graph] == keys.of_words([bytes([byte]) * 8192])[0].tolist()


def largest_key(prime: int) -> int:
    return prime * prime - 1


def test_longer_rows_are_refused() -> None:
    with pytest.raises(ExportError, match=r"text.byte_length = 32769 bytes. Expected at most 32768"):
        choose_word_keys("none", MAX_BYTE_LENGTH + 1, 1, 1e-9)


@pytest.mark.parametrize("rate", [0.0, 1e-200])
def test_rates_out_of_reach_are_refused(rate: float) -> None:
    with pytest.raises(ExportError, match=f"No keys reach a false-positive rate of {rate}"):
        choose_word_keys("none", MAX_BYTE_LENGTH, 1, rate)


def test_same_keys_every_time() -> None:
    first, second = (choose_word_keys("none", 1024, 20_000, 1e-9) for _ in range(2))
    assert (first.primes, first.roots) == (second.primes, second.roots)
    assert choose_word_keys("none", 1024, 20_000, 1e-9, seed=1).roots != first.roots
    assert first.primes == (8389, 8387, 8377, 8369)
    assert first.roots == (2734, 7893, 3470, 7770)


@pytest.mark.parametrize("standardize", MODES)
def test_short_words_all_have_keys_of_their_own(standardize: Standardize) -> None:
    keys = choose_word_keys(standardize, 2048, 20_000, 1e-9)
    alphabet = letters(standardize)
    words = [bytes(word) for size in (1, 2) for word in itertools.product(alphabet, repeat=size)]
    words += [bytes(word) for word in itertools.product(string.ascii_lowercase.encode(), repeat=3)]
    assert len(np.unique(keys.of_words(words), axis=0)) == len(words)


def test_letters_that_trade_places_change_the_key() -> None:
    """Even for one prime alone, unless they stand p - 1 letters apart."""
    keys = choose_word_keys("none", 2048, 20_000, 1e-9)
    words = [b"x" * place + b"y" + b"x" * (1000 - place) for place in range(1001)]
    for prime, root in zip(keys.primes, keys.roots, strict=True):
        alone = WordKeys(2048, keys.codes, (prime, prime), (root, root))
        assert len(np.unique(alone.of_words(words))) == 1001


@pytest.mark.parametrize("byte_length", [8192, MAX_BYTE_LENGTH])
def test_false_positives_are_as_rare_as_stated(byte_length: int) -> None:
    """Of one key alone, so that there are some to count."""
    chosen = choose_word_keys("none", byte_length, 20_000, 1e-9)
    keys = WordKeys(byte_length, chosen.codes, chosen.primes[:2], chosen.roots[:2])
    stated = 1 / 400
    random = random_words(int(stated * keys.distinct) + 200_000, seed=0)
    vocabulary, others = random[: int(stated * keys.distinct)], random[int(stated * keys.distinct) :]
    known, asked = keys.of_words(vocabulary)[:, 0], keys.of_words(others)[:, 0]
    assert np.isin(asked, known).mean() == pytest.approx(stated, rel=0.15)  # about 500 of 200,000


def random_words(count: int, seed: int) -> list[bytes]:
    """Different words of 4 to 11 small letters."""
    random = np.random.default_rng(seed)
    pool = random.integers(97, 123, [count + 10_000, 11], np.uint8)
    sizes = random.integers(4, 12, count + 10_000)
    words = {row.tobytes()[:size]: None for row, size in zip(pool, sizes, strict=True)}
    return list(words)[:count]
