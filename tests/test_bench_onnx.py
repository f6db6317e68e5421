"""The benchmark's figures are ratios within a round, and it runs on a real run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parent.parent / "tools" / "bench_onnx.py"


def test_a_ratio_is_the_median_over_rounds_of_ratios_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOL.parent)
    from bench_onnx import _figures

    names = ["SavedModel", "ONNX, text", "Python tokenizer + ONNX, ids", "text part", "Python tokenizer"]
    rounds = [[1, 2, 9], [1, 1, 9], [2, 2, 2], [1, 1, 1], [1, 1, 1]]
    figures = _figures({name: np.array(each, float) for name, each in zip(names, rounds, strict=True)}, texts=10)
    assert figures["ONNX, text / SavedModel"] == 1.0  # of 1, 0.5 and 1: not 1 / 2, of the medians
    assert figures["milliseconds_per_text"]["SavedModel"] == 200.0


def test_it_times_a_run(trained_run: Path, data_folder: Path) -> None:
    words: list[str | Path] = [sys.executable, TOOL, trained_run, "--data", data_folder / "made.tsv"]
    words += ["--texts", "8", "--rounds", "1"]
    finished = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report["texts"] == 8 and set(report["batches"]) == {"1", "256"}
    assert all(each > 0 for each in report["batches"]["1"]["milliseconds_per_text"].values())
