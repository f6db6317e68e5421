"""Answers texts with an exported TFLite file, through LiteRT alone: no TensorFlow is imported."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from switch_tf.artifacts.base import checked_labels
from switch_tf.errors import DataError, ModelError
from switch_tf.text.byte_codes import pack

_BATCH = 64  # texts at a time where the batch is dynamic
_SIZE_LIMIT = 2**31  # bytes: what the format can hold
_DAMAGE = (OSError, KeyError, ValueError, RecursionError, RuntimeError, zlib.error, zipfile.BadZipFile)  # of an archive
_LABELS_LIMIT = 64 * 2**20  # bytes, unpacked


class TFLitePredictor:
    """A TFLite model of ours, asked through its `bytes` signature.

    Texts over its number of bytes are cut, as the run's `text.truncation` says.

    Attributes:
        labels: class names, from the archive behind the model.
        runtime: what answers.
    """

    runtime = "LiteRT"

    def __init__(self, path: Path, threads: int | None = None):
        """`threads` limits what one operator may use; None leaves it to LiteRT.

        Raises:
            ModelError: the file is not a TFLite model, or not one of ours.
        """
        from ai_edge_litert.interpreter import Interpreter

        labels = read_labels(path)
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._run = self._interpreter.get_signature_runner("bytes")
            entry, answer = self._run.get_input_details()["bytes"], self._run.get_output_details()["probabilities"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"{path} cannot be used as a TFLite model: {error}. Export it again.") from error
        batch, self._byte_length = entry["shape_signature"].tolist()
        self._fixed: int | None = None if batch == -1 else batch
        self.labels = checked_labels(labels, int(answer["shape"][-1]), f"{path}: its archive")

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; for no texts it is empty, and the model is not asked.

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
        """
        size = self._fixed or _BATCH
        encoded = [_encode(text) for text in texts]
        answers = [self._ask(encoded[start : start + size]) for start in range(0, len(encoded), size)]
        return np.concatenate([np.zeros([0, len(self.labels)], np.float32), *answers])

    def _ask(self, texts: list[bytes]) -> np.ndarray:
        filled = texts + [b""] * ((self._fixed or 0) - len(texts))  # [batch]
        return self._run(bytes=pack(filled, self._byte_length))["probabilities"][: len(texts)]


def read_labels(path: Path) -> object:
    """What the archive behind a model says its labels are, unchecked.

    Raises:
        ModelError: there is no such file, or it has no archive of ours behind it.
    """
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise ModelError(f"{path} has {path.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("labels.json").file_size > _LABELS_LIMIT:
                raise ModelError(f"{path} has over {_LABELS_LIMIT} bytes of labels. Export it again.")
            return json.loads(archive.read("labels.json"))
    except _DAMAGE as error:
        raise ModelError(f"{path} cannot be read as a TFLite model of ours: {error}. Export it again.") from error


def _encode(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
    except UnicodeError as error:  # half a surrogate pair is in no encoding
        raise DataError(f"Received {text[:80]!r}, which is not UTF-8. Expected text.") from error
    raise DataError(f"Received {text!r} of type {type(text).__name__}. Expected text.")
