"""Asks an exported TFLite model through LiteRT, for the gate."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.tflite_file import TFLitePredictor
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.options import Door
from switch_tf.export.proof.readback import Part
from switch_tf.export.proof.runner import in_batches, named, precision_of
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.export.tflite_file.stored import read_labels_txt, read_parts
from switch_tf.runs.rejection import label_list


class TFLiteRunner:
    """Asks a TFLite model in memory through LiteRT."""

    door: Door = "bytes"
    admits_invalid_utf8 = True

    def __init__(self, content: bytes, path: str):
        """
        Raises:
            ModelError: LiteRT does not load it, or it is no model of ours.
        """
        self.path, self.size = path, len(content)
        self._content = content
        try:
            self._facts = flatbuffer.read_facts(content)
            self.precision = precision_of(self._facts, path)
        except ValueError as error:
            raise ModelError(f"{path} cannot be read as a TFLite model: {error}. Export it again.") from error
        self._model = TFLitePredictor(content, path=path)
        self._names = label_list(self._model.labels, self._model.rejection)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers of every signature to all texts, as `in_batches` has it.

        Raises:
            ModelError: LiteRT fails on them.
            ParityError: two signatures disagree.
        """
        return in_batches(self._ask, texts, batch_sizes, self._model.batch)

    def tokenize(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """What `tokenize` says."""
        return [self._model.tokenize(texts)]

    def named_labels(self) -> Mapping[str, list[str]]:
        """The labels in both files of the archive, and in the metadata."""
        try:
            described = json.loads(self._facts.get("labels", "[]"))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{self.path} does not name its labels in its metadata. Export it again.") from error
        return {
            "labels.json in its archive": self._names,
            "labels.txt in its archive": read_labels_txt(self._content, self.path),
            "its metadata": described,
        }

    def named_rejections(self) -> Mapping[str, Any]:
        """What the archive and the metadata say."""
        rejection = self._model.rejection
        try:
            described = json.loads(self._facts.get("reject", "null"))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{self.path} has a damaged reject threshold in its metadata. Export it again.") from error
        return {
            "reject.json in its archive": None if rejection is None else rejection.as_dict(),
            "its metadata": described,
        }

    def parts(self) -> list[Part]:
        """The constants of each signature."""
        return read_parts(flatbuffer.unpack(self._content))

    def _ask(self, texts: list[bytes]) -> Answers:
        model = self._model
        feed = model.feed(texts)
        ids = model.run("tokenize", feed)["ids"]
        answer = model.run("bytes", feed)
        numeric = model.run("ids", {"ids": ids})
        if any(not np.array_equal(answer[name], numeric[name]) for name in answer):
            wrong = "the signatures bytes and ids answer differently"
            raise ParityError(f"{self.path}: {wrong}. Export it again; if that does not help, please report it.")
        return Answers(ids, answer["probabilities"], named(self._names, answer["label"]))
