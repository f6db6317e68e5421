"""The oldest ONNX Runtime that we promise answers a file as the newest does, with nothing else of ours installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import export_file

from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.export.proof.corpus import adversarial_texts
from switch_tf.export.proof.gate import Proof
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow

OLDEST = "1.18.0"
PROGRAM = """
import json, sys
import numpy as np, onnxruntime
model, texts, answers = sys.argv[1:]
texts = json.load(open(texts, encoding="utf-8"))
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
said = {}
for size in (64, 7, 1):
    rows = [[], []]
    for start in range(0, len(texts), size):
        batch = np.array(texts[start : start + size], dtype=object)
        for row, answer in zip(rows, session.run(["probabilities", "label"], {"text": batch})):
            row += answer.tolist()
    said[size] = rows
json.dump({"version": onnxruntime.__version__, "numpy": np.__version__, "answers": said}, open(answers, "w"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A virtual environment with that runtime and a NumPy it can load, and nothing else."""
    if sys.version_info >= (3, 13):
        assert "CI" not in os.environ, "CI runs on a Python that the oldest runtime has wheels for"
        pytest.skip(f"onnxruntime {OLDEST} has wheels for Python up to 3.12")
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    install = ["-m", "pip", "install", "--quiet", f"onnxruntime=={OLDEST}", "numpy<2"]
    finished = subprocess.run([folder / "bin" / "python", *install], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return folder / "bin" / "python"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_it_answers_as_the_newest(trained_run: Path, python: Path, tmp_path: Path, precision) -> None:
    run = open_run(trained_run)
    model, _ = export_file("onnx", run, Proof(run, texts=8), tmp_path / "model.onnx", precision=precision)
    texts = adversarial_texts(run.config.text, run.vocabulary, 400, seed=1)
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    expected = OnnxPredictor(model).probabilities(texts)

    words = [python, "-I", "-c", PROGRAM, model, tmp_path / "texts.json", tmp_path / "answers.json"]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    said = json.loads((tmp_path / "answers.json").read_text())
    assert said["version"] == OLDEST and said["numpy"].startswith("1.")
    for probabilities, labels in said["answers"].values():
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
        assert labels == [run.labels[index] for index in expected.argmax(axis=1)]
