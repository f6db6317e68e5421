"""The GPU's check runs on a CPU: right answers, every figure, and what was measured before it was cut off.

JAX is half a gigabyte, so it has an environment of its own unless it is there.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOOLS = Path(__file__).parents[1] / "tools"
JAX = "jax==0.10.2"
LAYER = {"d_model": 16, "d_ff": 32, "experts": 4, "batch": 2, "length": 12}
ROWS: list[dict[str, Any]] = [
    {"part": "device", "name": "a card", "jax": "1.2", "run": "mine"},
    {"part": "parity", "what": "ids, batch 4", "texts": 4096, "max_abs_diff": 2e-7, "near_ties": 1}
    | {"max_abs_diff_of_near_ties": 3e-4, "labels_equal": 4095},
    {"part": "end", "of": "parity", "problem": "", "seconds": 1.0},
    {"part": "throughput", "door": "ids", "batch": 64, "texts_per_second": 6e4, "texts_per_second_from_host": 5e4},
    {"part": "throughput", "door": "ids", "batch": 8192, "texts_per_second": 2e6, "texts_per_second_from_host": 1e6},
    {"part": "throughput", "door": "bytes", "batch": 64, "texts_per_second": 1e4, "texts_per_second_from_host": 9e3},
    {"part": "end", "of": "throughput", "problem": "cut off after 9 s", "seconds": 9.0},
    {"part": "layer parity", "what": "switch-16-4-forward", "max_abs_diff": 5e-7},
    {"part": "layers", "what": "d=16", "which": "switch", "milliseconds": 3.0},
    {"part": "layers", "what": "d=16", "which": "dense", "milliseconds": 2.0},
    {"part": "torch", "what": "d=16", "which": "Hugging Face, PyTorch", "milliseconds": 6.0},
    {"part": "layers", "what": "d=32", "which": "switch", "milliseconds": 4.0},
]
TABLE = """\
Run on **a card** with JAX 1.2, float32, TF32 off; model `mine`. \
The part `throughput` was cut off after 9 s: what it measured until then is here.

| beside TensorFlow on the CPU | texts | max difference | labels equal | near-ties (their difference) |
|---|---|---|---|---|
| ids, batch 4 | 4,096 | 2.0e-07 | 4,095 | 1 (3.0e-04) |

| texts per second, batch | ids, on the device | ids, from and to the host | bytes, on the device | \
bytes, from and to the host |
|---|---|---|---|---|
| 64 | 60,000 | 50,000 | 10,000 | 9,000 |
| 8,192 | 2,000,000 | 1,000,000 | not run | not run |

| the Switch layer | ours / a dense layer | ours / Hugging Face, PyTorch | ours, ms | a dense layer, ms | \
Hugging Face, PyTorch, ms |
|---|---|---|---|---|---|
| d=16 | 1.50x | 0.50x | 3.000 | 2.000 | 6.000 |
| d=32 | not run | not run | 4.000 | not run | not run |

Their answers are within 5.0e-07 of TensorFlow's on the CPU (1 compared)."""


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS)


def test_results_become_tables() -> None:
    from gpu_table import table

    assert table(ROWS) == TABLE
    assert table([]) == "not run"


def test_a_page_is_filled_and_a_line_that_was_cut_off_left_out(tmp_path: Path) -> None:
    from gpu_check import main

    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    results.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"part": "thr')
    page.write_text("before\n<!-- table: gpu -->\nnot run\n<!-- end of table -->\nafter\n")
    assert main(["table", str(results), "--write", str(page)]) == 0
    assert page.read_text() == f"before\n<!-- table: gpu -->\n\n{TABLE}\n\n<!-- end of table -->\nafter\n"
    page.write_text("no markers")
    assert main(["table", str(results), "--write", str(page)]) == 1


def test_calls_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_check

    clock, called = [0.0], []
    seconds = {"a": iter([9.0, 9.0, 1.0, 5.0, 2.0, 2.0, 2.0]), "b": iter([9.0, 9.0, 3.0, 3.0, 3.0, 4.0, 4.0])}

    def call(name: str) -> None:
        called.append(name)
        clock[0] += next(seconds[name])

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    taken = gpu_check.seconds_of(
        [lambda: call("a"), lambda: call("b")], least=5, most=9, limit=1.0, clock=lambda: clock[0]
    )
    assert taken == [2.0, 3.0] and called == ["a", "b"] * 7


@pytest.mark.slow
def test_a_part_that_fails_or_takes_too_long_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    words: list[str | Path] = [
        sys.executable,
        TOOLS / "gpu_check.py",
        "run",
        tmp_path / "none",
        results,
        "--seconds",
        "60",
    ]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["of"] for row in rows] == ["parity", "throughput", "layers", "torch"]
    assert {row["problem"] for row in rows} == {"ended with 1"} and finished.returncode == 4


def test_a_layer_is_drawn_alike_everywhere() -> None:
    from gpu_check import draw, sampled

    drawn = draw({"x": [2, 3, 4], "router_kernel": [4, 2], "b_in": [4]})
    assert {name: (each.shape, each.dtype.name) for name, each in drawn.items()} == {
        "x": ((2, 3, 4), "float32"),
        "router_kernel": ((4, 2), "float32"),
        "b_in": ((4,), "float32"),
    }
    np.testing.assert_array_equal(drawn["x"], draw({"x": [2, 3, 4]})["x"])
    assert not drawn["b_in"].any() and drawn["x"].any()
    rows = np.arange(100.0).reshape(10, 10, 1)
    assert sampled(rows)[[0, -1], 0].tolist() == [0.0, 99.0] and len(sampled(rows)) == 64


@pytest.fixture(scope="module")
def jax_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    if importlib.util.find_spec("jax") is not None:
        return sys.executable
    folder = tmp_path_factory.mktemp("jax")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", JAX], check=True)
    return python


@pytest.mark.slow
def test_it_runs_on_a_cpu(trained_run: Path, jax_python: str, tmp_path: Path) -> None:
    bundle, results = tmp_path / "bundle", tmp_path / "results.jsonl"
    words = ["prepare", trained_run, bundle, "--batches", "4", "--texts", "30", "--layers", json.dumps([LAYER])]
    prepared = subprocess.run(
        [sys.executable, TOOLS / "gpu_check.py", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert prepared.returncode == 0, prepared.stderr
    words = ["run", bundle, results, "--seconds", "240"]
    finished = subprocess.run(
        [jax_python, TOOLS / "gpu_check.py", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "Run on **XLA for the CPU, " in finished.stdout
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    parity = {row["what"]: row for row in rows if row["part"] == "parity"}
    assert set(parity) == {"ids, batch 4", "bytes, batch 4"}
    for row in parity.values():
        assert row["max_abs_diff"] <= 1e-5 and row["labels_equal"] == row["texts"] == 32
    assert [(row["door"], row["batch"]) for row in rows if row["part"] == "throughput"] == [("ids", 4), ("bytes", 4)]
    assert all(row["texts_per_second_from_host"] > 0 for row in rows if row["part"] == "throughput")
    layers = [(row["what"], row["which"]) for row in rows if row["part"] == "layers"]
    assert layers == [
        (f"d=16, E=4, 2 x 12 tokens, {how}", which)
        for how in ("forward", "with gradients")
        for which in ("switch", "dense")
    ]
    off = [row["max_abs_diff"] for row in rows if row["part"] == "layer parity"]
    assert len(off) == 2 and max(off) <= 1e-5
