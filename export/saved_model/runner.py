"""Asks a SavedModel twice, each time in a process that has none of our code: as TF Serving would, and from Python.

TensorFlow's C++ loader answers through every signature in every batch size, the empty batch included, and replays TF
Serving's warm-up records. TensorFlow for Python, which loads a SavedModel by other code, answers in one batch size.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.artifacts.base import Answers, checked_labels, ids_batch
from switch_tf.artifacts.saved_model import SAVED_MODEL_LABELS, SAVED_MODEL_REJECT, read_assets
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof.readback import Part
from switch_tf.export.proof.runner import named
from switch_tf.export.saved_model import python_child
from switch_tf.export.saved_model.child_process import started_child
from switch_tf.export.saved_model.loader import Answered, Call, Outputs, Packed, as_examples, run_in_loader, strings
from switch_tf.export.saved_model.stored import graph_labels, read_bytes_parts, read_text_parts
from switch_tf.export.saved_model.warmup import read_warmup
from switch_tf.text.byte_codes import pack

# The signatures in the order they are asked, and what goes in: an input, or the ids that an earlier one of these gives.
_ROUND: tuple[tuple[str, str | int], ...] = (
    ("tokenize", "text"),
    ("serving_default", "text"),
    ("ids", 0),
    ("classify", "inputs"),
    ("tokenize_bytes", "bytes"),
    ("bytes", "bytes"),
    ("ids", 4),
)


class SavedModelRunner:
    """Answers for strings; `bytes_runner` gives what answers for bytes, from the same processes."""

    door: Door = "text"
    precision: Precision = "float32"
    admits_invalid_utf8 = True

    def __init__(self, folder: Path, path: str, byte_length: int, words: Sequence[bytes] = ()):
        """
        Args:
            path: what messages call it.
            byte_length: the width of its bytes input.
            words: texts whose ids alone will be asked for, so that the same processes answer them.
        """
        self.folder = folder
        self.path = path
        self.byte_length = byte_length
        self._words = list(words)
        self._word_ids: dict[Door, list[np.ndarray]] = {"text": [], "bytes": []}
        self._asked: tuple[list[bytes], list[int]] | None = None
        self._answers: dict[Door, list[Answers]] = {}
        self.size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def bytes_runner(self) -> "_BytesRunner":
        """What asks the same SavedModel through its bytes input."""
        return _BytesRunner(self)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """In each batch size what `serving_default`, `ids` and `classify` say, then twice what Python gets.

        Raises:
            ModelError: the SavedModel does not load, or fails on a text.
            ExportError: a process fails otherwise.
            ParityError: the empty batch has no empty answer, or `classify` names other classes.
        """
        return self.answer_all(texts, batch_sizes)["text"]

    def answer_all(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> dict[Door, list[Answers]]:
        """Every signature on every text, by what it takes; asked again for the same texts, it remembers.

        Raises:
            ModelError, ExportError, ParityError: as above.
        """
        question = (list(texts), list(batch_sizes))
        if question != self._asked:
            labels = self._read_labels()
            self._word_ids = {"text": [], "bytes": []}
            with self._started_in_python(texts, batch_sizes[0], labels) as of_python:  # both at the same time
                of_loader = self._ask_loader(texts, batch_sizes, labels)
                also = of_python()
            self._answers = {door: of_loader[door] + also[door] for door in of_loader}
            self._asked = question
        return self._answers

    def tokenize(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """What `tokenize` says, in TensorFlow's C++ loader and in Python."""
        return self.tokenize_by("text", texts)

    def tokenize_by(self, door: Door, texts: Sequence[bytes]) -> list[np.ndarray]:
        """The ids of a front-end; asked for the words that it was told of, it remembers them from the answers.

        Raises:
            ModelError, ExportError, ParityError: as above.
        """
        if list(texts) != self._words or not self._word_ids[door]:
            self._words, self._asked = list(texts), None
            self.answer_all(texts[:1], [1])
        return self._word_ids[door]

    def named_labels(self) -> Mapping[str, list[str]]:
        """The class names in the assets, and in the graphs that answer labels; `classify` is asked for its own."""
        labels = self._read_labels()
        spoken = graph_labels(self.folder, self.path, len(labels))
        return {f"assets/{SAVED_MODEL_LABELS}": labels} | {
            f"constant {number} of its graphs": each for number, each in enumerate(spoken)
        }

    def named_rejections(self) -> Mapping[str, Any]:
        """What the assets say."""
        return {f"assets/{SAVED_MODEL_REJECT}": self._read_assets()[1]}

    def parts(self) -> list[Part]:
        """The checkpoint, the words, and the constants of signatures that a threshold is among."""
        return read_text_parts(self.folder, self.path)

    def _read_labels(self) -> list[str]:
        return self._read_assets()[0]

    def _read_assets(self) -> tuple[list[str], Any]:
        try:
            labels, reject = read_assets(self.folder)
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{self.path} does not name its classes: {error}. Export it again.") from error
        return checked_labels(labels, None, f"the assets of {self.path}"), reject

    def _ask_loader(
        self, texts: Sequence[bytes], batch_sizes: Sequence[int], labels: list[str]
    ) -> dict[Door, list[Answers]]:
        inputs = {"text": strings(texts), "bytes": pack(texts, self.byte_length), "inputs": as_examples(texts)}
        calls: list[Call] = []
        for size in batch_sizes:
            calls += _round(inputs, size, len(calls))
        calls += _round({name: array[:0] for name, array in inputs.items()}, 1, len(calls))
        words = self._word_calls()
        warmup = read_warmup(self.folder, self.path)  # asked to see that nothing fails
        received = run_in_loader(self.folder, self.path, [*calls, *words, *warmup])
        ids = [each["ids"] for each in received[len(calls) : len(calls) + len(words)]]
        if ids:
            self._word_ids["text"].append(np.concatenate(ids[0::2]))
            self._word_ids["bytes"].append(np.concatenate(ids[1::2]))
        *rounds, empty = [received[start : start + len(_ROUND)] for start in range(0, len(calls), len(_ROUND))]
        for (signature, _), some, none in zip(_ROUND, rounds[0], empty, strict=True):
            for key, array in some.items():
                if none[key].shape != (0, *array.shape[1:]):
                    wrong = f"the signature {signature} answers an empty batch with {key} {none[key].shape}"
                    raise ParityError(f"{self.path}: {wrong}. Expected {(0, *array.shape[1:])}.")
        answers: dict[Door, list[Answers]] = {"text": [], "bytes": []}
        for tokens, default, of_ids, classified, raw_tokens, of_bytes, of_raw_ids in rounds:
            if any(row != labels for row in map(_decode, classified["classes"])):
                raise ParityError(f"{self.path}: the signature classify names other classes than {labels}.")
            answers["text"] += [
                Answers(tokens["ids"], default["probabilities"], _decode(default["label"])),
                _of_indexes(tokens, of_ids["probabilities"], of_ids["label"], labels),
                _of_classes(tokens, classified["scores"], default["probabilities"].shape[-1], labels),
            ]
            answers["bytes"] += [
                _of_indexes(raw_tokens, each["probabilities"], each["label"], labels) for each in (of_bytes, of_raw_ids)
            ]
        return answers

    def _word_calls(self) -> list[Call]:
        """Both front-ends on the words, in turn."""
        size = ids_batch(self.byte_length)
        calls = []
        for start in range(0, len(self._words), size):
            texts = strings(self._words[start : start + size])
            calls.append(Call("tokenize", {"text": texts}, size))
            calls.append(Call("tokenize_bytes", {"bytes": Packed(texts, self.byte_length)}, size))
        return calls

    @contextmanager
    def _started_in_python(
        self, texts: Sequence[bytes], batch_size: int, labels: list[str]
    ) -> Iterator[Callable[[], dict[Door, list[Answers]]]]:
        """What waits for the answers of TensorFlow for Python, which is at work meanwhile."""
        request: dict[str, np.ndarray | int] = {"batch_size": batch_size, "byte_length": self.byte_length}
        for name, each in (("", texts), ("word_", self._words or [b""])):
            request[f"{name}content"] = np.frombuffer(b"".join(each), np.uint8)
            request[f"{name}lengths"] = np.array([len(text) for text in each], np.int64)
        request["word_batch_size"] = ids_batch(self.byte_length)
        where = "in Python's TensorFlow"
        with started_child(python_child.__file__, where, self.folder, self.path, request) as child:
            yield lambda: self._read_python(child(), labels)

    def _read_python(self, received: Outputs, labels: list[str]) -> dict[Door, list[Answers]]:
        answers: dict[Door, list[Answers]] = {"text": [], "bytes": []}
        for door, of_door in answers.items():
            if self._words:
                self._word_ids[door].append(received[f"{door}/word_ids"])
            tokens = {"ids": received[f"{door}/ids"]}
            spoken = json.loads(received[f"{door}/labels"].tobytes())
            of_door.append(Answers(tokens["ids"], received[f"{door}/probabilities"], spoken))
            numeric = received[f"{door}/ids_probabilities"], received[f"{door}/ids_label"]
            of_door.append(_of_indexes(tokens, *numeric, labels))
        return answers


