"""The tool behind the quality table: a real training of a made-up set, and the tables made of figures by hand."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TINY, tiny_config, write_set

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import quality
import quality_plots


def run(model: float, **others: Any) -> dict[str, Any]:
    figures = {
        "accuracy": {"majority": 0.5, "linear": 0.8, "wide": 0.85, "deep": 0.7, "model": model, "dense_twin": 0.86},
        "calibration_error": 0.0123,
        "seconds": 61.4,
        "cpu_seconds": 30.2,
        "parameters": 1234567,
        "epochs": 5,
        "classes": 2,
        "training_texts": 5000,
        "test_texts": 1000,
        "length": 32,
        "flops": 17408,
    }
    return figures | others


CALIBRATION = {
    "before": {"error": 0.0314, "bins": [[0, 0.0, 0], [4, 2.8, 2], [6, 5.4, 6]]},
    "after": {"error": 0.0123, "bins": [[0, 0.0, 0], [5, 3.0, 3], [5, 4.5, 5]]},
}
CURVES = {"training": [0.7, 0.5, 0.3], "validation": [0.7, 0.6, 0.55]}
EXPORTED = {"int8_bytes": 1482898, "int8_accuracy": 0.9021, "milliseconds": 0.04049, "exported": 4, "refused": []}
MEASURED = {
    "made/1": run(0.88),
    "made/0": run(0.87, calibration=CALIBRATION, curves=CURVES, calibration_errors={"linear": 0.2}, **EXPORTED),
    "other/0": run(0.9, refused=["onnx float32: off"], exported=4),
}


def test_accuracies_are_means_and_half_of_the_range() -> None:
    assert quality.accuracy_table(MEASURED).splitlines() == [
        "| set | train, test | classes | seeds | TF-IDF + LR | fastText | wide | deep "
        "| both (the model) | dense twin |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| made | 5,000, 1,000 | 2 | 2 | 0.800 | not run | 0.850 | 0.700 | 0.875 ±.005 | 0.860 |",
        "| other | 5,000, 1,000 | 2 | 1 | 0.800 | not run | 0.850 | 0.700 | 0.900 | 0.860 |",
    ]


def test_costs_are_those_of_the_first_seed() -> None:
    assert quality.cost_table(MEASURED).splitlines()[2:] == [
        "| made | 32 | 30 (61) | 5 | 1,234,567 | 17,408 | 1,482,898 | 0.902 | 0.040 | 0.031 | 0.012 | none of 4 |",
        "| other | 32 | 30 (61) | 5 | 1,234,567 | 17,408 | - | - | - | not run | 0.012 | onnx float32 of 4 |",
    ]


def test_bins_are_counts_and_sums() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.5, 0.5]])
    assert quality.bins(probabilities, np.array([0, 0, 0, 1]), count=4) == [
        [0, 0.0, 0],
        [0, 0.0, 0],
        [1, 0.5, 0],
        [3, 2.65, 2],
    ]


def test_every_set_counts_alike_in_the_diagram_of_all() -> None:
    one, other = [[0, 0.0, 0], [2, 1.2, 1]], [[10, 3.0, 5], [10, 9.0, 10]]
    sure, right = quality_plots.pooled([one, other])
    # the second bin has all of the first set and half of the other: (1 x 0.6 + 0.5 x 0.9) / 1.5
    assert sure == pytest.approx([0.3, 0.7]) and right == pytest.approx([0.5, (0.5 + 0.5) / 1.5])


def test_differences_are_points_over_the_linear_model() -> None:
    runs = quality.by_set(MEASURED)
    assert quality_plots.differences(runs, "model") == {
        "made": [pytest.approx(7), pytest.approx(8)],
        "other": [pytest.approx(10)],
    }
    assert quality_plots.differences(runs, "fasttext") == {}


def test_pictures_are_small_svg_without_background_and_the_same_again(tmp_path: Path) -> None:
    runs = quality.by_set(MEASURED)
    drawn = quality_plots.draw_all(runs, tmp_path)
    assert [path.name for path in drawn] == ["quality-accuracy.svg", "quality-calibration.svg", "quality-curves.svg"]
    for path in drawn:
        text = path.read_text("utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(text) < 100_000
        words = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
        assert "made" in words
        assert ("TF-IDF + LR" in words) == (path.name == "quality-calibration.svg")
        assert "#000000" not in text and "fill: #ffffff" not in text
    first = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in quality_plots.draw_all(runs, tmp_path)] == first


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    runs = quality.by_set({"other/0": run(0.9)})
    assert [path.name for path in quality_plots.draw_all(runs, tmp_path)] == ["quality-accuracy.svg"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [([], "not run"), ([0.5], "0.500"), ([0.9, 0.906], "0.903 ±.003"), ([1, 0, 0.2], "0.400 ±.500")],
)
def test_spread(values: list[float], shown: str) -> None:
    assert quality.spread(values) == shown


def test_flops_are_those_of_router_and_feed_forward() -> None:
    # 4 x 8 x 16 in the feed-forward layer; 2 x 8 x 2 in the router, of every second block of two.
    assert quality.flops_per_token(tiny_config()) == 512 + 32
    assert quality.flops_per_token(tiny_config("model.num_blocks=2", "model.switch_every=2")) == 1024 + 32
    assert quality.flops_per_token(tiny_config("model.num_experts=0")) == 512


def test_tables_are_put_between_their_markers_again_and_again() -> None:
    page = "before\n<!-- table: cost -->\nold\n<!-- end of table -->\nafter\n<!-- end of table -->\n"
    filled = quality.fill(page, {"accuracy": "| a |", "cost": "| c |"})
    assert filled == "before\n<!-- table: cost -->\n\n| c |\n\n<!-- end of table -->\nafter\n<!-- end of table -->\n"
    assert quality.fill(filled, {"cost": "| c |"}) == filled
    with pytest.raises(click.ClickException, match="There is no '<!-- end of table -->' behind '<!-- table: cost -->'"):
        quality.fill("<!-- table: cost -->\n", {"cost": "| c |"})


def test_a_set_is_trained_on_measured_and_kept(tmp_path: Path) -> None:
    folder, page, results = tmp_path / "made", tmp_path / "page.md", tmp_path / "quality.json"
    page.write_text("<!-- table: accuracy -->\n<!-- end of table -->\n")
    write_set(folder)
    # Short texts in a window of 512: what the bytes input cuts is another test's matter.
    small = [word for each in (*TINY, "train.epochs=1", "text.byte_length=256") for word in ("--set", each)]
    words = [f"made={folder}", "--seeds", "1", "--results", str(results), "--write", str(page), *small]
    first = CliRunner().invoke(quality.main, words)
    assert first.exit_code == 0, first.output
    (key, figures), *others = json.loads(results.read_text()).items()
    assert (key, others) == ("made/0", [])
    assert {"majority", "linear", "wide", "deep", "model", "dense_twin"} <= set(figures["accuracy"])
    assert (figures["classes"], figures["training_texts"], figures["test_texts"]) == (2, 120, 40)
    assert figures["int8_bytes"] > 10_000 and figures["milliseconds"] > 0 and figures["refused"] == []
    assert page.read_text().count("| made | 120, 40 | 2 | 1 |") == 1
    calibration = figures["calibration"]
    assert figures["calibration_errors"]["model"] == figures["calibration_error"]
    assert calibration["after"]["error"] == pytest.approx(figures["calibration_error"], abs=1e-6)
    assert figures["temperature"] == 1.0  # too few texts to choose
    assert calibration["before"]["error"] == pytest.approx(calibration["after"]["error"], abs=1e-6)
    assert calibration["before"]["bins"] == calibration["after"]["bins"]
    assert [sum(row[0] for row in each["bins"]) for each in calibration.values()] == [40, 40]
    assert len(figures["curves"]["validation"]) == len(figures["curves"]["training"]) == 1
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        "quality-accuracy.svg",
        "quality-calibration.svg",
        "quality-curves.svg",
    ]
    results.write_text(json.dumps({"made/0": figures | {"classes": 77}}))
    again = CliRunner().invoke(quality.main, words)  # measures nothing again
    assert "made, seed 0" not in again.output and page.read_text().count("| made | 120, 40 | 77 | 1 |") == 1
