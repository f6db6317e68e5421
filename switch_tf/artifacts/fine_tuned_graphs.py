"""The graphs of exports of fine-tuned runs, each asked through its own runtime: rows of ids or bytes, or strings.

    ids, bytes     rows -> probabilities, label: an index
    text           strings -> probabilities, label: its name
    tokenize       what the graph makes ids of -> ids

TensorFlow is imported for a SavedModel alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.artifacts.fine_tuned_folder import ONNX_FILE, SAVED_MODEL_FILE, TFLITE_FILE
from switch_tf.errors import ExportError, ModelError

IDS, BYTES, TEXT, TOKENIZE, TOKENIZE_BYTES = "ids", "bytes", "text", "tokenize", "tokenize_bytes"
BATCH = 16  # texts that a graph is asked at a time, where it leaves that open
_SERVED = "serving_default"


class FineTunedGraph(ABC):
    """Attributes:
    runtime: what answers.
    doors: what it can be asked, of those of the module.
    classes: how many probabilities a text has.
    batch: the one batch size that it takes, or None.
    byte_length: of a row of bytes, where it takes them, or None.
    """

    runtime: str
    doors: tuple[str, ...]
    classes: int
    batch: int | None
    byte_length: int | None = None

    @abstractmethod
    def classify(self, door: str, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, float32 [batch, classes], and labels, [batch].

        Raises:
            ModelError: the runtime fails.
        """

    @abstractmethod
    def tokenize(self, door: str, rows: Any) -> np.ndarray:
        """Ids, int32 [batch, length], of bytes or strings.

        Raises:
            ModelError: the runtime fails.
        """


