"""Ids with the letters of unknown words behind them: the definition in Python, and the graphs that equal it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_from_bytes import MODES, VOCABULARY

from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.text.byte_codes import byte_codes, pack
from switch_tf.text.front_ends import bytes_front_end, of_any_batch, reading_front_end, string_front_end, traced
from switch_tf.text.plain import read_plain_text
from switch_tf.text.plain_spelling import PlainSpelling
from switch_tf.text.spec import TextSpec

SPECS = [
    *(TextSpec(sequence_length=6, byte_length=40, standardize=mode, unknown_words="letters") for mode in MODES),
    TextSpec(sequence_length=70, byte_length=33, truncation="drop", unknown_words="letters"),
    TextSpec(sequence_length=1, byte_length=2, unknown_words="letters"),
]


@cache
def graphs(spec: TextSpec) -> tuple[Any, Any, Any]:
    """Strings, bytes, and bytes as LiteRT takes them, to what stands for a text."""
    strings = string_front_end(spec, VOCABULARY)
    of_bytes = bytes_front_end(spec, VOCABULARY, strings)
    text, rows = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, spec.num_bytes], tf.uint8)
    return (
        tf.function(strings.__call__, input_signature=[text], autograph=False),
        tf.function(of_bytes.__call__, input_signature=[rows], autograph=False),
        tf.function(of_any_batch(of_bytes), input_signature=[rows], autograph=False),
    )


def check(spec: TextSpec, texts: Sequence[bytes]) -> np.ndarray:
    """All are the same."""
    expected = PlainSpelling(spec, VOCABULARY).ids(texts)
    strings, of_bytes, packed = graphs(spec)
    rows = pack(texts, spec.num_bytes)
    np.testing.assert_array_equal(strings(tf.constant(texts, tf.string)), expected)
    np.testing.assert_array_equal(of_bytes(tf.constant(rows)), expected)
    np.testing.assert_array_equal(packed(tf.constant(rows)), expected)
    return expected


def test_unknown_words_are_spelt_and_no_others() -> None:
    spec = TextSpec(sequence_length=3, byte_length=12, unknown_words="letters")
    spelling = PlainSpelling(spec, ["film", "a"])
    a, b = byte_codes(spec.standardize)[list(b"ab")].tolist()
    letters = spelling.letters([b"A film", b"b. FILM ab", b"a a a ab", b"ab film bbbbb", b""])
    assert letters.shape == (5, 14) and spec.ids_length == 17
    assert [np.trim_zeros(row, "b").tolist() for row in letters] == [
        [],
        [0, b, 0, a, b],
        [],  # the fourth word is not read
        [0, a, b, 0, b, b, b, b],  # cut at 12 bytes
        [],
    ]
    assert spelling.ids([b"a b"])[0, :6].tolist() == [3, 1, 0, 0, -b, 0]


def test_words_that_become_unknown_are_spelt_too() -> None:
    spec = TextSpec(sequence_length=4, byte_length=32, unknown_words="letters")
    spelling = PlainSpelling(spec, ["film", "a", "cat"])
    texts = [b"a film xx cat", b"cat a"]
    ids, letters = spelling.read_ids(texts), spelling.letters(texts)
    fewer = PlainSpelling(spec, ["film", "a"])
    np.testing.assert_array_equal(spelling.respell(ids, letters, fewer.read_ids(texts)), fewer.letters(texts))
    np.testing.assert_array_equal(spelling.respell(ids, letters, ids), letters)


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_any_texts(spec: TextSpec) -> None:
    texts = [text.encode() for text in adversarial_texts(spec, VOCABULARY, 150, 0)]
    found = check(spec, [*texts, *invalid_utf8_texts(VOCABULARY, 20, 0)])
    assert (found[:, spec.sequence_length :] < 0).any()
    check(spec, texts[:1])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.lists(st.binary(max_size=50) | st.text("ab !'", max_size=50).map(str.encode), min_size=1, max_size=4))
def test_any_bytes(texts: list[bytes]) -> None:
    check(SPECS[0], texts)


def test_what_is_trained_on_reads_the_ids_alone() -> None:
    spec = SPECS[0]
    front_end = reading_front_end(spec, VOCABULARY)
    assert front_end.length == 6
    read = traced(front_end)(np.array(["a film", "xx"], object))
    np.testing.assert_array_equal(read, PlainSpelling(spec, VOCABULARY).ids([b"a film", b"xx"])[:, :6])


def test_a_model_that_leaves_says_that_letters_are_read() -> None:
    told = SPECS[0].as_dict()
    assert told["unknown_words"] == "letters" and "unknown_words" not in TextSpec().as_dict()
    plain = read_plain_text(told, VOCABULARY)
    assert isinstance(plain, PlainSpelling) and plain.width == SPECS[0].ids_length
