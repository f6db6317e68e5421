"""Bytes give the ids of the Keras front-end, bit for bit: in TensorFlow, under XLA, in LiteRT and in ONNX Runtime."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError, ExportError
from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.text import from_bytes as module
from switch_tf.text.byte_codes import byte_codes, kept_bytes, pack
from switch_tf.text.from_bytes import NumericText, look_up, rank_space, scatter_rows, strip_last_word, word_boundaries
from switch_tf.text.from_strings import KerasText
from switch_tf.text.perfect_hash import build_perfect_hash
from switch_tf.text.spec import Standardize, TextSpec

MODES: tuple[Standardize, ...] = get_args(Standardize)

# Ids:        2        3    4    5       6        7        8    9    10       11   12 to 14: no text gives them
VOCABULARY = ["hello", "a", "b", "dont", "Hello", "don't", "é", "É", "œuvre", "k", "x y", "x\x00", "z" * 99, "жж", "😀"]

Compute = Callable[[tf.Tensor], tf.Tensor]
Tokenize = Callable[[np.ndarray], np.ndarray]
Runtime = Callable[[Compute, tf.TensorSpec], Tokenize]


def spec_of(standardize: Standardize = MODES[0], length: int = 4, **settings: Any) -> TextSpec:
    return TextSpec(**{"standardize": standardize, "sequence_length": length, "byte_length": 64} | settings)


@cache
def keras_text(spec: TextSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(KerasText(spec, VOCABULARY).__call__, input_signature=[tf.TensorSpec([None], tf.string)])


# Each takes a function of one tensor and its signature, and answers the same function over arrays.


def in_tensorflow(function: Compute, signature: tf.TensorSpec) -> Tokenize:
    traced = tf.function(function, input_signature=[signature], autograph=False)
    return lambda rows: traced(tf.constant(rows)).numpy()


def in_xla(function: Compute, signature: tf.TensorSpec) -> Tokenize:
    compiled = tf.function(function, input_signature=[signature], jit_compile=True, autograph=False)
    return lambda rows: compiled(tf.constant(rows)).numpy()


def in_litert(function: Compute, signature: tf.TensorSpec) -> Tokenize:
    from ai_edge_litert.interpreter import Interpreter

    traced = tf.function(function, input_signature=[signature], autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def tokenize(rows: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(entry["index"], rows.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], rows)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return tokenize


def in_onnx(function: Compute, signature: tf.TensorSpec) -> Tokenize:
    os.environ.setdefault("TF2ONNX_LOG_LEVEL", "ERROR")
    import onnxruntime
    import tf2onnx

    traced = tf.function(function, input_signature=[signature], autograph=False)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=[signature], opset=18)
    assert [entry.name for entry in model.graph.input] == [signature.name]  # constants are constants
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {signature.name: rows})[0]


RUNTIMES: list[Runtime] = [in_tensorflow, in_xla, in_litert, in_onnx]


def bytes_of(spec: TextSpec) -> tf.TensorSpec:
    return tf.TensorSpec([None, spec.num_bytes], tf.uint8, name="bytes")


@cache
def reference_tokenize(spec: TextSpec) -> Tokenize:
    return in_tensorflow(NumericText(spec, VOCABULARY).__call__, bytes_of(spec))


def assert_same_ids(
    texts: Sequence[bytes], spec: TextSpec, tokenize: Tokenize | None = None, batch: int | None = None
) -> None:
    """The ids are those of the Keras front-end for what the truncation policy keeps."""
    expected = keras_text(spec)(
        tf.constant([kept_bytes(spec, text) for text in texts], tf.string, [len(texts)])
    ).numpy()
    rows, batch = pack(texts, spec.num_bytes), batch or max(1, len(texts))
    tokenize = tokenize or reference_tokenize(spec)
    answers = [tokenize(rows[start : start + batch]) for start in range(0, max(1, len(rows)), batch)]
    answered = np.concatenate(answers)
    assert answered.dtype == np.int32
    assert answered.shape == expected.shape
    wrong = [text for text, one, other in zip(texts, answered, expected, strict=True) if (one != other).any()]
    assert wrong == []


# --- the steps, by hand


def test_a_text_traced_through_the_steps() -> None:
    codes = byte_codes("lower_and_strip_punctuation")
    i, m, n = (int(codes[ord(letter)]) for letter in "imn")
    row = tf.gather(codes, tf.constant(pack(["I'm  in!"], 10), tf.int32))
    letters, first = rank_space(row)
    assert letters.numpy().tolist() == [[i, m, i, n, 0, 0, 0, 0, 0, 0, 0]]
    assert np.flatnonzero(first.numpy()[0]).tolist() == [0, 2]
    begins, ends = word_boundaries(first, words=4)
    assert begins.numpy().tolist() == [[0, 2, 10, 10]]
    assert ends.numpy().tolist() == [[2, 10, 10, 10]]


@pytest.mark.parametrize(
    ("text", "letters", "first"),
    [
        ("ab", "ab", [0]),
        (" a b ", "ab", [0, 1]),
        ("a-b - c", "abc", [0, 2]),  # a word that vanishes leaves no place
        ("- a", "a", [0]),
        (". 'a'b' .' c.", "abc", [0, 2]),
        ("", "", []),
        ("...", "", []),
        ("abcdefghijklmnop", "abcdefghijklmnop", [0]),  # full to the last byte
        ("a b c d e f g h ", "abcdefgh", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_rank_space(text: str, letters: str, first: list[int]) -> None:
    codes = byte_codes("lower_and_strip_punctuation")
    moved, begins = rank_space(tf.gather(codes, tf.constant(pack([text], 16), tf.int32)))
    assert moved.numpy()[0].tolist() == [*(int(codes[ord(letter)]) for letter in letters)] + [0] * (17 - len(letters))
    assert np.flatnonzero(begins.numpy()[0]).tolist() == first


def test_a_word_that_may_go_on() -> None:
    codes = byte_codes("strip_punctuation")
    rows = tf.gather(codes, tf.constant(pack(["a bcd", "a b.", "a b ", "abcd"], 4), tf.int32))
    letters, first = rank_space(strip_last_word(rows))
    a, b = int(codes[ord("a")]), int(codes[ord("b")])
    assert letters.numpy().tolist() == [[a, 0, 0, 0, 0], [a, 0, 0, 0, 0], [a, b, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert first.numpy().sum(axis=1).tolist() == [1, 1, 2, 0]


def test_scatter_adds_in_rows_of_their_own() -> None:
    rows = scatter_rows(tf.constant([[0, 2, 1], [2, 0, 1]]), tf.constant([[5, 6, 0], [7, 8, 0]]), width=4)
    assert rows.numpy().tolist() == [[5, 0, 6, 0], [8, 0, 7, 0]]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("columns", [2, 3])
def test_look_up_finds_what_the_table_finds(runtime: Runtime, columns: int) -> None:
    """Also for keys that differ by one where float32 has no room for it."""
    random = np.random.default_rng(0)
    keys = random.integers(2**30, 2**31 - 1, [1000, columns])
    table = build_perfect_hash(keys, np.arange(1000) + 2, missing=1)
    neighbours = [keys + step for step in np.eye(columns, dtype=int)]
    mixed = np.stack([np.roll(column, number) for number, column in enumerate(keys.T)], axis=1)
    asked = np.concatenate([keys, *neighbours, mixed, np.zeros([1, columns], int)])
    assert (table.find(asked)[:1000] > 1).all() and (table.find(asked)[1000:] == 1).all()
    signature = tf.TensorSpec([None, columns], tf.int32, name="keys")
    look = runtime(lambda keys: look_up(table, tf.unstack(keys, axis=1)), signature)
    np.testing.assert_array_equal(look(asked.astype(np.int32)), table.find(asked))


# --- the ids


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        ("lower_and_strip_punctuation", [2, 5, 3, 4]),  # "hello dont a b": the dash vanishes
        ("lower", [1, 7, 3, 1]),  # "hello, don't a - b."
        ("strip_punctuation", [6, 5, 3, 4]),  # "Hello dont a b"
        ("none", [1, 7, 3, 1]),  # "Hello, don't a - b."
    ],
)
def test_each_standardize_mode(standardize: Standardize, expected: list[int]) -> None:
    rows = pack(["Hello, don't a - b."], 64)
    assert reference_tokenize(spec_of(standardize))(rows).tolist() == [expected]


@pytest.mark.parametrize("standardize", MODES)
def test_every_byte_alone_between_letters_and_in_front(standardize: Standardize) -> None:
    every = [bytes([byte]) for byte in range(256)]
    texts = [
        text for byte in every for text in (byte, b"a" + byte + b"b", byte + b" a", b"a " + byte, b"a  " + byte + b"b")
    ]
    assert_same_ids(texts, spec_of(standardize))


PIECES = st.one_of(
    st.sampled_from([word.encode() for word in VOCABULARY]),
    st.sampled_from([b"HELLO", b"Don't", b"a.", b"-", b"...", b"\xff", b"\xc3", b"\xe2\x82", b"\xa0", b"\x00"]),
    st.binary(max_size=5),
)
TEXTS = st.one_of(
    st.lists(st.tuples(PIECES, st.sampled_from([b" ", b"\t\n", b"\v\f\r", b"\x00", b""])), max_size=30).map(
        lambda pairs: b"".join(piece + space for piece, space in pairs)
    ),
    st.binary(max_size=80),
)


@pytest.mark.parametrize("standardize", MODES)
@pytest.mark.parametrize(("length", "policy"), [(1, "prefix"), (5, "drop"), (70, "prefix")])
def test_any_bytes(standardize: Standardize, length: int, policy: str) -> None:
    spec = spec_of(standardize, length, truncation=policy)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(TEXTS, max_size=6))
    def same_ids(texts: list[bytes]) -> None:
        assert_same_ids(texts, spec)

    same_ids()


@pytest.mark.parametrize("standardize", MODES)
@pytest.mark.parametrize("policy", ["prefix", "drop"])
def test_texts_around_the_limit(standardize: Standardize, policy: str) -> None:
    units = [b"a ", b"a", b"hello ", b"hello.", b"'a' ", "é ".encode(), b".", b" ", b"\x00a"]
    ends = [b"", b"a", b".", b" ", b"\x00", b".a", b" a", b" .", b"a."]
    sizes = [15, 16, 17]  # N - 1, N and N + 1
    texts = [(unit * size)[: size - len(end)] + end for unit in units for end in ends for size in sizes]
    assert_same_ids(texts, spec_of(standardize, 16, byte_length=16, truncation=policy))


def test_prefix_reads_texts_of_n_bytes_whole_and_drop_of_fewer() -> None:
    texts = [b"b hello", b"b hello ", b"b dont a"]  # 7, 8 and 8 bytes
    whole = keras_text(spec_of())(tf.constant(texts)).numpy().tolist()
    rows = pack(texts, 8)
    assert (
        reference_tokenize(spec_of(byte_length=8))(rows).tolist() == whole == [[4, 2, 0, 0], [4, 2, 0, 0], [4, 5, 3, 0]]
    )
    dropped = reference_tokenize(spec_of(byte_length=8, truncation="drop"))(rows).tolist()
    assert dropped == [*whole[:2], [4, 5, 0, 0]]


@pytest.mark.parametrize("policy", ["prefix", "drop"])
@pytest.mark.parametrize(("byte_length", "length"), [(1, 1), (1, 3), (2, 3), (3, 2), (8192, 4), (32_768, 2)])
def test_rows_of_other_lengths(policy: str, byte_length: int, length: int) -> None:
    spec = spec_of(length=length, byte_length=byte_length, truncation=policy)
    texts = [b"", b"a", b"a b", b"a b b", b".", b"hello", b"b" * byte_length, b"\xff" * byte_length + b"a"]
    texts += [b"." * (byte_length - size) + b" hello a" for size in (1, 5, 6, 7, 8, 9)]
    assert_same_ids(texts, spec)


def test_a_long_word_of_the_vocabulary() -> None:
    word = "x" * 8191
    spec = TextSpec(sequence_length=2, byte_length=8192, truncation="drop")
    texts = [word, word[1:], word + "x", word + " a", "a" + word]
    ids = NumericText(spec, [word, "a"])(tf.constant(pack(texts, 8192)))
    assert ids.numpy().tolist() == [[2, 0], [1, 0], [0, 0], [2, 0], [0, 0]]


@pytest.mark.parametrize("standardize", MODES)
@pytest.mark.parametrize("policy", ["prefix", "drop"])
def test_adversarial_texts(standardize: Standardize, policy: str) -> None:
    spec = spec_of(standardize, 16, byte_length=200, truncation=policy)
    assert_same_ids(adversarial(spec, 400), spec)


def adversarial(spec: TextSpec, count: int) -> list[bytes]:
    words = [word for word in VOCABULARY if len(word) < 20]
    texts = [text.encode() for text in adversarial_texts(spec, words, count, seed=1)]
    return texts + invalid_utf8_texts(words, count // 4, seed=1)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "spec",
    [
        spec_of("lower_and_strip_punctuation", 16, byte_length=192),
        spec_of("lower", 16, byte_length=192, truncation="drop"),
    ],
    ids=["prefix", "drop"],
)
def test_same_ids_in_every_runtime(runtime: Runtime, spec: TextSpec) -> None:
    texts = adversarial(spec, 300)
    tokenize = runtime(NumericText(spec, VOCABULARY).__call__, bytes_of(spec))
    assert_same_ids(texts[-70:], spec, tokenize, batch=1)
    assert_same_ids(texts[-70:], spec, tokenize, batch=7)
    assert_same_ids(texts[: len(texts) // 64 * 64], spec, tokenize, batch=64)  # XLA compiles for each size


@pytest.mark.parametrize("runtime", RUNTIMES[1:])
def test_three_keys_in_every_runtime(runtime: Runtime) -> None:
    spec = spec_of(length=8, byte_length=4096)
    text = NumericText(spec, VOCABULARY, max_false_positive_rate=1e-15)
    assert text.num_keys == 3
    texts = [b"hello a" + b" " * 4000 + b"b b", b"\xff" * 4000 + b" hello", b"", b"a." * 2048]
    assert_same_ids(texts, spec, runtime(text.__call__, bytes_of(spec)))


@pytest.mark.parametrize("policy", ["prefix", "drop"])
@pytest.mark.parametrize("earliest_wins", [True, False])
def test_values_that_meet_in_a_scatter_may_do_so_in_any_order(
    monkeypatch: pytest.MonkeyPatch, policy: str, earliest_wins: bool
) -> None:
    """TensorFlow adds them up; ONNX keeps one and does not say which."""

    def keep_one(place: tf.Tensor, value: tf.Tensor, width: int) -> tf.Tensor:
        result = np.zeros([place.shape[0], width], np.int32)
        step = -1 if earliest_wins else 1
        for row, places, values in zip(result, place.numpy(), value.numpy(), strict=True):
            for one, kept in zip(places[::step], values[::step], strict=True):
                row[one] = kept
        return tf.constant(result)

    monkeypatch.setattr(module, "scatter_rows", keep_one)
    spec = spec_of(truncation=policy)
    text = NumericText(spec, VOCABULARY)
    assert_same_ids(adversarial(spec, 60), spec, lambda rows: text(tf.constant(rows)).numpy())


def test_no_text_and_static_shapes() -> None:
    assert reference_tokenize(spec_of())(np.zeros([0, 64], np.uint8)).shape == (0, 4)
    traced = tf.function(NumericText(spec_of(), VOCABULARY).__call__, input_signature=[bytes_of(spec_of())])
    output = traced.get_concrete_function().structured_outputs
    assert (output.shape.as_list(), output.dtype) == ([None, 4], tf.int32)


def test_no_operator_besides_the_promised() -> None:
    spec = spec_of(truncation="drop")
    graph = graph_of(NumericText(spec, VOCABULARY), spec)
    assert {operation.type for operation in graph.get_operations()} == {
        *("Placeholder", "Const", "Identity", "Shape", "Reshape", "StridedSlice", "Unpack", "Pack", "Range", "Cast"),
        *("GatherV2", "Cumsum", "ScatterNd", "FloorMod", "AddV2", "Sub", "Mul"),
        *("Equal", "Less", "Greater", "GreaterEqual", "LogicalAnd", "SelectV2"),
    }


def test_saved_and_loaded(tmp_path: Path) -> None:
    saved = tf.Module()
    saved.text = NumericText(spec_of(), VOCABULARY)
    saved.tokenize = tf.function(saved.text.__call__, input_signature=[bytes_of(spec_of())], autograph=False)
    tf.saved_model.save(saved, str(tmp_path), signatures={"tokenize": saved.tokenize})
    tokenize = tf.saved_model.load(str(tmp_path)).signatures["tokenize"]
    assert_same_ids(adversarial(spec_of(), 60), spec_of(), lambda rows: tokenize(tf.constant(rows))["output_0"].numpy())


# --- the table


def test_settings_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ExportError, match="Expected at most 32768"):
        NumericText(TextSpec(byte_length=32_769), ["a"])
    with pytest.raises(DataError, match="holds 'a' more than once"):
        NumericText(TextSpec(), ["a", "a"])


def test_same_graph_every_time() -> None:
    first, second = (graph_of(NumericText(spec_of(), VOCABULARY), spec_of()).as_graph_def() for _ in range(2))
    assert first == second


def graph_of(text: NumericText, spec: TextSpec) -> tf.Graph:
    return tf.function(text.__call__, input_signature=[bytes_of(spec)], autograph=False).get_concrete_function().graph
