"""The commands around ONNX: export, predict and evaluate an .onnx file, and verify what was exported."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
from conftest import ask, write_tsv

from switch_tf.artifacts import seal
from switch_tf.runs.folder import write_manifest

pytestmark = pytest.mark.slow

TEXTS = ["a lovely film", "plot, dull", ""]


@pytest.fixture(scope="module")
def run(module_run):
    return module_run


@pytest.fixture(scope="module")
def exported(run):
    """What `export --format onnx --json` said, and the file."""
    answer = ask("export", run, "--format", "onnx", "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out), run / "export" / "model.onnx"


def test_export_says_what_was_compared_and_where_the_file_is(exported):
    said, path = exported
    (artifact,) = said["artifacts"]
    assert (said["ok"], artifact["path"]) == (True, str(path)) and path.is_file()
    assert artifact["ids_equal"] == artifact["texts"] == artifact["labels_equal"] > 256
    assert artifact["max_abs_diff"] <= 1e-5


def test_export_of_ids_with_a_fixed_batch_prints_a_table(run, tmp_path):
    answer = ask("export", run, "--format", "onnx", "--inputs", "ids", "--batch", 2, "--output", tmp_path / "a.onnx")
    assert answer.code == 0, answer.err
    assert "Compared with the trained model" in answer.out and "✓" in answer.out
    (entry,) = onnx.load(tmp_path / "a.onnx").graph.input
    assert (entry.name, entry.type.tensor_type.shape.dim[0].dim_value) == ("ids", 2)


def test_export_of_int8_keeps_the_float_file_and_says_both_accuracies(exported, run):
    before = exported[1].read_bytes()
    answer = ask("export", run, "--format", "onnx", "--quantize", "int8")
    assert answer.code == 0, answer.err
    path = run / "export" / "model-int8.onnx"
    assert "accuracy" in answer.out and "trained model's" in answer.out and f"Wrote {path}" in answer.out
    assert path.is_file() and exported[1].read_bytes() == before
    answer = ask("verify", run, path, "--texts", 4, "--json")
    assert answer.code == 0, answer.err
    (artifact,) = json.loads(answer.out)["artifacts"]
    assert artifact["precision"] == "int8" and artifact["accuracy"] >= artifact["accuracy_of_trained_model"] - 0.01
    path.unlink()


def test_quantizing_where_the_test_data_moved_asks_for_it(run, data_folder, tmp_path):
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    facts = json.loads((moved / "data.json").read_text())
    (moved / "data.json").write_text(json.dumps(facts | {"test": "gone.tsv"}))
    write_manifest(moved)
    words = ("export", moved, "--format", "onnx", "--quantize", "float16", "--output", tmp_path / "a.onnx")
    answer = ask(*words)
    assert (answer.code, answer.out) == (1, "")
    assert "was measured on gone.tsv, which cannot be read" in answer.err and "--data" in answer.err
    answer = ask(*words, "--data", data_folder / "made.tsv")
    assert answer.code == 1 and "is not what" in answer.err and not (tmp_path / "a.onnx").exists()
    assert ask(*words, "--data", data_folder / "made-test.tsv").code == 0
    asked = ("verify", moved, tmp_path / "a.onnx", "--texts", 4, "--json")
    assert ask(*asked).code == 1
    assert ask(*asked, "--measured-on", data_folder / "made-test.tsv").code == 0


@pytest.mark.parametrize("threads", [(), ("--threads", 1)])
def test_predict_answers_as_on_the_run(exported, run, threads):
    answer = ask("predict", exported[1], "--json", *threads, "--", *TEXTS)
    assert (answer.code, answer.err) == (0, "ONNX Runtime, CPUExecutionProvider\n")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    expected = [json.loads(line) for line in ask("predict", run, "--json", "--", *TEXTS).out.splitlines()]
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_evaluate_has_the_figures_of_the_run(exported, run, data_folder):
    answer = ask("evaluate", exported[1], data_folder / "made-test.tsv", "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    figures, expected = json.loads(answer.out), json.loads((run / "metrics.json").read_text())["test"]
    for name in ("log_loss", "calibration_error"):
        assert figures.pop(name) == pytest.approx(expected.pop(name), rel=1e-5)
    assert figures == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "x", "--format", "saved_model", "--inputs", "ids"], "On the command line: --inputs."),
        (["export", "x", "--format", "tflite", "--inputs", "ids"], "On the command line: --inputs."),
        (["export", "x", "--format", "saved_model", "--batch", "1"], "On the command line: --batch."),
        (["export", "x", "--format", "all", "--quantize", "int8"], "On the command line: --quantize."),
        (["export", "x", "--format", "all", "--output", "a"], "Received an output with the format all"),
        (["export", "x", "--format", "tflite", "--output", "a.onnx"], "Expected a file name that ends in .tflite"),
        (["export", "x", "--format", "onnx", "--quantize", "int4"], "Invalid value for '--quantize'"),
        (["export", "x", "--format", "onnx", "--batch", "0"], "Invalid value for '--batch'"),
        (["export", "x", "--format", "onnx", "--inputs", "words"], "Invalid value for '--inputs'"),
        (["export", "x", "--format", "onnx", "--output", "folder"], "Expected a file name that ends in .onnx"),
        (["predict", ".", "a", "--threads", "2"], "is no .onnx or .tflite file: threads is for those alone"),
        (["predict", ".", "a", "--threads", "0"], "Invalid value for '--threads'"),
        (["verify"], "Missing argument 'RUN'"),
        (["verify", "x", "--texts", "0"], "Invalid value for '--texts'"),
    ],
)
def test_words_that_do_not_fit_together_end_with_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = ask(*words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify", "none"], "There is no run folder none"),
        (["predict", "none.onnx", "a"], "none.onnx does not exist. Expected a run folder"),
        (["export", "none", "--format", "onnx"], "There is no run folder none"),
    ],
)
def test_what_is_missing_ends_with_1(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = ask(*words)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err and "Traceback" not in answer.err


def test_an_export_that_answers_otherwise_ends_with_3_and_is_not_kept(run, tmp_path, monkeypatch):
    from switch_tf.export.proof import bounds

    monkeypatch.setattr(bounds, "PROBABILITY_BOUND", -1.0)
    answer = ask("export", run, "--format", "onnx", "--output", tmp_path / "model.onnx", "--json")
    assert (answer.code, answer.out) == (3, "")
    assert "does not answer as the trained model does, and was not kept" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_verify_writes_json_alone_to_stdout_and_progress_to_stderr(exported, run):
    answer = ask("verify", run, "--texts", 20, "--seed", 5, "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said["ok"] is True
    (artifact,) = said["artifacts"]
    keys = {"path", "texts", "ids_equal", "max_abs_diff", "labels_equal", "routing_ties", "batch_invariance"}
    assert artifact["path"] == str(exported[1]) and keys <= set(artifact)
    assert "Loading the trained model" in answer.err and f"Comparing {exported[1]}" in answer.err


def test_verify_prints_a_table_and_takes_texts_of_ones_own(exported, run, tmp_path):
    data = write_tsv(tmp_path / "own.tsv", [("lovely", "good"), ("dull plot", "bad"), ("the cast", "bad")])
    answer = ask("verify", run, exported[1], "--data", data, "--texts", 4)
    assert answer.code == 0, answer.err
    assert "Compared with the trained model" in answer.out and "on 11 texts" in answer.err  # with 4 of the vocabulary


def test_verify_ends_with_3_when_one_is_out_of_bounds_and_leaves_it(exported, run, tmp_path):
    model = onnx.load(exported[1])
    (names,) = (tensor for tensor in model.graph.initializer if tensor.name == "label_names")
    names.string_data[:] = names.string_data[::-1]
    del model.metadata_props[-1]  # the seal of what it was
    (tmp_path / "wrong.onnx").write_bytes(seal.sealed(model.SerializeToString() + seal.ONNX))
    answer = ask("verify", run, exported[1], tmp_path / "wrong.onnx", "--texts", 4, "--json")
    assert answer.code == 3
    said = json.loads(answer.out)
    assert said["ok"] is False and [not each["problems"] for each in said["artifacts"]] == [True, False]
    assert "wrong.onnx" in answer.err and "another label" in answer.err
    assert (tmp_path / "wrong.onnx").is_file()
