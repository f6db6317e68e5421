"""Asks an exported TFLite model through LiteRT, for the gate."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from switch_tf.artifacts.tflite_file import read_labels
from switch_tf.errors import ExportError, ModelError, ParityError
from switch_tf.export.proof.parity import Answers, Door, Precision, in_batches
from switch_tf.export.tflite_file import flatbuffer as tflite_file
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text.byte_codes import pack

SIGNATURES = ("bytes", "ids", "tokenize")


class TFLiteRunner:
    """Asks a TFLite model in memory through LiteRT."""

    door: Door = "bytes"
    admits_invalid_utf8 = True

    def __init__(self, content: bytes, path: str, reference: TextClassifier):
        """
        Raises:
            ModelError: the model is in no precision of ours, or lacks a signature of ours.
            ExportError: LiteRT does not load the model.
        """
        from ai_edge_litert.interpreter import Interpreter

        self.path, self.size = path, len(content)
        self.precision = _precision(content, path)
        self._reference = reference
        try:
            self._interpreter = Interpreter(model_content=content)
            found = self._interpreter.get_signature_list()
            if set(found) != set(SIGNATURES):
                raise ModelError(f"{path} has the signatures {sorted(found)}. Expected {sorted(SIGNATURES)}.")
            self._signatures = {name: self._interpreter.get_signature_runner(name) for name in SIGNATURES}
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"LiteRT does not load {path}: {error}. Export it again.") from error
        entry = self._signatures["bytes"].get_input_details()["bytes"]
        self._fixed: int | None = None if entry["shape_signature"][0] == -1 else int(entry["shape"][0])

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers of every signature to all texts, as `in_batches` has it.

        Raises:
            ExportError: LiteRT fails on them.
            ParityError: two signatures disagree.
        """
        return in_batches(self._ask, texts, batch_sizes, self._fixed)

    def _ask(self, texts: list[bytes]) -> Answers:
        rows = pack(texts, self._reference.spec.num_bytes)
        try:
            ids = self._signatures["tokenize"](bytes=rows)["ids"]
            answer = self._signatures["bytes"](bytes=rows)
            numeric = self._signatures["ids"](ids=ids)
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"LiteRT does not run {self.path}: {error}. Export it again.") from error
        if any(not np.array_equal(answer[name], numeric[name]) for name in answer):
            wrong = "the signatures bytes and ids answer differently"
            raise ParityError(f"{self.path}: {wrong}. Export it again; if that does not help, please report it.")
        labels = self._reference.labels
        return Answers(ids, answer["probabilities"], [labels[index] for index in answer["label"]])


def open_tflite_runner(path: Path, reference: TextClassifier) -> TFLiteRunner:
    """A runner for an exported file.

    Raises:
        ModelError: the file is not a TFLite model of ours, or one of another run.
        ExportError: LiteRT does not load it.
    """
    labels = read_labels(path)
    if labels != reference.labels:
        raise ModelError(f"{path} is not of this run: its labels are {labels}. Expected {reference.labels}.")
    return TFLiteRunner(path.read_bytes(), str(path), reference)


def _precision(content: bytes, path: str) -> Precision:
    try:
        received = tflite_file.read_facts(content).get("precision")
    except (ValueError, TypeError, IndexError) as error:
        raise ModelError(f"{path} cannot be read as a TFLite model: {error}. Export it again.") from error
    for precision in get_args(Precision):
        if received == precision:
            return precision
    expected = ", ".join(get_args(Precision))
    raise ModelError(f"{path}: its metadata say precision = {received!r}. Expected one of {expected}. Export it again.")
