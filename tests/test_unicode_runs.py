# ruff: noqa: RUF001 - words of many scripts
"""A run with text.lowercase = "unicode", from texts in Chinese, Thai and capitals to artifacts of every format."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ask, tiny_config
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

from switch_tf.data.examples import read_examples
from switch_tf.data.survey import survey
from switch_tf.errors import ConfigError
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.text.front_ends import choose_vocabulary
from switch_tf.text.plain_pieces import PlainPieces

PRAISE, BLAME, FILLING = (
    ["好棒", "喜欢", "ดีมาก", "ЧУДО", "Чудо"],
    ["难看", "无聊", "แย่มาก", "СКУКА", "Скука"],
    ["电影", "这部", "我", "หนัง", "演员", "film🙂", "École"],
)
SETTINGS = (
    "text.lowercase=unicode",
    "text.vocabulary_size=120",
    "text.sequence_length=32",
    "text.byte_length=96",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> Rows:
    return made_rows(count, seed, PRAISE, BLAME, FILLING, between="。")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("unicode"), SETTINGS, rows(160, 0), rows(60, 1))


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=60)


def test_it_learns_where_words_of_bytes_cannot(run: Run) -> None:
    assert read_metrics(run.path)["test"]["accuracy"] >= 0.9
    assert run.data["survey"]["warnings"] == []
    assert {"好", "ม", "чудо", "film", "🙂", "école"} <= set(run.vocabulary)
    spec = tiny_config(*SETTINGS[1:]).text
    examples = read_examples(str(run.path.parent / "train.tsv"))
    vocabulary = choose_vocabulary(spec, examples.text_batches(64))
    report = survey({"training": examples, "validation": examples}, ["bad", "good"], spec, vocabulary, "label")
    assert any("Set text.lowercase=unicode" in each for each in report["warnings"])


def test_every_way_to_the_ids_is_the_same(run: Run, proof: Proof) -> None:
    check_ids(run, proof, PlainPieces(run.config.text, run.vocabulary))


def test_the_gate_asks_every_word_and_every_other_spelling(run: Run, proof: Proof) -> None:
    check_all_are_asked(run, proof, PlainPieces(run.config.text, run.vocabulary))
    together = b" ".join(proof.words).decode()
    assert all(each in together for each in ("Ч", "Ｆ", "É", "🄵"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("tflite", {}), ("onnx", {}), ("onnx", {"inputs": "ids"})],
)
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    check_file(run, proof, tmp_path / "model", name, options, [text for text, _ in rows(20, 2)])


@pytest.mark.slow
def test_files_that_drop_the_last_word_and_accents_pass_it_too(run: Run, tmp_path: Path) -> None:
    text = dataclasses.replace(run.config.text, truncation="drop", strip_accents=True)
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, text=text))
    proof = Proof(changed, texts=60)
    options = ExportOptions("tflite", batch=1, precision="int8")
    _, (comparison,) = FORMATS["tflite"].export(changed, proof, tmp_path / "model.tflite", options)
    assert comparison.problems == [] and comparison.ids_equal == comparison.texts > 100


@pytest.mark.slow
def test_a_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    check_saved_model(run, proof, tmp_path / "model")


def test_onnx_takes_bytes_by_default_and_no_strings(run: Run) -> None:
    check_onnx_takes_no_strings(run, "text.lowercase = 'unicode'")


def test_tokens_are_shown(run: Run) -> None:
    number = run.vocabulary.index("école") + 2
    told = json.loads(ask("tokenize", run.path, "--json", "ÉCOLE国").out)
    expected = [{"id": number, "token": "école"}, {"id": 1, "token": "[UNK]"}]
    assert told == {"text": "ÉCOLE国", "tokens": expected}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["text.standardize=none", "text.lowercase=unicode"], "goes with standardize = 'lower_and_strip_punctuation'"),
        (["text.strip_accents=true"], "strip_accents is for lowercase = 'unicode'"),
        (["text.lowercase=Unicode"], "lowercase"),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*settings)


def test_a_model_that_leaves_says_how_it_reads() -> None:
    told = tiny_config("text.lowercase=unicode", "text.strip_accents=true").text.as_dict()
    assert (told["lowercase"], told["strip_accents"]) == ("unicode", True)
    assert "tokenizer" not in told
    assert not {"lowercase", "strip_accents"} & set(tiny_config().text.as_dict())
