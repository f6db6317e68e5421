"""The tool that counts texts whose ids differ: what texts it asks, that it sees what differs, and that it goes on."""

import gzip
import json
import lzma
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import compare_tokenizers
from checkpoint_tokenizer import PUT_IN, CheckpointTokenizer
from compare_tokenizers import LIBRARY, Record, compare, digest, library, long_texts
from sentencepieces import MODEL
from tokenizer_texts import Text, asked_texts, made_up, read_lines

from switch_tf.text.piece_files import read_pieces
from switch_tf.text.plain import plain_subwords
from switch_tf.text.spec import TextSpec

PIECES = ["film", "fine", "un", "##watch", "##able", "電", "##s", "!"]
SPEC = TextSpec(tokenizer="wordpiece", sequence_length=6, byte_length=32)
TEXTS = [Text(b"Fine films!", True), Text("電 un\x80".encode("latin-1", "ignore") + b"\x80", False), Text(b"", True)]
WORDPIECE = Path(__file__).parent / "data" / "wordpiece"


def test_files_are_read_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo words\n", encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("電影\n".encode()))
    (tmp_path / "a.tsv.xz").write_bytes(lzma.compress(b"label\ttext\ngood\ta\tfilm\nbad\t\n"))
    message = '#: a.py:3\nmsgid "Yes"\nmsgstr "Ja, \\"bitte\\""\nmsgstr[1] ""\n"weiter\\n"\n'
    (tmp_path / "de.po").write_text(message, encoding="utf-8")
    read = {path.name: list(read_lines(path)) for path in tmp_path.iterdir()}
    assert read == {
        "a.txt": ["one", "two words"],
        "a.txt.gz": ["電影"],
        "a.tsv.xz": ["a\tfilm"],
        "de.po": ['Ja, "bitte"', "weiter\n"],
    }


def test_made_up_texts_are_always_the_same_and_have_the_limits() -> None:
    made = list(made_up(["film", "École"], 400))
    assert made == list(made_up(["film", "École"], 400)) and len(made) == 400
    assert {"a" * 99, "a" * 100, "a" * 101, "é" * 50, "é" * 51, "½" * 100} <= set(made)
    together = "".join(made)
    assert all(each in together for each in ("FILM", "ÉCOLE", "[UNK]", "\u3000", "\u0301"))
    assert max(map(ord, together)) > 0x10000
    assert list(made_up(["film"], 3)) == ["", " ", "\0"]


def test_a_third_of_all_is_asked_as_no_utf_8_too() -> None:
    asked = asked_texts(["a film", "École"], 200)
    assert asked == asked_texts(["a film", "École"], 200)
    valid = [text.content for text in asked if text.valid]
    assert {b"a film", "École".encode()} <= set(valid)
    assert len(valid) == len(set(valid)) and not any(b"\0" in text for text in valid)
    assert all(text.decode() is not None for text in valid)
    broken = [text.content for text in asked if not text.valid]
    assert 0.3 < len(broken) / len(valid) < 0.35
    assert all("\ufffd" in text.decode("utf-8", "replace") for text in broken)
    assert any(not text.valid for text in asked[:50]) and any(text.valid for text in asked[:50])


def test_a_fifth_of_all_has_what_is_put_in() -> None:
    asked = asked_texts(["a film"] * 500, 0, PUT_IN)
    valid = [text.content.decode() for text in asked if text.valid]
    plain = [text for text in valid if not any(each.strip() in text for each in PUT_IN)]
    assert plain == ["a film"] and 80 <= len(valid) <= 101
    assert all(any(each in text for text in valid) for each in PUT_IN)


def test_it_sees_each_text_that_a_way_reads_otherwise() -> None:
    plain = plain_subwords(SPEC, PIECES)

    def other(texts):
        ids = plain.ids(texts)
        ids[0, 2] += 1  # the last piece of the first text
        return ids

    found = compare(
        TEXTS,
        plain,
        lambda texts: [[1] if not text else plain.numbers(text) for text in texts],
        {
            "right": plain.ids,
            "other": other,
        },
    )
    assert found == {LIBRARY: (2, [b""]), "right": (3, []), "other": (3, [b"Fine films!"])}
    assert LIBRARY not in compare(TEXTS, plain, None, {})


