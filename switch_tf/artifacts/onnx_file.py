"""Answers texts with an exported ONNX file, through ONNX Runtime alone: no TensorFlow is imported."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf.artifacts.base import (
    as_bytes,
    as_text,
    ask_in_batches,
    checked_probabilities,
    checked_rejection,
    ids_batch,
)
from switch_tf.artifacts.onnx_graph import behind_ids, front_end, parse, with_inner_ids
from switch_tf.artifacts.providers import CPU, Provider, open_on_cuda, wants_cuda
from switch_tf.artifacts.seal import ONNX, check_file
from switch_tf.errors import DataError, ModelError
from switch_tf.runs.rejection import Rejection
from switch_tf.text.byte_codes import pack
from switch_tf.text.given import check_texts

if TYPE_CHECKING:
    from switch_tf.text.plain import PlainText
    from switch_tf.text.plain_subwords import PlainSubwords

_SIZE_LIMIT = 2**31  # bytes: what a protobuf file can hold
_MEMORY_LIMIT = 4 * 2**30  # bytes: what all graphs of the process may hold at a time, whatever shapes they compute
_ERRORS = 3  # of ONNX Runtime's log levels
_INPUTS = {"text": ("tensor(string)", 1), "bytes": ("tensor(uint8)", 2), "ids": ("tensor(int32)", 2)}  # type, rank


class OnnxPredictor:
    """An ONNX model of ours that takes `text`, `bytes` or `ids`; asked for texts, it makes ids of them itself.

    On a GPU the text front-end of a file stays on the CPU, and the classifier behind it has a session of its own.

    Attributes:
        path: what messages call it.
        door: what goes in.
        labels: class names, from the file's metadata.
        rejection: when it answers by no class, from there too, or None.
        facts: the file's metadata.
        batch: the one batch size of the file, or None.
        size: bytes.
        provider: the execution provider that computes the probabilities.
        checked: whether the file carries a checksum, or a manifest beside it does, and it is the right one.
        runtime: what answers.
    """

    def __init__(
        self,
        source: Path | bytes,
        threads: int | None = None,
        path: str = "",
        with_ids: bool = False,
        provider: Provider = "cpu",
        tell: Callable[[str], None] = print,
    ):
        """
        Args:
            source: the file, or its content, which messages then call `path`.
            threads: that one operator may use; None leaves it to ONNX Runtime.
            with_ids: ask a copy that answers the ids between its text front-end and its classifier as well.
            provider: "cpu", "cuda", or "auto", which is CUDA for a file that takes ids if it can be had.
            tell: gets a line if "auto" tried CUDA in vain, and answers on the CPU.

        Raises:
            ArgumentError: the installed build of ONNX Runtime has no such provider.
            ModelError: it is not an ONNX model, not one of ours, or not as it was written; or CUDA cannot be used.
        """
        self.path = path or str(source)
        self._source, self._threads = source, threads
        content: str | bytes = _checked(source, self.path)
        self.checked = check_file(source, ONNX, self.path)
        self.size = len(content) if isinstance(content, bytes) else Path(content).stat().st_size
        if with_ids:
            content = with_inner_ids(content, self.path)
        session = self._session = open_session(content, threads, self.path)
        inputs = {each.name: (each.type, len(each.shape)) for each in session.get_inputs()}
        outputs = {each.name: each.shape for each in session.get_outputs()}
        ours = len(inputs) == 1 and all(_INPUTS.get(door) == inputs[door] for door in inputs)
        if not ours or not {"probabilities", "label"} <= set(outputs) or len(outputs["probabilities"]) != 2:
            raise ModelError(
                f"{self.path} has the signature {sorted(inputs)} -> {sorted(outputs)}. Expected {', '.join(_INPUTS)} "
                "-> probabilities, label, as an export writes it."
            )
        (self.door,) = inputs
        batch, *width = session.get_inputs()[0].shape
        self._width: int = width[0] if width else 0  # of `bytes` and `ids`
        self.batch: int | None = batch if isinstance(batch, int) else None
        self.facts: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.labels, self.rejection = _labels(self.facts, outputs["probabilities"][1], self.path)
        self._splits = False  # whether `_session` is the part behind the ids
        self._choose(provider, content, tell)
        self.provider: str = self._session.get_providers()[0]
        self.runtime = f"ONNX Runtime, {self.provider}"

    def _choose(self, provider: Provider, content: str | bytes, tell: Callable[[str], None]) -> None:
        """Have CUDA answer, if it is asked for and can."""
        import onnxruntime

        if not wants_cuda(provider, self.door, onnxruntime.get_available_providers()):
            return
        self._splits = self.door != "ids"
        if self._splits:
            content = behind_ids(parse(self._source, self.path))
        try:
            self._session = open_on_cuda(content, _options(self._threads))
        except ModelError as error:
            if provider == "cuda":
                raise
            tell(f"{error} Answering on the CPU.")

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; for no texts it is empty, and the graph, which fails on a batch of 0, is not asked.

        Raises:
            DataError: a text is not a string, or not UTF-8, which ONNX strings are.
            ModelError: ONNX Runtime fails on them, or answers what is no number.
        """
        empty = np.zeros([0, len(self.labels)], np.float32)
        decoded = [as_text(text) for text in check_texts(texts)]
        answers = ask_in_batches(
            lambda batch: self.run(["probabilities"], self._classifier_feed(batch))[0], decoded, self.batch, "", empty
        )
        return checked_probabilities(answers, self.path)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """The ids between the text front-end and the classifier, int32 [texts, length].

        Raises:
            DataError, ModelError: as above.
        """
        decoded = [as_text(text) if self.door == "text" else as_bytes(text) for text in check_texts(texts)]
        if self.door == "ids":
            return self.feed(decoded)["ids"]
        empty = np.zeros([0, self._length], np.int32)
        return ask_in_batches(
            lambda batch: run_session(self._front_end, ["ids"], self.feed(batch), self.path)[0],
            decoded,
            self.batch,
            "",
            empty,
            size=ids_batch(self._width),
        )

    def feed(self, texts: Sequence[str | bytes]) -> dict[str, np.ndarray]:
        """What goes in for texts: strings, bytes or ids, by the door.

        Raises:
            ModelError: it takes ids, and does not hold the words that they stand for.
        """
        if self.door == "ids":
            return {"ids": self._plain_text.ids([as_bytes(text) for text in texts])}
        if self.door == "bytes":
            return {"bytes": pack([as_bytes(text) for text in texts], self._width)}
        # Objects: an array of NumPy's own strings loses NULs at the end, and one of bytes is read as "b'...'".
        return {"text": np.array([as_text(text) for text in check_texts(texts)], dtype=object)}

    def run(self, outputs: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        """
        Raises:
            ModelError: ONNX Runtime fails.
        """
        return run_session(self._session, outputs, feed, self.path)

    def _classifier_feed(self, texts: Sequence[str | bytes]) -> dict[str, np.ndarray]:
        """What `_session` takes for texts."""
        feed = self.feed(texts)
        return {"ids": run_session(self._front_end, ["ids"], feed, self.path)[0]} if self._splits else feed

    @property
    def _length(self) -> int:
        """Integers that a text becomes, of which the metadata tell."""
        from switch_tf.text.plain import read_spec

        try:
            return read_spec(json.loads(self.facts["text"])).ids_length
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{self.path} does not describe its text in its metadata. Export it again.") from error

    @cached_property
    def _front_end(self) -> Any:
        """A session of the text front-end alone, made when ids are first asked for."""
        return open_session(front_end(parse(self._source, self.path)), self._threads, self.path)

    @cached_property
    def _plain_text(self) -> "PlainText | PlainSubwords":
        """What makes the ids that go in, from the file's metadata."""
        from switch_tf.text.plain import read_plain_text

        problem = f"{self.path} takes ids, and its metadata do not name the words that they stand for"
        try:
            text = read_plain_text(json.loads(self.facts["text"]), json.loads(self.facts["vocabulary"]))
        except (KeyError, ValueError, TypeError, RecursionError, DataError) as error:
            raise ModelError(f"{problem}. Export it again. ({type(error).__name__}: {error})") from error
        if text.width != self._width:
            raise ModelError(f"{problem}: {text.width} tokens a text for {self._width} ids. Export it again.")
        return text


def _checked(source: Path | bytes, path: str) -> str | bytes:
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > _SIZE_LIMIT:
            raise ModelError(f"{path} has {source.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
    except OSError as error:
        raise ModelError(f"{path} cannot be used as an ONNX model: {error}. Export it again.") from error
    return str(source)


def open_session(content: str | bytes, threads: int | None, path: str) -> Any:
    """A session on the CPU, of a file or its content, which messages call `path`.

    Raises:
        ModelError: ONNX Runtime does not load it.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(content, _options(threads), providers=[CPU])
    except Exception as error:  # its exceptions share no narrower base
        raise ModelError(f"{path} cannot be used as an ONNX model: {error}. Export it again.") from error


def run_session(session: Any, outputs: list[str], feed: Mapping[str, np.ndarray], path: str) -> list[Any]:
    """What a session answers.

    Raises:
        ModelError: ONNX Runtime fails.
    """
    try:
        return session.run(outputs, dict(feed))
    except Exception as error:  # its exceptions share no narrower base
        raise ModelError(f"ONNX Runtime does not run {path}: {error}. Export it again.") from error


def _options(threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS
    _limit_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _limit_memory() -> None:
    """Have sessions that ask for it share an arena of at most `_MEMORY_LIMIT`: a small file may ask for any amount."""
    import onnxruntime

    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    default = -1
    # Refused where another library of this process has registered one before: then theirs is the limit.
    with suppress(RuntimeError):
        onnxruntime.create_and_register_allocator(
            place, onnxruntime.OrtArenaCfg(_MEMORY_LIMIT, default, default, default)
        )


def _labels(metadata: Mapping[str, Any], classes: int, path: str) -> tuple[list[str], Rejection | None]:
    try:
        labels, reject = json.loads(metadata["labels"]), json.loads(metadata.get("reject", "null"))
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} does not name its labels in its metadata. Export it again.") from error
    return checked_rejection(labels, reject, classes, f"the metadata of {path}")
