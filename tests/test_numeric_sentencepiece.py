"""A checkpoint's tokenizer in a graph beside `SentencePieces`: in TensorFlow, XLA, LiteRT and ONNX Runtime."""

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
    under_xla,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepieces import MODEL, TEXTS, charsmap, random_texts

from switch_tf.errors import ExportError
from switch_tf.export.fine_tuned.corpus import sentinel_texts
from switch_tf.models.huggingface import T5Settings
from switch_tf.models.tokenizer import encode_texts
from switch_tf.text.byte_codes import pack
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces
from switch_tf.text.sentencepiece_file import CONTROL, NORMAL, UNKNOWN, Piece, write_model
from switch_tf.text.sentencepiece_model import SentencePieces

LENGTH, SENTINELS = 24, 12
PAD = Piece("<pad>", 0.0, CONTROL)


def made(folder: Path, *pieces: Piece, first: Piece = PAD, sentinels: int = 3) -> SentencePieces:
    path = folder / "spiece.model"
    path.write_bytes(write_model([first, Piece("</s>", 0.0, CONTROL), Piece("<unk>", 0.0, UNKNOWN), *pieces], b"", ""))
    return SentencePieces(path, 1, sentinels)


def ids(pieces: SentencePieces, texts: list[bytes], length: int = LENGTH, width: int = WIDTH) -> np.ndarray:
    """The definition."""
    return encode_texts(pieces, texts, length, T5Settings(), width)


@pytest.fixture(scope="module")
def pieces() -> SentencePieces:
    return SentencePieces(MODEL, 1, SENTINELS)


@pytest.fixture(scope="module")
def numeric(pieces: SentencePieces) -> NumericSentencePieces:
    return NumericSentencePieces(pieces, LENGTH, 0, WIDTH)


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    """As they are, and with bytes put in that are not UTF-8."""
    mixed = sentinel_texts(SENTINELS, ["film", "the", "☃", "n\u0303"], WIDTH, 300, seed=0)
    return also_broken([text.encode() for text in [*TEXTS, *random_texts(100), *mixed]])


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [in_tensorflow, under_xla, in_onnx_runtime])
def test_runtimes(pieces: SentencePieces, numeric: Any, texts: list[bytes], runtime: Any) -> None:
    np.testing.assert_array_equal(in_batches(runtime(numeric), texts), ids(pieces, texts))


@pytest.mark.slow
def test_litert(pieces: SentencePieces, numeric: Any, texts: list[bytes]) -> None:
    check_litert(numeric, texts, ids(pieces, texts), alone=20)


FEW = [Piece("\u2581a", -2.0), Piece("\u2581", -3.0), Piece("b", -4.0), Piece("ab", -2.5), Piece("a", -3.5)]


@pytest.mark.slow
def test_by_hand(tmp_path: Path) -> None:
    """Ids: 3 ▁a, 4 ▁, 5 b, 6 ab, 7 a; 8, 9 and 10 <extra_id_2> to <extra_id_0>; 1 the end, 2 unknown."""
    pieces = made(tmp_path, *FEW)
    expected = {
        b"": [1],
        b"ab": [4, 6, 1],
        b"a <extra_id_0>b": [3, 10, 4, 5, 1],
        b"<extra_id_2><extra_id_1>": [8, 9, 1],
        b"<extra_id_3>": [4, 2, 7, 2, 1],  # there are three
        "a ▁ <extra_id_1> ▁".encode(): [3, 9, 1],
        b"xx<extra_id_0>xx": [4, 2, 10, 4, 2, 1],
        b"b b b b b b": [4, 5, 4, 5, 4, 5, 4, 1],
        b"a\0b\xff": [3, 4, 5, 2, 1],
    }
    texts = list(expected)
    rows = [row + [0] * (8 - len(row)) for row in expected.values()]
    assert ids(pieces, texts, length=8, width=32).tolist() == rows
    numeric = NumericSentencePieces(pieces, 8, 0, 32)
    assert numeric(tf.constant(pack(texts, 32))).numpy().tolist() == rows


