"""Python's own front-end gives the ids of the Keras one, bit for bit, and refuses what describes none."""

import dataclasses
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError
from switch_tf.text.from_strings import KerasText
from switch_tf.text.plain import PlainText, read_plain_text
from switch_tf.text.spec import Standardize, TextSpec

MODES: tuple[Standardize, ...] = get_args(Standardize)
# Ids:        2        3    4    5       6        7        8    9    10       11 and 12: no text gives them
VOCABULARY = ["hello", "a", "b", "dont", "Hello", "don't", "é", "É", "жж", "x y", "x\x00"]


def spec_of(standardize: Standardize) -> TextSpec:
    return TextSpec(standardize=standardize, sequence_length=4)


@cache
def keras_text(standardize: Standardize) -> Any:
    text = KerasText(spec_of(standardize), VOCABULARY)
    return tf.function(text.__call__, input_signature=[tf.TensorSpec([None], tf.string)])


@pytest.mark.parametrize(
    ("standardize", "ids"),
    [
        ("lower_and_strip_punctuation", [2, 5, 9, 4]),
        ("lower", [2, 7, 9, 1]),
        ("strip_punctuation", [6, 1, 9, 4]),
        ("none", [6, 1, 9, 1]),
    ],
)
def test_words_are_read_as_the_mode_says(standardize: Standardize, ids: list[int]) -> None:
    text = "Hello\tDon't\0É  b! a".encode()
    assert PlainText(spec_of(standardize), VOCABULARY).ids([text, b" ", b""]).tolist() == [ids, [0] * 4, [0] * 4]


@pytest.mark.parametrize("standardize", MODES)
@given(
    texts=st.lists(
        st.one_of(
            st.binary(max_size=24),
            st.text(max_size=24).map(lambda text: text.encode("utf-8", "replace")),
            st.lists(st.sampled_from([*VOCABULARY, " ", "\n", "\x1c", "\x85", "\u00a0", "!", "[UNK]", "Ж"])).map(
                lambda parts: "".join(parts).encode()
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
def test_ids_are_those_of_keras(standardize: Standardize, texts: list[bytes]) -> None:
    received = PlainText(spec_of(standardize), VOCABULARY).ids(texts)
    assert received.dtype == np.int32
    np.testing.assert_array_equal(received, keras_text(standardize)(tf.constant(texts, tf.string)))


def test_a_description_gives_the_same_front_end() -> None:
    text = spec_of("lower").as_dict() | {"words": len(VOCABULARY)}
    assert read_plain_text(text, VOCABULARY).ids([b"A b c"]).tolist() == [[3, 4, 1, 0]]


@pytest.mark.parametrize(
    ("text", "words", "error"),
    [
        ({"sequence_length": 10**9}, VOCABULARY, ValueError),
        ({"standardize": "upper"}, VOCABULARY, ValueError),
        ([], VOCABULARY, TypeError),
        ({}, {"a": 2}, TypeError),
        ({}, [1, 2], TypeError),
        ({}, [], DataError),
        ({}, ["a", "a"], DataError),
        ({"vocabulary_size": 3}, ["a", "b"], DataError),
    ],
)
def test_what_describes_no_front_end_is_refused(text: Any, words: Any, error: type[Exception]) -> None:
    described = text if isinstance(text, list) else dataclasses.asdict(TextSpec()) | text
    with pytest.raises(error):
        read_plain_text(described, words)
