"""Answers texts with an exported SavedModel, through TensorFlow."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf import checksums, files
from switch_tf.artifacts.base import as_bytes, ask_in_batches, checked_probabilities, checked_rejection
from switch_tf.errors import ModelError, RunError
from switch_tf.text.given import check_texts

SAVED_MODEL_LABELS = "labels.json"  # among the assets of an exported SavedModel
SAVED_MODEL_REJECT = "reject.json"  # beside it, where there is a threshold
MANIFEST = "assets.extra/manifest.json"
_DESCRIBED = ("saved_model.pb", "variables/variables.index", f"assets/{SAVED_MODEL_LABELS}")  # and others


class SavedModelPredictor:
    """A SavedModel of ours, asked through its `serving_default` signature.

    Attributes:
        path: what messages call it.
        labels: class names, from its assets.
        rejection: when it answers by no class, from its assets, or None.
        checked: whether its files are those that its manifest names; False where it has none.
        runtime: what answers.
    """

    runtime = "TensorFlow"

    def __init__(self, folder: Path):
        """
        Raises:
            ModelError: the folder is not a SavedModel, not one of ours, or not as it was written.
        """
        import tensorflow as tf

        self.path = str(folder)
        self.checked = check_folder(folder)
        try:
            self._model = tf.saved_model.load(str(folder))
            self._answer = self._model.signatures["serving_default"]
            labels, reject = read_assets(folder)
        except (OSError, ValueError, KeyError, RecursionError, tf.errors.OpError) as error:
            raise ModelError(f"{folder} cannot be used as a SavedModel: {error}. Export it again.") from error
        inputs = self._answer.structured_input_signature[1]
        outputs = self._answer.structured_outputs
        if set(inputs) != {"text"} or not {"probabilities", "label"} <= set(outputs):
            raise ModelError(
                f"{folder} has the signature {sorted(inputs)} -> {sorted(outputs)}. "
                "Expected text -> probabilities, label, as an export writes it."
            )
        where = folder / "assets" / SAVED_MODEL_LABELS
        classes = outputs["probabilities"].shape[-1]
        self.labels, self.rejection = checked_rejection(labels, reject, classes, str(where))

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
            ModelError: TensorFlow fails on them, or answers what is no number.
        """
        empty = np.zeros([0, len(self.labels)], np.float32)
        return checked_probabilities(self._each(self._answer, "probabilities", texts, empty), self.path)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Token ids, int32 [texts, length].

        Raises:
            DataError, ModelError: as above; ModelError too where the model has no such signature.
        """
        signature = self._model.signatures.get("tokenize")
        if signature is None:
            raise ModelError(f"{self.path} has no signature tokenize. Export it again.")
        empty = np.zeros([0, signature.structured_outputs["ids"].shape[-1]], np.int32)
        return self._each(signature, "ids", texts, empty)

    def _each(self, signature: Any, output: str, texts: Sequence[str | bytes] | np.ndarray, empty: Any) -> np.ndarray:
        import tensorflow as tf

        def ask(batch: list[bytes]) -> np.ndarray:
            try:
                return signature(text=tf.constant(batch, tf.string))[output].numpy()
            except tf.errors.OpError as error:
                raise ModelError(f"TensorFlow does not run {self.path}: {error}. Export it again.") from error

        return ask_in_batches(ask, [as_bytes(text) for text in check_texts(texts)], None, b"", empty)


def read_assets(folder: Path) -> tuple[Any, Any]:
    """What the assets of a SavedModel say, unchecked: its names of labels, and its threshold or None.

    Raises:
        OSError, ValueError, RecursionError: they cannot be read.
    """
    assets = folder / "assets"
    labels = json.loads(files.read_bytes(assets / SAVED_MODEL_LABELS))
    reject = assets / SAVED_MODEL_REJECT
    return labels, json.loads(files.read_bytes(reject)) if reject.exists() else None


def check_folder(folder: Path) -> bool:
    """Whether an exported SavedModel has a manifest, which its files must agree with.

    Raises:
        ModelError: they do not.
    """
    path = folder / MANIFEST
    if not path.exists():
        return False
    try:
        manifest = files.read_json(path)
    except RunError as error:
        raise ModelError(f"{path} is damaged: {error} Export it again.") from error
    described = manifest.get("files") if isinstance(manifest, dict) else None
    problem = checksums.difference(folder, described, required=_DESCRIBED)
    if problem:
        raise ModelError(f"{folder} is damaged or was changed: {problem}. Export it again.")
    return True


def saved_model_versions(folder: Path) -> list[int]:
    """The version numbers under a SavedModel's folder, lowest first."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file())


def newest_version(path: Path) -> Path | None:
    """The SavedModel that a path stands for: itself, or the newest version in it; None where there is none."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = saved_model_versions(path)
    return path / str(versions[-1]) if versions else None
