"""Batch scoring on a Spark cluster: the same function over parquet, by `mapInArrow`; Spark retries what dies.

Spark reads, writes and commits (`_SUCCESS`). Rows keep their order within each piece that it reads, and the pieces have
the order that Spark gives them. Every executor's Python needs this package; the model goes to them with the job.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from switch_tf.data.rows import TEXT_COLUMN, Wanted, find_columns
from switch_tf.errors import ArgumentError, DataError, ModelError, RunError
from switch_tf.serving.answering import Beside, answer_batches, beside
from switch_tf.serving.model_digest import digest_of

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor

_FILES = (".onnx", ".tflite")


def score_with_spark(
    model: Path,
    source: str,
    output: str,
    master: str,
    load: "Callable[[], Predictor]",
    text_column: str | None = None,
    all_probabilities: bool = False,
) -> dict[str, Any]:
    """Answer parquet files into a folder that must not be there.

    Args:
        model: an .onnx or .tflite file.
        source: what Spark reads as parquet: a file, a folder, or a pattern with *.
        output: a folder that Spark writes.
        master: where it runs: "local[2,4]" is two processes here, and each piece is tried up to four times.
        load: opens the model, to know its classes.

    Returns:
        output, rows and seconds.

    Raises:
        ArgumentError: the model is no file, or needs others beside it.
        DataError: the input has no such column of strings.
        RunError: Spark is not installed, or fails.
    """
    from switch_tf.artifacts.fine_tuned_folder import artifact_folder

    started = time.monotonic()
    if model.suffix not in _FILES or not model.is_file() or artifact_folder(model) != model:
        expected = "Spark needs an .onnx or .tflite file that answers by itself: export one"
        raise ArgumentError(f"Received {model}. {expected}, or leave the engine out.", "engine")
    session = _session(master)
    from pyspark.errors import PySparkException

    try:
        frame = session.read.parquet(source)
        texts = _texts(frame, text_column or TEXT_COLUMN, source)
        loaded = load()
        added = beside(frame.columns, loaded.labels, loaded.rejection, all_probabilities)
        session.sparkContext.addFile(str(model.absolute()))
        answer = partial(_answer, model.name, digest_of(model), texts, added)
        frame.mapInArrow(answer, _schema(frame, added)).write.mode("errorifexists").parquet(output)
        rows = session.read.parquet(output).count()
    except PySparkException as error:
        raise RunError(f"Spark fails on {source} or {output}: {_first_line(error)}", "master") from error
    finally:
        session.stop()
    return {"output": output, "rows": rows, "seconds": round(time.monotonic() - started, 3)}


def _session(master: str) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        remedy = "Install it (the extra `spark`: pyspark, which needs Java 17 or newer)"
        raise RunError(f"Spark is not installed. {remedy}, or leave the engine out.", "engine") from error
    if master.startswith("local"):  # elsewhere the cluster says which Python there is
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("switch-tf").master(master)
    try:
        return builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    except Exception as error:  # of py4j, where Java or the master is not there
        raise RunError(f"Spark does not start at {master}: {_first_line(error)}", "master") from error


def _texts(frame: Any, text_column: str, source: str) -> tuple[str, ...]:
    """The columns of texts.

    Raises:
        DataError: one is not there, or holds no strings.
    """
    positions, _ = find_columns(frame.columns, Wanted(text_column), source)
    for position in positions:
        name, kind = frame.dtypes[position]
        if kind != "string":
            raise DataError(f"{source}, column {name!r}: expected strings, received {kind}. Convert it.", "text_column")
    return tuple(frame.columns[position] for position in positions)


def _schema(frame: Any, added: Beside) -> Any:
    from pyspark.sql import types

    kinds = {"label": types.StringType(), "error": types.StringType(), "rejected": types.BooleanType()}
    fields = [
        types.StructField(name, kinds.get(kind, types.FloatType()))
        for name, kind in zip(added.names, added.kinds, strict=True)
    ]
    return types.StructType([*frame.schema.fields, *fields])


def _answer(
    name: str, digest: str, texts: tuple[str, ...], added: Beside, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What runs in each of Spark's processes."""
    return answer_batches(batches, _model(name, digest), texts, added)


@cache
def _model(name: str, digest: str) -> "Predictor":
    from pyspark import SparkFiles

    from switch_tf.artifacts.opening import load_predictor

    path = Path(SparkFiles.get(name))
    if digest_of(path) != digest:
        raise ModelError(f"{path} is another file than the one that was sent. Begin again.")
    return load_predictor(path, threads=1, tell=lambda message: None)


def _first_line(error: Exception) -> str:
    return f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
