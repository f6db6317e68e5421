"""Pieces of other tokenizers: what is taken from their files, and what is refused by name."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from switch_tf.errors import ConfigError
from switch_tf.text.piece_files import read_pieces
from switch_tf.text.plain_pieces import PieceTable
from switch_tf.text.spec import TextSpec

DATA = Path(__file__).parent / "data" / "wordpiece"
DESCRIBED = json.loads((DATA / "tokenizer.json").read_text(encoding="utf-8"))
LINES = "[PAD]\n[unused7]\n[UNK]\nfilm\n##s\n##中\n!\n"


def read(path: Path, **changes: Any) -> list[str]:
    return read_pieces(TextSpec(**{"tokenizer": "wordpiece", "vocabulary_file": str(path), **changes}))


def refused(path: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        read(path, **changes)
    assert raised.value.argument == "settings"
    return str(raised.value)


def test_a_vocabulary_without_its_special_tokens_and_what_no_text_is_read_as(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(LINES, encoding="utf-8")
    assert read(tmp_path / "vocab.txt") == ["film", "##s", "!"]
    (tmp_path / "vocab.txt").write_bytes(LINES.replace("\n", "\r\n").encode())
    assert read(tmp_path / "vocab.txt") == ["film", "##s", "!"]


def test_a_tokenizer_lists_the_pieces_of_its_vocabulary() -> None:
    pieces = read(DATA / "tokenizer.json", tokenizer_rules="hf_bert")
    assert pieces == read(DATA / "vocab.txt", tokenizer_rules="hf_bert")
    assert len(pieces) == 1195
    assert set(pieces) - set(read(DATA / "vocab.txt")) >= {"½"}  # which is 1, a stroke and 2 by other rules


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("model", "type", "BPE", "model has type = 'BPE'"),
        ("model", "type", "Unigram", "model has type = 'Unigram'"),
        ("model", "continuing_subword_prefix", "@@", "continuing_subword_prefix = '@@'"),
        ("model", "max_input_chars_per_word", 200, "max_input_chars_per_word = 200"),
        ("model", "unk_token", "<unk>", "unk_token = '<unk>'"),
        ("model", "vocab", ["film"], "no vocab"),
        ("model", "vocab", {"film": "one"}, "no vocab"),
        ("normalizer", "type", "NFKC", "normalizer has type = 'NFKC'"),
        ("normalizer", "lowercase", False, "lowercase = False"),
        ("normalizer", "strip_accents", False, "keeps accents"),
        ("normalizer", "handle_chinese_chars", False, "handle_chinese_chars = False"),
        ("pre_tokenizer", "type", "Whitespace", "pre_tokenizer has type = 'Whitespace'"),
    ],
)
def test_another_tokenizer_is_refused_by_what_is_other(
    tmp_path: Path, part: str, name: str, value: Any, said: str
) -> None:
    described = copy.deepcopy(DESCRIBED)
    described[part][name] = value
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    assert said in refused(path, tokenizer_rules="hf_bert")


def test_parts_that_are_missing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    for part in ("model", "normalizer", "pre_tokenizer"):
        path.write_text(json.dumps({**DESCRIBED, part: None}), encoding="utf-8")
        assert f"{part} has type = None" in refused(path, tokenizer_rules="hf_bert")


def test_added_tokens_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    added = [*DESCRIBED["added_tokens"], {"id": 5000, "content": "<user>"}]
    path.write_text(json.dumps({**DESCRIBED, "added_tokens": added}), encoding="utf-8")
    assert "adds the token '<user>'" in refused(path, tokenizer_rules="hf_bert")


def test_a_tokenizer_is_read_by_its_own_rules() -> None:
    assert "Set text.tokenizer_rules = 'hf_bert'" in refused(DATA / "tokenizer.json")


@pytest.mark.parametrize("added", [5, True, {"content": "<user>"}, ["<user>"]])
def test_added_tokens_that_are_none_are_refused(tmp_path: Path, added: Any) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**DESCRIBED, "added_tokens": added}), encoding="utf-8")
    assert "added_tokens are no list of tokens" in refused(path, tokenizer_rules="hf_bert")


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_piece(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbffilm\nthe\n##s\n")
    assert read(tmp_path / "vocab.txt") == ["film", "the", "##s"]
    (tmp_path / "tokenizer.JSON").write_bytes(b"\xef\xbb\xbf" + json.dumps(DESCRIBED).encode())
    assert len(read(tmp_path / "tokenizer.JSON", tokenizer_rules="hf_bert")) == 1195


@pytest.mark.parametrize("rules", ["bert", "hf_bert"])
def test_half_of_a_surrogate_pair_is_no_piece(rules: Any) -> None:
    table = PieceTable(TextSpec(tokenizer="wordpiece", tokenizer_rules=rules), ["\ud800", "a\udfff", "##\udc00", "a"])
    assert (table.first, table.further) == ({"a": 5}, {})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocab.txt", b"Film\nThe\nEnd\nfilm\n", "uncased"),
        ("vocab.txt", b"film\nfilm\n", "more than once"),
        ("vocab.txt", b"[PAD]\n", "is empty"),
        ("vocab.txt", b"\xff\xfe", "utf-8"),
        ("tokenizer.json", b"[]", "JSON object"),
        ("tokenizer.json", b"{", "Expecting"),
        ("tokenizer.json", b"[" * 100_000, "recursion"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "none.txt")


def test_more_pieces_than_there_may_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\nc\n")
    assert "text.vocabulary_size = 4" in refused(tmp_path / "vocab.txt", vocabulary_size=4)
