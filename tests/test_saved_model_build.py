"""The SavedModel is what a stranger runs: its signatures, its versions, and that a bad one never stays on disk."""

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import said_without

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.saved_model import SavedModelPredictor
from switch_tf.errors import ExportError, ModelError, ParityError, RunError
from switch_tf.export.saved_model import build as savedmodel_export
from switch_tf.export.saved_model import child_process
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.export.saved_model.loader import read_signatures
from switch_tf.export.saved_model.runner import SavedModelRunner
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow

SIGNATURES = {"serving_default", "ids", "bytes", "tokenize", "tokenize_bytes", "classify"}


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


@pytest.fixture(scope="module")
def proof(trained_proof):
    return trained_proof


@pytest.fixture(scope="module")
def exported(exported_saved_model):
    path, comparisons = exported_saved_model
    assert path.name == "1" and [each.door for each in comparisons] == ["text", "bytes"]
    assert all(each.ok and each.ids_equal == each.texts > 60 for each in comparisons)
    return path


def test_it_names_no_folder_of_the_machine_that_made_it(exported):
    content = (exported / "saved_model.pb").read_bytes()
    assert str(exported.parent).encode() not in content and tempfile.gettempdir().encode() not in content


@pytest.fixture
def loader_alone(monkeypatch):
    """Python's TensorFlow is not asked: it takes seconds to start, and the gate has to do without."""
    nothing: Any = {"text": [], "bytes": []}
    monkeypatch.setattr(SavedModelRunner, "_started_in_python", lambda *arguments: nullcontext(lambda: nothing))


def test_every_signature_has_a_dynamic_batch_and_nothing_else_dynamic(exported, run):
    signatures = tf.saved_model.load(str(exported)).signatures
    assert set(signatures) == SIGNATURES
    length, classes = run.config.text.sequence_length, len(run.labels)
    expected = {
        "serving_default": (
            {"text": ([None], tf.string)},
            {"probabilities": ([None, classes], tf.float32), "label": ([None], tf.string)},
        ),
        "ids": (
            {"ids": ([None, length], tf.int32)},
            {"probabilities": ([None, classes], tf.float32), "label": ([None], tf.int64)},
        ),
        "bytes": (
            {"bytes": ([None, run.config.text.num_bytes], tf.uint8)},
            {"probabilities": ([None, classes], tf.float32), "label": ([None], tf.int64)},
        ),
        "tokenize": ({"text": ([None], tf.string)}, {"ids": ([None, length], tf.int32)}),
        "tokenize_bytes": (
            {"bytes": ([None, run.config.text.num_bytes], tf.uint8)},
            {"ids": ([None, length], tf.int32)},
        ),
        "classify": (
            {"inputs": ([None], tf.string)},
            {"classes": ([None, classes], tf.string), "scores": ([None, classes], tf.float32)},
        ),
    }
    for name, (inputs, outputs) in expected.items():
        received = signatures[name].structured_input_signature[1]
        assert {key: (each.shape.as_list(), each.dtype) for key, each in received.items()} == inputs
        received = signatures[name].structured_outputs
        assert {key: (each.shape.as_list(), each.dtype) for key, each in received.items()} == outputs


def test_the_saved_model_answers_as_the_trained_model(exported, proof):
    texts = ["good film", "", "!!!", "bad\0bad", "É\u00a0good", "good " * 50]
    np.testing.assert_array_equal(load_predictor(exported).probabilities(texts), proof.model.probabilities(texts))


def test_an_empty_batch_gives_an_empty_answer(exported):
    signatures = tf.saved_model.load(str(exported)).signatures
    answer = signatures["serving_default"](text=tf.constant([], tf.string))
    assert answer["probabilities"].shape == (0, 2) and answer["label"].shape == (0,)


def test_it_moves_and_runs_where_none_of_our_code_is(exported, tmp_path):
    moved = shutil.copytree(exported, tmp_path / "moved")
    program = (
        "import tensorflow as tf\n"
        f"m = tf.saved_model.load({str(moved)!r})\n"
        "a = m.signatures['serving_default'](text=tf.constant(['good film', '']))\n"
        "print(a['label'].numpy().tolist(), a['probabilities'].shape)\n"
    )
    assert said_without(["switch_tf"], program, "-I").endswith("(2, 2)")


