"""A run with text.tokenizer = "unigram", from texts without spaces to artifacts of every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ask
from front_end_runs import Rows, check_all_are_asked, check_file, check_ids, check_saved_model, made_rows, trained
from sentencepieces import library

from switch_tf.errors import ArgumentError
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.session import export_run
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.text.plain import read_plain_text
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.unigram_table import piece_of

PRAISE, BLAME = ["好棒", "喜欢", "精彩"], ["难看", "无聊", "讨厌"]
FILLING = ["电影", "这部", "我", "今天", "演员", "Film"]
SETTINGS = (
    "text.tokenizer=unigram",
    "text.vocabulary_size=80",
    "text.sequence_length=16",
    "text.byte_length=64",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> Rows:
    return made_rows(count, seed, PRAISE, BLAME, FILLING)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("unigram"), SETTINGS, rows(120, 0), rows(40, 1))


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=60)


@pytest.mark.slow
def test_it_learns_where_there_are_no_spaces(run: Run) -> None:
    assert read_metrics(run.path)["test"]["accuracy"] >= 0.9
    assert run.data["survey"]["warnings"] == []
    assert run.data["survey"]["unknown_words_on_validation"] < 0.1
    assert {"film", "欢"} <= {piece_of(each) for each in run.vocabulary}  # cases are folded
    assert "pieces of words" in (run.path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_way_to_the_ids_is_the_same(run: Run, proof: Proof) -> None:
    check_ids(run, proof, PlainUnigram(run.config.text, run.vocabulary))


@pytest.mark.slow
def test_the_model_of_the_run_is_read_by_the_library(run: Run) -> None:
    import sentencepiece

    kept = sentencepiece.SentencePieceProcessor(model_file=str(run.path / "sentencepiece.model"))
    plain = PlainUnigram(run.config.text, run.vocabulary)
    for text, _ in rows(20, 2):
        assert [number + 1 for number in kept.encode(text)] == plain.numbers(text.encode())


@pytest.mark.slow
def test_the_gate_asks_every_piece(run: Run, proof: Proof) -> None:
    check_all_are_asked(run, proof, PlainUnigram(run.config.text, run.vocabulary))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("tflite", {}), ("onnx", {"inputs": "bytes"})])
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    check_file(run, proof, tmp_path / "model", name, options, [text for text, _ in rows(20, 2)])


@pytest.mark.slow
def test_a_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    check_saved_model(run, proof, tmp_path / "model")


@pytest.mark.slow
def test_a_file_that_takes_ids_says_how_texts_are_read(run: Run) -> None:
    said = json.loads(json.dumps({"text": run.config.text.as_dict(), "vocabulary": run.vocabulary}))
    plain = read_plain_text(said["text"], said["vocabulary"])
    texts = [text.encode() for text, _ in rows(20, 2)]
    np.testing.assert_array_equal(plain.ids(texts), PlainUnigram(run.config.text, run.vocabulary).ids(texts))


@pytest.mark.slow
def test_onnx_takes_no_strings(run: Run) -> None:
    with pytest.raises(ArgumentError, match=r"ONNX takes no strings with text\.tokenizer = 'unigram'"):
        export_run(run, ExportOptions("onnx", inputs="text"))


@pytest.mark.slow
def test_a_model_of_fewer_pieces_reads_by_those(run: Run) -> None:
    model = load_exported(run, words=40)
    texts = [text.encode() for text, _ in rows(20, 2)]
    expected = PlainUnigram(run.config.text, run.vocabulary[:40]).ids(texts)
    np.testing.assert_array_equal(model.tokenize(texts)["ids"], expected)
    assert (expected == 1).any()
    assert library(run.vocabulary[:40], "nmt_nfkc_cf").encode("今天我") == [
        number - 1 for number in PlainUnigram(run.config.text, run.vocabulary[:40]).numbers("今天我".encode())
    ]


@pytest.mark.slow
def test_tokens_are_shown(run: Run) -> None:
    shown = ask("tokenize", run.path, "FILM", "")
    assert (shown.code, shown.out.count("\n")) == (0, 2)
    plain = PlainUnigram(run.config.text, run.vocabulary)
    assert shown.out.split("\n")[0].split() == [str(part) for token in plain.read("FILM") for part in token]
    told = json.loads(ask("tokenize", run.path, "--json", "电影☃").out)
    assert told["tokens"] == [{"id": number, "token": piece} for piece, number in plain.read("电影☃")]
    assert told["tokens"][-1] == {"id": 1, "token": "[UNK]"}
