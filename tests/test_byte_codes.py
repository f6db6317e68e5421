"""What each byte does, and which bytes of a text are read, against values worked out by hand and against Keras."""

import string

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text.byte_codes import (
    FIRST_LETTER,
    SPACE,
    STRIPPED,
    byte_codes,
    changed_share,
    is_reachable,
    kept_bytes,
    pack,
)
from switch_tf.text.byte_codes import letters as letters_of
from switch_tf.text.from_strings import KerasText
from switch_tf.text.spec import Standardize, TextSpec

WHITESPACE = [0, 9, 10, 11, 12, 13, 32]
PUNCTUATION = [*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127)]
CAPITALS = list(range(65, 91))


@pytest.mark.parametrize(
    ("standardize", "strips", "lowers", "count"),
    [
        ("lower_and_strip_punctuation", True, True, 256 - 7 - 32 - 26),
        ("lower", False, True, 256 - 7 - 26),
        ("strip_punctuation", True, False, 256 - 7 - 32),
        ("none", False, False, 256 - 7),
    ],
)
def test_every_byte_has_its_class(standardize: Standardize, strips: bool, lowers: bool, count: int) -> None:
    codes = byte_codes(standardize)
    assert (codes.shape, codes.dtype) == ((256,), np.dtype(np.int32))
    assert np.flatnonzero(codes == SPACE).tolist() == WHITESPACE
    assert np.flatnonzero(codes == STRIPPED).tolist() == (PUNCTUATION if strips else [])
    assert (codes[CAPITALS] == codes[range(97, 123)]).all() == lowers
    assert sorted(set(codes[codes >= FIRST_LETTER].tolist())) == list(range(FIRST_LETTER, FIRST_LETTER + count))
    assert len(letters_of(standardize)) == count
    assert (codes[list(letters_of(standardize))] == range(FIRST_LETTER, FIRST_LETTER + count)).all()


@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"])
def test_a_word_is_reachable_when_keras_can_find_it(standardize: Standardize) -> None:
    words = ["hello", "Hello", "don't", "a b", "é", "É", "a\x00", "...", "x!", "\u00a0", "\x1f"]
    spec = TextSpec(sequence_length=2, standardize=standardize, byte_length=16)
    found = KerasText(spec, words)(tf.constant(words)).numpy()[:, 0] == np.arange(2, 2 + len(words))
    assert [is_reachable(spec, word.encode()) for word in words] == found.tolist()


def test_a_word_must_fit_the_bytes_read() -> None:
    fits = {
        policy: [is_reachable(TextSpec(byte_length=4, truncation=policy), b"x" * size) for size in (0, 1, 3, 4, 5)]
        for policy in ("prefix", "drop")
    }
    assert fits["prefix"] == [False, True, True, True, False]
    assert fits["drop"] == [False, True, True, False, False]  # whitespace must follow it


def test_pack_cuts_and_fills_up() -> None:
    packed = pack(["", "é", b"\xff\x00a", "abcd", "abcde"], byte_length=4)
    assert packed.dtype == np.uint8
    assert packed.tolist() == [[0] * 4, [0xC3, 0xA9, 0, 0], [0xFF, 0, 97, 0], [97, 98, 99, 100], [97, 98, 99, 100]]
    assert pack([], byte_length=4).shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "prefix", "drop"),
    [
        ("", "", ""),
        ("ab cd", "ab cd", "ab cd"),  # five bytes of six: whole
        ("ab cde", "ab cde", "ab "),  # six: the last word may go on
        ("ab cd ", "ab cd ", "ab cd "),
        ("ab cd\x00e", "ab cd\x00", "ab cd\x00"),
        ("ab cdef", "ab cde", "ab "),
        ("ab cde f", "ab cde", "ab "),  # the byte behind is not seen
        ("ab cd. f", "ab cd.", "ab "),  # "cd.f" would be a word where punctuation is stripped
        ("ab ....", "ab ...", "ab "),
        ("abcdefg", "abcdef", ""),
    ],
)
def test_kept_bytes(text: str, prefix: str, drop: str) -> None:
    assert kept_bytes(TextSpec(byte_length=6), text) == prefix.encode()
    assert kept_bytes(TextSpec(byte_length=6, truncation="drop"), text) == drop.encode()


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=12) | st.text(string.whitespace + "ab\x00.", max_size=12).map(str.encode))
def test_what_drop_keeps_of_a_text_is_words_of_the_text(text: bytes) -> None:
    spec = TextSpec(sequence_length=12, byte_length=6, truncation="drop")
    words = text.translate(None, string.punctuation.encode()).replace(b"\0", b" ").split()
    kept = kept_bytes(spec, text)
    kept_words = kept.translate(None, string.punctuation.encode()).replace(b"\0", b" ").split()
    assert kept_words == words[: len(kept_words)]
    assert kept == text[: len(kept)]
    if len(text) < 6:
        assert kept == text


def test_changed_share_counts_changed_ids_and_not_cut_texts() -> None:
    spec = TextSpec(sequence_length=3, byte_length=8)
    keras_text = KerasText(spec, ["a", "bb"])

    def tokenize(texts: list[bytes]) -> np.ndarray:
        return keras_text(tf.constant(texts)).numpy()

    texts: list[str | bytes] = [
        "a bb a",
        "a a a a a a a",  # cut behind its third word
        "a    bb bb",  # loses a word
        "a     bb",
        "a      bb",  # "b" is left of "bb"
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # out of vocabulary, whole or cut
    ]
    assert changed_share(spec, tokenize, texts) == 2 / 6
    assert changed_share(spec, tokenize, texts * 100) == 2 / 6
    assert changed_share(spec, tokenize, texts[:2]) == 0.0
    assert changed_share(spec, tokenize, []) == 0.0