@pytest.mark.slow
def test_what_is_read_of_a_text(tmp_path: Path) -> None:
    pieces = made(tmp_path, *FEW)
    texts = [b"a" * 15 + b"ab", b"    <extra_id_0>", b"     <extra_id_0>"]
    read = NumericSentencePieces(pieces, 24, 0, 16)(tf.constant(pack(texts, 16))).numpy()
    np.testing.assert_array_equal(read, ids(pieces, texts, width=16))
    assert read[1].tolist()[:2] == [10, 1] and 10 not in read[2]


@pytest.mark.slow
def test_without_sentinels(tmp_path: Path) -> None:
    pieces = made(tmp_path, *FEW, sentinels=0)
    read = NumericSentencePieces(pieces, 24, 0, 32)(tf.constant(pack([b"a<extra_id_0>b"], 32))).numpy()
    np.testing.assert_array_equal(read, ids(pieces, [b"a<extra_id_0>b"], width=32))


def test_what_grows_is_cut_at_n_characters() -> None:
    """A half is read as three characters; a sentinel counts as two."""
    pieces = SentencePieces(MODEL, 1)
    whole = pieces.encode("½" * 6)
    assert pieces.encode("½" * 6, limit=18) == whole != pieces.encode("½" * 6, limit=17)
    assert pieces.encode("½<extra_id_0>a", limit=6) == pieces.encode("½<extra_id_0>a")
    assert pieces.encode("½<extra_id_0>a", limit=5) == pieces.encode("½<extra_id_0>", limit=4)
    assert pieces.encode("½<extra_id_0>a", limit=3) == pieces.encode("½")


PARTS = [
    "film",
    " ",
    "<extra_id_0>",
    "<extra_id_11>",
    "<extra_id_12>",
    "<extra_id_",
    "n\u0303",
    "\u0338",
    "½",
    "\u2581",
]
ROWS = st.lists(
    st.one_of(
        st.binary(max_size=2 * WIDTH),
        st.lists(st.sampled_from([*PARTS, "\0", "☃", "0>", "1"]), max_size=24).map("".join).map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def in_graph(numeric: Any) -> Ask:
    return in_tensorflow(numeric)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(rows=ROWS)
def test_any_bytes(pieces: SentencePieces, in_graph: Ask, rows: list[bytes]) -> None:
    np.testing.assert_array_equal(in_batches(in_graph, rows), ids(pieces, rows))


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"pieces": [Piece("a" * 49, -1.0)]}, "1 to 48 characters"),
            ({"pieces": [Piece("a b", -1.0)]}, "its piece 'a b' has a space"),
            ({"pieces": [Piece("b", 0.5)]}, "a score from -100 to 0"),
            ({"pieces": [Piece("b", -1e-9)]}, "no multiple of 2"),
            ({"first": Piece("x", -1.0, NORMAL)}, "its piece 'x', which texts are read as, has the id 0"),
        ],
    )
    def test_what_no_graph_holds(self, tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
        pieces = made(tmp_path, *changes.pop("pieces", []), Piece("a", -2.0), **changes)
        with pytest.raises(ExportError, match=f"{problem}.* Choose the inputs ids") as refused:
            NumericSentencePieces(pieces, 24, 0)
        assert refused.value.argument == "inputs"

    def test_rules_of_no_known_release(self, tmp_path: Path) -> None:
        rules = bytearray(charsmap("nmt_nfkc"))
        rules[-2] ^= 1
        path = tmp_path / "spiece.model"
        path.write_bytes(write_model([Piece("<unk>", 0.0, UNKNOWN), Piece("a", -2.0)], bytes(rules), "nmt_nfkc"))
        with pytest.raises(ExportError, match="its rules of normalisation are of no release"):
            NumericSentencePieces(SentencePieces(path, 1), 24, 0)
