"""A model with a reject threshold says so wherever it is asked, and means the same everywhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ask, copy_run, made_up_rows, write_tsv

import switch_tf
from switch_tf.export.caller_page import TEXT, labels_path, page_path
from switch_tf.runs.rejection import Rejection

SURE, UNSURE = "lovely great warm witty film", ""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [text for text, _ in made_up_rows(60, seed=5)] + [SURE, UNSURE]


@pytest.fixture(scope="module")
def expected(rejecting_run: Path, texts: list[str]) -> list[str]:
    """By a rule written down once more."""
    probabilities = switch_tf.load(rejecting_run).predict_proba(texts)
    return ["unknown" if max(row) < 0.5625 else ["bad", "good"][int(row[1] > row[0])] for row in probabilities.tolist()]


@pytest.fixture(scope="module")
def artifacts(rejecting_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    run = copy_run(rejecting_run, tmp_path_factory.mktemp("runs") / "rejecting")
    classifier = switch_tf.load(run)
    made = {name: classifier.export(name, verbose=0) for name in ("saved_model", "onnx", "tflite")}
    made["bytes"] = classifier.export("onnx", inputs="bytes", verbose=0)
    return {name: Path(str(path)) for name, path in made.items()}


def test_python_answers_the_reject_label(rejecting_run: Path, texts: list[str], expected: list[str]) -> None:
    classifier = switch_tf.load(rejecting_run)
    assert len(set(expected)) >= 2 and "unknown" in expected  # some are answered, some rejected
    assert classifier.predict(texts).tolist() == expected
    assert (classifier.labels, classifier.reject_label, classifier.reject_threshold) == (
        ["bad", "good"],
        "unknown",
        0.5625,
    )
    assert classifier.predict_proba(texts).shape == (len(texts), 2)


def test_a_model_without_a_threshold_says_nothing_of_one(trained_run: Path) -> None:
    classifier = switch_tf.load(trained_run)
    assert (classifier.reject_label, classifier.reject_threshold) == (None, None)
    assert "rejected" not in ask("predict", trained_run, UNSURE, "--json").out
    assert not (trained_run / "reject.json").exists()
    assert json.loads((trained_run / "data.json").read_text(encoding="utf-8"))["format"] == 3


def test_predict_says_that_a_text_is_rejected(rejecting_run: Path) -> None:
    answers = [json.loads(line) for line in ask("predict", rejecting_run, SURE, UNSURE, "--json").out.splitlines()]
    assert [(each["label"], each["rejected"]) for each in answers] == [("good", False), ("unknown", True)]
    assert answers[1]["score"] == max(answers[1]["probabilities"].values()) < 0.5625
    assert list(answers[1]["probabilities"]) == ["bad", "good"]
    shown = ask("predict", rejecting_run, SURE, UNSURE).out.splitlines()
    assert re.fullmatch(r"good  0\.\d{4}  \(bad 0\.\d{4}\)", shown[0])
    assert re.fullmatch(r"unknown  (0\.\d{4})  \((good|bad) \1\)  \((good|bad) 0\.\d{4}\)", shown[1])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_of_answers_has_a_column_of_it(suffix: str, rejecting_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    data.write_text(f"text,label\n{SURE},x\n.,y\n", encoding="utf-8")
    output = tmp_path / f"answers.{suffix}"
    assert ask("predict", rejecting_run, "--input", data, "--output", output).code == 0
    if suffix == "parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(output).to_pylist()
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    else:
        header, *lines = output.read_text(encoding="utf-8").splitlines()
        assert header == "text,label,predicted_label,predicted_score,predicted_rejected,predicted_error"
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        assert [row["predicted_rejected"] for row in rows] == ["false", "true"]
        rows = [row | {"predicted_rejected": row["predicted_rejected"] == "true"} for row in rows]
    assert [(row["predicted_label"], row["predicted_rejected"]) for row in rows] == [("good", False), ("unknown", True)]


def test_evaluate_takes_texts_of_no_class(rejecting_run: Path, tmp_path: Path) -> None:
    data = write_tsv(tmp_path / "test.tsv", [(SURE, "good"), (f"{SURE} cast", "bad"), (".", "unknown"), ("!", "good")])
    figures = json.loads(ask("evaluate", rejecting_run, data, "--json").out)
    assert figures["n"] == 3
    outside = figures["rejection"].pop("out_of_scope")
    assert figures["rejection"] == {
        "threshold": 0.5625,
        "label": "unknown",
        "n": 4,
        "answered": 2,
        "coverage": 0.5,
        "precision": 0.5,
        "accuracy": 0.5,
    }
    # The last text is as unsure as the one of no class.
    assert outside == {"n": 1, "rejected": 1, "recall": 1.0, "precision": 0.5, "auroc": pytest.approx(2.5 / 3)}
    shown = ask("evaluate", rejecting_run, data).out
    assert "Answered 'unknown' below a probability of 0.5625" in shown and "out of scope" in " ".join(shown.split())
    alone = write_tsv(tmp_path / "alone.tsv", [("?", "unknown"), (".", "unknown")])
    answer = ask("evaluate", rejecting_run, alone)
    assert answer.code == 0 and "1.0000" in answer.out
    assert ask("evaluate", rejecting_run, write_tsv(tmp_path / "x.tsv", [("?", "other"), (".", "good")])).code == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saved_model", "onnx", "tflite", "bytes"])
def test_every_artifact_rejects_the_same(
    name: str, artifacts: dict[str, Path], texts: list[str], expected: list[str]
) -> None:
    artifact = switch_tf.load(artifacts[name])
    assert artifact.predict(texts).tolist() == expected
    assert (artifact.labels, artifact.reject_label, artifact.reject_threshold) == (["bad", "good"], "unknown", 0.5625)


@pytest.mark.slow
def test_every_list_of_labels_ends_in_the_reject_label(artifacts: dict[str, Path]) -> None:
    named = ["bad", "good", "unknown"]
    manifests = [artifacts["saved_model"] / "assets.extra" / "manifest.json"]
    lists = [json.loads((artifacts["saved_model"] / "assets" / "labels.json").read_text(encoding="utf-8"))]
    for name in ("onnx", "tflite", "bytes"):
        lists.append(json.loads(labels_path(artifacts[name]).read_text(encoding="utf-8")))
        manifests.append(artifacts[name].with_name(f"{artifacts[name].name}.manifest.json"))
    described = [json.loads(path.read_text(encoding="utf-8")) for path in manifests]
    assert all(each == named for each in [*lists, *(manifest["labels"] for manifest in described)])
    for manifest in described:
        assert manifest["reject"] == {"threshold": 0.5625, "label": "unknown"}
        assert all(
            0 < each["rejected"] < each["texts"] and each["threshold_ties"] == 0 for each in manifest["parity"].values()
        )


@pytest.mark.slow
def test_classify_has_the_threshold_as_the_score_of_the_reject_label(
    artifacts: dict[str, Path], texts: list[str]
) -> None:
    import tensorflow as tf

    from switch_tf.export.saved_model.loader import as_examples

    classify = tf.saved_model.load(str(artifacts["saved_model"])).signatures["classify"]
    answer = classify(inputs=tf.constant(as_examples([text.encode() for text in texts]), tf.string))
    classes, scores = answer["classes"].numpy(), answer["scores"].numpy()
    assert classes.shape == scores.shape == (len(texts), 3)
    assert {row.tolist()[2] for row in classes} == {b"unknown"} and set(scores[:, 2]) == {np.float32(0.5625)}
    np.testing.assert_allclose(scores[:, :2].sum(axis=1), 1.0, atol=1e-6)
    best = classes[np.arange(len(texts)), scores.argmax(axis=1)]
    assert [each.decode() for each in best] == switch_tf.load(artifacts["saved_model"]).predict(texts).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "tflite", "bytes"])
def test_the_lines_of_a_page_print_the_reject_label(name: str, artifacts: dict[str, Path]) -> None:
    page = page_path(artifacts[name]).read_text(encoding="utf-8")
    assert 'answered "unknown": its `label` is that, as an index 2' in " ".join(page.split())
    (lines,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert TEXT in lines
    command = [sys.executable, "-I", "-c", lines.replace(TEXT, "?")]
    finished = subprocess.run(command, cwd=artifacts[name].parent, capture_output=True, text=True, check=True)
    assert finished.stdout.startswith("unknown [")


@pytest.mark.slow
def test_the_page_of_tf_serving_tells_of_it(artifacts: dict[str, Path]) -> None:
    page = (artifacts["saved_model"].parent / "README.md").read_text(encoding="utf-8")
    assert 'is answered "unknown": its label is that where no probability reaches 0.5625.' in " ".join(page.split())
    assert '["unknown", 0.5625]' in page


def test_the_model_knows_its_threshold(rejecting_run: Path) -> None:
    from switch_tf.runs.folder import open_run

    assert open_run(rejecting_run).rejection == Rejection(0.5625, "unknown")
