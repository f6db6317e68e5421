"""The check in browsers: its table by hand, and what it counts, and the runtimes themselves."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import export_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import browser_check
from browser_check import BOUND, Differing

from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run

FOUND = {"words": (999, {"LiteRT.js": Differing(0, 1.2e-7)}), "unigram": (1000, {"LiteRT.js": Differing(3, 0.5)})}


def test_the_table_has_a_row_for_each_way_to_read() -> None:
    assert browser_check.table(FOUND).splitlines() == [
        "| texts whose ids differ, and the largest difference of a probability | texts | LiteRT.js |",
        "|---|---|---|",
        "| words | 999 | 0, 1e-07 |",
        "| unigram | 1,000 | 3, 5e-01 |",
    ]


def test_a_text_differs_by_any_id_and_a_probability_by_its_size() -> None:
    ids, probabilities = np.array([[2, 3], [4, 0], [5, 0]]), np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    same: dict[str, list[float]] = {"ids": [2, 3, 4, 0, 5, 0], "probabilities": [0.25, 0.75, 0.5, 0.5, 1.0, 0.0]}
    assert browser_check.differing(same, ids, probabilities) == (0, 0.0)
    other: dict[str, list[float]] = {"ids": [2, 3, 4, 1, 0, 5], "probabilities": [0.25, 0.75, 0.5, 0.25, 1.0, 0.0]}
    assert browser_check.differing(other, ids, probabilities) == (2, 0.25)
    with pytest.raises(ValueError, match="reshape"):
        browser_check.differing(same, ids[:2], probabilities)


@pytest.mark.parametrize(
    ("worst", "code"),
    [(Differing(0, BOUND), 0), (Differing(1, 0.0), 1), (Differing(0, 2e-5), 1), (Differing(0, float("nan")), 1)],
)
def test_what_differs_ends_with_1(monkeypatch: pytest.MonkeyPatch, worst: Differing, code: int) -> None:
    monkeypatch.setattr(browser_check, "check", lambda *_: (900, {"LiteRT.js": Differing(0, 0.0), "other": worst}))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(sys, "argv", ["browser_check.py", "--rules", "words"])
    with pytest.raises(SystemExit) as stopped:
        browser_check.main()
    assert stopped.value.code == code


@pytest.mark.slow
def test_runtimes_answer_as_the_model(
    trained_run: Path, trained_proof: Any, node: str, chromium: str, tmp_path: Path
) -> None:
    del node  # has to be on the path, with what it needs
    run = open_run(trained_run)
    export_file("onnx", run, trained_proof, tmp_path / "model.onnx", inputs="bytes")
    export_file("tflite", run, trained_proof, tmp_path / "model.tflite", batch=1)
    model = load_classifier(run)
    texts = [b"", "lovely sch\u00f6n".encode(), b"dull film", b"awful\xffplot", b"lovely awful cold " * 40]
    found = browser_check.compare(chromium, model, texts, tmp_path)
    assert list(found) == ["onnxruntime-node", "onnxruntime-web", "LiteRT.js"]
    assert all(each.ids == 0 and each.probability < BOUND for each in found.values())
