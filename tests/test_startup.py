"""A file answers its first text from the command line without TensorFlow and what else it does not need, and soon."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import export_file

from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow

NOT_NEEDED = {"tensorflow", "pyarrow", "pydantic", "scipy", "sklearn", "rich", "onnx", "matplotlib"}
PROGRAM = """
import sys
from switch_tf.cli import main
try:
    main(["predict", sys.argv[1], "a fine film"])
finally:
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    import re, time
    peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]
    print(time.process_time(), int(peak) / 1024, *loaded)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("name", "megabytes"), [("onnx", 110), ("tflite", 80)])  # 75 and 48 measured
def test_the_first_answer(name: str, megabytes: int, trained_run: Path, trained_proof: Any, tmp_path: Path) -> None:
    model, _ = export_file(name, open_run(trained_run), trained_proof, tmp_path / f"model.{name}")
    words = [sys.executable, "-c", PROGRAM, model]
    finished = subprocess.run(
        words, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}
    )
    assert finished.returncode == 0, finished.stderr
    answer, told = finished.stdout.splitlines()
    assert answer.startswith(("good", "bad"))
    seconds, peak, *loaded = told.split()
    assert not NOT_NEEDED.intersection(loaded)
    assert float(seconds) < 2  # of the CPU; 0.3 and 0.17 measured
    assert float(peak) < megabytes
