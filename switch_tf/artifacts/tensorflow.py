"""Answers texts with a trained run, through TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from switch_tf.artifacts.base import as_bytes, ask_in_batches, checked_probabilities
from switch_tf.errors import RunError
from switch_tf.runs.folder import open_run


class RunPredictor:
    """The trained model of a run folder.

    Attributes:
        run: the folder.
        model: the trained model.
        labels: class names.
        rejection: when it answers by no class, or None.
        checked: whether its files are those that its manifest names.
        runtime: what answers.
    """

    runtime = "TensorFlow"

    def __init__(self, path: Path):
        """
        Raises:
            RunError: the folder is unfinished or damaged.
        """
        self.run = open_run(path)  # what is wrong with it is said before TensorFlow loads
        self.checked = self.run.checked

        from switch_tf.models.text_classifier import load_classifier

        self.model = load_classifier(self.run)
        self.labels, self.rejection = self.model.labels, self.run.rejection

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
            RunError: TensorFlow fails on them.
            ModelError: an answer is no number.
        """
        import tensorflow as tf

        encoded = [as_bytes(text) for text in texts]
        try:
            return checked_probabilities(self.model.probabilities(encoded), str(self.run.path))
        except tf.errors.OpError as error:
            raise RunError(f"TensorFlow does not run {self.run.path}: {error}. Train again.") from error

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Token ids, int32 [texts, length], and with text.unknown_words = "letters" these behind them, negative.

        Raises:
            DataError: as above.
        """
        encoded = [as_bytes(text) for text in texts]
        empty = np.zeros([0, self.model.spec.ids_length], np.int32)
        return ask_in_batches(self._tokenize, encoded, None, b"", empty)

    def _tokenize(self, texts: list[bytes]) -> np.ndarray:
        import tensorflow as tf

        return self.model.tokenize(tf.constant(texts, tf.string))["ids"].numpy()
