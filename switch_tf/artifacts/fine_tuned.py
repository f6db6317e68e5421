"""Answers texts with a classifier that was fine-tuned from a Hugging Face checkpoint, through TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from switch_tf.artifacts.base import as_bytes, checked_probabilities
from switch_tf.errors import RunError
from switch_tf.models.huggingface import read_settings
from switch_tf.models.tokenizer import load_pieces
from switch_tf.runs.fine_tuned import open_fine_tuned


class FineTunedPredictor:
    """The model of such a run.

    Attributes:
        run: the folder.
        labels: class names.
        rejection: when it answers by no class, or None.
        checked: True: its files are those that its manifest names.
        runtime: what answers.
    """

    runtime = "TensorFlow"
    checked = True

    def __init__(self, path: Path):
        """
        Raises:
            RunError: the folder is damaged.
            ModelError: its settings or tokenizer are.
        """
        self.run = open_fine_tuned(path)  # what is wrong with it is said before TensorFlow loads
        from switch_tf.models.encoder_classifier import load_fine_tuned

        self.model = load_fine_tuned(self.run, load_pieces(path, read_settings(path)))
        self.labels, self.rejection = self.model.labels, self.run.rejection

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
            RunError: TensorFlow fails on them.
            ModelError: an answer is no number.
        """
        import tensorflow as tf

        try:
            answers = self.model.probabilities([as_bytes(text) for text in texts])
        except tf.errors.OpError as error:
            raise RunError(f"TensorFlow does not run {self.run.path}: {error}. Train again.") from error
        return checked_probabilities(answers, str(self.run.path))

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Ids, int32 [texts, length].

        Raises:
            DataError: as above.
        """
        return self.model.tokenize([as_bytes(text) for text in texts])
