"""Answers texts with an exported SavedModel, through TensorFlow."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from switch_tf.artifacts.base import checked_labels
from switch_tf.errors import ModelError

SAVED_MODEL_LABELS = "labels.json"  # among the assets of an exported SavedModel


class SavedModelPredictor:
    """A SavedModel of ours, asked through its `serving_default` signature."""

    runtime = "TensorFlow"

    def __init__(self, folder: Path):
        import tensorflow as tf

        try:
            self._model = tf.saved_model.load(str(folder))
            self._answer = self._model.signatures["serving_default"]
            labels = json.loads((folder / "assets" / SAVED_MODEL_LABELS).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ModelError(f"{folder} cannot be used as a SavedModel: {error}. Export it again.") from error
        inputs = self._answer.structured_input_signature[1]
        outputs = self._answer.structured_outputs
        if set(inputs) != {"text"} or not {"probabilities", "label"} <= set(outputs):
            raise ModelError(
                f"{folder} has the signature {sorted(inputs)} -> {sorted(outputs)}. "
                "Expected text -> probabilities, label, as an export writes it."
            )
        where = f"{folder}: {SAVED_MODEL_LABELS}"
        self.labels = checked_labels(labels, outputs["probabilities"].shape[-1], where)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]."""
        import tensorflow as tf

        return self._answer(text=tf.constant(list(texts), tf.string))["probabilities"].numpy()


def saved_model_versions(folder: Path) -> list[int]:
    """The version numbers under a SavedModel's folder, lowest first."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file())
