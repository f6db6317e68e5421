"""Answers texts with an exported ONNX file, through ONNX Runtime alone: no TensorFlow is imported."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.artifacts.base import checked_labels
from switch_tf.errors import DataError, ModelError
from switch_tf.text.byte_codes import pack

_BATCH = 64  # texts at a time where the batch is dynamic
_SIZE_LIMIT = 2**31  # bytes: what a protobuf file can hold
_ERRORS = 3  # of ONNX Runtime's log levels
_INPUTS = ({"text": ("tensor(string)", 1)}, {"bytes": ("tensor(uint8)", 2)})  # name: type, rank


class OnnxPredictor:
    """An ONNX model of ours that takes `text` or `bytes`.

    Attributes:
        labels: class names, from the file's metadata.
        provider: the execution provider that ONNX Runtime chose.
        runtime: what answers.
    """

    def __init__(self, path: Path, threads: int | None = None):
        """`threads` limits what one operator may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: the file is not an ONNX model, or not one of ours that takes texts.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS
        try:
            if path.stat().st_size > _SIZE_LIMIT:
                raise ModelError(f"{path} has {path.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
            # Strings run on the CPU whatever there is; a GPU wants the ids input and a session of its own.
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no narrower base
            raise ModelError(f"{path} cannot be used as an ONNX model: {error}. Export it again.") from error
        self._session = session
        self.provider: str = session.get_providers()[0]
        self.runtime = f"ONNX Runtime, {self.provider}"
        inputs = {each.name: (each.type, len(each.shape)) for each in session.get_inputs()}
        outputs = {each.name: each.shape for each in session.get_outputs()}
        ours = inputs in _INPUTS and {"probabilities", "label"} <= set(outputs)
        if not ours or len(outputs["probabilities"]) != 2:
            raise ModelError(
                f"{path} has the signature {sorted(inputs)} -> {sorted(outputs)}. Expected text (or bytes) -> "
                "probabilities, label, as an export writes it."
            )
        batch, *width = session.get_inputs()[0].shape
        self._byte_length: int | None = width[0] if width else None
        self._fixed: int | None = batch if isinstance(batch, int) else None
        self.labels = _labels(session.get_modelmeta().custom_metadata_map, outputs["probabilities"][1], path)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; for no texts it is empty, and the graph, which fails on a batch of 0, is not asked.

        Raises:
            DataError: a text is not a string, or not UTF-8, which ONNX strings are.
        """
        size = self._fixed or _BATCH
        decoded = [_decode(text) for text in texts]
        answers = [self._ask(decoded[start : start + size]) for start in range(0, len(decoded), size)]
        return np.concatenate([np.zeros([0, len(self.labels)], np.float32), *answers])

    def _ask(self, texts: list[str]) -> np.ndarray:
        filled = texts + [""] * ((self._fixed or 0) - len(texts))  # [batch]
        if self._byte_length is not None:
            feed = {"bytes": pack(filled, self._byte_length)}
        else:
            # Objects: an array of NumPy's own strings loses NULs at the end, and one of bytes is read as "b'...'".
            feed = {"text": np.array(filled, dtype=object)}
        return self._session.run(["probabilities"], feed)[0][: len(texts)]


def _labels(metadata: dict[str, Any], classes: int, path: Path) -> list[str]:
    try:
        labels = json.loads(metadata["labels"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} does not name its labels in its metadata. Export it again.") from error
    return checked_labels(labels, classes, f"{path}: its metadata")


def _decode(text: str | bytes) -> str:
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8")
        if isinstance(text, str):
            text.encode("utf-8")  # half a surrogate pair is in no encoding
            return text
    except UnicodeError as error:
        raise DataError(f"Received {text[:80]!r}, which is not UTF-8. Expected text.") from error
    raise DataError(f"Received {text!r} of type {type(text).__name__}. Expected text.")
