"""Batch scoring on Spark, where it is installed with Java: it is large, so that neither the tests nor CI install it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import export_file, made_up_rows

from switch_tf.artifacts.opening import load_predictor
from switch_tf.errors import ArgumentError, DataError, RunError
from switch_tf.runs.folder import open_run
from switch_tf.serving.job import ScoringOptions, score_files
from switch_tf.serving.spark import score_with_spark

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(trained_run: Path, trained_proof: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = export_file("onnx", open_run(trained_run), trained_proof, tmp_path_factory.mktemp("model") / "model.onnx")
    return Path(path)


def test_a_model_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"Spark needs an \.onnx or \.tflite file that answers by itself"):
        score_with_spark(tmp_path, "a", "b", "local", lambda: pytest.fail("not asked for"))


def test_without_spark_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(RunError, match=r"Spark is not installed. Install it \(the extra `spark`"):
        score_with_spark(model, "a", "b", "local", lambda: pytest.fail("not asked for"))


class TestSpark:
    @pytest.fixture(autouse=True)
    def has_spark(self) -> None:
        pytest.importorskip("pyspark")

    def test_a_python_process_is_killed_and_the_rows_are_those_of_the_pool(self, model: Path, tmp_path: Path) -> None:
        rows = [row for seed in range(8) for row in made_up_rows(500, seed)]
        for number in range(8):
            some = range(number * 500, (number + 1) * 500)
            table = pa.table({"id": list(some), "text": [rows[i][0] for i in some]})
            (tmp_path / "texts").mkdir(exist_ok=True)
            pq.write_table(table, tmp_path / "texts" / f"{number}.parquet")
        killed: list[int] = []
        watching = threading.Thread(target=kill_one, args=(killed,), daemon=True)
        watching.start()
        said = score_with_spark(
            model, str(tmp_path / "texts"), str(tmp_path / "spark"), "local[2,4]", lambda: load_predictor(model, 1)
        )
        assert (said["rows"], len(killed)) == (4000, 1)
        assert (tmp_path / "spark" / "_SUCCESS").exists()
        score_files(
            model,
            str(tmp_path / "texts"),
            str(tmp_path / "pool"),
            ScoringOptions(workers=1),
            Silent(),
            lambda: load_predictor(model, 1),
        )
        spark, pool = (pq.read_table(tmp_path / name).sort_by("id") for name in ("spark", "pool"))
        assert spark.schema.names == pool.schema.names
        assert spark["id"].to_pylist() == list(range(4000))
        assert spark["label"].equals(pool["label"]) and spark["text"].equals(pool["text"])
        assert spark["score"].to_numpy() == pytest.approx(pool["score"].to_numpy(), abs=1e-6)

    def test_what_cannot_be_used_is_told(self, model: Path, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": [1], "other": ["a"]}), tmp_path / "a.parquet")
        source, output = str(tmp_path / "a.parquet"), str(tmp_path / "out")

        def score(source: str, **options: Any) -> None:
            score_with_spark(model, source, output, "local[1]", lambda: load_predictor(model, 1), **options)

        with pytest.raises(DataError, match="column 'text': expected strings, received bigint"):
            score(source)
        with pytest.raises(DataError, match="there is no column 'review'"):
            score(source, text_column="review")
        with pytest.raises(RunError, match="Spark fails on"):
            score(str(tmp_path / "none"))
        Path(output).mkdir()
        with pytest.raises(RunError, match="Spark fails on"):
            score(source, text_column="other")


class Silent:
    def begin(self, workers: int) -> None: ...

    def part(self, rows: int, share: float, is_new: bool) -> None: ...

    def note(self, message: str) -> None: ...


def kill_one(killed: list[int]) -> None:
    """Kill the first of Spark's Python processes that answers."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        found = subprocess.run(["pgrep", "-f", "pyspark.daemon"], capture_output=True, text=True, check=False).stdout
        for process in map(int, found.split()):
            if is_ours(process) and loads_the_runtime(process):
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                return
        time.sleep(0.01)


def is_ours(process: int) -> bool:
    """Whether this process is among its ancestors."""
    while process > 1:
        if process == os.getpid():
            return True
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


def loads_the_runtime(process: int) -> bool:
    try:
        return "onnxruntime_pybind11_state" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False
