"""The packed bytes front-end gives the ids of the other one, bit for bit, in TensorFlow and in LiteRT."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_from_bytes import MODES, VOCABULARY, in_litert, spec_of

from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.text.byte_codes import pack
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.packed_bytes import packed_ids
from switch_tf.text.spec import TextSpec

SPECS = [
    *(spec_of(mode) for mode in MODES),
    spec_of(truncation="drop"),
    spec_of(length=70, byte_length=33, truncation="drop"),
    spec_of(length=1, byte_length=2),
    spec_of(length=2, byte_length=1, truncation="drop"),
]
IDS = [f"{spec.standardize}-{spec.sequence_length}-{spec.num_bytes}-{spec.truncation}" for spec in SPECS]
EDGES = [
    b"",
    b"...",
    b"\0a",
    b"a\0b",
    b" a",
    b"a ",
    b"\0" * 99,
    b"a" * 99,
    b"a b " * 30,
    b"don't\tHello",
    b"\xff\xfea b",
]


@cache
def both(spec: TextSpec) -> tuple[Any, Any]:
    text = NumericText(spec, VOCABULARY)
    rows = tf.TensorSpec([None, spec.num_bytes], tf.uint8)
    packed = tf.function(lambda rows: packed_ids(text, rows), input_signature=[rows], autograph=False)
    return packed, tf.function(text.__call__, input_signature=[rows], autograph=False)


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_any_bytes(spec: TextSpec) -> None:
    packed, plain = both(spec)
    word = st.sampled_from([word.encode() for word in VOCABULARY]) | st.binary(max_size=5)
    text = st.lists(word, max_size=20).map(b" ".join) | st.binary(max_size=70)

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(st.lists(text, min_size=1, max_size=6))
    def same_ids(texts: list[bytes]) -> None:
        rows = pack(texts, spec.num_bytes)
        np.testing.assert_array_equal(packed(rows), plain(rows))

    same_ids()


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_litert_agrees(spec: TextSpec) -> None:
    text = NumericText(spec, VOCABULARY)
    ask = in_litert(lambda rows: packed_ids(text, rows), tf.TensorSpec([None, spec.num_bytes], tf.uint8, name="rows"))
    texts: list[bytes] = [*EDGES, *(each.encode() for each in adversarial_texts(spec, VOCABULARY, 100, seed=0))]
    texts += invalid_utf8_texts(VOCABULARY, 50, seed=0)
    rows = pack(texts, spec.num_bytes)
    expected = both(spec)[1](rows).numpy()
    np.testing.assert_array_equal(ask(rows), expected)
    for number in range(len(EDGES)):
        np.testing.assert_array_equal(ask(rows[number : number + 1]), expected[number : number + 1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Hello, don't a - b.", [2, 5, 3, 4]),
        (b"a\0b", [3, 4, 0, 0]),
        (b"a b a b a", [3, 4, 3, 4]),
        (b"", [0, 0, 0, 0]),
    ],
)
def test_goldens(text: bytes, expected: list[int]) -> None:
    assert both(spec_of())[0](pack([text], 64)).numpy().tolist() == [expected]
