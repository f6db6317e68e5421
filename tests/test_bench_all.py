"""The page's tables are made of rows, a worse ratio is noticed, and the part that grows runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

TOOLS = Path(__file__).parents[1] / "tools"
LAYER: dict[str, Any] = {
    "section": "The layer",
    "what": "d=256, E=8, forward",
    "ratio_to": "dense",
    "ratio": 1.25,
    "milliseconds": 125.04,
    "peer_milliseconds": 0.1,
}
MEMORY: dict[str, Any] = {
    "section": "Start-up and memory",
    "what": "ONNX, one text",
    "ratio_to": "",
    "ratio": None,
    "milliseconds": None,
    "megabytes": 61.26,
    "note": "peak",
}
GROWTH: dict[str, Any] = {
    "section": "Growth",
    "what": "experts",
    "sizes": [4, 1024],
    "milliseconds": [1.0, 2500.0],
    "slope": 0.126,
}


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS)


def test_rows_become_tables() -> None:
    from bench_all import tables

    assert tables({"processor": "a chip, 2 cores"}, [LAYER, MEMORY, GROWTH]) == {
        "machine": "| measured on | |\n|---|---|\n| processor | a chip, 2 cores |",
        "layer": "| ours / theirs | what | beside | ours | theirs | |\n|---|---|---|---|---|---|\n"
        "| **1.25x** | d=256, E=8, forward | dense | 125 ms | 0.1 ms |  |",
        "start-up": "| ours / theirs | what | beside | ours | theirs | |\n|---|---|---|---|---|---|\n"
        "|  | ONNX, one text |  | 61.3 MB |  | peak |",
        "growth": "| slope | of the last step | what grows | milliseconds by size |\n|---|---|---|---|\n"
        "| **0.13** | 1.41 | experts | 4: 1; 1,024: 2,500 |",
    }


def test_a_ratio_may_be_a_quarter_worse_and_no_more() -> None:
    from bench_all import compare

    assert compare([LAYER, GROWTH, MEMORY], [LAYER | {"ratio": 1.5625}, GROWTH | {"slope": 0.376}, MEMORY]) == []
    assert compare([LAYER, GROWTH], [LAYER | {"ratio": 1.57}, GROWTH | {"slope": 0.38}]) == [
        "The layer / d=256, E=8, forward / dense: 1.57x, and 1.25x was committed",
        "Growth / experts: slope 0.38, and 0.13 was committed",
    ]


def test_what_is_no_longer_measured_is_said_of_measured_sections_alone() -> None:
    from bench_all import compare

    new = LAYER | {"what": "another"}
    assert compare([LAYER, MEMORY], [new]) == [
        "The layer / d=256, E=8, forward / dense: committed, and not measured now"
    ]


def test_sections_that_were_not_measured_stay() -> None:
    from bench_all import merged

    faster = LAYER | {"ratio": 1.0}
    assert merged([LAYER, MEMORY], [faster]) == [MEMORY, faster]


def test_it_names_the_machine() -> None:
    from bench_all import machine

    said = machine()
    assert " cores" in said["processor"] and "tensorflow 2." in said["versions"]


class TestTheCommand:
    @pytest.fixture
    def main(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> click.Command:
        """The command, with one part that prints the row in `row.json` and one that fails."""
        import bench_all

        good, bad = tmp_path / "good.py", tmp_path / "bad.py"
        good.write_text(
            "import json, sys\n"
            f"open({str(tmp_path / 'words')!r}, 'w').write(json.dumps(sys.argv[1:]))\n"
            f"print('words')\nprint(open({str(tmp_path / 'row.json')!r}).read())"
        )
        bad.write_text("raise SystemExit(3)")
        monkeypatch.setattr(bench_all, "SUITES", {"layer": str(good), "training": str(bad), "raw-text": "none.py"})
        return bench_all.main

    def test_it_fills_the_page_keeps_the_figures_and_checks_them(self, main: click.Command, tmp_path: Path) -> None:
        page, row = tmp_path / "performance.md", tmp_path / "row.json"
        end = "<!-- end of table -->\n"
        page.write_text(f"<!-- table: layer -->\n{end}<!-- table: gpu -->\nkept\n{end}")
        row.write_text(json.dumps([LAYER]))
        ran = CliRunner().invoke(main, ["--write", str(page)])
        assert ran.exit_code == 1 and "bad.py ended with 3, without rows" in ran.stderr
        assert "There is no " in ran.stderr and "Not measured: training, raw-text." in ran.stderr
        figures = tmp_path / "performance.json"
        assert json.loads(figures.read_text())["rows"] == [LAYER]
        assert "| **1.25x** | d=256, E=8, forward |" in page.read_text() and "kept" in page.read_text()

        words = ["--check", "--only", "layer", "--figures", str(figures)]
        assert CliRunner().invoke(main, [*words, "--words", "layer=--torch 'a python'"]).exit_code == 0
        assert json.loads((tmp_path / "words").read_text()) == ["--json", "--torch", "a python"]
        row.write_text(json.dumps([LAYER | {"ratio": 2.0}]))
        ran = CliRunner().invoke(main, words)
        assert ran.exit_code == 1 and "2.00x, and 1.25x was committed" in ran.stderr
        assert json.loads(figures.read_text())["rows"] == [LAYER]

    def test_without_figures_there_is_nothing_to_check(self, main: click.Command, tmp_path: Path) -> None:
        ran = CliRunner().invoke(main, ["--check", "--figures", str(tmp_path / "none.json")])
        assert ran.exit_code == 1 and "holds no figures to compare with" in ran.stderr
        assert CliRunner().invoke(main, ["--check", "--write", __file__]).exit_code == 2
        assert CliRunner().invoke(main, ["--words", "none=a"]).exit_code == 2


def test_the_slope_of_a_square_is_two() -> None:
    from bench_growth import slope

    assert slope([1, 10, 100], [5, 500, 50_000]) == pytest.approx(2.0)
    assert slope([4, 64], [3.0, 3.0]) == pytest.approx(0.0)


@pytest.mark.slow
def test_growth_is_measured() -> None:
    words: list[str | Path] = [sys.executable, TOOLS / "bench_growth.py", "--quick", "--json"]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads(finished.stdout.splitlines()[-1])
    assert [row["sizes"] for row in rows] == [[4, 8], [64, 128], [1, 4], [10_000, 100_000]]
    assert all(row["section"] == "Growth" and min(row["milliseconds"]) > 0 for row in rows)
