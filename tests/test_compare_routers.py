"""The tool behind the table of routers: one real training of a made-up set, and the table made of figures by hand."""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, write_set

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import compare_routers

from switch_tf.config import load_config
from switch_tf.runs.folder import unfinished

PASSED = {"path": "model.tflite", "largest_difference": 1e-7, "ties": 1}


def training(accuracy: float, exports: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"accuracy": accuracy, "deep": accuracy - 0.1, "parameters": 1234567, "exports": exports or {}, "run": "run"}


FIGURES: dict[str, Any] = {
    "trainings": {
        "made/top1/0": training(0.9, {"tflite": PASSED, "onnx": PASSED}),
        "made/top1, priority = gate/0": training(0.8, {"tflite": PASSED, "onnx": {"refused": "off by 1"}}),
        "made/top1/1": training(0.91),
        "other/top1/0": training(0.7),
    },
    "times": {
        "a training step": {"top1": [1.0, 2.0, 4.0], "top1, priority = gate": [1.5, 3.0, 4.0]},
        "LiteRT": {"top1": [1.0, 2.0, 4.0]},
    },
}


def test_the_table_by_hand() -> None:
    assert compare_routers.table(FIGURES).splitlines() == [
        "| router | made | other | parameters (made) | a training step, LiteRT: to top1 "
        "| passed the gate | near-ties |",
        "|---|---|---|---|---|---|---|",
        "| `top1` | 0.905 ±.005 / 0.805 ±.005 | 0.700 / 0.600 | 1,234,567 | 1.00, 1.00 | 2 of 2 | 2 |",
        "| `top1`, `priority = gate` | 0.800 / 0.700 | not run | 1,234,567 | 1.50, not run | 1 of 2 | 1 |",
    ]


def test_every_router_of_the_settings_is_compared_by_settings_that_there_are() -> None:
    configs = [load_config("auto", None, settings).model for settings in compare_routers.ROUTERS.values()]
    assert {each.router for each in configs} == {"top1", "top2", "expert_choice", "xmoe", "token"}
    assert len({str(each) for each in configs}) == len(configs)


@pytest.mark.slow
def test_a_run_is_trained_exported_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path)
    small = (*TINY, "train.epochs=1", "text.byte_length=256", "model.router=top2")
    path = tmp_path / "runs" / "made"
    unfinished(path).mkdir(parents=True)  # as a kill leaves one
    figures = compare_routers.measure("made", tmp_path, path, 0, small, ["tflite"])
    assert 0.5 <= figures["accuracy"] <= 1 and figures["parameters"] > 100
    assert figures["exports"]["tflite"]["ties"] == 0 and figures["exports"]["tflite"]["largest_difference"] < 1e-5
    monkeypatch.setattr(compare_routers, "_ROUNDS", 2)
    times = compare_routers.times({"top2": figures})
    assert {name: list(each) for name, each in times.items()} == {
        "a training step": ["top2"],
        "LiteRT": ["top2"],
        "ONNX Runtime": [],
    }
    assert all(len(rounds) == 2 and min(rounds) > 0 for each in times.values() for rounds in each.values())
