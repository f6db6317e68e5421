"""A run with text.unknown_words = "letters", from texts whose words are misspelt to artifacts of every format."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
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

from switch_tf import files
from switch_tf.artifacts.tensorflow import RunPredictor
from switch_tf.errors import ConfigError, RunError
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions, Precision
from switch_tf.export.proof.gate import Proof
from switch_tf.models.fused import FusedClassifier, build_classifier
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import WEIGHTS, Run, read_metrics
from switch_tf.text.plain_spelling import PlainSpelling

PRAISE = ["wonderful", "wonderfully", "marvellous", "marvellously", "delightful", "delightfully"]
BLAME = ["terrible", "terribly", "miserable", "miserably", "dreadful", "dreadfully"]
MISSPELT = [["wonderfull", "marvelous", "delihgtful"], ["terible", "miserablly", "dreadfull"]]
FILLING = ["film", "plot", "the", "cast", "story", "schön"]
SETTINGS = (
    "text.unknown_words=letters",
    "text.vocabulary_size=100",
    "text.sequence_length=12",
    "text.byte_length=96",
    "model.context=mean",
    "wide.enabled=true",
)


def rows(count: int, seed: int) -> Rows:
    return made_rows(count, seed, PRAISE, BLAME, FILLING, between=" ")


def misspelt(count: int) -> Rows:
    return made_rows(count, 3, MISSPELT[0], MISSPELT[1], FILLING, between=" ")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("letters"), SETTINGS, rows(160, 0), misspelt(60))


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=60)


def test_misspelt_words_tell_what_the_right_ones_do(run: Run) -> None:
    metrics = read_metrics(run.path)
    assert not {word for side in MISSPELT for word in side} & set(run.vocabulary)
    assert metrics["test"]["accuracy"] >= 0.95
    assert metrics["comparison"]["models"]["wide"]["accuracy"] >= 0.95
    assert metrics["comparison"]["models"]["deep"]["accuracy"] <= 0.75  # to which all of them are one word


def test_known_words_are_answered_as_without_letters(run: Run) -> None:
    """The same weights: a text of known words has no letters behind its ids."""
    model = load_classifier(run)
    known, unknown = (model.tokenize([text.encode()])["ids"].numpy() for text in ("the wonderful film", "wonderfull"))
    assert not known[:, 12:].any() and unknown[:, 12:].any()
    answers = [model.classifier(ids).logits.numpy() for ids in (known, known[:, :12], unknown, unknown[:, :12])]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[2] - answers[3]).max() > 0.1


def test_every_way_to_the_ids_is_the_same(run: Run, proof: Proof) -> None:
    check_ids(run, proof, PlainSpelling(run.config.text, run.vocabulary))


def test_the_gate_asks_every_word_and_words_that_are_nearly_known(run: Run, proof: Proof) -> None:
    check_all_are_asked(run, proof, PlainSpelling(run.config.text, run.vocabulary))
    spelt = PlainSpelling(run.config.text, run.vocabulary).letters(proof.texts)
    classifier = load_classifier(run).classifier
    assert (spelt > 0).any(axis=1).sum() > 40
    assert isinstance(classifier, FusedClassifier)
    letters = classifier.wide.letters
    assert letters is not None
    told = letters.sums_in_graph(spelt.astype(np.int32), 12, np.zeros(2, np.float32))
    assert (np.asarray(told)[:, -1] > 0).sum() > 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("tflite", {}), ("onnx", {}), ("onnx", {"inputs": "ids"})],
)
def test_files_pass_the_gate(run: Run, proof: Proof, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    check_file(run, proof, tmp_path / "model", name, options, [text for text, _ in misspelt(20)])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_small_file_of_a_fixed_batch_passes_it_too(run: Run, tmp_path: Path, precision: Precision) -> None:
    text = dataclasses.replace(run.config.text, truncation="drop")
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, text=text))
    proof = Proof(changed, texts=60, words=60, max_loss=100)
    options = ExportOptions("tflite", batch=1, precision=precision)
    _, (comparison,) = FORMATS["tflite"].export(changed, proof, tmp_path / "model.tflite", options)
    assert comparison.problems == [] and comparison.ids_equal == comparison.texts > 100


@pytest.mark.slow
def test_a_graph_for_gpus_leaves_nothing_to_the_cpu(run: Run, proof: Proof, tmp_path: Path) -> None:
    check_file(run, proof, tmp_path / "model", "onnx", {"inputs": "ids", "batch": 2}, ["the wonderfull film"])


@pytest.mark.slow
def test_a_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    check_saved_model(run, proof, tmp_path / "model")


def test_a_cut_vocabulary_reads_by_the_letters_of_what_is_left(run: Run) -> None:
    kept = []
    for words in (None, 20):
        classifier = load_classifier(run, words).classifier
        assert isinstance(classifier, FusedClassifier) and classifier.wide.letters is not None
        kept.append(classifier.wide.letters.index.num_runs)
        assert classifier.wide.letters.weights.shape[0] == kept[-1] + 1
    assert 0 < kept[1] < kept[0]


def test_onnx_takes_bytes_by_default_and_no_strings(run: Run) -> None:
    check_onnx_takes_no_strings(run, "text.unknown_words = 'letters'")


def test_tokens_are_shown_without_letters(run: Run) -> None:
    number = run.vocabulary.index("film") + 2
    told = json.loads(ask("tokenize", run.path, "--json", "film wonderfull").out)
    expected = [{"id": number, "token": "film"}, {"id": 1, "token": "[UNK]"}]
    assert told == {"text": "film wonderfull", "tokens": expected}
    assert (RunPredictor(run.path).tokenize(["wonderfull"])[0, 12:] < 0).sum() == len("wonderfull")


@pytest.mark.parametrize("spells", [True, False])
def test_weights_of_other_settings_are_refused(run: Run, spells: bool) -> None:
    weights, _ = files.read_tensors(run.path / WEIGHTS)
    text = dataclasses.replace(run.config.text, unknown_words="letters" if spells else "alike")
    if spells:
        weights = {name: array for name, array in weights.items() if "letters/" not in name}
    config = dataclasses.replace(run.config, text=text)
    with pytest.raises(RunError, match=r"text.unknown_words = '(letters|alike)'.*train again"):
        build_classifier(config, weights, len(run.vocabulary) + 2, 2, "a file")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["text.tokenizer=wordpiece", *SETTINGS], "wordpiece' reads pieces of words"),
        (["text.tokenizer=unigram", *SETTINGS], "unigram' reads pieces of words"),
        (["text.lowercase=unicode", *SETTINGS], "lowercase = 'unicode' has words of characters"),
        (["text.unknown_words=letters"], "wide.enabled = false"),
        (["text.unknown_words=Letters"], "unknown_words"),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*settings)
