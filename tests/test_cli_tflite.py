"""The commands around TFLite: export, predict and evaluate a .tflite file, verify it, and export everything at once."""

import json

import pytest
from conftest import ask

from switch_tf.runs.folder import write_manifest

pytestmark = pytest.mark.slow

TEXTS = ["a lovely film", "plot, dull", ""]


@pytest.fixture(scope="module")
def run(module_run):
    return module_run


@pytest.fixture(scope="module")
def exported(run):
    """What `export --format all --json` said."""
    answer = ask("export", run, "--format", "all", "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_all_formats_come_at_once_and_each_was_compared(exported, run):
    folder = run / "export"
    places = [(each["path"], each["door"]) for each in exported["artifacts"]]
    assert places == [
        (str(folder / "saved_model" / "1"), "text"),
        (str(folder / "saved_model" / "1"), "bytes"),
        (str(folder / "model.tflite"), "bytes"),
        (str(folder / "model.onnx"), "text"),
    ]
    assert exported["ok"] and all(each["ids_equal"] == each["texts"] > 256 for each in exported["artifacts"])
    assert {path.name for path in folder.iterdir()} >= {"model.tflite", "model.tflite.manifest.json", "model.onnx"}


@pytest.mark.parametrize("threads", [(), ("--threads", 1)])
def test_predict_answers_as_on_the_run(exported, run, threads):
    answer = ask("predict", run / "export" / "model.tflite", "--json", *threads, "--", *TEXTS)
    assert answer.code == 0 and answer.err.startswith("LiteRT\n")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    expected = [json.loads(line) for line in ask("predict", run, "--json", "--", *TEXTS).out.splitlines()]
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_evaluate_has_the_figures_of_the_run(exported, run, data_folder):
    answer = ask("evaluate", run / "export" / "model.tflite", data_folder / "made-test.tsv", "--json")
    assert answer.code == 0, answer.err
    figures, expected = json.loads(answer.out), json.loads((run / "metrics.json").read_text())["test"]
    for name in ("log_loss", "calibration_error"):
        assert figures.pop(name) == pytest.approx(expected.pop(name), rel=1e-5)
    assert figures == expected


def test_verify_finds_every_format(exported, run):
    answer = ask("verify", run, "--texts", 20, "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said["ok"] and [each["door"] for each in said["artifacts"]] == ["text", "bytes", "bytes", "text"]


def test_export_of_a_fixed_batch_prints_what_the_byte_limit_changes(run, tmp_path):
    answer = ask("export", run, "--format", "tflite", "--batch", 1, "--output", tmp_path / "one.tflite")
    assert answer.code == 0, answer.err
    assert "Cut at 256 bytes, other words among the first 12 than in the whole text: 0.00% of training" in answer.out
    assert f"Wrote {tmp_path / 'one.tflite'}" in answer.out


def test_words_that_no_text_can_hold_are_counted(run_copy):
    words = (run_copy / "vocabulary.txt").read_text().removesuffix("\n").split("\n")
    (run_copy / "vocabulary.txt").write_text("\n".join([*words[:-1], "Don't"]) + "\n")
    write_manifest(run_copy)
    answer = ask("export", run_copy, "--format", "tflite")
    assert answer.code == 0, answer.err
    assert "1 word of the vocabulary can stand in no text; the bytes input leaves it out" in answer.out
