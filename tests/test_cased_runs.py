"""A run of wordpiece with text.lowercase = "none", whose labels capitals and accents alone tell, in every format."""

import json
from pathlib import Path

import pytest
from conftest import ask, tiny_config
from front_end_runs import Rows, check_all_are_asked, check_file, check_ids, made_rows, trained

from switch_tf.errors import ConfigError
from switch_tf.export.proof.gate import Proof
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.text.plain_pieces import PlainPieces

PRAISE, BLAME, FILLING = (
    ["Gut", "SCHÖN", "Ёлка"],
    ["gut", "schon", "елка"],
    ["Film", "film", "Été", "été", "der", "DER"],
)
SETTINGS = (
    "text.tokenizer=wordpiece",
    "text.lowercase=none",
    "text.vocabulary_size=120",
    "text.sequence_length=24",
    "text.byte_length=96",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> Rows:
    return made_rows(count, seed, PRAISE, BLAME, FILLING, between=" ")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("cased"), SETTINGS, rows(160, 0), rows(60, 1))


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=60)


def test_it_learns_what_capitals_and_accents_tell(run: Run) -> None:
    assert read_metrics(run.path)["test"]["accuracy"] >= 0.95
    assert {"Gut", "gut", "Film", "Été", "Ёлка"} <= set(run.vocabulary)


def test_every_way_to_the_ids_is_the_same(run: Run, proof: Proof) -> None:
    check_ids(run, proof, PlainPieces(run.config.text, run.vocabulary))


def test_the_gate_asks_every_piece(run: Run, proof: Proof) -> None:
    check_all_are_asked(run, proof, PlainPieces(run.config.text, run.vocabulary))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str) -> None:
    check_file(run, proof, tmp_path / "model", name, {}, [text for text, _ in rows(20, 2)])


def test_tokens_are_shown(run: Run) -> None:
    told = json.loads(ask("tokenize", run.path, "--json", "Film film FILM").out)["tokens"]
    numbers = [run.vocabulary.index(piece) + 2 for piece in ("Film", "film")]
    assert [each["id"] for each in told[:2]] == numbers
    assert told[2:] == [{"id": 1, "token": "[UNK]"}]


def test_a_model_that_leaves_says_how_it_reads(run: Run) -> None:
    told = run.config.text.as_dict()
    assert (told["lowercase"], told["strip_accents"], told["tokenizer_rules"]) == ("none", False, "bert")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["text.lowercase=none"], "words keep capitals by standardize = 'strip_punctuation' or 'none'"),
        (["text.tokenizer=unigram", "text.lowercase=none"], "unigram keeps capitals by normalization = 'nmt_nfkc'"),
        (["text.tokenizer=unigram", "text.lowercase=unicode"], "unigram lower-cases by normalization"),
        (["text.tokenizer=wordpiece", "text.lowercase=unicode"], "For one of the two set tokenizer_rules = 'hf_bert'"),
        (["text.tokenizer=wordpiece", "text.lowercase=none", "text.strip_accents=true"], "set tokenizer_rules"),
        (["text.tokenizer=wordpiece", "text.strip_accents=true"], "strip_accents is for lowercase = 'unicode', and of"),
        (["text.tokenizer=wordpiece", "text.lowercase=false"], r"'ascii', 'unicode' or 'none' \(received False\)"),
        (["text.tokenizer=wordpiece", "text.lowercase=cased"], r"'ascii', 'unicode' or 'none' \(received 'cased'\)"),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*settings)


@pytest.mark.parametrize(
    ("settings", "folding"),
    [
        ([], (True, True)),
        (["text.lowercase=none"], (False, False)),
        (["text.tokenizer_rules=hf_bert", "text.lowercase=none"], (False, False)),
        (["text.tokenizer_rules=hf_bert", "text.lowercase=none", "text.strip_accents=true"], (False, True)),
        (["text.tokenizer_rules=hf_bert", "text.lowercase=unicode"], (True, False)),
        (["text.tokenizer_rules=hf_bert", "text.lowercase=unicode", "text.strip_accents=true"], (True, True)),
    ],
)
def test_what_settings_lower_case_and_strip(settings: list[str], folding: tuple[bool, bool]) -> None:
    assert tiny_config("text.tokenizer=wordpiece", *settings).text.folding == folding
