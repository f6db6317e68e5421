"""A trained run as a SavedModel for TF Serving: one numbered version, proven to answer before it gets its number.

Signatures (batch is the only dynamic dimension):

    serving_default   text: string [batch]        -> probabilities: float32 [batch, classes], label: string [batch]
    ids               ids: int32 [batch, length]  -> probabilities: float32 [batch, classes], label: int64 [batch]
    bytes             bytes: uint8 [batch, N]     -> the same as ids, from UTF-8 with zeros behind it
    tokenize          text: string [batch]        -> ids: int32 [batch, length]
    tokenize_bytes    bytes: uint8 [batch, N]     -> ids: int32 [batch, length]

`ids` and `bytes` hold no string operator, so XLA compiles them. The class names are in `assets/labels.json`, figures
and checksums in `assets.extra/manifest.json`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.errors import ExportError
from switch_tf.export import saved_model_child
from switch_tf.export.manifest import write_manifest
from switch_tf.export.parity import Answers, Comparison, Door, Precision
from switch_tf.export.proof import Proof
from switch_tf.inference import TextClassifier
from switch_tf.predict import SAVED_MODEL_LABELS, saved_model_versions
from switch_tf.run import Run

_CHILD_SECONDS = 1800


def export_saved_model(run: Run, proof: Proof, output: Path) -> tuple[Path, list[Comparison]]:
    """Write the next version under the folder `output`; return its path and how its strings and its bytes compared.

    Raises:
        ParityError: it does not answer as the trained model does; nothing of it is left.
        ExportError: it cannot be loaded or run without this package; nothing of it is left.
        RunError: the folder cannot be written.
    """
    version = max(saved_model_versions(output), default=0) + 1
    destination = output / str(version)
    with files.new_folder(destination) as folder:
        _save(proof.exported, folder)
        runner = SavedModelRunner(folder, str(destination), run.config.text.byte_length)
        comparisons = [proof.check(each) for each in (runner, runner.bytes_runner())]
        written = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
        (folder / "assets.extra").mkdir()
        write_manifest(
            folder / "assets.extra" / "manifest.json", proof.model, comparisons, written, _describe(proof.exported)
        )
    return destination, comparisons


class SavedModelRunner:
    """Asks a SavedModel in a process of its own, which imports TensorFlow and NumPy and nothing of ours.

    It answers for strings; `bytes_runner` gives what answers for bytes, from the same process.
    """

    door: Door = "text"
    precision: Precision = "float32"
    admits_invalid_utf8 = True

    def __init__(self, folder: Path, path: str, byte_length: int):
        """`path` is what messages call it, `byte_length` the width of its bytes input."""
        self.folder = folder
        self.path = path
        self.byte_length = byte_length
        self._asked: tuple[list[bytes], list[int]] | None = None
        self._answers: dict[Door, list[Answers]] = {}
        self.size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def bytes_runner(self) -> "_BytesRunner":
        """What asks the same SavedModel through its bytes input."""
        return _BytesRunner(self)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """`serving_default` and `tokenize` on every text, once for each batch size.

        Raises:
            ExportError: the process fails, or two signatures disagree.
        """
        return self.answer_all(texts, batch_sizes)["text"]

    def answer_all(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> dict[Door, list[Answers]]:
        """Every signature on every text, by what it takes; asked again for the same texts, it remembers.

        Raises:
            ExportError: as above.
        """
        question = (list(texts), list(batch_sizes))
        if question != self._asked:
            received = self._run_child(texts, batch_sizes)
            self._answers = {"text": [], "bytes": []}
            for size in batch_sizes:
                self._answers["text"].append(self._read(received, f"{size}/text"))
                self._answers["bytes"].append(self._read(received, f"{size}/bytes"))
            self._asked = question
        return self._answers

    def _run_child(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as exchange:
            request, response = Path(exchange, "request.npz"), Path(exchange, "response.npz")
            lengths = np.array([len(text) for text in texts], np.int64)
            content = np.frombuffer(b"".join(texts), np.uint8)
            np.savez(request, content=content, lengths=lengths, batch_sizes=batch_sizes, byte_length=self.byte_length)
            # -I: neither the environment nor the current folder can lend it our code.
            command = [sys.executable, "-I", saved_model_child.__file__, str(self.folder), str(request), str(response)]
            try:
                finished = subprocess.run(command, capture_output=True, timeout=_CHILD_SECONDS, check=False)
            except subprocess.TimeoutExpired as error:
                took = f"took over {_CHILD_SECONDS} s on {len(texts)} texts in a process of its own"
                raise ExportError(f"{self.path} {took}. Ask fewer texts, or on an idle machine.") from error
            if finished.returncode:
                reason = finished.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
                raise ExportError(f"{self.path} does not run in a process of its own: {' '.join(reason)}")
            with np.load(response, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}

    def _read(self, received: dict[str, np.ndarray], name: str) -> Answers:
        """The answers of one input, held together with those of `ids` to the same tokens."""
        labels = json.loads((self.folder / "assets" / SAVED_MODEL_LABELS).read_text(encoding="utf-8"))
        spoken = json.loads(received[f"{name}/labels"].tobytes())
        named = [labels[index] for index in received[f"{name}/ids_label"]]
        probabilities = received[f"{name}/probabilities"]
        if named != spoken or not np.array_equal(probabilities, received[f"{name}/ids_probabilities"]):
            signature = "serving_default" if name.endswith("text") else "bytes"
            raise ExportError(f"{self.path}: the signatures {signature} and ids answer differently.")
        return Answers(received[f"{name}/ids"], probabilities, spoken)


class _BytesRunner:
    """The bytes input of a SavedModel."""

    door: Door = "bytes"
    precision: Precision = "float32"
    admits_invalid_utf8 = True

    def __init__(self, runner: SavedModelRunner):
        self.path, self.size = runner.path, runner.size
        self._runner = runner

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """`bytes` and `tokenize_bytes` on every text, once for each batch size.

        Raises:
            ExportError: the process fails, or two signatures disagree.
        """
        return self._runner.answer_all(texts, batch_sizes)["bytes"]


def _save(model: TextClassifier, folder: Path) -> None:
    """Functions, weights, table and labels; the Keras objects stay out, so that no Python class is asked for."""
    module = tf.Module()
    module.text = model.text
    module.weights = model.classifier.trainable_variables
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch, SAVED_MODEL_LABELS)
        files.write_json(labels, model.labels)
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(folder), signatures=_signatures(model))


def _signatures(model: TextClassifier) -> dict[str, Any]:
    return {
        "serving_default": model.classify_text,
        "ids": model.classify_ids,
        "bytes": model.classify_bytes,
        "tokenize": model.tokenize,
        "tokenize_bytes": model.tokenize_bytes,
    }


def _describe(model: TextClassifier) -> dict[str, Any]:
    """What goes in and out of each signature, and the operators in between, for the manifest."""

    def describe(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"type": spec.dtype.name, "shape": ["batch", *spec.shape.as_list()[1:]]}
            for name, spec in specs.items()
        }

    concrete = {name: function.get_concrete_function() for name, function in _signatures(model).items()}
    operators = {node.op for each in concrete.values() for node in _nodes(each.graph.as_graph_def())}
    return {
        "signatures": {
            name: {
                "inputs": describe({spec.name: spec for spec in each.structured_input_signature[0]}),
                "outputs": describe(each.structured_outputs),
            }
            for name, each in concrete.items()
        },
        "operators": sorted(operators),
    }


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
