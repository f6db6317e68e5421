"""The graph that reads pieces gives the ids of `PlainPieces` in TensorFlow, XLA, LiteRT and ONNX Runtime."""

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from front_end_graphs import (
    WIDTH,
    Ask,
    also_broken,
    check_litert,
    in_batches,
    in_onnx_runtime,
    in_tensorflow,
    rows_spec,
    under_xla,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError
from switch_tf.text.byte_codes import pack
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.piece_files import read_pieces
from switch_tf.text.pieces import NumericPieces
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import Rules, TextSpec

DATA = Path(__file__).parent / "data" / "wordpiece"
CASED = Path(__file__).parent / "data" / "wordpiece_cased"
LENGTH = 24


def make_spec(**changes: Any) -> TextSpec:
    fields = {"tokenizer": "wordpiece", "vocabulary_size": 2000, "sequence_length": LENGTH, "byte_length": WIDTH}
    return TextSpec(**{**fields, "vocabulary_file": str(DATA / "vocab.txt"), **changes})


@pytest.fixture(scope="module")
def spec() -> TextSpec:
    return make_spec()


@pytest.fixture(scope="module")
def plain(spec: TextSpec) -> PlainPieces:
    return PlainPieces(spec, read_pieces(spec))


@pytest.fixture(scope="module")
def numeric(spec: TextSpec) -> NumericPieces:
    return NumericPieces(spec, read_pieces(spec))


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    """Those of the reference, as they are and with bytes put in that are not UTF-8."""
    with lzma.open(DATA / "reference.json.xz", "rt", encoding="utf-8") as stream:
        return also_broken([text.encode() for text in json.load(stream)["texts"]])


@pytest.fixture(scope="module")
def traced(numeric: NumericPieces) -> Ask:
    return in_tensorflow(numeric)


def test_tensorflow(traced: Ask, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(traced, texts), plain.ids(texts))


@pytest.mark.slow
def test_tensorflow_by_the_other_rules(texts: list[bytes]) -> None:
    spec = make_spec(tokenizer_rules="hf_bert")
    pieces = read_pieces(spec)
    function = tf.function(NumericPieces(spec, pieces).__call__, autograph=False, input_signature=[rows_spec()])
    ids = in_batches(lambda rows: function(tf.constant(rows)).numpy(), texts)
    np.testing.assert_array_equal(ids, PlainPieces(spec, pieces).ids(texts))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"lowercase": "none"},
        {"tokenizer_rules": "hf_bert", "lowercase": "none"},
        {"tokenizer_rules": "hf_bert", "lowercase": "unicode"},
        {"tokenizer_rules": "hf_bert", "lowercase": "none", "strip_accents": True},
    ],
)
def test_capitals_and_accents_that_stay(texts: list[bytes], changes: dict[str, Any]) -> None:
    spec = make_spec(**changes)
    pieces = (CASED / "vocab.txt").read_text(encoding="utf-8").split("\n")[5:-1]
    numeric, expected = NumericPieces(spec, pieces), PlainPieces(spec, pieces).ids(texts)
    np.testing.assert_array_equal(in_batches(in_tensorflow(numeric), texts), expected)
    if spec.tokenizer_rules == "bert":
        check_litert(numeric, texts, expected, alone=20)
        np.testing.assert_array_equal(in_batches(in_onnx_runtime(numeric), texts), expected)


