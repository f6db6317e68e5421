"""The reference front-end: byte-exact ids for every standardize mode, and a table that survives saving."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import DataError
from switch_tf.text.from_strings import KerasText, adapt_vocabulary
from switch_tf.text.spec import Standardize, TextSpec
from switch_tf.text.vocabulary import check_vocabulary

# Ids:        2        3      4    5    6    7       8          9         10
VOCABULARY = ["hello", "don", "t", "a", "b", "dont", "Hello", "don't", "é"]


def ids_of(texts: list[bytes], standardize: Standardize = "lower_and_strip_punctuation", length: int = 4) -> np.ndarray:
    spec = TextSpec(sequence_length=length, standardize=standardize)
    return KerasText(spec, VOCABULARY)(tf.constant(texts, tf.string, [len(texts)])).numpy()


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        ("lower_and_strip_punctuation", [2, 7, 5, 6]),  # "hello dont a b": the dash vanishes
        ("lower", [1, 9, 5, 1]),  # "hello, don't a - b."
        ("strip_punctuation", [8, 7, 5, 6]),  # "Hello dont a b"
        ("none", [1, 9, 5, 1]),  # "Hello, don't a - b."
    ],
)
def test_each_standardize_mode(standardize: Standardize, expected: list[int]) -> None:
    assert ids_of([b"Hello, don't a - b."], standardize).tolist() == [expected]


def test_lower_keeps_case_apart_only_when_told() -> None:
    assert ids_of([b"Hello hello"], "lower").tolist() == [[2, 2, 0, 0]]
    assert ids_of([b"Hello hello"], "none").tolist() == [[8, 2, 0, 0]]
    assert ids_of(["É é".encode()], "lower").tolist() == [[1, 10, 0, 0]]  # lower-casing is ASCII only


@pytest.mark.parametrize("space", [b"\t", b"\n", b"\v", b"\f", b"\r", b" ", b"\x00", b"\x00\x00", b"\r\n \x00"])
def test_whitespace_separates(space: bytes) -> None:
    assert ids_of([space + b"a" + space + b"b" + space]).tolist() == [[5, 6, 0, 0]]


@pytest.mark.parametrize("other", ["\u00a0", "\u0085", "\u2028", "\u3000", "\x1c", "\x1f", "\x7f", "\u200b"])
def test_nothing_else_separates(other: str) -> None:
    assert ids_of([f"a{other}b".encode()]).tolist() == [[1, 0, 0, 0]]


def test_every_byte_alone_and_between_letters() -> None:
    whitespace, punctuation = b"\t\n\v\f\r \x00", b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    words = {b"a": 5, b"A": 5, b"b": 6, b"B": 6, b"t": 4, b"T": 4}
    for text in (bytes([byte]) for byte in range(256)):
        alone = 0 if text in whitespace + punctuation else words.get(text, 1)
        between = [5, 6] if text in whitespace else [1, 0]  # "ab" and all others are no words of the vocabulary
        assert ids_of([text, b"a" + text + b"b"], length=2).tolist() == [[alone, 0], between], text


def test_invalid_utf8_is_a_word_and_stays_as_it_is() -> None:
    texts = [b"\xff a", b"\xc3 b", b"a\xe2\x82 b", b"\xf0\x9f\x00a", b"\xc3\x00\xa9 a", b"\xc3\xa9\x00\xff"]
    assert ids_of(texts, length=3).tolist() == [[1, 5, 0], [1, 6, 0], [1, 6, 0], [1, 5, 0], [1, 1, 5], [10, 1, 0]]


def test_texts_without_words_are_padding() -> None:
    assert not ids_of([b"", b" ", b"\x00", b"...", b"- ! -", b"\n\t"]).any()


def test_padding_and_oov_entries_are_never_read_from_a_text() -> None:
    assert ids_of([b"[UNK] unk a"], "none").tolist() == [[1, 1, 5, 0]]


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_text_is_cut_at_the_sequence_length(length: int) -> None:
    assert ids_of([b"a b t", b"a"], length=length).tolist() == [[5, 6, 4, 0, 0][:length], [5, 0, 0, 0, 0][:length]]


def test_shape_and_dtype_are_static_but_for_the_batch() -> None:
    ids = ids_of([], length=7)
    assert ids.shape == (0, 7)
    assert ids.dtype == np.int32
    traced = tf.function(KerasText(TextSpec(sequence_length=7), VOCABULARY).__call__)
    output = traced.get_concrete_function(tf.TensorSpec([None], tf.string)).structured_outputs
    assert output.shape.as_list() == [None, 7]


@pytest.mark.slow
def test_saved_and_loaded_without_this_package(tmp_path: Path) -> None:
    spec = TextSpec(sequence_length=4)
    module = tf.Module()
    module.text = KerasText(spec, [*VOCABULARY, "a b", "x\x00"])
    module.tokenize = tf.function(module.text.__call__, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    tf.saved_model.save(module, str(tmp_path), signatures={"tokenize": module.tokenize})
    texts = ["Don't\x00a \u00a0b, \u00e9", ""]
    program = (
        "import sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        f"print(loaded.signatures['tokenize'](text=tf.constant({texts!r}))['output_0'].numpy().tolist())\n"
        "assert not {'switch_tf', 'tf_keras'} & set(sys.modules)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    alone = os.environ | {
        "TF_USE_LEGACY_KERAS": "0"
    }  # importing our package sets it, and TensorFlow then loads tf_keras
    answer = subprocess.run(words, env=alone, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[[7, 5, 1, 10], [0, 0, 0, 0]]"


def test_words_are_adapted_by_frequency_then_falling_bytes() -> None:
    batches = [np.array(["b a c a", "A\x00b!"], object), np.array(["c, z\n\u00e9"])]
    assert adapt_vocabulary(TextSpec(), batches) == ["a", "c", "b", "\u00e9", "z"]
    assert adapt_vocabulary(TextSpec(vocabulary_size=4), batches) == ["a", "c"]


@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"])
def test_adapted_as_keras_adapts(standardize: Standardize) -> None:
    random = np.random.default_rng(0)
    words = np.array(["Good", "good", "bad.", "it's", "[UNK]", "unk", "É", "a-b", "--", "x", "y", "Z"])
    texts = np.array([" ".join(random.choice(words, 9)) for _ in range(40)])
    spec = TextSpec(vocabulary_size=9, standardize=standardize)
    keras_layer = keras.layers.TextVectorization(9, standardize=None if standardize == "none" else standardize)
    keras_layer.adapt(texts)
    assert adapt_vocabulary(spec, np.split(texts, 8)) == keras_layer.get_vocabulary()[2:]


def test_one_long_word_does_not_make_the_vocabulary_large() -> None:
    long = "x" * 20_000  # times 5,002 words times 4 bytes would be 400 MB
    vocabulary = adapt_vocabulary(TextSpec(), [np.array([" ".join([long, "a", *(f"w{i}" for i in range(5000))])])])
    assert (vocabulary[0], vocabulary[-1]) == (long, "a")
    tracemalloc.start()
    keras_text = KerasText(TextSpec(sequence_length=2), vocabulary)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert keras_text(tf.constant([f"a {long}"])).numpy().tolist() == [[5003, 2]]


@pytest.mark.parametrize("texts", [[], [np.array([], str)], [np.array(["", " ", "..!"])]])
def test_texts_without_words_are_refused(texts: list[np.ndarray]) -> None:
    with pytest.raises(DataError, match="vocabulary is empty"):
        adapt_vocabulary(TextSpec(), texts)


def test_training_texts_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(DataError, match=r"b'caf\\xe9', which is not UTF-8"):
        adapt_vocabulary(TextSpec(), [np.array([b"caf\xe9"])])


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "is empty"),
        (["a", "b", "c"], "has 3 words. Expected at most 2"),
        (["a", ""], "holds ''"),
        (["[UNK]", "a"], r"holds '\[UNK\]'"),
        (["a", "a"], "holds 'a' more than once"),
    ],
)
def test_unusable_vocabularies_are_refused(vocabulary: list[str], message: str) -> None:
    spec = TextSpec(vocabulary_size=4)
    with pytest.raises(DataError, match=message):
        check_vocabulary(spec, vocabulary)
    with pytest.raises(DataError, match=message):
        KerasText(spec, vocabulary)
