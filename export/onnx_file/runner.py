"""Asks an exported ONNX model through ONNX Runtime, for the gate."""

from collections.abc import Sequence
from typing import cast

import onnx
import tensorflow as tf
from google.protobuf.message import DecodeError

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.export.options import Door
from switch_tf.export.proof.parity import in_batches, precision_of, refuse_other_run
from switch_tf.models.text_classifier import TextClassifier


class OnnxRunner:
    """Asks an ONNX model in memory through ONNX Runtime on the CPU."""

    def __init__(self, content: bytes, path: str, reference: TextClassifier):
        """`reference` makes ids of texts for a model that takes ids.

        Raises:
            ModelError: ONNX Runtime does not load it, it is no model of ours, or one of another run.
        """
        self._model = OnnxPredictor(content, path=path, doors=("text", "ids", "bytes"), with_ids=True)
        self.path, self.size = path, len(content)
        self.door = cast(Door, self._model.door)
        self.precision = precision_of(self._model.facts, path)
        self.admits_invalid_utf8 = self.door != "text"
        self._reference = reference
        refuse_other_run(path, self._model.labels, reference.labels)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all texts, as `in_batches` has it.

        Raises:
            ModelError: ONNX Runtime fails on them.
        """
        return in_batches(self._ask, texts, batch_sizes, self._model.batch)

    def _ask(self, texts: list[bytes]) -> Answers:
        model = self._model
        if self.door == "ids":
            ids = self._reference.tokenize(tf.constant(texts, tf.string))["ids"].numpy()
            probabilities, label = model.run(["probabilities", "label"], {"ids": ids})
        else:
            ids, probabilities, label = model.run(["ids", "probabilities", "label"], model.feed(texts))
        spoken = label.tolist() if self.door == "text" else [model.labels[index] for index in label]
        return Answers(ids, probabilities, spoken)


def read_facts(content: bytes) -> dict[str, str]:
    """What a file says about itself.

    Raises:
        ValueError: it is no ONNX file.
    """
    try:
        return {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    except DecodeError as error:
        raise ValueError(str(error)) from error