class SavedModelGraph(FineTunedGraph):
    """A SavedModel, through TensorFlow."""

    runtime = "TensorFlow"

    def __init__(self, path: Path, threads: int | None, inputs: str):
        """
        Raises:
            ModelError: it is none, or takes texts by operators that are not there.
        """
        del threads  # `switch_tf.artifacts.opening` refuses it
        import tensorflow as tf

        if inputs == TEXT:
            _load_text_operators(path)
        self._path = path
        self.doors = {IDS: (IDS,), TEXT: (IDS, TEXT), BYTES: (BYTES, TEXT, IDS)}[inputs]
        try:
            self._loaded = tf.saved_model.load(str(path))  # its variables live as long as it does
            self._signatures = self._loaded.signatures
            self.classes = self._signatures[IDS].structured_outputs["probabilities"].shape[-1]
            self.batch = self._signatures[IDS].structured_input_signature[1][IDS].shape[0]
            if inputs == BYTES:
                self.byte_length = self._signatures[BYTES].structured_input_signature[1][BYTES].shape[-1]
        except (OSError, KeyError, ValueError, IndexError, tf.errors.OpError) as error:
            raise ModelError(f"{path} cannot be used as a SavedModel: {error}. Export it again.") from error

    def classify(self, door: str, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        answer = self._run(_SERVED if door == TEXT else door, door, rows)
        label = answer["label"].numpy()
        if door == TEXT:
            label = np.array([each.decode(errors="replace") for each in label], object)
        return answer["probabilities"].numpy(), label

    def tokenize(self, door: str, rows: Any) -> np.ndarray:
        ids: np.ndarray = self._run(TOKENIZE if door == TEXT else TOKENIZE_BYTES, door, rows)["ids"].numpy()
        return ids

    def _run(self, signature: str, door: str, rows: Any) -> Mapping[str, Any]:
        import tensorflow as tf

        given = tf.constant(rows, tf.string) if door == TEXT else tf.constant(rows)
        try:
            answer: Mapping[str, Any] = self._signatures[signature](**{door: given})
            return answer
        except (tf.errors.OpError, ValueError, KeyError) as error:
            raise ModelError(f"TensorFlow does not run {self._path}: {error}. Export it again.") from error


def _load_text_operators(path: Path) -> None:
    from switch_tf.text.sentencepiece_graph import tensorflow_text

    try:
        tensorflow_text()
    except ExportError as error:
        raise ModelError(f"{path} takes texts: {error}") from error


class TFLiteGraph(FineTunedGraph):
    """`model.tflite`, through LiteRT."""

    runtime = "LiteRT"

    def __init__(self, path: Path, threads: int | None, inputs: str):
        """
        Raises:
            ModelError: it is no TFLite model of ours.
        """
        from switch_tf.artifacts.tflite_file import batch_of, open_interpreter, refuse_large_tensors

        self._path = path
        self.doors = (BYTES, IDS) if inputs == BYTES else (IDS,)
        try:
            self._interpreter = open_interpreter(model_path=str(path / TFLITE_FILE), num_threads=threads)
            names = (*self.doors, TOKENIZE) if inputs == BYTES else self.doors
            self._runners = {name: self._interpreter.get_signature_runner(name) for name in names}
            self.batch = batch_of(self._runners[IDS].get_input_details()[IDS])
            refuse_large_tensors(self._interpreter, path / TFLITE_FILE, str(path), 1 if self.batch else BATCH)
            self.classes = int(self._runners[IDS].get_output_details()["probabilities"]["shape"][-1])
            if inputs == BYTES:
                self.byte_length = int(self._runners[BYTES].get_input_details()[BYTES]["shape"][-1])
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise ModelError(f"{path} cannot be used as a TFLite model: {error}. Export it again.") from error

    def classify(self, door: str, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        answer = self._run(door, {door: rows})
        return answer["probabilities"], answer["label"]

    def tokenize(self, door: str, rows: Any) -> np.ndarray:
        ids: np.ndarray = self._run(TOKENIZE, {door: rows})["ids"]
        return ids

    def _run(self, signature: str, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            answer: dict[str, np.ndarray] = self._runners[signature](**feed)
            return answer
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"LiteRT does not run {self._path}: {error}. Export it again.") from error


class OnnxGraph(FineTunedGraph):
    """`model.onnx`, through ONNX Runtime on the CPU."""

    runtime = "ONNX Runtime, CPUExecutionProvider"

    def __init__(self, path: Path, threads: int | None, inputs: str):
        """
        Raises:
            ModelError: it is no ONNX model of ours.
        """
        from switch_tf.artifacts.onnx_file import open_session

        self._path, self._threads, self.doors = path, threads, (inputs,)
        self._session = open_session(str(path / ONNX_FILE), threads, str(path))
        shapes = {each.name: each.shape for each in self._session.get_outputs()}
        if not {"probabilities", "label"} <= set(shapes) or len(shapes["probabilities"]) != 2:
            raise ModelError(f"{path} answers {sorted(shapes)}. Expected probabilities and label. Export it again.")
        self.classes = shapes["probabilities"][-1]
        taken = {each.name: each.shape for each in self._session.get_inputs()}
        if list(taken) != [inputs] or len(taken[inputs]) != 2 or not isinstance(taken[inputs][-1], int):
            raise ModelError(f"{path} takes {taken}. Expected {inputs} in rows. Export it again.")
        batch, width = taken[inputs]
        self.batch = batch if isinstance(batch, int) else None
        self.byte_length = width if inputs == BYTES else None

    def classify(self, door: str, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        from switch_tf.artifacts.onnx_file import run_session

        probabilities, label = run_session(self._session, ["probabilities", "label"], {door: rows}, str(self._path))
        return probabilities, label

    def tokenize(self, door: str, rows: Any) -> np.ndarray:
        from switch_tf.artifacts.onnx_file import run_session

        ids: np.ndarray = run_session(self._front_end, ["ids"], {door: rows}, str(self._path))[0]
        return ids

    @cached_property
    def _front_end(self) -> Any:
        """A session of what makes the ids alone."""
        from switch_tf.artifacts.onnx_file import open_session
        from switch_tf.artifacts.onnx_graph import front_end, parse

        return open_session(front_end(parse(self._path / ONNX_FILE, str(self._path))), self._threads, str(self._path))


GRAPHS: Mapping[str, type[SavedModelGraph] | type[TFLiteGraph] | type[OnnxGraph]] = {
    SAVED_MODEL_FILE: SavedModelGraph,
    TFLITE_FILE: TFLiteGraph,
    ONNX_FILE: OnnxGraph,
}
