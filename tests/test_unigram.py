"""The graph that reads unigram pieces gives the ids of `PlainUnigram` in TensorFlow, XLA, LiteRT and ONNX Runtime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepieces import TEXTS, make_spec, random_texts, vocabulary

from switch_tf.text.byte_codes import pack
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.spec import TextSpec
from switch_tf.text.unigram import NumericUnigram, reached
from switch_tf.text.unigram_table import piece_of

WIDTH, BATCH, LONGEST = 96, 32, 7
Ask = Callable[[np.ndarray], np.ndarray]
# Rules, sums, truncation, and how many texts: one graph of each of the two ways to add goes through every runtime.
KINDS: dict[str, dict[str, Any]] = {
    "exact": {},
    "sequential": {"unigram_sums": "sequential", "normalization": "nmt_nfkc"},
    "identity": {"normalization": "identity"},
    "dropping": {"truncation": "drop", "normalization": "nfkc_cf"},
}


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    """As they are, and with bytes put in that are not UTF-8."""
    valid = [text.encode() for text in [*TEXTS, *random_texts(240)]]
    draw = np.random.default_rng(0)

    def broken(text: bytes) -> bytes:
        place = int(draw.integers(0, min(len(text), WIDTH) + 1))
        return text[:place] + bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8)) + text[place:]

    return [*valid, *map(broken, valid)]


@pytest.fixture(scope="module")
def front_ends() -> dict[str, tuple[PlainUnigram, NumericUnigram]]:
    """The definition and what makes graphs, of each kind."""

    def both(changes: dict[str, Any]) -> tuple[PlainUnigram, NumericUnigram]:
        spec = make_spec(**changes)
        entries = vocabulary(exact=spec.unigram_sums == "exact")
        entries = [each for each in entries if len(piece_of(each)) <= LONGEST]  # a graph takes as many steps
        return PlainUnigram(spec, entries), NumericUnigram(spec, entries)

    return {name: both(changes) for name, changes in KINDS.items()}


def rows_spec(batch: int | None = None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, WIDTH], tf.uint8, name="bytes")


def traced(numeric: NumericUnigram) -> Ask:
    function = tf.function(numeric.__call__, autograph=False).get_concrete_function(rows_spec())
    return lambda rows: function(tf.constant(rows)).numpy()


def in_batches(ask: Ask, texts: list[bytes]) -> np.ndarray:
    rows = pack(texts, WIDTH)
    rows = np.concatenate([rows, np.zeros([-len(rows) % BATCH, WIDTH], np.uint8)])
    return np.concatenate([ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])[: len(texts)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow(front_ends: Any, texts: list[bytes], kind: str) -> None:
    plain, numeric = front_ends[kind]
    np.testing.assert_array_equal(in_batches(traced(numeric), texts), plain.ids(texts))


@pytest.mark.slow
def test_strings_are_read_as_bytes_are(front_ends: Any, texts: list[bytes]) -> None:
    plain, numeric = front_ends["exact"]
    strings = tf.function(StringCodePoints(numeric).__call__).get_concrete_function(tf.TensorSpec([None], tf.string))
    np.testing.assert_array_equal(strings(tf.constant(texts)).numpy(), plain.ids(texts))
    assert strings(tf.constant([], tf.string)).shape == (0, 32)


@pytest.mark.slow
def test_xla(front_ends: Any, texts: list[bytes]) -> None:
    plain, numeric = front_ends["exact"]
    compiled = tf.function(numeric.__call__, jit_compile=True, autograph=False, input_signature=[rows_spec(BATCH)])
    np.testing.assert_array_equal(in_batches(lambda rows: compiled(tf.constant(rows)).numpy(), texts), plain.ids(texts))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "sequential"])
def test_litert(front_ends: Any, texts: list[bytes], kind: str) -> None:
    from switch_tf.artifacts.tflite_file import open_interpreter
    from switch_tf.export.tflite_file.conversion import convert_functions

    plain, numeric = front_ends[kind]
    function = tf.function(lambda bytes: {"ids": numeric(bytes)}, input_signature=[rows_spec()], autograph=False)
    content = convert_functions([], {"tokenize": function})
    ask = open_interpreter(model_content=content).get_signature_runner("tokenize")
    np.testing.assert_array_equal(in_batches(lambda rows: ask(bytes=rows)["ids"], texts), plain.ids(texts))
    one = [ask(bytes=pack([text], WIDTH))["ids"][0] for text in texts[:50]]
    np.testing.assert_array_equal(one, plain.ids(texts[:50]))
    with pytest.raises((ValueError, RuntimeError)):
        ask(bytes=np.zeros([1, WIDTH + 1], np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "sequential"])
def test_onnx_runtime(front_ends: Any, texts: list[bytes], kind: str) -> None:
    import onnxruntime

    from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx, refuse_invalid

    plain, numeric = front_ends[kind]

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


PIECES = ["\u2581film\t-3", "s\t-4", "\u2581a\t-2", "\u2581\t-5", "o\t-4.5", "oo\t-9", "ooo\t-13.5", "ñ\t-6"]


@pytest.fixture(scope="module")
def small() -> tuple[PlainUnigram, Ask]:
    return PlainUnigram(make_spec(), PIECES), traced(NumericUnigram(make_spec(), PIECES))


PARTS = ["film", " ", "oo", "ooooo", "a s", "n\u0303", "\u0303", "½", "\u2581", "\0", "S", "☃☃", "\u3000", "ﷺ"]
ROWS = st.lists(
    st.one_of(
        st.binary(max_size=2 * WIDTH),
        st.text(max_size=WIDTH).map(str.encode),
        st.lists(st.sampled_from(PARTS), max_size=30).map("".join).map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@settings(deadline=None)
@given(rows=ROWS)
def test_any_bytes(small: tuple[PlainUnigram, Ask], rows: list[bytes]) -> None:
    plain, ask = small
    np.testing.assert_array_equal(in_batches(ask, rows), plain.ids(rows))


@pytest.mark.slow
def test_by_hand() -> None:
    spec = TextSpec(tokenizer="unigram", sequence_length=6, byte_length=16)
    ids = NumericUnigram(spec, PIECES)(tf.constant(pack(["a  FILMS ☃☃", "ooo", "n\u0303o", ""], 16)))
    assert ids.numpy().tolist() == [[4, 2, 3, 5, 1, 0], [5, 8, 0, 0, 0, 0], [5, 9, 6, 0, 0, 0], [0] * 6]


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [([1, 2, 3, 4], [1, 1, 1, 1]), ([2, 4, 4, 4], [1, 0, 1, 0]), ([4, 4, 4, 4], [1, 0, 0, 0])],
)
def test_what_jumps_lead_to(jumps: list[int], expected: list[int]) -> None:
    first = tf.constant([[True, False, False, False]])
    assert tf.cast(reached(first, tf.constant([jumps])), tf.int32).numpy().tolist() == [expected]


@pytest.mark.slow
def test_what_is_said_of_the_constants(front_ends: Any) -> None:
    numeric = front_ends["exact"][1]
    arrays = numeric.stored_arrays()
    assert {name.removeprefix("bytes front-end/") for name in arrays} == {
        *("pages", "rows", "further", "sequences", "lengths", "offsets", "codes", "scores"),
        *("rules/base", "rules/check", "rules/found", "trie/base", "trie/check", "trie/ids"),
    }
    assert numeric.table_bytes == sum(each.nbytes for each in arrays.values()) < 150_000
    assert all(np.issubdtype(each.dtype, np.integer) for each in arrays.values())
    assert numeric.dropped_words == 0
