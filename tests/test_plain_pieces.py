"""Pieces of words in Python: what the words of a text are, how they are read, and that the libraries read them so."""

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import DataError
from switch_tf.text.characters import read_characters
from switch_tf.text.piece_files import read_pieces
from switch_tf.text.plain_pieces import PieceTable, PlainPieces
from switch_tf.text.spec import Rules, TextSpec

DATA = Path(__file__).parent / "data" / "wordpiece"
CASED = Path(__file__).parent / "data" / "wordpiece_cased"
PIECES = ["un", "##watch", "##able", "film", "##s", "!", "中", "##", "f", "##中", "Film", "é", "a b", "#", "\ufffd"]


def spec(**changes: Any) -> TextSpec:
    return TextSpec(**{"tokenizer": "wordpiece", "sequence_length": 8, "vocabulary_size": 2000, **changes})


def read(text: str, **changes: Any) -> list[str]:
    return [piece for piece, _ in PlainPieces(spec(**changes), PIECES).read(text)]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    with lzma.open(DATA / "reference.json.xz", "rt", encoding="utf-8") as stream:
        return json.load(stream)


@pytest.mark.parametrize(
    ("rules", "file"), [("bert", "vocab.txt"), ("hf_bert", "vocab.txt"), ("hf_bert", "tokenizer.json")]
)
def test_the_library_that_the_rules_are_named_after_reads_alike(
    rules: Rules, file: str, reference: dict[str, Any]
) -> None:
    whole = spec(tokenizer_rules=rules, vocabulary_file=str(DATA / file))
    pieces = read_pieces(whole)
    assert len(pieces) > 1100
    plain = PlainPieces(whole, pieces)
    everything = (DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[5:-1]  # behind [PAD] ... [MASK]
    names = ["", "[UNK]", *everything]
    wrong = [
        text
        for text, ids in zip(reference["texts"], reference[rules], strict=True)
        if [piece for piece, _ in plain.read(text)] != [names[number] for number in ids]
    ]
    assert wrong == []
    assert len(reference["texts"]) == 1500


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("bert_cased", {"lowercase": "none"}),
        ("hf_bert_cased", {"tokenizer_rules": "hf_bert", "lowercase": "none"}),
        ("hf_bert_accents", {"tokenizer_rules": "hf_bert", "lowercase": "unicode"}),
        ("hf_bert_cased_stripped", {"tokenizer_rules": "hf_bert", "lowercase": "none", "strip_accents": True}),
    ],
)
def test_the_libraries_read_alike_where_capitals_or_accents_stay(name: str, changes: dict[str, Any]) -> None:
    with lzma.open(CASED / "reference.json.xz", "rt", encoding="utf-8") as stream:
        reference = json.load(stream)
    pieces = (CASED / "vocab.txt").read_text(encoding="utf-8").split("\n")[5:-1]  # behind [PAD] ... [MASK]
    plain = PlainPieces(spec(**changes), pieces)
    texts, expected = reference["texts"], reference[name]
    assert [text for text, ids in zip(texts, expected, strict=True) if plain.numbers(text.encode()) != ids] == []
    assert len(texts) == 1500


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lowercase": "none"}, ["Film", "é", "[UNK]", "[UNK]"]),
        ({"tokenizer_rules": "hf_bert", "lowercase": "none"}, ["Film", "é", "[UNK]", "[UNK]"]),
        ({"tokenizer_rules": "hf_bert", "lowercase": "none", "strip_accents": True}, ["Film"] + ["[UNK]"] * 3),
        ({"tokenizer_rules": "hf_bert", "lowercase": "unicode"}, ["film", "é", "é", "film"]),
        (
            {"tokenizer_rules": "hf_bert", "lowercase": "unicode", "strip_accents": True},
            ["film"] + 2 * ["[UNK]"] + ["film"],
        ),
        ({}, ["film", "[UNK]", "[UNK]", "film"]),
    ],
)
def test_capitals_and_accents(changes: dict[str, Any], expected: list[str]) -> None:
    assert read("Film é É FILM", **changes) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n", []),
        ("films", ["film", "##s"]),
        ("UNWATCHABLE Fílm!!", ["un", "##watch", "##able", "film", "!", "!"]),
        ("watchable", ["[UNK]"]),  # no piece begins a word so
        ("unknown", ["[UNK]"]),  # it is not read to its end
        ("film中film", ["film", "中", "film"]),
        ("a\0film", ["[UNK]", "film"]),
        ("##s", ["#", "#", "[UNK]"]),  # the mark of a piece is plain text
        ("[UNK]", ["[UNK]", "[UNK]", "[UNK]"]),  # so is what stands for an unknown one
        ("film" + "s" * 96, ["film", *["##s"] * 96]),
        ("film" + "s" * 97, ["[UNK]"]),  # over 100 letters
    ],
)
def test_pieces(text: str, expected: list[str]) -> None:
    assert read(text) == expected
    assert read(text, tokenizer_rules="hf_bert") == expected


