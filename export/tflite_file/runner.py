"""Asks an exported TFLite model through LiteRT, for the gate."""

from collections.abc import Sequence

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.tflite_file import TFLitePredictor
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.options import Door
from switch_tf.export.proof.parity import in_batches, precision_of, refuse_other_run
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.models.text_classifier import TextClassifier


class TFLiteRunner:
    """Asks a TFLite model in memory through LiteRT."""

    door: Door = "bytes"
    admits_invalid_utf8 = True

    def __init__(self, content: bytes, path: str, reference: TextClassifier):
        """
        Raises:
            ModelError: LiteRT does not load it, it is no model of ours, or one of another run.
        """
        self.path, self.size = path, len(content)
        try:
            self.precision = precision_of(flatbuffer.read_facts(content), path)
        except ValueError as error:
            raise ModelError(f"{path} cannot be read as a TFLite model: {error}. Export it again.") from error
        self._model = TFLitePredictor(content, path=path)
        refuse_other_run(path, self._model.labels, reference.labels)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers of every signature to all texts, as `in_batches` has it.

        Raises:
            ModelError: LiteRT fails on them.
            ParityError: two signatures disagree.
        """
        return in_batches(self._ask, texts, batch_sizes, self._model.batch)

    def _ask(self, texts: list[bytes]) -> Answers:
        model = self._model
        feed = model.feed(texts)
        ids = model.run("tokenize", feed)["ids"]
        answer = model.run("bytes", feed)
        numeric = model.run("ids", {"ids": ids})
        if any(not np.array_equal(answer[name], numeric[name]) for name in answer):
            wrong = "the signatures bytes and ids answer differently"
            raise ParityError(f"{self.path}: {wrong}. Export it again; if that does not help, please report it.")
        return Answers(ids, answer["probabilities"], [model.labels[index] for index in answer["label"]])
