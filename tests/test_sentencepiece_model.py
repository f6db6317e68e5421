"""SentencePiece models: ids as Hugging Face's tokenizer gives them, and damaged files."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import ModelError
from switch_tf.text.sentencepiece_model import SentencePieces

FIXTURES = Path(__file__).parent / "data" / "huggingface"
MODEL = FIXTURES / "spiece.model"
TOKENS: dict[str, list[int]] = json.loads((FIXTURES / "tokens.json").read_text(encoding="utf-8"))
PIECES = SentencePieces(MODEL, end_id=1)


def field(number: int, value: bytes | int) -> bytes:
    tag = number << 3 | (0 if isinstance(value, int) else 2)
    begin = bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return begin + (bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value)


def piece(text: str, score: float = 0.0, kind: int = 1) -> bytes:
    return field(1, field(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + field(3, kind))


def made(folder: Path, *parts: bytes) -> SentencePieces:
    path = folder / "spiece.model"
    path.write_bytes(b"".join([piece("<pad>", 0, 3), piece("</s>", 0, 3), piece("<unk>", 0, 2), *parts]))
    return SentencePieces(path, end_id=1)


@pytest.mark.parametrize("text", TOKENS)
def test_ids_are_those_of_hugging_face(text: str) -> None:
    assert PIECES.encode(text) == TOKENS[text]


def test_sentinels_count_from_the_end() -> None:
    assert PIECES.size == 400
    assert PIECES.encode("<extra_id_0><extra_id_99>") == [399, 300, 1]
    assert PIECES.decode([399, 300, 1]) == "<extra_id_0> <extra_id_99>"


@pytest.mark.parametrize("text", ["<extra_id_100>", "<extra_id_00>", "<extra_id_>", "<pad>", "</s>", "<unk>"])
def test_what_is_no_sentinel_is_text(text: str) -> None:
    ids = PIECES.encode(text)
    assert not set(ids[:-1]) & {0, 1} and max(ids) < 300


def test_a_text_ends_at_its_end_and_padding_is_not_shown() -> None:
    ids = PIECES.encode("A film.")
    assert PIECES.decode([0, *ids, 49, 61]) == "A film."
    assert PIECES.decode([]) == ""
    assert PIECES.decode([2, 410]) == "<unk>"


def test_the_highest_sum_of_scores_wins_and_unknowns_in_a_row_are_one(tmp_path: Path) -> None:
    pieces = made(
        tmp_path, piece("\u2581", -1), piece("ab", -3), piece("a", -1), piece("b", -1), piece("\u2581a", -1.5)
    )
    assert pieces.encode("ab") == [7, 6, 1]  # -2.5 against -4 for "\u2581", "ab"
    assert pieces.encode("xyz a") == [3, 2, 7, 1]
    assert pieces.encode("  ") == [1]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_any_text_has_ids_and_keeps_its_known_words(text: str) -> None:
    ids = PIECES.encode(text)
    assert ids[-1] == 1 and all(1 < each < 400 for each in ids[:-1])
    once = PIECES.decode(ids)
    if "<unk>" not in once and "<extra_id_" not in once:
        assert PIECES.decode(PIECES.encode(once)) == once


def test_half_a_surrogate_pair_is_an_unknown_character() -> None:
    assert PIECES.encode("a\ud800b") == PIECES.encode("a\ufffdb")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([field(2, field(3, 2))], "is no unigram model"),
        ([field(2, field(24, 1))], "marks spaces behind words"),
        ([field(2, field(35, 1)), field(2, field(4, 9))], "reads unknown characters as bytes .byte_fallback"),
        ([field(3, field(5, 0)), field(3, field(1, b"nfkc"))], "keeps spaces in a way of its own"),
        ([field(3, field(3, 0))], "keeps spaces in a way of its own"),
        ([piece("<0x00>", 0, 6)], "has the piece '<0x00>' of a kind that is not supported"),
        ([piece("<unk>", 0, 2), piece("a")], "damaged .it has 2 pieces for unknown"),
        ([piece("a"), piece("a")], "it has a piece twice"),
        ([], "it has no pieces"),
        ([piece("a", float("nan"))], "a score is not finite"),
        ([field(1, field(1, b"\xff"))], "is damaged"),
        ([piece("a"), field(3, field(2, b"\x08\x00\x00\x00abcd"))], "rules of normalisation are cut off"),
        ([piece("a"), b"\x0a\x7fx"], "it is cut off"),
        ([piece("a"), b"\x0b"], "unknown kind 3"),
        ([piece("a"), b"\xff" * 11], "a number is too long"),
        ([piece("a"), field(1, 3)], "a number stands where bytes"),
    ],
)
def test_other_models_and_damage_are_refused(tmp_path: Path, parts: list[bytes], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        made(tmp_path, *parts)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        SentencePieces(tmp_path / "spiece.model", end_id=1)


@pytest.mark.parametrize("length", [1, 100, 5_000, 50_000, 240_000])
def test_a_model_that_is_cut_off_is_refused_or_whole(tmp_path: Path, length: int) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(MODEL.read_bytes()[:length])
    with pytest.raises(ModelError, match="damaged"):
        SentencePieces(path, end_id=1)
