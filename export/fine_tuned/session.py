"""Exports and verifies fine-tuned runs: each artifact is a folder, with tokenizer and labels beside the graph."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from switch_tf import checksums, files
from switch_tf.artifacts.fine_tuned_export import FineTunedArtifact
from switch_tf.artifacts.fine_tuned_folder import KIND, MANIFEST, artifact_folder, is_artifact
from switch_tf.data.examples import Examples
from switch_tf.errors import ArgumentError, ModelError, RunError
from switch_tf.export.exported import Exported, Tell
from switch_tf.export.formats import check_meaning
from switch_tf.export.options import Door, ExportOptions
from switch_tf.export.proof.gate import refusing_failures
from switch_tf.export.proof.parity import Comparison, incomparable
from switch_tf.export.truncation import refuse_changes
from switch_tf.locks import locked
from switch_tf.models.huggingface import read_settings
from switch_tf.models.tokenizer import load_pieces
from switch_tf.runs.fine_tuned import CONFIG, PIECES, TOKENIZER, FineTunedRun
from switch_tf.runs.folder import LABELS, REJECT
from switch_tf.runs.held_out import read_held_out
from switch_tf.text.byte_codes import changed_share

if TYPE_CHECKING:
    from switch_tf.export.fine_tuned.proof import FineTunedProof
    from switch_tf.models.encoder_classifier import FineTunedClassifier

_MADE_UP = 64  # rows of ids that an export is asked, beside the held-out texts
_WHY_NOT = {
    "dispatch": "its tokens reach experts by gathers alone",
    "max_size": "its vocabulary is the checkpoint's, so there are no words to leave out; take a smaller precision",
    "max_batch_size": "it comes without a configuration of TF Serving",
}
DEFAULT_INPUTS: Door = "bytes"


def export_fine_tuned(run: FineTunedRun, options: ExportOptions, tell: Tell = lambda message: None) -> Exported:
    """Turn a fine-tuned run into artifacts, each proven before it is kept.

    Raises:
        ArgumentError: the options do not fit together, or mean nothing here.
        ParityError: an artifact does not answer as the trained model does, or not at all; nothing of it is left.
        ExportError: it cannot be made, or would cut too many texts.
        DataError: a quantized one has to be measured on the run's labelled data, and that is not there.
        RunError: the name is taken, or it cannot be written.
    """
    _refuse_meaningless(options)
    options = replace(options, inputs=options.inputs or DEFAULT_INPUTS)
    formats = [each.name for each in check_meaning(replace(options, inputs=None))]
    destinations = {name: options.output or run.path / "export" / _folder_name(name, options) for name in formats}
    for destination in destinations.values():
        if destination.exists():
            raise RunError(f"{destination} already exists. Choose another name, or remove it first.", "output")
    tell("Loading the trained model")
    from switch_tf.export.fine_tuned.proof import FineTunedProof

    model = _load(run)
    changed = _refuse_truncation(run, model, options.allow_truncation) if options.inputs == "bytes" else {}
    proof = FineTunedProof(run, model, _MADE_UP, measured_on=options.measured_on)
    tell("Asking the trained model")
    proof.ask_model(options.inputs or DEFAULT_INPUTS, options.precision or "float32")
    exported = Exported([], [], changed=changed)
    for name, destination in destinations.items():
        tell(f"Asking the export: {name}")
        with locked(destination, "exported to"), files.new_folder(destination) as folder, files.refusing(destination):
            compared = _write(name, run, model, proof, folder, str(destination), options)
        exported.paths.append(destination)
        exported.comparisons.extend(compared)
    return exported


def _refuse_truncation(run: FineTunedRun, model: "FineTunedClassifier", allowed: bool) -> dict[str, float]:
    """The share of texts that the bytes input reads otherwise than as a whole.

    Raises:
        ExportError: it is over one in a hundred, and that is not `allowed`; or the tokenizer cannot stand in a graph.
    """
    spec = model.numeric_text.spec
    shares = {"held-out sample": changed_share(spec, model.tokenize, read_held_out(run))}
    remedy = "Train with a larger fine_tune.length, which has 8 bytes for each id, or choose the inputs ids"
    refuse_changes(shares, f"{spec.num_bytes} bytes", remedy, allowed)
    return shares


def _folder_name(name: str, options: ExportOptions) -> str:
    """Of an artifact, so that none replaces another: onnx, onnx-batch8-int8."""
    parts = [name, *([] if options.inputs in (None, DEFAULT_INPUTS) else [options.inputs])]
    if options.batch is not None:
        parts.append(f"batch{options.batch}")
    if options.precision not in (None, "float32"):
        parts.append(str(options.precision))
    return "-".join(parts)


def _write(
    name: str,
    run: FineTunedRun,
    model: "FineTunedClassifier",
    proof: "FineTunedProof",
    folder: Path,
    path: str,
    options: ExportOptions,
) -> list[Comparison]:
    """Build an artifact in a folder, open it as users will, and hold it against the model; messages call it `path`."""
    from switch_tf.export.fine_tuned.builds import BUILDS

    precision = options.precision or "float32"
    BUILDS[name](model, folder, options)
    facts = {
        "inputs": options.inputs,
        "precision": precision,
        "batch": options.batch,
        "length": model.length,
        "max_loss": options.max_loss,
    }
    _describe(run, folder, facts)
    with refusing_failures(path):
        compared = proof.check(FineTunedArtifact(folder), path, options.max_loss)
    _describe(run, folder, facts | {"comparisons": [each.as_dict() for each in compared]})
    return compared


def verify_fine_tuned(
    run: FineTunedRun,
    artifacts: Sequence[Path] = (),
    texts: int = 2000,
    seed: int = 0,
    held_out: Sequence[str] | None = None,
    measured_on: str | Examples | None = None,
    tell: Tell = lambda message: None,
) -> list[Comparison]:
    """Compare artifacts (default: all under RUN/export) with the trained model, without judging them.

    Args:
        texts: rows of ids to make up from `seed`, beside the held-out texts.

    Raises:
        DataError: the labelled data that quantized artifacts are measured on is not there.
        ModelError: there is nothing to compare, or something that is no artifact.
    """
    found = [artifact_folder(path) for path in artifacts] or _find(run)
    for path in found:
        if not path.exists():
            raise ModelError(f"There is no {path}. Expected what an export of {run.path} wrote.")
        if not is_artifact(path):
            raise ModelError(f"{path} is no artifact of a fine-tuned run. Expected what an export of {run.path} wrote.")
    if not found:
        raise ModelError(f"{run.path / 'export'} holds no artifact. Export the run first.")
    tell(f"Loading the trained model of {run.path}")
    from switch_tf.export.fine_tuned.proof import FineTunedProof

    proof = FineTunedProof(run, _load(run), texts, seed, held_out, measured_on)
    comparisons = []
    for path in found:
        artifact = FineTunedArtifact(path)
        tell(f"Comparing {path} on {proof.asks(artifact):,} texts")
        comparisons.extend(_compare(proof, artifact))
    return comparisons


def _compare(proof: "FineTunedProof", artifact: FineTunedArtifact) -> list[Comparison]:
    from switch_tf.export.fine_tuned.proof import FineTunedRunner

    try:
        return proof.compare(artifact, str(artifact.path), artifact.max_loss)
    except ModelError as error:  # a row of ids that it fails on
        return [incomparable(FineTunedRunner(artifact, str(artifact.path)), proof.asks(artifact), str(error))]


def _find(run: FineTunedRun) -> list[Path]:
    return sorted(path for path in (run.path / "export").glob("*") if is_artifact(path))


def _load(run: FineTunedRun) -> "FineTunedClassifier":
    from switch_tf.export.proof.reference import on_the_cpu
    from switch_tf.models.encoder_classifier import load_fine_tuned

    with on_the_cpu():
        return load_fine_tuned(run, load_pieces(run.path, read_settings(run.path)))


def _refuse_meaningless(options: ExportOptions) -> None:
    for name, why in _WHY_NOT.items():
        if getattr(options, name) not in (None, False):
            raise ArgumentError(f"Received {name} for a fine-tuned run, where it has no meaning: {why}.", name)
    if options.inputs not in (None, "bytes", "ids") and (options.inputs, options.format) != ("text", "saved_model"):
        problem = f"Received inputs={options.inputs!r} for a fine-tuned run and the format {options.format}"
        expected = "bytes or ids, of a saved_model text as well"
        raise ArgumentError(f"{problem}. Expected {expected}.", "inputs")
    if options.allow_truncation and options.inputs not in (None, "bytes"):
        problem = f"Received allow_truncation with inputs={options.inputs!r}, which cut no bytes"
        raise ArgumentError(f"{problem}. Leave it out.", "allow_truncation")


def _describe(run: FineTunedRun, folder: Path, facts: Mapping[str, object]) -> None:
    """What turns texts into ids and indices into labels, and a manifest of all that stands in the folder."""
    for name in (CONFIG, PIECES, TOKENIZER, LABELS, REJECT):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    written = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    described = {name: checksums.describe(file) for name, file in written.items() if name != MANIFEST}
    files.write_json(folder / MANIFEST, {"kind": KIND, **facts, "files": described})
