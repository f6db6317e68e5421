"""Asks an exported ONNX model through ONNX Runtime, for the gate."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.export.onnx_file.stored import read_part, spoken_labels
from switch_tf.export.options import Door
from switch_tf.export.proof.readback import Part
from switch_tf.export.proof.runner import in_batches, named, precision_of
from switch_tf.runs.rejection import label_list


class OnnxRunner:
    """Asks an ONNX model in memory through ONNX Runtime on the CPU."""

    def __init__(self, content: bytes, path: str):
        """
        Raises:
            ModelError: ONNX Runtime does not load it, or it is no model of ours.
        """
        self._model = OnnxPredictor(content, path=path, with_ids=True)
        self.path, self.size = path, len(content)
        self.door = cast(Door, self._model.door)
        self.precision = precision_of(self._model.facts, path)
        self.admits_invalid_utf8 = self.door != "text"
        self._content = content
        self._names = label_list(self._model.labels, self._model.rejection)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all texts, as `in_batches` has it.

        Raises:
            ModelError: ONNX Runtime fails on them.
        """
        return in_batches(self._ask, texts, batch_sizes, self._model.batch)

    def tokenize(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """What the front-end says, cut off from the classifier; where ids go in, what Python makes them of."""
        return [self._model.tokenize(texts)]

    def named_labels(self) -> Mapping[str, list[str]]:
        """The labels in the metadata, and those that the output `label` is made of."""
        spoken = spoken_labels(onnx.load_from_string(self._content))
        return {"its metadata": self._names} | ({} if spoken is None else {"its output label": spoken})

    def named_rejections(self) -> Mapping[str, Any]:
        """What the metadata say."""
        return {"its metadata": json.loads(self._model.facts.get("reject", "null"))}

    def parts(self) -> list[Part]:
        """All that the graph uses."""
        return [read_part(onnx.load_from_string(self._content), self.door)]

    def _ask(self, texts: list[bytes]) -> Answers:
        model = self._model
        if self.door == "ids":
            feed = model.feed(texts)
            ids, (probabilities, label) = feed["ids"], model.run(["probabilities", "label"], feed)
        else:
            ids, probabilities, label = model.run(["ids", "probabilities", "label"], model.feed(texts))
        spoken = label.ravel().tolist() if self.door == "text" else named(self._names, label)
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
