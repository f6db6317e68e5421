"""Asks an exported ONNX model through ONNX Runtime, for the gate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import tensorflow as tf
from google.protobuf.message import DecodeError

from switch_tf.errors import ExportError, ModelError
from switch_tf.export.onnx_file import passes as passes
from switch_tf.export.proof.parity import Answers, Door, Precision, in_batches
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text.byte_codes import pack

_ERRORS = 3  # of ONNX Runtime's log levels


class OnnxRunner:
    """Asks an ONNX model in memory through ONNX Runtime on the CPU."""

    def __init__(self, model: onnx.ModelProto, path: str, reference: TextClassifier):
        """`reference` makes ids of texts for a model that takes ids.

        Raises:
            ModelError: the model is in no precision of ours.
            ExportError: ONNX Runtime does not load the model.
        """
        import onnxruntime

        self.path = path
        self.size = model.ByteSize()
        self.precision: Precision = _precision(model, path)
        self._reference = reference
        (entry,) = model.graph.input
        self.door: Door = entry.name  # as `open_onnx_runner` makes sure
        self.admits_invalid_utf8 = self.door != "text"
        self._fixed: int | None = entry.type.tensor_type.shape.dim[0].dim_value or None
        if self.door != "ids":
            model = passes.with_output(model, "ids", onnx.TensorProto.INT32)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS
        try:
            content = model.SerializeToString()
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no narrower base
            raise ExportError(f"ONNX Runtime does not load {path}: {error}. Export it again.") from error

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all texts, as `in_batches` has it.

        Raises:
            ExportError: ONNX Runtime fails on them.
        """
        return in_batches(self._ask, texts, batch_sizes, self._fixed)

    def _ask(self, texts: list[bytes]) -> Answers:
        reference = self._reference
        try:
            if self.door == "text":
                feed = {"text": np.array([text.decode() for text in texts], object)}
                ids, probabilities, labels = self._session.run(["ids", "probabilities", "label"], feed)
                return Answers(ids, probabilities, labels.tolist())
            if self.door == "bytes":
                rows = pack(texts, reference.spec.num_bytes)
                ids, probabilities, index = self._session.run(["ids", "probabilities", "label"], {"bytes": rows})
            else:
                ids = reference.tokenize(tf.constant(texts, tf.string))["ids"].numpy()
                probabilities, index = self._session.run(["probabilities", "label"], {"ids": ids})
        except Exception as error:  # as above
            raise ExportError(f"ONNX Runtime does not run {self.path}: {error}. Export it again.") from error
        return Answers(ids, probabilities, [reference.labels[i] for i in index])


def read_metadata(path: Path) -> dict[str, str]:
    """What a file says about itself.

    Raises:
        ValueError: it is no ONNX file.
    """
    try:
        return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    except DecodeError as error:
        raise ValueError(str(error)) from error


def open_onnx_runner(path: Path, reference: TextClassifier) -> OnnxRunner:
    """A runner for an exported file.

    Raises:
        ModelError: the file is not an ONNX model of ours, or one of another run.
        ExportError: ONNX Runtime does not load it.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        names = [entry.name for entry in model.graph.input]
        labels = json.loads(next((each.value for each in model.metadata_props if each.key == "labels"), "null"))
    except (OSError, DecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as an ONNX model of ours: {error}. Export it again.") from error
    if names not in (["text"], ["ids"], ["bytes"]):
        expected = "text, ids or bytes, as an export writes it"
        raise ModelError(f"{path} takes {names}. Expected {expected}.")
    if labels != reference.labels:
        raise ModelError(f"{path} is not of this run: its labels are {labels}. Expected {reference.labels}.")
    return OnnxRunner(model, str(path), reference)


def _precision(model: onnx.ModelProto, path: str) -> Precision:
    received = next((each.value for each in model.metadata_props if each.key == "precision"), None)
    for precision in get_args(Precision):
        if received == precision:
            return precision
    expected = ", ".join(get_args(Precision))
    raise ModelError(f"{path}: its metadata say precision = {received!r}. Expected one of {expected}. Export it again.")