def test_rules_count_the_length_of_a_word_each_in_its_own_way() -> None:
    text = "п" * 51  # of two bytes each
    assert len(PlainPieces(spec(), ["п", "##п"]).read(text)) == 1
    assert len(PlainPieces(spec(tokenizer_rules="hf_bert"), ["п", "##п"]).read(text)) == 51


def test_what_no_text_is_read_as_goes_unused() -> None:
    table = PieceTable(spec(), PIECES)
    assert sorted(table.first) == ["!", "#", "f", "film", "un", "中"]
    assert sorted(table.further) == ["able", "s", "watch"]
    assert [table.reads(piece) for piece in ("un", "##s", "s", "##中", "Film", "##")] == [True, True] + [False] * 4


@pytest.mark.parametrize(
    ("piece", "text"), [("film", "film"), ("##able", "fable"), ("##watch", "fwatch"), ("##中", "中"), ("Film", "Film")]
)
def test_a_text_is_read_as_a_piece(piece: str, text: str) -> None:
    assert PieceTable(spec(), PIECES).text_of(piece) == text


def test_a_text_for_a_piece_is_not_read_as_a_longer_one() -> None:
    table = PieceTable(spec(), ["f", "fi", "##ilm", "g"])
    assert table.text_of("##ilm") == "gilm"


def test_ids_are_cut_as_the_inputs_cut() -> None:
    pieces = PlainPieces(spec(sequence_length=3, byte_length=9), ["film", "##s", "f", "##i"])
    assert pieces.ids([b"films films", b"film fi", b""]).tolist() == [[2, 3, 1], [2, 4, 5], [0, 0, 0]]  # films, fil
    assert pieces.ids([b"film film film"]).tolist() == [[2, 2, 0]]
    assert pieces.whole_ids([b"film film film"]).tolist() == [[2, 2, 2]]


def test_drop_leaves_a_word_out_that_may_go_on() -> None:
    pieces = PlainPieces(spec(byte_length=10, truncation="drop"), ["film", "##s", "f"])
    assert pieces.ids([b"film films more"])[0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    assert pieces.ids([b"film film."])[0, :2].tolist() == [2, 0]
    assert pieces.ids([b"film film"])[0, :2].tolist() == [2, 2]


@pytest.mark.parametrize("text", [b"a\xff", b"\xe4\xb8", b"\xed\xa0\x80", b"\xc0\x80", b"film\x80film"])
def test_what_is_no_utf8_makes_its_word_unknown(text: bytes) -> None:
    assert PlainPieces(spec(), PIECES).ids([text + b" film"])[0, :3].tolist() == [1, 5, 0]
    assert PlainPieces(spec(lowercase="none"), PIECES).ids([text + b" film"])[0, :3].tolist() == [1, 5, 0]


def test_what_is_no_utf8_vanishes_by_the_other_rules() -> None:
    for changes in ({}, {"lowercase": "none"}):
        read = PlainPieces(spec(tokenizer_rules="hf_bert", **changes), PIECES)
        assert read.ids([b"un\xffwatch fil\xe4\xb8m"])[0, :4].tolist() == [2, 3, 5, 0]


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["bert", "hf_bert"]), st.booleans())
def test_words_have_no_white_space_and_stay_when_read_again(text: str, rules: Rules, uncased: bool) -> None:
    characters = read_characters(rules, lowercase=uncased, strip_accents=uncased)
    words = characters.words(text.encode())
    assert all(words)
    assert characters.words(" ".join(words).encode()) == words


def test_a_vocabulary_is_checked() -> None:
    with pytest.raises(DataError, match="more than once"):
        PlainPieces(spec(), ["a", "a"])
    with pytest.raises(DataError, match="vocabulary_size = 3"):
        PlainPieces(spec(vocabulary_size=3), ["a", "b"])


def test_what_is_read_is_remembered_to_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switch_tf.text.plain_pieces._REMEMBERED", 2)
    pieces = PlainPieces(spec(), PIECES)
    assert np.count_nonzero(pieces.ids([b"film films f un film"])) == 6
    assert len(pieces._read) <= 2
