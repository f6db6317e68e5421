"""A run with text.tokenizer = "wordpiece", from texts without spaces to artifacts of every format."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ask, export_file, tiny_config
from front_end_runs import (
    Rows,
    check_all_are_asked,
    check_file,
    check_ids,
    check_onnx_takes_no_strings,
    check_saved_model,
    made_rows,
    trained,
)

from switch_tf.artifacts.tensorflow import RunPredictor
from switch_tf.errors import ConfigError, ParityError
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.proof.readback import Expected, read_back
from switch_tf.export.truncation import changed_shares
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.text.plain_pieces import PlainPieces

PRAISE, BLAME, FILLING = (
    ["好棒", "喜欢", "精彩"],
    ["难看", "无聊", "讨厌"],
    ["电影", "这部", "我", "今天", "演员", "film"],
)
SETTINGS = (
    "text.tokenizer=wordpiece",
    "text.vocabulary_size=80",
    "text.sequence_length=16",
    "text.byte_length=64",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> Rows:
    return made_rows(count, seed, PRAISE, BLAME, FILLING)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("pieces"), SETTINGS, rows(120, 0), rows(40, 1))


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=60)


def test_it_learns_where_there_are_no_spaces(run: Run) -> None:
    assert read_metrics(run.path)["test"]["accuracy"] >= 0.9
    assert run.data["survey"]["warnings"] == []
    assert run.data["survey"]["texts_without_spaces"] > 40  # of which words would make one token each
    assert "pieces of words" in (run.path / "summary.md").read_text(encoding="utf-8")


def test_every_way_to_the_ids_is_the_same(run: Run, proof: Proof) -> None:
    check_ids(run, proof, PlainPieces(run.config.text, run.vocabulary))


def test_the_gate_asks_every_piece(run: Run, proof: Proof) -> None:
    check_all_are_asked(run, proof, PlainPieces(run.config.text, run.vocabulary))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("tflite", {}), ("onnx", {}), ("onnx", {"inputs": "ids"})],
)
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    check_file(run, proof, tmp_path / "model", name, options, [text for text, _ in rows(20, 2)])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"precision": "int8"}])
def test_files_that_drop_the_last_word_pass_it_too(run: Run, tmp_path: Path, options: dict[str, Any]) -> None:
    text = dataclasses.replace(run.config.text, truncation="drop")
    dropping = dataclasses.replace(run, config=dataclasses.replace(run.config, text=text))
    proof = Proof(dropping, texts=60)
    _, (comparison,) = FORMATS["tflite"].export(
        dropping, proof, tmp_path / "model.tflite", ExportOptions("tflite", **options)
    )
    assert comparison.problems == [] and comparison.ids_equal == comparison.texts > 100


@pytest.mark.slow
def test_a_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    of_text, of_bytes = check_saved_model(run, proof, tmp_path / "model")
    assert of_text.arrays > of_bytes.arrays > 0  # weights besides


@pytest.mark.slow
def test_every_table_is_read_back(run: Run, proof: Proof) -> None:
    tflite: Any = FORMATS["tflite"]
    parts = tflite.runner(tflite.build(run, proof.exported, ExportOptions("tflite")), "it", proof.model).parts()
    tables = proof.model.numeric_text.stored_arrays()
    assert read_back(parts, Expected({}, {}, {}, {}, packed_tables=tables)) == []
    for name, table in tables.items():
        for place in (0, table.size // 2, table.size - 1):
            changed = table.copy()
            changed[place] += 1
            problems = read_back(parts, Expected({}, {}, {}, {}, packed_tables={**tables, name: changed}))
            assert len(problems) == 2  # in the signatures bytes and tokenize
            assert all(name in problem and "is not stored" in problem for problem in problems)


@pytest.mark.slow
def test_two_pieces_that_change_places_are_seen(run: Run, proof: Proof, tmp_path: Path) -> None:
    pieces = [*run.vocabulary[:-2], run.vocabulary[-1], run.vocabulary[-2]]
    right = proof.exported
    proof.exported = TextClassifier(run.config, pieces, run.labels, right.classifier)
    path = tmp_path / "model.tflite"
    try:
        with pytest.raises(ParityError, match=r"trie/ids \[\d+\] is not stored"):
            export_file("tflite", run, proof, path)
    finally:
        proof.exported = right
    assert not path.exists()


def test_onnx_takes_bytes_by_default_and_no_strings(run: Run) -> None:
    onnx = FORMATS["onnx"]
    assert onnx.output(run, ExportOptions("onnx")).name == "model.onnx"
    assert onnx.output(run, ExportOptions("onnx", inputs="ids")).name == "model-ids.onnx"
    check_onnx_takes_no_strings(run, "text.tokenizer = 'wordpiece'")


def test_a_model_of_fewer_pieces_reads_by_those(run: Run) -> None:
    model = load_exported(run, words=40)
    texts = [text.encode() for text, _ in rows(20, 2)]
    expected = PlainPieces(run.config.text, run.vocabulary[:40]).ids(texts)
    np.testing.assert_array_equal(model.tokenize(texts)["ids"], expected)
    assert (expected == 1).any()
    assert not (PlainPieces(run.config.text, run.vocabulary).ids(texts) == expected).all()


def test_how_many_texts_are_cut_is_measured_on_whole_texts(run: Run) -> None:
    model = RunPredictor(run.path).model
    short = dataclasses.replace(run.config.text, byte_length=12)
    cut = TextClassifier(
        dataclasses.replace(run.config, text=short), run.vocabulary, run.labels, model.classifier, None
    )
    texts = ["好棒电影我今天".encode(), b"film"]
    assert (cut.whole_ids(texts)[0] > 0).sum() == 7
    assert (cut.tokenize(texts)["ids"].numpy()[0] > 0).sum() == 4
    assert changed_shares(run, model)["training"] == read_metrics(run.path)["changed_by_byte_length"]["training"]


def test_tokens_are_shown(run: Run) -> None:
    shown = ask("tokenize", run.path, "电影film好", "")
    assert (shown.code, shown.out.count("\n")) == (0, 2)
    number = run.vocabulary.index("电") + 2
    assert shown.out.startswith(f"电 {number}  影 ")
    told = json.loads(ask("tokenize", run.path, "--json", "电☃").out)
    assert told == {"text": "电☃", "tokens": [{"id": number, "token": "电"}, {"id": 1, "token": "[UNK]"}]}


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match=r"standardize is for tokenizer = 'words'"):
        tiny_config("text.tokenizer=wordpiece", "text.standardize=lower")
    with pytest.raises(ConfigError, match="are for tokenizer = 'wordpiece'"):
        tiny_config("text.tokenizer_rules=hf_bert")
    with pytest.raises(ConfigError, match="are for tokenizer = 'wordpiece'"):
        tiny_config("text.vocabulary_file=vocab.txt")


def test_pieces_come_from_a_file(tmp_path: Path) -> None:
    from switch_tf.text.front_ends import choose_vocabulary

    (tmp_path / "vocab.txt").write_text("[UNK]\nfilm\n##s\n", encoding="utf-8")
    config = tiny_config("text.tokenizer=wordpiece", f"text.vocabulary_file={tmp_path / 'vocab.txt'}")
    assert choose_vocabulary(config.text, []) == ["film", "##s"]
    assert "vocabulary_file" not in config.text.as_dict()
