"""Answers for texts, from whatever kind of model a path holds, one text or a stream of millions."""

import gzip
import json
import lzma
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from switch_tf.errors import DataError, ModelError, UsageError
from switch_tf.run import UNFINISHED, is_run, open_run

BATCH = 256  # texts in memory at a time
LINE_LIMIT = 16 * 2**20  # bytes: far above any text that one classifies
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
SAVED_MODEL_LABELS = "labels.json"  # among the assets of an exported SavedModel


class Predictor(Protocol):
    """A model that answers texts."""

    labels: list[str]
    runtime: str  # what runs it

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]."""
        ...


class Line(NamedTuple):
    """A text to answer, or why there is none; `number` counts lines from 1."""

    number: int
    text: str
    error: str = ""


class SavedModelPredictor:
    """A SavedModel of ours, asked through its `serving_default` signature."""

    runtime = "TensorFlow"

    def __init__(self, folder: Path):
        import tensorflow as tf

        try:
            self._model = tf.saved_model.load(str(folder))
            self._answer = self._model.signatures["serving_default"]
            labels = json.loads((folder / "assets" / SAVED_MODEL_LABELS).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ModelError(f"{folder} cannot be used as a SavedModel: {error}. Export it again.") from error
        inputs = self._answer.structured_input_signature[1]
        outputs = self._answer.structured_outputs
        if set(inputs) != {"text"} or not {"probabilities", "label"} <= set(outputs):
            raise ModelError(
                f"{folder} has the signature {sorted(inputs)} -> {sorted(outputs)}. "
                "Expected text -> probabilities, label, as `switch-tf export` writes it."
            )
        where = f"{folder}: {SAVED_MODEL_LABELS}"
        self.labels = checked_labels(labels, outputs["probabilities"].shape[-1], where)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]."""
        import tensorflow as tf

        return self._answer(text=tf.constant(list(texts), tf.string))["probabilities"].numpy()


def load_predictor(path: Path, threads: int | None = None) -> Predictor:
    """The model at `path`: a run folder, a SavedModel, a folder of its versions (the newest), a .tflite or .onnx file.

    `threads` limits what one operator of a file may use.

    Raises:
        UsageError: `threads` for another kind of model.
        RunError: a run folder is unfinished or damaged.
        ModelError: there is no model, or one that is not ours.
    """
    if path.suffix == ".onnx" and path.is_file():
        from switch_tf.onnx_predictor import OnnxPredictor

        return OnnxPredictor(path, threads)
    if path.suffix == ".tflite" and path.is_file():
        from switch_tf.tflite_predictor import TFLitePredictor

        return TFLitePredictor(path, threads)
    if threads is not None:
        raise UsageError(f"{path} is no .onnx or .tflite file, to which alone --threads applies. Leave it out.")
    if is_run(path) or path.name.endswith(UNFINISHED):
        from switch_tf.inference import load_classifier

        return load_classifier(open_run(path))
    if (path / "saved_model.pb").is_file():
        return SavedModelPredictor(path)
    versions = saved_model_versions(path)
    if versions:
        return SavedModelPredictor(path / str(versions[-1]))
    problem = "is not a model" if path.exists() else "does not exist"
    raise ModelError(
        f"{path} {problem}. Expected a run folder, or what `switch-tf export` wrote: a SavedModel folder, a .tflite or "
        "an .onnx file."
    )


def checked_labels(labels: object, classes: int, where: str) -> list[str]:
    """The class names of an artifact, if they are `classes` strings.

    Raises:
        ModelError: they are something else.
    """
    if not isinstance(labels, list) or len(labels) != classes or not all(isinstance(name, str) for name in labels):
        raise ModelError(f"{where} does not name its {classes} classes. Export it again.")
    return labels


def saved_model_versions(folder: Path) -> list[int]:
    """The version numbers under a SavedModel's folder, lowest first."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file())


def answer(model: Predictor, lines: Iterable[Line], top: int | None = None) -> Iterator[dict[str, Any]]:
    """One dictionary for each line, in their order: label, score and probabilities, or line and error.

    `top` keeps the most probable labels alone.
    """
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH)):
        texts = [line.text for line in batch if not line.error]
        answers = iter(model.probabilities(texts) if texts else [])
        for line in batch:
            if line.error:
                yield {"line": line.number, "error": line.error}
            else:
                yield describe(next(answers), model.labels, top)


def describe(probabilities: np.ndarray, labels: list[str], top: int | None = None) -> dict[str, Any]:
    """{"label", "score", "probabilities"} of one answer, float32 [classes]; all labels, or the `top` most probable."""
    order = np.argsort(-probabilities, kind="stable")
    shown = order[:top] if top else np.arange(len(labels))
    # The shortest digits that give the same float32 back.
    numbers = [float(str(value)) for value in probabilities.astype(np.float32)]
    best = int(order[0])
    return {"label": labels[best], "score": numbers[best], "probabilities": {labels[i]: numbers[i] for i in shown}}


def open_lines(source: str, column: str) -> Iterator[Line]:
    """Texts of a file, or of stdin for "-": those of a table or of JSON Lines by `column`, else one a line.

    Raises:
        DataError: there is no such file, it is damaged, or a row of a table cannot be used.
    """
    from switch_tf.data import iter_texts
    from switch_tf.readers import refusing_damage

    if source == "-":
        yield from read_lines(sys.stdin.buffer)
        return
    path = Path(source)
    endings = [suffix.lower() for suffix in path.suffixes]
    kind = next((ending for ending in reversed(endings) if ending not in _OPENERS), "")
    if kind in (".csv", ".tsv", ".parquet"):
        for number, text in enumerate(iter_texts(path, column), 1):
            yield Line(number, text)
        return
    if not path.is_file():
        raise DataError(f"There is no file {path}. Expected texts, one a line, or - for stdin.")
    with refusing_damage(path), _OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        yield from read_json_lines(stream, column) if kind in (".jsonl", ".ndjson") else read_lines(stream)


def check_line(number: int, text: str) -> Line:
    """The text as a line, or an error where it cannot be written as UTF-8, as undecodable arguments cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return Line(number, "", f"Character {error.start + 1} of the text is half of a surrogate pair or not UTF-8.")
    return Line(number, text)


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    r"""Texts of a stream, one a line, split at \n alone; a line that is not UTF-8 or over 16 MiB is an error.

    A byte order mark before the first is no part of it, as in the files one trains on.
    """
    number = 0
    while line := stream.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            while (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, "", f"The line has over {LINE_LIMIT} bytes.")
            continue
        try:
            text = line.removesuffix(b"\n").decode("utf-8")
            yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)
        except UnicodeDecodeError as error:
            yield Line(number, "", f"Byte {error.start + 1} of the line is not UTF-8.")


def read_json_lines(stream: BinaryIO, column: str) -> Iterator[Line]:
    """Texts of a JSON Lines stream, for texts that hold line feeds; a line that cannot be used is an error."""
    for line in read_lines(stream):
        if line.error:
            yield line
        elif line.text.strip():
            yield _from_json(line, column)


def _from_json(line: Line, column: str) -> Line:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return Line(line.number, "", f"The line is not JSON: {error}.")
    if not isinstance(record, dict) or not isinstance(record.get(column), str):
        return Line(line.number, "", f"The line is not an object with a string under {column!r}.")
    return check_line(line.number, record[column])
