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
CASED = Path(__file__).parent / "data" / "wordpiece_cased"
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
        ("normalizer", "lowercase", False, "keeps capitals and accents, by the rules of its own library. Set text.low"),
        ("normalizer", "lowercase", None, "lowercase = None and strip_accents = None. Expected true or false"),
        ("normalizer", "strip_accents", False, "lower-cases and keeps accents, by"),
        ("normalizer", "strip_accents", "no", "strip_accents = 'no'. Expected true or false, or of strip_accents null"),
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


HF_BERT = {"tokenizer_rules": "hf_bert"}
CASED_PIECES = len((CASED / "vocab.txt").read_text(encoding="utf-8").splitlines()) - 5  # [PAD] ... [MASK]


@pytest.mark.parametrize(
    ("normalizer", "right", "to_set"),
    [
        ((True, None), {}, "text.tokenizer_rules = 'hf_bert'."),
        ((True, True), {}, "text.tokenizer_rules = 'hf_bert'."),
        ((False, None), {"lowercase": "none"}, "text.tokenizer_rules = 'hf_bert' and text.lowercase = 'none'."),
        ((False, False), {"lowercase": "none"}, "text.tokenizer_rules = 'hf_bert' and text.lowercase = 'none'."),
        ((True, False), {"lowercase": "unicode"}, "text.tokenizer_rules = 'hf_bert' and text.lowercase = 'unicode'."),
        (
            (False, True),
            {"lowercase": "none", "strip_accents": True},
            "text.tokenizer_rules = 'hf_bert' and text.lowercase = 'none' and text.strip_accents = true.",
        ),
    ],
)
def test_a_tokenizer_is_read_where_settings_are_what_its_normalizer_says(
    tmp_path: Path, normalizer: tuple[Any, Any], right: dict[str, Any], to_set: str
) -> None:
    described = copy.deepcopy(DESCRIBED)
    described["normalizer"] |= dict(zip(("lowercase", "strip_accents"), normalizer, strict=True))
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    assert len(read(path, **HF_BERT, **right)) > 1100
    assert refused(path).endswith(f"Set {to_set}")


def test_settings_that_a_normalizer_does_not_ask_for_are_taken_back() -> None:
    strips = {"lowercase": "none", "strip_accents": True}
    assert refused(DATA / "tokenizer.json", **HF_BERT, **strips).endswith(
        "Set text.lowercase = 'ascii' and text.strip_accents = false."
    )
    assert refused(CASED / "tokenizer.json", **HF_BERT, **strips).endswith("Set text.strip_accents = false.")


@pytest.mark.parametrize("rules", ["bert", "hf_bert"])
def test_a_cased_vocabulary_says_what_has_to_be_set(rules: Any) -> None:
    assert len(read(CASED / "vocab.txt", tokenizer_rules=rules, lowercase="none")) > 0.98 * CASED_PIECES
    said = refused(CASED / "vocab.txt", tokenizer_rules=rules)
    assert "such as 'A': it is a cased vocabulary. Set text.lowercase = 'none'." in said
    assert len(read(CASED / "tokenizer.json", **HF_BERT, lowercase="none")) > 0.98 * CASED_PIECES


def test_an_uncased_vocabulary_is_not_read_as_a_cased_one(tmp_path: Path) -> None:
    said = refused(DATA / "vocab.txt", lowercase="none")
    assert "none of its 1195 pieces has a capital" in said and "Set text.lowercase = 'ascii'" in said
    (tmp_path / "vocab.txt").write_text("中\n1\n!\nა\n", encoding="utf-8")  # none of which any text has
    assert read(tmp_path / "vocab.txt", lowercase="none") == ["中", "1", "!", "ა"]


def test_an_uncased_vocabulary_with_accents_says_so(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("haus\nhäuser\n##er\ntür\n", encoding="utf-8")
    needed = "such as 'häuser': it is one that keeps accents. Set text.tokenizer_rules = 'hf_bert' and text.lowercase"
    assert f"{needed} = 'unicode'." in refused(path)
    assert "keeps accents. Set text.lowercase = 'unicode'." in refused(path, **HF_BERT)
    assert len(read(path, **HF_BERT, lowercase="unicode")) == 4
    path.write_text("Haus\nhäuser\n##er\ntür\n", encoding="utf-8")
    strips = {"lowercase": "none", "strip_accents": True}
    assert "keeps accents. Set text.strip_accents = false." in refused(path, **HF_BERT, **strips)
    assert "cased vocabulary. Set text.lowercase = 'none'." in refused(path, **HF_BERT, lowercase="unicode")


def test_pieces_that_stand_apart_may_be_written_behind_others(tmp_path: Path) -> None:
    """As in vocabularies of Chinese, of which half are."""
    (tmp_path / "vocab.txt").write_text("中\n##中\n国\n##国\na\n##a\n", encoding="utf-8")
    assert read(tmp_path / "vocab.txt") == ["中", "国", "a", "##a"]


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
        ("vocab.txt", b"Film\nThe\nEnd\nfilm\n", "3 have letters that no text has as it is read, such as 'Film'"),
        ("vocab.txt", b"a film\nthe end\nfilm\n", "2 are none that a text is read as, such as 'a film'"),
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
