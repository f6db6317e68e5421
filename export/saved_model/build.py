"""A trained run as a SavedModel for TF Serving: one numbered version, proven to answer before it gets its number.

Signatures (batch is the only dynamic dimension):

    serving_default   text: string [batch]        -> probabilities: float32 [batch, classes], label: string [batch]
    ids               ids: int32 [batch, length]  -> probabilities: float32 [batch, classes], label: int64 [batch]
    bytes             bytes: uint8 [batch, N]     -> the same as ids, from UTF-8 with zeros behind it
    tokenize          text: string [batch]        -> ids: int32 [batch, length]
    tokenize_bytes    bytes: uint8 [batch, N]     -> ids: int32 [batch, length]
    classify          inputs: string [batch]      -> classes: string [batch, classes], scores: float32 [batch, classes]

With a reject threshold `label` may be the reject label, as an index the number of classes; `classify` has one class
more, the reject label, whose score is the threshold, so that the highest score is that of the answer.

`ids` and `bytes` hold no string operator, so XLA compiles them; none is compiled by itself, as TF Serving runs without
XLA. `classify` takes serialized tf.Example with a `text` and is what TF Serving's Classify asks for. The class names
are in `assets/labels.json`, a threshold in `assets/reject.json`, figures and checksums in
`assets.extra/manifest.json`, and TF Serving's warm-up requests beside them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from switch_tf import files
from switch_tf.artifacts.saved_model import MANIFEST, SAVED_MODEL_LABELS, SAVED_MODEL_REJECT, saved_model_versions
from switch_tf.errors import RunError
from switch_tf.export.manifest import write_manifest
from switch_tf.export.marked_files import refuse_foreign_files
from switch_tf.export.proof.gate import Proof
from switch_tf.export.proof.parity import Comparison
from switch_tf.export.saved_model.runner import SavedModelRunner
from switch_tf.export.saved_model.serving_files import FILES, write_serving_files
from switch_tf.export.saved_model.warmup import CLASSIFY, LARGEST_BATCH, write_warmup
from switch_tf.locks import scratch
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run


def export_saved_model(
    run: Run, proof: Proof, output: Path, largest_batch: int = LARGEST_BATCH
) -> tuple[Path, list[Comparison]]:
    """Write the next version under the folder `output`; return its path and how its strings and its bytes compared.

    What TF Serving is started with is written beside it: it takes at most `largest_batch` texts at a time.

    Raises:
        ParityError: it does not answer as the trained model does; nothing of it is left.
        ExportError: it cannot be loaded or run without this package, or as TF Serving would; nothing of it is left.
        RunError: the folder cannot be written.
    """
    refuse_foreign_files(output / name for name in FILES)
    files.remove_parts(output)  # of versions and of the files beside them, whose exports were killed
    version = max(saved_model_versions(output), default=0) + 1
    destination = output / str(version)
    with files.parents(destination), files.new_folder(destination) as folder:
        with _refusing(output):
            _save(proof.exported, folder)
            write_warmup(folder, proof.exported, largest_batch)
        runner = SavedModelRunner(folder, str(destination), run.config.text.num_bytes, proof.words)
        comparisons = [proof.check(each) for each in (runner, runner.bytes_runner())]
        written = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
        described = _describe(proof.exported)
        write_manifest(folder / MANIFEST, proof.exported, comparisons, written, described)
        write_serving_files(output, run, proof.model, described["signatures"], largest_batch)
    return destination, comparisons


def _save(model: TextClassifier, folder: Path) -> None:
    """Functions, weights, table and labels; the Keras objects stay out, so that no Python class is asked for."""
    module = tf.Module()
    module.text = model.text
    module.weights = model.classifier.variables
    with scratch() as place:
        labels = place / SAVED_MODEL_LABELS
        files.write_json(labels, model.label_list)
        module.labels = tf.saved_model.Asset(str(labels))
        if model.rejection is not None:
            files.write_json(place / SAVED_MODEL_REJECT, model.rejection.as_dict())
            module.rejection = tf.saved_model.Asset(str(place / SAVED_MODEL_REJECT))
        tf.saved_model.save(module, str(folder), signatures=_signatures(model))
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
        updater.replace_method_name("classify", CLASSIFY, tags="serve")  # `save` calls every signature a Predict
        updater.save()
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # optional, and of the file as it was before


@contextmanager
def _refusing(output: Path) -> Iterator[None]:
    """TensorFlow has errors of its own for a full disk and the like."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise RunError(f"{output} cannot be written: {error}. Nothing of the export was kept.") from error


def _signatures(model: TextClassifier) -> dict[str, Any]:
    return {
        "serving_default": model.classify_text,
        "ids": model.classify_ids,
        "bytes": model.classify_bytes,
        "tokenize": model.tokenize,
        "tokenize_bytes": model.tokenize_bytes,
        "classify": model.classify_examples,
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