class _BytesRunner:
    """The bytes input of a SavedModel."""

    door: Door = "bytes"
    precision: Precision = "float32"
    admits_invalid_utf8 = True

    def __init__(self, runner: SavedModelRunner):
        self.path, self.size = runner.path, runner.size
        self._runner = runner

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """In each batch size what `bytes` says, and `ids` of the ids of `tokenize_bytes`, then twice what Python gets.

        Raises:
            ModelError, ExportError, ParityError: as for strings.
        """
        return self._runner.answer_all(texts, batch_sizes)["bytes"]

    def tokenize(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """What `tokenize_bytes` says, in TensorFlow's C++ loader and in Python.

        Raises:
            ModelError, ExportError, ParityError: as for strings.
        """
        return self._runner.tokenize_by("bytes", texts)

    def named_labels(self) -> Mapping[str, list[str]]:
        """Those of the assets, which the index that it answers means."""
        return {f"assets/{SAVED_MODEL_LABELS}": self._runner.named_labels()[f"assets/{SAVED_MODEL_LABELS}"]}

    def named_rejections(self) -> Mapping[str, Any]:
        """What the assets say, of which the index that it answers may be the last."""
        return self._runner.named_rejections()

    def parts(self) -> list[Part]:
        """The constants of its front-end, and those that a threshold is among."""
        return read_bytes_parts(self._runner.folder, self.path)


def _round(inputs: Outputs, batch: int, start: int) -> list[Call]:
    """Every signature on the inputs; `start` calls stand before these."""
    calls = []
    for signature, source in _ROUND:
        if isinstance(source, int):
            calls.append(Call(signature, {"ids": Answered(start + source, "ids")}, batch))
        else:
            calls.append(Call(signature, {source: inputs[source]}, batch))
    return calls


def _of_indexes(tokens: Outputs, probabilities: np.ndarray, indexes: np.ndarray, labels: list[str]) -> Answers:
    """The answers of a signature that gives no strings, or no ids."""
    return Answers(tokens["ids"], probabilities, named(labels, indexes))


def _of_classes(tokens: Outputs, scores: np.ndarray, classes: int, labels: list[str]) -> Answers:
    """The answers of `classify`: the class of the highest score, which may be the reject label's, the threshold."""
    return _of_indexes(tokens, scores[..., :classes], scores.argmax(axis=-1), labels)


def _decode(names: np.ndarray) -> list[str]:
    return [name.decode("utf-8", "replace") for name in names]