def test_exporting_again_makes_the_next_version_and_leaves_the_first_alone(
    run, proof, exported, tmp_path, loader_alone
):
    output = tmp_path / "saved_model"
    shutil.copytree(exported, output / "1")
    (output / "models.config").write_text(
        "# Written by `switch-tf export`, which rewrites it each time.\nof an earlier one"
    )
    before = {file: file.read_bytes() for file in (output / "1").rglob("*") if file.is_file()}
    path, _ = export_saved_model(run, proof, output)
    assert path == output / "2"
    assert {file: file.read_bytes() for file in before} == before
    assert [entry.name for entry in sorted(output.iterdir()) if entry.is_dir()] == ["1", "2"]
    assert (output / "models.config").read_bytes() == (exported.parent / "models.config").read_bytes()


def test_the_manifest_lists_every_file_with_its_checksum_and_the_figures(exported, run):
    manifest = json.loads((exported / "assets.extra" / "manifest.json").read_text())
    assert manifest["labels"] == run.labels
    for door in ("text", "bytes"):
        figures = manifest["parity"][door]
        assert figures["ids_equal"] == figures["texts"] > 40 and figures["max_abs_diff"] <= 1e-5
    length = run.config.text.sequence_length
    assert manifest["signatures"]["ids"] == {
        "inputs": {"ids": {"type": "int32", "shape": ["batch", length]}},
        "outputs": {
            "probabilities": {"type": "float32", "shape": ["batch", 2]},
            "label": {"type": "int64", "shape": ["batch"]},
        },
    }
    assert set(manifest["signatures"]) == SIGNATURES and "Softmax" in manifest["operators"]
    for name, facts in manifest["files"].items():
        assert (exported / name).stat().st_size == facts["bytes"]
    assert {"saved_model.pb", "assets/labels.json"} <= set(manifest["files"])
    assert (exported / "assets.extra" / "manifest.json").name not in manifest["files"]


def wrong_gate(model, folder: Path) -> None:
    """Save a model whose weights are not the trained ones."""
    weight = model.classifier.head.kernel
    kept = tf.identity(weight)
    weight.assign(-10.0 * weight + 1.0)
    try:
        saved(model, folder)
    finally:
        weight.assign(kept)


saved = savedmodel_export._save


def test_an_export_that_answers_otherwise_fails_and_leaves_nothing(run, proof, tmp_path, monkeypatch, loader_alone):
    monkeypatch.setattr(savedmodel_export, "_save", wrong_gate)
    output = tmp_path / "saved_model"
    with pytest.raises(ParityError, match="does not answer as the trained model") as caught:
        export_saved_model(run, proof, output)
    assert caught.value.exit_code == 3
    assert not output.exists()


def test_an_export_that_cannot_be_loaded_fails_and_leaves_nothing(run, proof, tmp_path, monkeypatch):
    def broken(model, folder):
        saved(model, folder)
        (folder / "variables" / "variables.index").unlink()

    monkeypatch.setattr(savedmodel_export, "_save", broken)
    output = tmp_path / "saved_model"
    with pytest.raises(ParityError, match=r"cannot be read as a checkpoint"):
        export_saved_model(run, proof, output)
    assert not output.exists()


@pytest.mark.parametrize("name", ["ids", "classify"])
def test_signatures_that_disagree_are_refused(run, proof, tmp_path, monkeypatch, loader_alone, name):
    """A model one of whose signatures answers by other weights than the rest."""
    signatures = savedmodel_export._signatures(proof.model)

    @tf.function(input_signature=signatures[name].input_signature)
    def other(given):
        answer = signatures[name](given)
        key = "probabilities" if name == "ids" else "scores"
        return answer | {key: tf.reverse(answer[key], [1])}

    monkeypatch.setattr(savedmodel_export, "_signatures", lambda model: signatures | {name: other})
    with pytest.raises(ParityError, match="between batch sizes or signatures"):
        export_saved_model(run, proof, tmp_path / "saved_model")
    assert list(tmp_path.iterdir()) == []


