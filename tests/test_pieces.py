"""The graph that reads pieces gives the ids of `PlainPieces` in TensorFlow, XLA, LiteRT and ONNX Runtime."""

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError
from switch_tf.text.byte_codes import pack
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.piece_files import read_pieces
from switch_tf.text.pieces import NumericPieces
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import TextSpec

DATA = Path(__file__).parent / "data" / "wordpiece"
WIDTH, LENGTH, BATCH = 96, 24, 32
Ask = Callable[[np.ndarray], np.ndarray]


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
        valid = [text.encode() for text in json.load(stream)["texts"]]
    draw = np.random.default_rng(0)

    def broken(text: bytes) -> bytes:
        place = int(draw.integers(0, min(len(text), WIDTH) + 1))
        return text[:place] + bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8)) + text[place:]

    return [*valid, *map(broken, valid)]


@pytest.fixture(scope="module")
def traced(numeric: NumericPieces) -> Ask:
    function = tf.function(numeric.__call__, autograph=False).get_concrete_function(rows_spec())
    return lambda rows: function(tf.constant(rows)).numpy()


def rows_spec(batch: int | None = None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, WIDTH], tf.uint8, name="bytes")


def in_batches(ask: Ask, texts: list[bytes]) -> np.ndarray:
    rows = pack(texts, WIDTH)
    rows = np.concatenate([rows, np.zeros([-len(rows) % BATCH, WIDTH], np.uint8)])
    return np.concatenate([ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])[: len(texts)]


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
def test_strings_are_read_as_bytes_are(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    strings = tf.function(StringCodePoints(numeric).__call__).get_concrete_function(tf.TensorSpec([None], tf.string))
    ids = [strings(tf.constant(texts[start : start + 500])).numpy() for start in range(0, len(texts), 500)]
    np.testing.assert_array_equal(np.concatenate(ids), plain.ids(texts))
    assert strings(tf.constant([], tf.string)).shape == (0, LENGTH)


@pytest.mark.slow
def test_xla(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    compiled = tf.function(numeric.__call__, jit_compile=True, autograph=False, input_signature=[rows_spec(BATCH)])
    np.testing.assert_array_equal(in_batches(lambda rows: compiled(tf.constant(rows)).numpy(), texts), plain.ids(texts))


@pytest.mark.slow
def test_litert(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    from switch_tf.artifacts.tflite_file import open_interpreter
    from switch_tf.export.tflite_file.conversion import convert_functions

    function = tf.function(lambda bytes: {"ids": numeric(bytes)}, input_signature=[rows_spec()], autograph=False)
    content = convert_functions([], {"tokenize": function})
    ask = open_interpreter(model_content=content).get_signature_runner("tokenize")
    np.testing.assert_array_equal(in_batches(lambda rows: ask(bytes=rows)["ids"], texts), plain.ids(texts))
    with pytest.raises((ValueError, RuntimeError)):
        ask(bytes=np.zeros([1, WIDTH + 1], np.uint8))
    one = [ask(bytes=pack([text], WIDTH))["ids"][0] for text in texts[:100]]
    np.testing.assert_array_equal(one, plain.ids(texts[:100]))


@pytest.mark.slow
def test_onnx_runtime(numeric: NumericPieces, plain: PlainPieces, texts: list[bytes]) -> None:
    import onnxruntime

    from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx, refuse_invalid

    def tokenize(bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": numeric(bytes)}

    function = tf.function(tokenize, input_signature=[rows_spec()], autograph=False)
    with quiet_tf2onnx() as converter:
        model, _ = converter.from_function(function, input_signature=[rows_spec()], opset=TF2ONNX_OPSET)
    refuse_invalid(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(
        in_batches(lambda rows: session.run(None, {"bytes": rows})[0], texts), plain.ids(texts)
    )


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
        "codes",
        "lengths",
        "offsets",
        "pages",
        "rows",
        "sizes",
        "trie/base",
        "trie/check",
        "trie/found",
    ]
    assert numeric.table_bytes == sum(each.nbytes for each in arrays.values()) < 250_000
    assert numeric.dropped_words == 0


def test_a_vocabulary_is_checked() -> None:
    with pytest.raises(DataError, match="more than once"):
        NumericPieces(make_spec(), ["a", "a"])
