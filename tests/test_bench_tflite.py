"""The LiteRT benchmark runs on a real run, and the cost of the text part grows with its width."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parent.parent / "tools" / "bench_tflite.py"


def test_it_times_a_run(trained_run: Path, data_folder: Path) -> None:
    words: list[str | Path] = [sys.executable, TOOL, trained_run, "--data", data_folder / "made.tsv"]
    words += ["--texts", "20", "--rounds", "2"]
    finished = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    least = {int(width): each["least_us"] for width, each in report["text_part"].items()}
    assert list(least) == [256, 512, 1024, 2048, 4096]
    assert 2 < least[4096] / least[256] < 60  # 16, were all of it linear and nothing else ran here
    for each in report["models"].values():
        assert 0 < each["memory_before_mb"] < each["peak_memory_mb"] and each["bytes"] > 10_000
