"""Answers texts with a trained run, through TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from switch_tf.artifacts.base import as_bytes, ask_in_batches
from switch_tf.runs.folder import open_run


class RunPredictor:
    """The trained model of a run folder.

    Attributes:
        run: the folder.
        model: the trained model.
        labels: class names.
        runtime: what answers.
    """

    runtime = "TensorFlow"

    def __init__(self, path: Path):
        """
        Raises:
            RunError: the folder is unfinished or damaged.
        """
        self.run = open_run(path)  # what is wrong with it is said before TensorFlow loads

        from switch_tf.models.text_classifier import load_classifier

        self.model = load_classifier(self.run)
        self.labels = self.model.labels

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
        """
        return self.model.probabilities([as_bytes(text) for text in texts])

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Token ids, int32 [texts, length].

        Raises:
            DataError: as above.
        """
        encoded = [as_bytes(text) for text in texts]
        empty = np.zeros([0, self.model.spec.sequence_length], np.int32)
        return ask_in_batches(self._tokenize, encoded, None, b"", empty)

    def _tokenize(self, texts: list[bytes]) -> np.ndarray:
        import tensorflow as tf

        return self.model.tokenize(tf.constant(texts, tf.string))["ids"].numpy()