def test_classify_names_the_classes_in_their_order(run, proof, tmp_path, monkeypatch, loader_alone):
    signatures = savedmodel_export._signatures(proof.model)

    @tf.function(input_signature=signatures["classify"].input_signature)
    def other(inputs):
        answer = signatures["classify"](inputs)
        return answer | {"classes": tf.reverse(answer["classes"], [1])}

    monkeypatch.setattr(savedmodel_export, "_signatures", lambda model: signatures | {"classify": other})
    savedmodel_export._save(proof.model, tmp_path / "bad")
    runner = SavedModelRunner(tmp_path / "bad", "bad", run.config.text.num_bytes)
    with pytest.raises(ParityError, match="bad: the signature classify names other classes than"):
        runner.answer([b"good film", b"bad"], [2])


def test_a_compiled_signature_that_tf_serving_would_not_run_is_refused(run, proof, tmp_path, monkeypatch):
    signatures = savedmodel_export._signatures(proof.model)
    compiled = tf.function(lambda ids: signatures["ids"](ids), signatures["ids"].input_signature, jit_compile=True)
    monkeypatch.setattr(savedmodel_export, "_signatures", lambda model: signatures | {"ids": compiled})
    with pytest.raises(ParityError, match=r"the signature ids: .*XLA compilation disabled"):
        export_saved_model(run, proof, tmp_path / "saved_model")
    assert list(tmp_path.iterdir()) == []


def test_an_example_without_a_text_is_an_error(exported):
    classify = tf.saved_model.load(str(exported)).signatures["classify"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Feature: text .*is required"):
        classify(inputs=tf.constant([tf.train.Example().SerializeToString()]))


def test_classify_is_named_as_a_strict_server_asks(exported):
    methods = {name: each.method_name for name, each in read_signatures(exported, "x").items()}
    others = dict.fromkeys(SIGNATURES, "tensorflow/serving/predict")
    assert methods == others | {"classify": "tensorflow/serving/classify"}


def test_what_python_gets_counts_too(run, proof, exported, monkeypatch):
    """The C++ loader is right, and Python's TensorFlow says something else of strings."""

    def lie(runner, texts, batch_size, labels):
        tokens = proof.model.tokenize(tf.constant(texts, tf.string))["ids"].numpy()
        said = Answers(tokens, 1 - proof.model.probabilities(texts), ["bad"] * len(texts))
        return nullcontext(lambda: {"text": [said], "bytes": []})

    monkeypatch.setattr(SavedModelRunner, "_started_in_python", lie)
    runner = SavedModelRunner(exported, "x", run.config.text.num_bytes)
    assert "off by more than" in proof.compare(runner).problems[0] and proof.compare(runner.bytes_runner()).ok


def test_a_folder_that_cannot_be_written_is_a_clear_error(run, proof, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        export_saved_model(run, proof, tmp_path / "file" / "saved_model")


def test_a_process_that_takes_too_long_is_an_error_and_nothing_is_left(run, proof, tmp_path, monkeypatch):
    monkeypatch.setattr(child_process, "SECONDS", 0.01)
    with pytest.raises(ExportError, match=r"took over 0\.01 s in TensorFlow's C.. loader"):
        export_saved_model(run, proof, tmp_path / "saved_model")
    assert not list(tmp_path.rglob("saved_model.pb"))


def test_its_files_are_checked_when_it_is_opened(exported, tmp_path):
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    assert SavedModelPredictor(folder).checked
    described = json.loads((folder / "assets.extra" / "manifest.json").read_text())["files"]
    for name in ("saved_model.pb", "assets/labels.json", "variables/variables.data-00000-of-00001"):
        assert name in described
        content = (folder / name).read_bytes()
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 1
        (folder / name).write_bytes(damaged)
        with pytest.raises(ModelError, match=rf"is damaged or was changed: {name} is not as it was written"):
            SavedModelPredictor(folder)
        (folder / name).write_bytes(content)
    (folder / "assets.extra" / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match=r"manifest\.json is damaged"):
        SavedModelPredictor(folder)
    (folder / "assets.extra" / "manifest.json").unlink()
    assert not SavedModelPredictor(folder).checked


def test_a_disk_that_fills_up_inside_tensorflow_is_a_clear_error_and_nothing_is_left(run_copy, tmp_path):
    code = """
import resource, signal, sys
from switch_tf.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import switch_tf.export.saved_model.build as build
save = build.tf.saved_model.save
def save_on_a_full_disk(*arguments, **named):
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    try:
        save(*arguments, **named)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
build.tf.saved_model.save = save_on_a_full_disk
main()
"""
    words = ["export", str(run_copy), "--format", "saved_model", "--json", "--allow-truncation"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert not (run_copy / "export").exists()
