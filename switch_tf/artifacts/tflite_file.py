"""Answers texts with an exported TFLite file, through LiteRT alone: no TensorFlow is imported."""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.artifacts.base import (
    TEXT_BATCH,
    as_bytes,
    ask_in_batches,
    checked_probabilities,
    checked_rejection,
    ids_batch,
)
from switch_tf.artifacts.seal import TFLITE, check_file
from switch_tf.artifacts.tflite_graph import fixed_tensors
from switch_tf.environment import start_notes_held_back
from switch_tf.errors import ModelError
from switch_tf.text.byte_codes import pack
from switch_tf.text.given import check_texts

SIGNATURES = ("bytes", "ids", "tokenize")
_SIZE_LIMIT = 2**31  # bytes: what the format can hold
DAMAGE = (OSError, KeyError, ValueError, RecursionError, RuntimeError, zlib.error, zipfile.BadZipFile)  # of an archive
_MEMORY_LIMIT = 4 * 2**30  # bytes of one tensor, for a batch
_LABELS_LIMIT = 8 * 2**20  # bytes, unpacked
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # which unpack no more than they are asked for


class TFLitePredictor:
    """A TFLite model of ours, asked through its `bytes` signature.

    Texts over its number of bytes are cut, as the run's `text.truncation` says.

    Attributes:
        path: what messages call it.
        labels: class names, from the archive behind the model.
        rejection: when it answers by no class, from there too, or None.
        batch: the one batch size of the file, or None.
        size: bytes.
        checked: whether the file carries a checksum, or a manifest beside it does, and it is the right one.
        runtime: what answers.
    """

    runtime = "LiteRT"

    def __init__(self, source: Path | bytes, threads: int | None = None, path: str = ""):
        """
        Args:
            source: the file, or its content, which messages then call `path`.
            threads: that one operator may use; None leaves it to LiteRT.

        Raises:
            ModelError: it is not a TFLite model, not one of ours, or not as it was written.
        """
        self.path = path or str(source)
        labels, reject = read_labels(source, self.path)
        self.checked = check_file(source, TFLITE, self.path)
        given = {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
        self.size = len(source) if isinstance(source, bytes) else source.stat().st_size
        try:
            self._interpreter = open_interpreter(**given, num_threads=threads)
            found = self._interpreter.get_signature_list()
            if set(found) != set(SIGNATURES):
                raise ModelError(f"{self.path} has the signatures {sorted(found)}. Expected {sorted(SIGNATURES)}.")
            self._signatures = {name: self._interpreter.get_signature_runner(name) for name in SIGNATURES}
            entry = self._signatures["bytes"].get_input_details()["bytes"]
            answer = self._signatures["bytes"].get_output_details()["probabilities"]
            ids = self._signatures["tokenize"].get_output_details()["ids"]
            self.batch = batch_of(entry)
            refuse_large_tensors(self._interpreter, source, self.path, 1 if self.batch else TEXT_BATCH)
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise ModelError(f"{self.path} cannot be used as a TFLite model: {error}. Export it again.") from error
        self._byte_length = int(entry["shape"][-1])
        self._length = int(ids["shape"][-1])
        where = f"the archive of {self.path}"
        self.labels, self.rejection = checked_rejection(labels, reject, int(answer["shape"][-1]), where)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; for no texts it is empty, and the model is not asked.

        Raises:
            DataError: a text is neither a string nor bytes, or holds half a surrogate pair.
            ModelError: LiteRT fails on them, or answers what is no number.
        """
        answers = self._each("bytes", "probabilities", texts, np.zeros([0, len(self.labels)], np.float32))
        return checked_probabilities(answers, self.path)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """Token ids of what the model reads of each text, int32 [texts, length].

        Raises:
            DataError, ModelError: as above.
        """
        size = ids_batch(self._byte_length)
        return self._each("tokenize", "ids", texts, np.zeros([0, self._length], np.int32), size)

    def run(self, signature: str, feed: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What a signature answers.

        Raises:
            ModelError: LiteRT fails.
        """
        try:
            return self._signatures[signature](**feed)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT does not run {self.path}: {error}. Export it again.") from error

    def feed(self, texts: Sequence[str | bytes]) -> dict[str, np.ndarray]:
        """What goes into `bytes` and `tokenize` for texts."""
        return {"bytes": pack([as_bytes(text) for text in check_texts(texts)], self._byte_length)}

    def _each(
        self,
        signature: str,
        output: str,
        texts: Sequence[str | bytes] | np.ndarray,
        empty: np.ndarray,
        size: int = TEXT_BATCH,
    ) -> np.ndarray:
        encoded = [as_bytes(text) for text in check_texts(texts)]
        return ask_in_batches(
            lambda batch: self.run(signature, self.feed(batch))[output], encoded, self.batch, b"", empty, size
        )


def refuse_large_tensors(interpreter: Any, source: Path | bytes, path: str, batch: int = TEXT_BATCH) -> None:
    """A tensor counts once for each text of a batch; weights, and what is made of them alone, count once in all.

    Args:
        source: the interpreter's file, or its content, which messages call `path`.
        batch: how many times as many texts it is asked at a time as its shapes are of.

    Raises:
        ModelError: a tensor would take more memory than any of ours, which is not touched before the model is run.
    """
    for subgraph in range(interpreter.num_subgraphs()):
        tensors = [(each, bytes_of(each)) for each in interpreter.get_tensor_details(subgraph)]
        large = [(tensor, size) for tensor, size in tensors if size * batch > _MEMORY_LIMIT]
        fixed = fixed_tensors(source, subgraph) if large else set()
        for tensor, size in large:
            if size > _MEMORY_LIMIT or tensor["index"] not in fixed:
                problem = f"its tensor {tensor['name']!r} has the shape {tensor['shape'].tolist()}"
                raise ModelError(f"{path} cannot be used as a TFLite model: {problem}. Export it again.")


def bytes_of(tensor: Mapping[str, Any]) -> int:
    """What one of an interpreter's tensors takes as its shape stands."""
    return math.prod(map(int, tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize


def batch_of(entry: Mapping[str, Any]) -> int | None:
    """The one batch size that a signature's input takes, or None."""
    batch = int(entry["shape_signature"][0])
    return None if batch == -1 else batch


def open_interpreter(**words: Any) -> Any:
    """LiteRT's `Interpreter` of these arguments, its tensors allocated, without a note on stderr."""
    from ai_edge_litert.interpreter import Interpreter

    with start_notes_held_back():
        interpreter = Interpreter(**words)
        interpreter.allocate_tensors()
    return interpreter


def read_member(archive: zipfile.ZipFile, name: str, path: str) -> bytes:
    """One of the files with labels behind a model, which messages call `path`; no more of it than there may be.

    Raises:
        ModelError: it is packed otherwise than we do, or too large.
        KeyError, OSError, RuntimeError, zlib.error, zipfile.BadZipFile: it is not there, or damaged.
    """
    entry = archive.getinfo(name)
    if entry.compress_type not in _COMPRESSIONS:
        raise ModelError(f"{path} has packed its labels by the method {entry.compress_type}. Export it again.")
    with archive.open(entry) as stream:
        content = stream.read(_LABELS_LIMIT + 1)  # no more, whatever the archive says of their size
    if len(content) > _LABELS_LIMIT:
        raise ModelError(f"{path} has over {_LABELS_LIMIT} bytes of labels. Export it again.")
    return content


def read_labels(source: Path | bytes, path: str = "") -> tuple[object, object]:
    """What the archive behind a model says its labels are, and its threshold or None, unchecked.

    Raises:
        ModelError: there is no such file, or it has no archive of ours behind it.
    """
    path = path or str(source)
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > _SIZE_LIMIT:
            raise ModelError(f"{path} has {size} bytes. Expected at most {_SIZE_LIMIT}.")
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            labels = json.loads(read_member(archive, "labels.json", path))
            has_threshold = "reject.json" in archive.namelist()
            return labels, json.loads(read_member(archive, "reject.json", path)) if has_threshold else None
    except DAMAGE as error:
        raise ModelError(f"{path} cannot be read as a TFLite model of ours: {error}. Export it again.") from error
