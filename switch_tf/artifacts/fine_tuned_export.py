"""Answers texts with what was exported of a fine-tuned run: a folder with a graph that takes ids.

Texts become ids by the tokenizer that stands in the folder, whatever computes the rest; TensorFlow is imported for a
SavedModel alone.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf import checksums, files
from switch_tf.artifacts.base import as_text, ask_in_batches, checked_probabilities, checked_rejection
from switch_tf.artifacts.fine_tuned_folder import FILES, MANIFEST, ONNX_FILE, SAVED_MODEL_FILE, TFLITE_FILE
from switch_tf.errors import ExportError, ModelError, RunError
from switch_tf.models.huggingface import read_settings
from switch_tf.models.tokenizer import encode_texts, load_pieces
from switch_tf.runs.fine_tuned import CONFIG, PIECES
from switch_tf.runs.folder import LABELS, REJECT

SIGNATURE, TOKENIZE = "ids", "tokenize"
_BATCH = 16
_LONGEST = 4096
Ask = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # ids to probabilities, and indices of labels


class FineTunedArtifact:
    """A folder with a SavedModel, `model.tflite` or `model.onnx`, and a tokenizer and labels beside.

    Attributes:
        path: of the folder.
        labels: class names.
        rejection: when it answers by no class, or None.
        door: what goes in: "ids", or "text" as well.
        precision: of the weights, as the manifest has it.
        max_loss: points of accuracy that it was allowed to lose, or None.
        batch: the one batch size, or None.
        length: ids of a text.
        size: bytes of the folder.
        checked: True: its files are those that its manifest names.
        runtime: what answers.
    """

    checked = True

    def __init__(self, path: Path, threads: int | None = None):
        """
        Raises:
            ModelError: a file is missing, damaged or was changed, or is no model of ours.
        """
        self.path = path
        manifest = _read_manifest(path)
        file = next(name for name in FILES if name in manifest["files"])
        problem = checksums.difference(path, manifest["files"], required=(CONFIG, PIECES, LABELS, file))
        if problem:
            raise ModelError(f"{path} is damaged or was changed by hand: {problem}. Export it again.")
        self.door, self.precision, self.max_loss, self.batch, self.length = _facts(manifest, path)
        self.size = sum(each["bytes"] for each in manifest["files"].values())
        self._settings = read_settings(path)
        self._pieces = load_pieces(path, self._settings)
        self.runtime, self.ask, classes, self._signatures = _OPENERS[file](path, threads, self.door)
        self.labels, self.rejection = _labels(path, classes)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or not UTF-8.
            ModelError: the runtime fails on them, or an answer is no number.
        """
        empty = np.zeros([0, len(self.labels)], np.float32)
        if self.door == "text":
            encoded = [as_text(text).encode() for text in texts]
            answers = ask_in_batches(lambda batch: self._classify(batch)[0], encoded, None, b"", empty, _BATCH)
            return checked_probabilities(answers, str(self.path))
        rows, padding = list(self.tokenize(texts)), np.zeros(self.length, np.int32)
        answers = ask_in_batches(lambda batch: self.ask(np.stack(batch))[0], rows, self.batch, padding, empty, _BATCH)
        return checked_probabilities(answers, str(self.path))

    def ask_texts(self, texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Ids, probabilities and labels, as the graph of an artifact that takes texts has them.

        Raises:
            ModelError: TensorFlow fails on them.
        """
        (ids,) = self._run(TOKENIZE, texts, ["ids"])
        probabilities, labels = self._classify(texts)
        return ids, probabilities, [each.decode(errors="replace") for each in labels]

    def _classify(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return self._run("serving_default", texts, ["probabilities", "label"])

    def _run(self, name: str, texts: Sequence[bytes], outputs: Sequence[str]) -> list[np.ndarray]:
        import tensorflow as tf

        try:
            answer = self._signatures[name](text=tf.constant(list(texts), tf.string))
            return [answer[each].numpy() for each in outputs]
        except (KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"TensorFlow does not run {self.path}: {error}. Export it again.") from error

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Ids, int32 [texts, length].

        Raises:
            DataError: as above.
        """
        return encode_texts(self._pieces, [as_text(text) for text in texts], self.length, self._settings)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = files.read_json(path / MANIFEST)
    except RunError as error:
        raise ModelError(f"{path / MANIFEST} cannot be read as JSON. Export it again.") from error
    described = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(described, dict) or not any(name in described for name in FILES):
        raise ModelError(f"{path / MANIFEST} does not describe {' or '.join(FILES)}. Export it again.")
    return dict(manifest)


def _facts(manifest: dict[str, Any], path: Path) -> tuple[str, str, float | None, int | None, int]:
    """What goes in, precision, points of accuracy that may be lost, batch size and length."""
    precision, loss, batch = (manifest.get(name) for name in ("precision", "max_loss", "batch"))
    length, door = manifest.get("length"), manifest.get("inputs")
    fits = door in ("ids", "text") and precision in ("float32", "float16", "int8")
    fits = fits and (loss is None or (type(loss) in (int, float) and 0 <= loss <= 100))
    fits = fits and (batch is None or (type(batch) is int and 1 <= batch <= 65_536))
    if not fits or type(length) is not int or not 1 <= length <= _LONGEST:
        said = {"inputs": door, "precision": precision, "max_loss": loss, "batch": batch, "length": length}
        raise ModelError(f"{path / MANIFEST} says {json.dumps(said)}, which cannot be. Export it again.")
    return str(door), str(precision), loss, batch, length


def _labels(path: Path, classes: int) -> Any:
    try:
        names = files.read_json(path / LABELS)
        reject = files.read_json(path / REJECT) if (path / REJECT).exists() else None
    except RunError as error:
        raise ModelError(f"{error} Export it again.") from error
    if reject is not None and isinstance(names, list) and isinstance(reject, dict):
        names = [*names, reject.get("label")]
    return checked_rejection(names, reject, classes, str(path))


_Opened = tuple[str, Ask, int, Any]  # runtime, classes, and the signatures of a SavedModel


def _open_saved_model(path: Path, threads: int | None, door: str) -> _Opened:
    del threads  # `switch_tf.artifacts.opening` refuses it
    import tensorflow as tf

    if door == "text":
        from switch_tf.text.sentencepiece_graph import tensorflow_text

        try:
            tensorflow_text()
        except ExportError as error:
            raise ModelError(f"{path} takes texts: {error}") from error
    try:
        loaded = tf.saved_model.load(str(path))
        function = loaded.signatures[SIGNATURE]
        classes = function.structured_outputs["probabilities"].shape[-1]
    except (OSError, KeyError, ValueError, IndexError, tf.errors.OpError) as error:
        raise ModelError(f"{path} cannot be used as a SavedModel: {error}. Export it again.") from error

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            answer = function(ids=tf.constant(ids))
            return answer["probabilities"].numpy(), answer["label"].numpy()
        except (tf.errors.OpError, ValueError, KeyError) as error:
            raise ModelError(f"TensorFlow does not run {path}: {error}. Export it again.") from error

    ask.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return "TensorFlow", ask, classes, loaded.signatures


def _open_tflite(path: Path, threads: int | None, door: str) -> _Opened:
    del door
    from switch_tf.artifacts.tflite_file import open_interpreter, refuse_large_tensors

    try:
        interpreter = open_interpreter(model_path=str(path / TFLITE_FILE), num_threads=threads)
        refuse_large_tensors(interpreter, str(path))
        runner = interpreter.get_signature_runner(SIGNATURE)
        classes = int(runner.get_output_details()["probabilities"]["shape"][-1])
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        raise ModelError(f"{path} cannot be used as a TFLite model: {error}. Export it again.") from error

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            answer = runner(ids=ids)
            return answer["probabilities"], answer["label"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"LiteRT does not run {path}: {error}. Export it again.") from error

    return "LiteRT", ask, classes, None


def _open_onnx(path: Path, threads: int | None, door: str) -> _Opened:
    del door
    from switch_tf.artifacts.onnx_file import open_session, run_session

    session = open_session(str(path / ONNX_FILE), threads, str(path))
    shapes = {each.name: each.shape for each in session.get_outputs()}
    if not {"probabilities", "label"} <= set(shapes) or len(shapes["probabilities"]) != 2:
        raise ModelError(f"{path} answers {sorted(shapes)}. Expected probabilities and label. Export it again.")

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, label = run_session(session, ["probabilities", "label"], {"ids": ids}, str(path))
        return probabilities, label

    return "ONNX Runtime, CPUExecutionProvider", ask, shapes["probabilities"][-1], None


_OPENERS = {SAVED_MODEL_FILE: _open_saved_model, TFLITE_FILE: _open_tflite, ONNX_FILE: _open_onnx}
