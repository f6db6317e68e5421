"""Answers texts with what was exported of a fine-tuned run: a folder with a graph that takes ids, bytes or strings.

Where ids go in, texts become ids by the tokenizer that stands in the folder, whatever computes the rest; TensorFlow is
imported for a SavedModel alone.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf import checksums, files
from switch_tf.artifacts.base import as_bytes, as_text, ask_in_batches, checked_probabilities, checked_rejection
from switch_tf.artifacts.fine_tuned_folder import FILES, MANIFEST
from switch_tf.artifacts.fine_tuned_graphs import BATCH, BYTES, GRAPHS, IDS, TEXT, FineTunedGraph
from switch_tf.errors import ModelError, RunError
from switch_tf.models.huggingface import read_settings
from switch_tf.models.tokenizer import encode_texts, load_pieces
from switch_tf.runs.fine_tuned import CONFIG, PIECES
from switch_tf.runs.folder import LABELS, REJECT
from switch_tf.text.byte_codes import pack
from switch_tf.text.sentencepiece_model import SentencePieces

_LONGEST = 4096


class FineTunedArtifact:
    """A folder with a SavedModel, `model.tflite` or `model.onnx`, and a tokenizer and labels beside.

    Attributes:
        path: of the folder.
        labels: class names.
        rejection: when it answers by no class, or None.
        door: what texts go in as: "bytes", "ids" or "text".
        doors: what else can go in, that included.
        precision: of the weights, as the manifest has it.
        max_loss: points of accuracy that it was allowed to lose, or None.
        batch: the one batch size, or None.
        length: ids of a text.
        byte_length: bytes of a text that are read where they go in, or None.
        size: bytes of the folder.
        checked: True: its files are those that its manifest names.
        runtime: what answers.
    """

    checked = True

    def __init__(self, path: Path, threads: int | None = None):
        """
        Raises:
            ModelError: a file is missing, damaged or was changed, or is no model of ours.
        """
        self.path = path
        manifest = _read_manifest(path)
        file = next(name for name in FILES if name in manifest["files"])
        problem = checksums.difference(path, manifest["files"], required=(CONFIG, PIECES, LABELS, file))
        if problem:
            raise ModelError(f"{path} is damaged or was changed by hand: {problem}. Export it again.")
        self.door, self.precision, self.max_loss, self.batch, self.length = _facts(manifest, path)
        self.size = sum(each["bytes"] for each in manifest["files"].values())
        self._settings = read_settings(path)
        self._graph: FineTunedGraph = GRAPHS[file](path, threads, self.door)
        if self._graph.batch != self.batch:
            said, taken = (json.dumps(each) for each in (self.batch, self._graph.batch))
            raise ModelError(f"{path / MANIFEST} says batch = {said}, and the graph takes {taken}. Export it again.")
        self.runtime, self.doors, self.byte_length = self._graph.runtime, self._graph.doors, self._graph.byte_length
        self.labels, self.rejection = _labels(path, self._graph.classes)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes].

        Raises:
            DataError: a text is neither a string nor bytes, or where strings go in, not UTF-8.
            ModelError: the runtime fails on them, or an answer is no number.
        """
        empty = np.zeros([0, len(self.labels)], np.float32)
        rows, filling = self._rows(texts)
        answers = ask_in_batches(
            lambda batch: self.ask(self.door, batch)[0], rows, self.batch, filling, empty, size=BATCH
        )
        return checked_probabilities(answers, str(self.path))

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Ids, int32 [texts, length]; what reads bytes in the graph reads them here.

        Raises:
            DataError, ModelError: as above.
        """
        if self.door != BYTES:
            return encode_texts(self._pieces, list(map(as_bytes, texts)), self.length, self._settings)
        rows, filling = self._rows(texts)
        empty = np.zeros([0, self.length], np.int32)
        return ask_in_batches(lambda batch: self.ask_ids(BYTES, batch), rows, self.batch, filling, empty, size=BATCH)

    def ask(self, door: str, rows: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and labels as the graph has them, of one batch: rows of ids, or bytes of texts.

        Raises:
            ModelError: the runtime fails on them.
        """
        return self._graph.classify(door, self._feed(door, rows))

    def ask_ids(self, door: str, texts: Sequence[bytes]) -> np.ndarray:
        """The ids that the graph makes of one batch of texts.

        Raises:
            ModelError: the runtime fails on them.
        """
        return self._graph.tokenize(door, self._feed(door, texts))

    @cached_property
    def _pieces(self) -> SentencePieces:
        """The tokenizer beside the graph, which one that takes bytes does without."""
        return load_pieces(self.path, self._settings)

    def _feed(self, door: str, rows: Sequence[Any]) -> Any:
        if door == BYTES:
            assert self.byte_length is not None
            return pack(rows, self.byte_length)
        return np.stack(rows) if door == IDS else list(rows)

    def _rows(self, texts: Sequence[str | bytes] | np.ndarray) -> tuple[list[Any], Any]:
        """What `ask` takes for texts, and what fills up a batch of it."""
        if self.door == IDS:
            return list(self.tokenize(texts)), np.zeros(self.length, np.int32)
        if self.door == BYTES:
            return list(map(as_bytes, texts)), b""
        return [as_text(text).encode() for text in texts], b""


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = files.read_json(path / MANIFEST)
    except RunError as error:
        raise ModelError(f"{path / MANIFEST} cannot be read as JSON. Export it again.") from error
    described = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(described, dict) or not any(name in described for name in FILES):
        raise ModelError(f"{path / MANIFEST} does not describe {' or '.join(FILES)}. Export it again.")
    return dict(manifest)


def _facts(manifest: dict[str, Any], path: Path) -> tuple[str, str, float | None, int | None, int]:
    """What goes in, precision, points of accuracy that may be lost, batch size and length."""
    precision, loss, batch = (manifest.get(name) for name in ("precision", "max_loss", "batch"))
    length, door = manifest.get("length"), manifest.get("inputs")
    fits = door in (IDS, TEXT, BYTES) and precision in ("float32", "float16", "int8")
    fits = fits and (loss is None or (type(loss) in (int, float) and 0 <= loss <= 100))
    fits = fits and (batch is None or (type(batch) is int and 1 <= batch <= 65_536))
    if not fits or type(length) is not int or not 1 <= length <= _LONGEST:
        said = {"inputs": door, "precision": precision, "max_loss": loss, "batch": batch, "length": length}
        raise ModelError(f"{path / MANIFEST} says {json.dumps(said)}, which cannot be. Export it again.")
    return str(door), str(precision), loss, batch, length


def _labels(path: Path, classes: int) -> Any:
    try:
        names = files.read_json(path / LABELS)
        reject = files.read_json(path / REJECT) if (path / REJECT).exists() else None
    except RunError as error:
        raise ModelError(f"{error} Export it again.") from error
    if reject is not None and isinstance(names, list) and isinstance(reject, dict):
        names = [*names, reject.get("label")]
    return checked_rejection(names, reject, classes, str(path))
