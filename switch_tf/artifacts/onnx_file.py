"""Answers texts with an exported ONNX file, through ONNX Runtime alone: no TensorFlow is imported."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.artifacts.base import (
    as_bytes,
    as_text,
    ask_in_batches,
    checked_labels,
    checked_probabilities,
    ids_batch,
)
from switch_tf.artifacts.seal import ONNX, check_file
from switch_tf.errors import ModelError
from switch_tf.text.byte_codes import pack
from switch_tf.text.given import check_texts

_SIZE_LIMIT = 2**31  # bytes: what a protobuf file can hold
_ERRORS = 3  # of ONNX Runtime's log levels
_INPUTS = {"text": ("tensor(string)", 1), "bytes": ("tensor(uint8)", 2), "ids": ("tensor(int32)", 2)}  # type, rank


class OnnxPredictor:
    """An ONNX model of ours that takes `text` or `bytes`.

    Attributes:
        path: what messages call it.
        door: what goes in.
        labels: class names, from the file's metadata.
        facts: the file's metadata.
        batch: the one batch size of the file, or None.
        size: bytes.
        provider: the execution provider that ONNX Runtime chose.
        checked: whether the file carries a checksum, or a manifest beside it does, and it is the right one.
        runtime: what answers.
    """

    def __init__(
        self,
        source: Path | bytes,
        threads: int | None = None,
        path: str = "",
        doors: Collection[str] = ("text", "bytes"),
        with_ids: bool = False,
    ):
        """
        Args:
            source: the file, or its content, which messages then call `path`.
            threads: that one operator may use; None leaves it to ONNX Runtime.
            doors: inputs that the caller can do with.
            with_ids: ask a copy that answers the ids between its text front-end and its classifier as well.

        Raises:
            ModelError: it is not an ONNX model, not one of ours that takes one of `doors`, or not as it was written.
        """
        self.path = path or str(source)
        self._source, self._threads = source, threads
        content: str | bytes = _checked(source, self.path)
        self.checked = check_file(source, ONNX, self.path)
        self.size = len(content) if isinstance(content, bytes) else Path(content).stat().st_size
        if with_ids:
            content = _with_ids(content, self.path)
        session = self._session = _open(content, threads, self.path)
        self.provider: str = session.get_providers()[0]
        self.runtime = f"ONNX Runtime, {self.provider}"
        inputs = {each.name: (each.type, len(each.shape)) for each in session.get_inputs()}
        outputs = {each.name: each.shape for each in session.get_outputs()}
        ours = len(inputs) == 1 and any(door in doors and _INPUTS[door] == inputs[door] for door in inputs)
        if not ours or not {"probabilities", "label"} <= set(outputs) or len(outputs["probabilities"]) != 2:
            expected = " or ".join(doors)
            raise ModelError(
                f"{self.path} has the signature {sorted(inputs)} -> {sorted(outputs)}. Expected {expected} -> "
                "probabilities, label, as an export writes it."
            )
        (self.door,) = inputs
        batch, *width = session.get_inputs()[0].shape
        self._width: int = width[0] if width else 0  # of `bytes` and `ids`
        self.batch: int | None = batch if isinstance(batch, int) else None
        self.facts: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.labels = _labels(self.facts, outputs["probabilities"][1], self.path)

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; for no texts it is empty, and the graph, which fails on a batch of 0, is not asked.

        Raises:
            DataError: a text is not a string, or not UTF-8, which ONNX strings are.
            ModelError: ONNX Runtime fails on them, or answers what is no number.
        """
        empty = np.zeros([0, len(self.labels)], np.float32)
        decoded = [as_text(text) for text in check_texts(texts)]
        answers = ask_in_batches(
            lambda batch: self.run(["probabilities"], self.feed(batch))[0], decoded, self.batch, "", empty
        )
        return checked_probabilities(answers, self.path)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """The ids between the text front-end and the classifier, int32 [texts, length].

        Raises:
            DataError, ModelError: as above.
        """
        decoded = [as_text(text) if self.door == "text" else as_bytes(text) for text in check_texts(texts)]
        empty = np.zeros([0, self._length], np.int32)
        return ask_in_batches(
            lambda batch: self._run(self._front_end, ["ids"], self.feed(batch))[0],
            decoded,
            self.batch,
            "",
            empty,
            size=ids_batch(self._width),
        )

    def feed(self, texts: Sequence[str | bytes]) -> dict[str, np.ndarray]:
        """What goes in for texts: strings or bytes, by the door."""
        if self.door == "bytes":
            return {"bytes": pack([as_bytes(text) for text in texts], self._width)}
        # Objects: an array of NumPy's own strings loses NULs at the end, and one of bytes is read as "b'...'".
        return {"text": np.array([as_text(text) for text in check_texts(texts)], dtype=object)}

    def run(self, outputs: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        """
        Raises:
            ModelError: ONNX Runtime fails.
        """
        return self._run(self._session, outputs, feed)

    def _run(self, session: Any, outputs: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        try:
            return session.run(outputs, dict(feed))
        except Exception as error:  # its exceptions share no narrower base
            raise ModelError(f"ONNX Runtime does not run {self.path}: {error}. Export it again.") from error

    @property
    def _length(self) -> int:
        """Tokens of a text, of which the metadata tell."""
        try:
            return int(json.loads(self.facts["text"])["sequence_length"])
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{self.path} does not describe its text in its metadata. Export it again.") from error

    @cached_property
    def _front_end(self) -> Any:
        """A session of the text front-end alone, made when ids are first asked for."""
        return _open(_cut_at_ids(_parse(self._source, self.path)), self._threads, self.path)


def _checked(source: Path | bytes, path: str) -> str | bytes:
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > _SIZE_LIMIT:
            raise ModelError(f"{path} has {source.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
    except OSError as error:
        raise ModelError(f"{path} cannot be used as an ONNX model: {error}. Export it again.") from error
    return str(source)


def _open(content: str | bytes, threads: int | None, path: str) -> Any:
    """A session on the CPU: strings run there whatever there is; a GPU wants the ids input and a session of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no narrower base
        raise ModelError(f"{path} cannot be used as an ONNX model: {error}. Export it again.") from error


def _parse(source: str | bytes | Path, path: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_from_string(source if isinstance(source, bytes) else Path(source).read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} cannot be read as an ONNX model of ours: {error}. Export it again.") from error


def _with_ids(content: str | bytes, path: str) -> bytes:
    """A copy of a model that also answers the inner value `ids`, int32 [batch, length]; one that takes ids stays."""
    model = _parse(content, path)
    if all(entry.name != "ids" for entry in model.graph.input):
        model.graph.output.append(_ids_output())
    return model.SerializeToString()


def _cut_at_ids(model: Any) -> bytes:
    """A model that ends where `ids` are known: its text front-end, with nothing that serves other values alone."""
    needed, nodes = {"ids"}, []
    for node in reversed(model.graph.node):  # which stand in the order of their execution
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_inputs(node))
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.append(_ids_output())
    # Copies: the lists that these live in are cleared.
    kept_nodes, kept_constants = (
        [type(each).FromString(each.SerializeToString()) for each in kept] for kept in (nodes, constants)
    )
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept_nodes))
    model.graph.initializer.extend(kept_constants)
    return model.SerializeToString()


def _inputs(node: Any) -> Iterator[str]:
    """What a node takes, and what the graphs inside it take from around them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)
        for output in attribute.g.output:  # a branch may hand on what it has from around it
            yield output.name


def _ids_output() -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT32, [None, None])


def _labels(metadata: Mapping[str, Any], classes: int, path: str) -> list[str]:
    try:
        labels = json.loads(metadata["labels"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} does not name its labels in its metadata. Export it again.") from error
    return checked_labels(labels, classes, f"the metadata of {path}")
