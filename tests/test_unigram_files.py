"""SentencePiece models as vocabularies: what is taken, and what is refused by name."""

import struct
from pathlib import Path
from typing import Any

import pytest
from sentencepieces import MODEL, charsmap, library, make_spec, random_texts, vocabulary

from switch_tf.errors import ConfigError
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.sentencepiece_file import CONTROL, NORMAL, UNKNOWN, UNUSED, Piece, read_model, write_model
from switch_tf.text.unigram_files import own_model, read_unigram
from switch_tf.text.unigram_table import piece_of

UNK = Piece("<unk>", 0.0, UNKNOWN)


def written(path: Path, content: bytes, **changes: Any) -> Any:
    (path / "given.model").write_bytes(content)
    return make_spec(vocabulary_file=str(path / "given.model"), normalization="identity", **changes)


def test_a_released_kind_of_model_is_read() -> None:
    spec = make_spec(vocabulary_file=str(MODEL), normalization="nmt_nfkc", unigram_sums="sequential")
    entries = read_unigram(spec)
    assert entries == vocabulary(exact=False, others=False) and len(entries) == 297  # no control symbols
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    plain = PlainUnigram(spec, entries)
    for text in random_texts(100):
        expected = [reference.id_to_piece(number) for number in reference.encode(text)]
        read = [piece for piece, _ in plain.read(text)]
        assert [piece if piece != "[UNK]" else "<unk>" for piece in read] == expected


def test_what_a_file_has_but_no_text_is_read_as(tmp_path: Path) -> None:
    pieces = [UNK, Piece("<s>", 0.0, CONTROL), Piece("a", -2.5), Piece("b", -9.0, UNUSED), Piece("c", -3.0)]
    spec = written(tmp_path, write_model(pieces, b"", "identity"))
    assert read_unigram(spec) == ["a\t-2.5", "c\t-3.0"]


def field(number: int, value: int) -> bytes:
    return bytes([number << 3 & 0x7F | 0x80, number >> 4, value]) if number > 15 else bytes([number << 3, value])


TRAINING = {"BPE": field(3, 2), "(?i)spaces behind words": field(24, 1), "byte_fallback": field(35, 1)}


@pytest.mark.parametrize("problem", TRAINING)
def test_other_trainings_are_refused(tmp_path: Path, problem: str) -> None:
    content = write_model([UNK, Piece("a", -2.0)], b"", "identity")
    content += bytes([2 << 3 | 2, len(TRAINING[problem])]) + TRAINING[problem]
    with pytest.raises(ConfigError, match=problem):
        read_unigram(written(tmp_path, content))


@pytest.mark.parametrize("number", [3, 4, 5])  # no mark in front, all spaces stay, spaces stay spaces
def test_other_treatments_of_spaces_are_refused(tmp_path: Path, number: int) -> None:
    normalizer = bytes([1 << 3 | 2, 8]) + b"identity" + field(number, 0)
    content = write_model([UNK, Piece("a", -2.0)], b"", "identity") + bytes([3 << 3 | 2, len(normalizer)]) + normalizer
    with pytest.raises(ConfigError, match="keeps spaces in a way of its own"):
        read_unigram(written(tmp_path, content))


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([UNK, Piece("x", 0.0, 4)], "'x' of a kind that is not supported: a symbol that users defined"),
        ([UNK, Piece("<0x00>", 0.0, 6)], "byte_fallback"),
        ([Piece("a", -1.0)], "0 pieces for unknown characters"),
        ([UNK, Piece("a", -1.0), Piece("a", -2.0)], "a piece twice"),
        ([UNK], "The vocabulary is empty"),
        ([UNK, Piece("a\nb", -1.0)], "goes over a line"),
        ([UNK, Piece("a" * 49, -1.0)], "Expected 1 to 48 characters"),
        ([UNK, Piece("a", -2.847)], "text.unigram_sums = 'sequential'"),
        ([UNK, Piece("a", -1000.0)], "a score from -100 to 0"),
        ([UNK, Piece("a", float("nan"))], "a score is not finite"),
        ([UNK, *(Piece(f"p{number}", -2.0) for number in range(399))], "Expected at most 398: text.vocabulary_size"),
    ],
)
def test_pieces_that_are_refused(tmp_path: Path, pieces: list[Piece], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_unigram(written(tmp_path, write_model(pieces, b"", "identity")))


def test_other_rules_of_normalisation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Set text\.normalization = 'nmt_nfkc'"):
        read_unigram(make_spec(vocabulary_file=str(MODEL), unigram_sums="sequential"))
    of_nobody = write_model([UNK, Piece("a", -2.0)], struct.pack("<I", 4) + b"\0\0\0\0x", "mine")
    with pytest.raises(ConfigError, match="named 'mine', that are of no release"):
        read_unigram(written(tmp_path, of_nobody))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"no model", MODEL.read_bytes()[:5000], b"\x0a\x7f"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged, or no SentencePiece model"):
        read_unigram(written(tmp_path, content))


@pytest.mark.slow
def test_a_file_of_too_many_fields_is_refused_in_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than 1,048,576 fields"):
        read_unigram(written(tmp_path, b"\x20\x01" * 2**21))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"text.vocabulary_file = .*missing"):
        read_unigram(make_spec(vocabulary_file=str(tmp_path / "missing")))


def test_what_is_written_is_read_by_the_library() -> None:
    model = own_model(make_spec(vocabulary_file=str(MODEL), normalization="nmt_nfkc"), vocabulary())
    assert model is not None
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert reference.vocab_size() == len(vocabulary()) + 1
    assert reference.encode("A fine film") == library(vocabulary(), "nmt_nfkc").encode("A fine film")
    read = read_model(model)
    assert [piece.text for piece in read.pieces if piece.kind == NORMAL] == list(map(piece_of, vocabulary()))
    assert read.charsmap == read_model(MODEL.read_bytes()).charsmap and len(charsmap("nmt_nfkc")) > 200_000
    assert own_model(make_spec(vocabulary_file=str(MODEL)), vocabulary()) is None  # of other rules
