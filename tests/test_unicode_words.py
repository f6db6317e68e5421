# ruff: noqa: RUF001 - words of many scripts
"""The graph that reads words by Unicode's rules gives the ids of the definition in TensorFlow, XLA, LiteRT and ONNX."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from front_end_graphs import WIDTH, Ask, check_litert, in_batches, in_onnx_runtime, in_tensorflow, under_xla
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError
from switch_tf.text.byte_codes import pack
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import TextSpec
from switch_tf.text.unicode_words import NumericWords, in_order

LENGTH = 12
VOCABULARY = ["école", "москва", "strasse", "中", "ガ", "ดี", "한국어", "🙂", "film", "fi", "f", "á\u0316", "á", "a"]
VOCABULARY += ["\u0301b", "b\u0301\u0301", "1", "⁄", "2", "中\u0301", "x" * 60, "qa\u093c\u0903", "ガ\u0301"]
PARTS = ["École", "école", "e\u0301COLE", "МОСКВА", "Straße", "中", "国", "ガ", "ｶﾞ", "か", "ดี", "ไ", "한국어"]
PARTS += [
    "\u1112\u1161",
    "\u0301",
    "\u0316",
    "\u0301\u0316",
    "\u3099",
    "\u0903",
    "a",
    "á",
    "b",
    "q",
    "f",
    "ﬁ",
    "LM",
    "film",
]
PARTS += ["🙂", "☃", "½", " ", "\u3000", "\0", "-", "…", "’", "\xad", "\u200d", "x" * 60, "\ufdfa", "\u0345", "\ufffd"]
PARTS += ["ſ", "İ"]


def make_spec(**changes: Any) -> TextSpec:
    fields = {"lowercase": "unicode", "vocabulary_size": 100, "sequence_length": LENGTH, "byte_length": WIDTH}
    return TextSpec(**{**fields, **changes})


SPEC = make_spec()


@pytest.fixture(scope="module")
def plain() -> PlainPieces:
    return PlainPieces(SPEC, VOCABULARY)


@pytest.fixture(scope="module")
def numeric() -> NumericWords:
    return NumericWords(SPEC, VOCABULARY)


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    """Parts side by side, and a third of them with bytes put in that are not UTF-8."""
    draw = np.random.default_rng(0)
    made = ["".join(draw.choice(PARTS, int(draw.integers(0, 24)))).encode() for _ in range(1500)]
    for number in range(0, len(made), 3):
        place = int(draw.integers(0, min(len(made[number]), WIDTH) + 1))
        broken = bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8))
        made[number] = made[number][:place] + broken + made[number][place:]
    return made


@pytest.fixture(scope="module")
def traced(numeric: NumericWords) -> Ask:
    return in_tensorflow(numeric)


def test_ids_by_hand(traced: Ask, plain: PlainPieces) -> None:
    read = {
        "École, e\u0301cole МОСКВА": [2, 2, 3],
        "中国中film ﬁ fil films": [5, 1, 5, 10, 11, 1, 1],
        "ｶﾞ ガ\u0301 か": [6, 24, 1],
        "🙂🙂ดีดี 한국어": [9, 9, 7, 7, 8],
        "a\u0301\u0316 a\u0316\u0301 a\u0301 a": [13, 13, 14, 15],
        "½ don't": [18, 19, 20, 1],
        "中\u0301中 \u0301b": [21, 5, 16],
    }
    expected = [[*ids, *[0] * (LENGTH - len(ids))] for ids in read.values()]
    encoded = [text.encode() for text in read]
    assert plain.ids(encoded).tolist() == expected
    assert in_batches(traced, encoded).tolist() == expected


def test_tensorflow(traced: Ask, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(traced, texts), plain.ids(texts))


ROWS = st.lists(
    st.one_of(
        st.binary(max_size=2 * WIDTH),
        st.text(max_size=WIDTH).map(str.encode),
        st.lists(st.sampled_from(PARTS), max_size=30).map("".join).map(str.encode),
        st.lists(st.sampled_from([*"a\u0301\u0316\u093c\u0903 中"]), max_size=40).map("".join).map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(rows=ROWS)
def test_any_bytes(traced: Ask, plain: PlainPieces, rows: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(traced, rows), plain.ids(rows))


@pytest.fixture(scope="module")
def dropping() -> tuple[PlainPieces, Ask]:
    """What leaves out a word that may go on and strips accents, of few words that no mark is in."""
    spec = make_spec(truncation="drop", strip_accents=True, sequence_length=30)
    return PlainPieces(spec, ["ecole", "中", "a"]), in_tensorflow(NumericWords(spec, ["ecole", "中", "a"]))


@settings(deadline=None)
@given(rows=ROWS)
def test_words_that_may_go_on_are_dropped(dropping: tuple[PlainPieces, Ask], rows: list[bytes]) -> None:
    plain, ask = dropping
    np.testing.assert_array_equal(in_batches(ask, rows), plain.ids(rows))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 7), min_size=8, max_size=8), min_size=1, max_size=4))
def test_marks_are_sorted_between_what_stays(rows: list[list[int]]) -> None:
    classes = np.array([0, 0, 220, 220, 230, 230, 9, 1], np.int32)
    expected = []
    for row in rows:
        ordered: list[int] = []
        for code in row:
            place = len(ordered)
            while 0 < classes[code] < (classes[ordered[place - 1]] if place else 0):
                place -= 1
            ordered.insert(place, code)
        expected.append(ordered)
    assert in_order(tf.constant(rows, tf.int32), classes).numpy().tolist() == expected


def test_as_many_marks_as_a_word_may_have_are_put_in_order() -> None:
    spec = make_spec(byte_length=512)
    words = ["\u0316" * 50 + "\u0301" * 50, "á\u0316" + "\u0301" * 97]
    texts = [
        words[0][::-1],
        "a" + "\u0301" * 98 + "\u0316",
        words[0][::-1] + "\u0316",
        "\u0301\u0316" * 60 + " " + words[0],
    ]
    ids = NumericWords(spec, words)(tf.constant(pack(texts, 512))).numpy()
    assert ids[:, :2].tolist() == [[2, 0], [3, 0], [1, 0], [1, 2]]
    np.testing.assert_array_equal(ids, PlainPieces(spec, words).ids([text.encode() for text in texts]))


@pytest.mark.slow
def test_strings_are_read_as_bytes_are(numeric: NumericWords, plain: PlainPieces, texts: list[bytes]) -> None:
    strings = tf.function(StringCodePoints(numeric).__call__).get_concrete_function(tf.TensorSpec([None], tf.string))
    np.testing.assert_array_equal(strings(tf.constant(texts)).numpy(), plain.ids(texts))
    assert strings(tf.constant([], tf.string)).shape == (0, LENGTH)


@pytest.mark.slow
def test_xla(numeric: NumericWords, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(under_xla(numeric), texts), plain.ids(texts))


@pytest.mark.slow
def test_litert(numeric: NumericWords, plain: PlainPieces, texts: list[bytes]) -> None:
    check_litert(numeric, texts, plain.ids(texts), alone=100)


@pytest.mark.slow
def test_onnx_runtime(numeric: NumericWords, plain: PlainPieces, texts: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(in_onnx_runtime(numeric), texts), plain.ids(texts))


def test_what_is_said_of_the_constants(numeric: NumericWords) -> None:
    arrays = numeric.stored_arrays()
    assert numeric.table_bytes == sum(each.nbytes for each in arrays.values()) < 120_000
    assert (numeric.dropped_words, numeric.false_positive_rate) == (0, 0.0)
    assert NumericWords(SPEC, ["École", "a b", "a"]).dropped_words == 2
    assert "bytes front-end/classes" in arrays
    assert "bytes front-end/classes" not in NumericWords(SPEC, ["école"]).stored_arrays()  # one mark is in order


def test_a_vocabulary_is_checked() -> None:
    with pytest.raises(DataError, match="more than once"):
        NumericWords(SPEC, ["a", "a"])
