"""The page of the layer: what it shows runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_page_of_the_layer_runs_and_shows_equal_answers(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "layer.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    finished = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    equal, load = finished.stdout.splitlines()
    assert equal == "True"
    *tokens, dropped = [float(number) for number in re.findall(r"[\d.]+", load)]
    assert (len(tokens), sum(tokens)) == (4, 256 * 32)  # every token of the page's texts is real
    assert 0 <= dropped < 256 * 32 / 2