@pytest.mark.slow
def test_strings_are_read_as_bytes_are(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    strings = tf.function(StringCodePoints(numeric).__call__).get_concrete_function(tf.TensorSpec([None], tf.string))
    ids = [strings(tf.constant(texts[start : start + 500])).numpy() for start in range(0, len(texts), 500)]
    np.testing.assert_array_equal(np.concatenate(ids), plain.ids(texts))
    assert strings(tf.constant([], tf.string)).shape == (0, LENGTH)


@pytest.mark.slow
def test_xla(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(under_xla(numeric), texts), plain.ids(texts))


@pytest.mark.slow
def test_litert(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    check_litert(numeric, texts, plain.ids(texts), alone=100)


@pytest.mark.slow
def test_onnx_runtime(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(in_onnx_runtime(numeric), texts), plain.ids(texts))


PIECES = ["f", "##i", "##l", "##m", "film", "中", "1", "##2"]
ROWS = st.lists(
    st.one_of(
        st.binary(max_size=2 * WIDTH),
        st.text(max_size=WIDTH).map(str.encode),
        st.lists(
            st.sampled_from(["film", "the ", "été", "中文", "½", "e\u0301", "don't ", "!?", "##ing", "IM", "\0", "i"]),
            max_size=30,
        )
        .map("".join)
        .map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(rows=ROWS)
def test_any_bytes(traced: Ask, plain: PlainPieces, rows: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(traced, rows), plain.ids(rows))


@pytest.mark.parametrize(("rules", "letter", "most"), [("bert", "m", 100), ("hf_bert", "m", 100), ("bert", "ы", 50)])
def test_a_word_of_a_hundred_is_read_and_one_letter_more_is_not(rules: Rules, letter: str, most: int) -> None:
    """By "bert" in bytes."""
    spec = make_spec(tokenizer_rules=rules, vocabulary_file=None, sequence_length=128, byte_length=256)
    ids = NumericPieces(spec, [letter, f"##{letter}"])(tf.constant(pack([letter * most, letter * (most + 1)], 256)))
    assert ids[0, : most + 1].numpy().tolist() == [2] + [3] * (most - 1) + [0]
    assert ids[1, :2].numpy().tolist() == [1, 0]


@pytest.fixture(scope="module")
def dropping() -> tuple[PlainPieces, Ask]:
    """What leaves out a word that may go on, in Python and in TensorFlow."""
    spec = make_spec(truncation="drop", vocabulary_file=None)
    function = tf.function(NumericPieces(spec, PIECES).__call__, autograph=False, input_signature=[rows_spec()])
    return PlainPieces(spec, PIECES), lambda rows: function(tf.constant(rows)).numpy()


@settings(deadline=None)
@given(rows=ROWS)
def test_words_that_may_go_on_are_dropped(dropping: tuple[PlainPieces, Ask], rows: list[bytes]) -> None:
    plain, ask = dropping
    np.testing.assert_array_equal(in_batches(ask, rows), plain.ids(rows))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("film 1 film", [6, 8, 6]),  # 11 bytes of 12: nothing can be missing
        ("film 1 film ", [6, 8, 6]),  # 12, and white space last
        ("film 1 films", [6, 8]),
        ("film 1 film film", [6, 8, 6]),  # cut behind white space
        ("film 1  films", [6, 8]),
        ("filmfilmfilm", []),
    ],
)
def test_the_last_word_of_n_bytes_is_dropped_unless_white_space_is_behind_it(text: str, expected: list[int]) -> None:
    spec = make_spec(truncation="drop", byte_length=12, vocabulary_file=None)
    ids = NumericPieces(spec, PIECES)(tf.constant(pack([text.encode()], 12))).numpy()
    assert [number for number in ids[0].tolist() if number] == expected
    np.testing.assert_array_equal(ids, PlainPieces(spec, PIECES).ids([text.encode()]))


def test_what_grows_when_it_is_made_normal_is_cut_at_n_characters() -> None:
    spec = make_spec(byte_length=12, vocabulary_file=None)
    text = "½ ½ ½ ½ ".encode()  # 12 bytes, and 16 characters: "1/2 " four times
    ids = NumericPieces(spec, ["1", "##\u2044", "##2"])(tf.constant(pack([text], 12))).numpy()
    assert ids[0].tolist() == [2, 3, 4] * 3 + [0] * 15
    np.testing.assert_array_equal(ids, PlainPieces(spec, ["1", "##\u2044", "##2"]).ids([text]))


def test_what_is_said_of_the_constants(numeric: NumericPieces) -> None:
    arrays = numeric.stored_arrays()
    assert sorted(name.removeprefix("bytes front-end/") for name in arrays) == [
        "characters",
        "codes",
        "lengths",
        "sizes",
        "trie/base",
        "trie/depths",
        "trie/ids",
        "trie/labels",
    ]
    assert numeric.table_bytes == sum(each.nbytes for each in arrays.values()) < 250_000
    assert numeric.dropped_words == 0


def test_a_vocabulary_is_checked() -> None:
    with pytest.raises(DataError, match="more than once"):
        NumericPieces(make_spec(), ["a", "a"])
