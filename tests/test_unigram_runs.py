"""A run with text.tokenizer = "unigram", from texts without spaces to artifacts of every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Quiet, ask, tiny_config, write_tsv
from sentencepieces import library

from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.providers import Provider
from switch_tf.artifacts.tensorflow import RunPredictor
from switch_tf.data.request import DataRequest
from switch_tf.errors import ArgumentError
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.session import export_run
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.text.plain import read_plain_text
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.unigram_table import piece_of
from switch_tf.training.session import train

PRAISE, BLAME = ["好棒", "喜欢", "精彩"], ["难看", "无聊", "讨厌"]
FILLING = ["电影", "这部", "我", "今天", "演员", "Film"]
SETTINGS = (
    "text.tokenizer=unigram",
    "text.vocabulary_size=80",
    "text.sequence_length=16",
    "text.byte_length=64",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts without spaces that say good or bad by one word, no two alike."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [*draw.choice(FILLING, 4), draw.choice(PRAISE if number % 2 else BLAME)]
        made.append(("".join(draw.permutation(words)) + f"{seed}x{number}!", "good" if number % 2 else "bad"))
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("unigram")
    request = DataRequest(
        str(write_tsv(folder / "train.tsv", rows(120, 0))), str(write_tsv(folder / "test.tsv", rows(40, 1)))
    )
    return train(request, tiny_config(*SETTINGS), folder / "run", Quiet())


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
    import tensorflow as tf

    model = RunPredictor(run.path)
    texts = [*proof.texts, *proof.invalid_texts]
    expected = PlainUnigram(run.config.text, run.vocabulary).ids(texts)
    np.testing.assert_array_equal(model.tokenize(texts), expected)
    packed = np.stack([np.frombuffer(text[:64].ljust(64, b"\0"), np.uint8) for text in texts])
    np.testing.assert_array_equal(model.model.tokenize_bytes(tf.constant(packed))["ids"], expected)


@pytest.mark.slow
def test_the_model_of_the_run_is_read_by_the_library(run: Run) -> None:
    import sentencepiece

    kept = sentencepiece.SentencePieceProcessor(model_file=str(run.path / "sentencepiece.model"))
    plain = PlainUnigram(run.config.text, run.vocabulary)
    for text, _ in rows(20, 2):
        assert [number + 1 for number in kept.encode(text)] == plain.numbers(text.encode())


@pytest.mark.slow
def test_the_gate_asks_every_piece(run: Run, proof: Proof) -> None:
    plain = PlainUnigram(run.config.text, run.vocabulary)
    asked = {number for text in proof.words for number in plain.ids([text])[0].tolist()}
    assert asked >= set(range(2, 2 + len(run.vocabulary)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("tflite", {}), ("onnx", {"inputs": "bytes"})])
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = tmp_path / f"model{FORMATS[name].suffix}"  # type: ignore[attr-defined]
    _, (comparison,) = FORMATS[name].export(run, proof, path, ExportOptions(name, **options))
    assert comparison.problems == []
    assert comparison.door == options.get("inputs", "bytes")
    assert comparison.ids_equal == comparison.texts > 100
    assert comparison.words_equal == comparison.words == len(run.vocabulary)
    texts = [text for text, _ in rows(20, 2)]
    provider: Provider = "cpu" if name == "onnx" else "auto"
    np.testing.assert_array_equal(
        load_predictor(path, provider=provider).tokenize(texts), RunPredictor(run.path).tokenize(texts)
    )


@pytest.mark.slow
def test_a_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    _, (of_text, of_bytes) = FORMATS["saved_model"].export(run, proof, tmp_path / "model", ExportOptions("saved_model"))
    for each in (of_text, of_bytes):
        assert each.problems == [] and each.ids_equal == each.texts
        assert each.words_equal == len(run.vocabulary)


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