def test_what_was_found_is_kept_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    record = Record(path, "this")
    record.add(3, {"LiteRT": (3, [b"a\x80"]), LIBRARY: (2, [])})
    again = Record(path, "this")
    again.add(1000, {"LiteRT": (1000, [b"b"] * 20), LIBRARY: (800, [])})
    assert (again.compared, again.differ) == (1003, {"LiteRT": [21, 1003], LIBRARY: [0, 802]})
    assert json.loads(path.read_text())["shown"]["LiteRT"] == ["6180", *["62"] * 9]
    assert again.table().splitlines()[2:] == ["| LiteRT | 21 of 1,003 |", f"| {LIBRARY} | 0 of 802 |"]
    with pytest.raises(click.UsageError, match="is of other settings or texts"):
        Record(path, "that")
    others = [digest(SPEC, PIECES[:-1], TEXTS), digest(SPEC, PIECES, TEXTS[:-1])]
    assert len({digest(SPEC, PIECES, TEXTS), digest(TextSpec(tokenizer="wordpiece"), PIECES, TEXTS), *others}) == 4


@pytest.mark.slow
def test_the_library_numbers_pieces_as_models_do() -> None:
    spec = TextSpec(tokenizer="wordpiece", vocabulary_file=str(WORDPIECE / "vocab.txt"))
    reference = json.loads(lzma.decompress((WORDPIECE / "reference.json.xz").read_bytes()))
    pieces = read_pieces(spec)
    named = library(spec, pieces)
    assert named is not None
    plain = plain_subwords(spec, pieces)
    asked = [text.replace("\0", " ").encode() for text in reference["texts"][:200]]
    assert named(asked) == [plain.numbers(text) for text in asked]
    assert named([]) == []
    assert library(TextSpec(lowercase="unicode"), PIECES) is None


@pytest.mark.slow
def test_the_command_compares_every_runtime_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_tokenizers, "PART", 30)
    (tmp_path / "texts.txt").write_text("a fine film\nthe unwatchable films\nfine fine 電影\n", encoding="utf-8")
    results = tmp_path / "found.json"
    sizes = [word for each in ("sequence_length=8", "byte_length=32") for word in ("--set", f"text.{each}")]
    words = [str(tmp_path / "texts.txt"), "--set", "text.tokenizer=wordpiece", *sizes, "--results", str(results)]
    words += ["--made-up", "60", "--at-most", "50"]
    first = CliRunner().invoke(compare_tokenizers.main, words)
    assert first.exit_code == 0, first.output
    assert "30 of 50: " in first.output
    kept = json.loads(results.read_text())
    assert kept["compared"] == 50
    for name in ("TensorFlow", "XLA", "LiteRT", "ONNX Runtime"):
        assert kept["differ"][name] == [0, 50]
        assert f"| {name} | 0 of 50 |" in first.output
    assert kept["differ"][LIBRARY][0] == 0 and 30 <= kept["differ"][LIBRARY][1] < 50
    monkeypatch.setattr(compare_tokenizers, "runtimes", None)  # all is known
    again = CliRunner().invoke(compare_tokenizers.main, words)
    assert again.exit_code == 0 and again.output.endswith(first.output[first.output.index("| beside") :])


@pytest.mark.slow
def test_a_checkpoint_s_tokenizer_beside_the_library() -> None:
    own = CheckpointTokenizer(MODEL, 16, None)
    assert (own.spec.num_bytes, own.numeric.sentinels) == (256, 100)
    texts = [text.content for text in asked_texts(["a fine film", "<extra_id_7>twice <extra_id_7> "], 40, PUT_IN)]
    valid = [text for text in texts if text.decode("utf-8", "ignore").encode() == text]
    assert own.library()(valid) == [own.numbers(text) for text in valid]
    assert own.library()([b"<extra_id_7><extra_id_07>"])[0][0] == 300 + 99 - 7
    assert own.ids([b"<extra_id_0>", b""])[:, :3].tolist() == [[399, 1, 0], [1, 0, 0]]
    with pytest.raises(click.UsageError, match=r"No text has over 0\.9 of 256 bytes"):
        long_texts(own.spec, [Text(b"a", True)], {}, None)


def test_a_checkpoint_s_tokenizer_has_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a fine film\n")
    words = [str(tmp_path / "texts.txt"), "--checkpoint", str(MODEL), "--set", "text.vocabulary_size=9"]
    refused = CliRunner().invoke(compare_tokenizers.main, [*words, "--set", "text.sequence_length=8"])
    assert refused.exit_code == 2 and "text.vocabulary_size: the checkpoint's tokenizer has its own" in refused.output


def test_words_of_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a fine film\n")
    refused = CliRunner().invoke(compare_tokenizers.main, [str(tmp_path / "texts.txt")])
    assert refused.exit_code == 2 and "Set text.tokenizer or text.lowercase" in refused.output
