"""The ONNX front-end gives the ids of the Keras one for every text, alone or in a batch, hostile ones included."""

import random
import re
import string
from collections.abc import Iterator
from functools import cache
from typing import Any, cast, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from switch_tf.errors import DataError
from switch_tf.export.onnx_file import text_graph as onnx_text
from switch_tf.export.onnx_file.text_graph import build_text_front_end
from switch_tf.text.from_strings import KerasText
from switch_tf.text.spec import Standardize, TextSpec

MODES: tuple[Standardize, ...] = get_args(Standardize)

# Ids:        2        3    4    5       6        7       8    9    10       11        12 and 13: no text gives them
VOCABULARY = ["hello", "a", "b", "dont", "Hello", "don't", "é", "É", "œuvre", "k", "x y", "x\x00", "жж", "😀", "i"]

WHITESPACE = "\t\n\v\f\r \x00"
OTHER_SPACES = "\x1c\x1f\x7f\x85\u00a0\u2028\u2029\u3000\u200b\ufeff"
CASED = "éÉßẞİıſ\u212a\u212bΩЖжςΣŒœǅⅫⓐ𐐀\u0345"  # letters that some lower-casing changes, the Kelvin sign to "k"
MARKS = "\u0300\u0301\u200d👍🏽🇩🇪😀中文字あ한ا\ufffd\ue000\U0010ffff"
ALPHABET = string.ascii_letters + string.punctuation + WHITESPACE + OTHER_SPACES + CASED + MARKS


@cache
def keras_text(standardize: Standardize, length: int) -> KerasText:
    return KerasText(TextSpec(standardize=standardize, sequence_length=length), VOCABULARY)


@cache
def session(standardize: Standardize, length: int) -> onnxruntime.InferenceSession:
    spec = TextSpec(standardize=standardize, sequence_length=length)
    return open_session(build_text_front_end(spec, VOCABULARY))


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_ids(texts: list[str], standardize: Standardize = MODES[0], length: int = 4) -> np.ndarray:
    (ids,) = session(standardize, length).run(["ids"], {"text": np.array(texts, object)})
    return ids


def keras_ids(texts: list[str], standardize: Standardize = MODES[0], length: int = 4) -> np.ndarray:
    return keras_text(standardize, length)(tf.constant(texts, tf.string, [len(texts)])).numpy()


def assert_same_ids(texts: list[str], standardize: Standardize, length: int) -> None:
    answered, expected = onnx_ids(texts, standardize, length), keras_ids(texts, standardize, length)
    assert answered.dtype == expected.dtype == np.int32
    assert answered.shape == expected.shape == (len(texts), length)
    differing = [text for text, one, other in zip(texts, answered, expected, strict=True) if (one != other).any()]
    assert differing == []


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
    assert onnx_ids(["Hello, don't a - b."], standardize).tolist() == [expected]


def test_goldens() -> None:
    goldens = {
        "": [0, 0, 0, 0],
        "...": [0, 0, 0, 0],
        "A\x00b": [3, 4, 0, 0],  # NUL is white space
        "a\u00a0b a": [1, 3, 0, 0],  # a no-break space is not
        "HELLO\v\ta\r\nb b a": [2, 3, 4, 4],  # cut at four words
        "É é": [9, 8, 0, 0],  # lower-casing is ASCII only
        "ŒUVRE Œuvre œUVRE K": [1, 1, 10, 11],
        "\u212a İ i": [1, 1, 16, 0],  # neither the Kelvin sign nor a dotted capital I becomes ASCII
        "x y x\x00 жж": [1, 1, 1, 14],  # "x y" and "x\0" have ids 12 and 13, which no text gives
    }
    assert dict(zip(goldens, onnx_ids(list(goldens)).tolist(), strict=True)) == goldens


def test_every_mark_vanishes_and_every_letter_is_lowered() -> None:
    marks = [f"do{mark}nt" for mark in string.punctuation]
    assert onnx_ids(marks, length=1).tolist() == [[5]] * 32
    letters = string.ascii_lowercase
    model = build_text_front_end(TextSpec(sequence_length=1), [letters, letters + "œ"])  # the second letter by letter
    texts = [text for case in (str.upper, str.title) for text in (case(letters), case(letters) + "œ")]
    (ids,) = open_session(model).run(["ids"], {"text": np.array(texts, object)})
    assert ids.tolist() == [[2], [3], [2], [3]]


