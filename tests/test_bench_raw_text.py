"""The benchmark from raw text: its figures by hand, and one round of it on a real run."""

import sys
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(TOOLS)
    import bench_raw_text

    return bench_raw_text


def test_a_ratio_is_the_median_of_ratios_within_a_round(tool) -> None:
    seconds = {"ONNX": np.array([1.0, 2.0, 9.0]), "scikit-learn": np.array([1.0, 4.0, 9.0])}
    (row, _) = tool._rows("sms", {256: seconds}, texts=100)
    assert row == ("sms", "ONNX", 256, 20.0, 1.0)  # 2 s for 100 texts; ratios 1, 0.5 and 1


def test_the_page_shows_ours_beside_scikit_learn_and_beside_the_file_before(tool) -> None:
    rows = [
        tool.Row("sms", name, size, ratio * 2, ratio)
        for name, ratio in (("ONNX", 0.5), ("ONNX before", 1.5), ("scikit-learn", 1.0))
        for size in (1, 256)
    ]
    shown = [(each["what"], each["ratio_to"], each["ratio"]) for each in tool.page_rows(rows)]
    assert shown[:2] == [
        ("sms: ONNX, batch 1", "scikit-learn in Python", 0.5),
        ("sms: ONNX, batch 1", "the file before", 0.333),
    ]
    assert len(shown) == 4


def test_rounds_after_the_first_count_and_a_round_is_its_median_batch(tool) -> None:
    answers = {1: iter([[9.0], [1.0, 3.0, 2.0], [4.0]]), 256: iter([[9.0], [5.0], [7.0]])}
    figures = tool._time({"ONNX": lambda size: next(answers[size])}, rounds=2)
    assert {size: each["ONNX"].tolist() for size, each in figures.items()} == {1: [2.0, 4.0], 256: [5.0, 7.0]}


@pytest.mark.slow
def test_it_times_a_run_and_another_python(tool, trained_run: Path, data_folder: Path) -> None:
    train, test = (str(data_folder / name) for name in ("made.tsv", "made-test.tsv"))
    rows = tool.measure(trained_run, train, test, count=8, rounds=1, python=sys.executable)
    assert [(row.contender, row.batch) for row in rows][:4] == [
        ("ONNX", 1),
        ("ONNX", 256),
        ("LiteRT", 1),
        ("LiteRT", 256),
    ]
    assert {row.contender for row in rows} >= {"SavedModel", "scikit-learn"}
    assert all(row.milliseconds > 0 for row in rows)
    assert [row.ratio for row in rows if row.contender == "scikit-learn"] == [1.0, 1.0]