@pytest.mark.parametrize("standardize", MODES)
@pytest.mark.parametrize("length", [1, 4, 17])
def test_any_texts(standardize: Standardize, length: int) -> None:
    words = st.one_of(st.sampled_from(VOCABULARY), st.text(ALPHABET, max_size=6), st.text(max_size=4))
    text = st.lists(words, max_size=20).map(" ".join) | st.text(ALPHABET, max_size=60)

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(st.lists(text, max_size=8))
    def same_ids(texts: list[str]) -> None:
        assert_same_ids(texts, standardize, length)

    same_ids()


@pytest.mark.parametrize("standardize", MODES)
def test_fuzzed_texts_in_batches(standardize: Standardize) -> None:
    texts = list(fuzzed_texts(500, seed=MODES.index(standardize)))
    expected = keras_ids(texts, standardize, 12)
    for batch in (1, 7, 64):
        batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
        answered = np.concatenate([onnx_ids(batch, standardize, 12) for batch in batches])
        assert [text for text, same in zip(texts, (answered == expected).all(axis=1), strict=True) if not same] == []


def fuzzed_texts(count: int, seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    for _ in range(count):
        separators = draw.choice([" ", " ", WHITESPACE.replace("\v", ""), WHITESPACE, ""])
        words = []
        for _ in range(draw.choice([0, 1, 3, 10, 30])):
            word = draw.choice([draw.choice(VOCABULARY), "".join(draw.choices(ALPHABET, k=draw.randint(1, 8)))])
            words.append(draw.choice([word, word.upper(), word.title(), word + draw.choice(string.punctuation)]))
            words.append(draw.choice(separators) * draw.randint(1, 2) if separators else "")
        yield "".join(words)


HOSTILE = {
    "one word of a million letters": ["x" * 1_000_000],
    "a million letters in words": ["Hello a " * 125_000],
    "a million letters beyond ASCII": ["Œ A" * 250_000],
    "a million kinds of white space": [WHITESPACE * 150_000 + "a"],
    "a million vertical tabs beside others": ["\v" * 1_000_000 + "a", *["a b"] * 63],
    "a million newlines beside others": ["\n" * 1_000_000 + "a", *["a b"] * 63],
    "vertical tabs in a large batch": ["a\v", "b"] * 10_000,
    "what ends a row inside the graph": [
        f"a{mark}b{mark}{mark}"
        for whole in [onnx_text._ROW_END, onnx_text._LONG_ROW_END]
        for mark in [whole, whole * 2, whole[:-1], whole[1:], whole[:1], whole[:1] + "." + whole[1:]]
    ],
    "200,000 full stops": ["." * 200_000 + "a"],
    "200,000 marks of all kinds": [string.punctuation * 6_250 + "a"],
    "10,000-character words": [" ".join(["h" * 10_000, "é" * 10_000, "hello"])],
    "emoji and combining marks": ["👍🏽 👨\u200d👩\u200d👧 e\u0301 😀 " * 1000],
    "no text": [],
    "empty texts": [""] * 3,
    "only punctuation": ["...", "-", string.punctuation],
    "white space and what looks like it": [f"a{space}b" for space in WHITESPACE + OTHER_SPACES],
}


@pytest.mark.parametrize("texts", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("standardize", MODES)
def test_hostile_texts(texts: list[str], standardize: Standardize) -> None:
    assert_same_ids(texts, standardize, 4)


@pytest.mark.parametrize("standardize", MODES)
def test_bytes_that_are_not_utf8(standardize: Standardize) -> None:
    """Python cannot pass them to ONNX Runtime, other languages can: here they are a constant of the graph."""
    draw = random.Random(0)
    pool = [b"\xff", b"\xc3", b"\x80", b"\xe2\x82", b"\xf0\x9f", b"\xed\xa0\x80", b"a", b"A", b" ", b".", b"\v", b"\0"]
    texts = [b"".join(draw.choices(pool, k=draw.randint(1, 12))) for _ in range(300)]
    model = build_text_front_end(TextSpec(standardize=standardize, sequence_length=4), VOCABULARY)
    model.graph.input.pop()
    model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [len(texts)], cast(Any, texts)))
    (ids,) = open_session(model).run(["ids"], {})
    np.testing.assert_array_equal(ids, keras_text(standardize, 4)(tf.constant(texts)).numpy())


def test_lower_casing_by_table_sees_nothing_but_ascii_and_caseless_characters() -> None:
    """On some platforms StringNormalizer lowers more than A-Z, so it must not meet what else has a lower case."""
    model = build_text_front_end(TextSpec(), VOCABULARY)
    (normalizer,) = (node for node in model.graph.node if node.op_type == "StringNormalizer")
    model.graph.output.append(helper.make_tensor_value_info(normalizer.input[0], TensorProto.STRING, [None]))
    characters = [chr(code) for code in range(0x110000)]
    cased = [character for character in characters if not character.isascii() and character.lower() != character]
    assert len(cased) > 1300
    caseless = ["é", "ß", "\u00a0", "\u2019", "中", "ع", "😀"]
    (seen,) = open_session(model).run([normalizer.input[0]], {"text": np.array([*cased, *caseless], object)})
    assert seen.tolist() == [""] * len(cased) + caseless + [""]


def test_constants_cover_the_specification() -> None:
    assert sorted("".join(onnx_text._PUNCTUATION)) == sorted(string.punctuation)


@pytest.mark.parametrize("standardize", MODES)
def test_only_standard_operators_and_names_that_cannot_collide(standardize: Standardize) -> None:
    model = build_text_front_end(TextSpec(standardize=standardize), VOCABULARY)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 20, "ai.onnx.ml": 2}
    assert model.ir_version == 9
    assert len(model.functions) == 0
    graphs = list(all_graphs(model.graph))
    assert {node.domain for graph in graphs for node in graph.node} == {"", "ai.onnx.ml"}
    assert [(value.name, shape_of(value)) for value in model.graph.input] == [("text", ["batch"])]
    assert [(value.name, shape_of(value)) for value in model.graph.output] == [("ids", ["batch", 64])]
    names = [name for graph in graphs for node in graph.node for name in node.output]
    names += [tensor.name for graph in graphs for tensor in graph.initializer]
    names += [value.name for graph in graphs for value in graph.input]
    assert len(set(names)) == len(names)
    assert {name for name in names if not re.fullmatch(r"text/([a-z]+/)?\d+", name)} == {"text", "ids"}


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from all_graphs(attribute.g)


def shape_of(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def test_merges_with_a_graph_of_ids_without_prefixes() -> None:
    front_end = build_text_front_end(TextSpec(sequence_length=4), VOCABULARY)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", 4])
    total = helper.make_tensor_value_info("total", TensorProto.INT32, ["batch", 1])
    axes = numpy_helper.from_array(np.array([1]), "axes")
    node = helper.make_node("ReduceSum", ["ids", "axes"], ["total"])
    graph = helper.make_graph([node], "sum", [ids], [total], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=front_end.ir_version)
    merged = onnx.compose.merge_models(front_end, model, io_map=[("ids", "ids")])
    (answer,) = open_session(merged).run(["total"], {"text": np.array(["a É\va", "", "b"], object)})
    assert answer.tolist() == [[3 + 9 + 3], [0], [4]]


@pytest.mark.parametrize("words", [1, 1_000, 20_000])
def test_size(words: int) -> None:
    model = build_text_front_end(TextSpec(vocabulary_size=50_000), [f"word{number:06}" for number in range(words)])
    assert len(model.SerializeToString()) <= 100_000 + 40 * words


def test_same_model_every_time() -> None:
    first, second = (build_text_front_end(TextSpec(), VOCABULARY).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("vocabulary", [[], ["a", "a"], ["a", ""], ["[UNK]"], ["a", "b", "c"]])
def test_unusable_vocabularies_are_refused(vocabulary: list[str]) -> None:
    with pytest.raises(DataError, match="The vocabulary"):
        build_text_front_end(TextSpec(vocabulary_size=4), vocabulary)
