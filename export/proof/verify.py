"""The long form of the gate: any artifacts of a run, on as many texts as one has patience for."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from switch_tf.artifacts.saved_model import saved_model_versions
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.proof.gate import Proof
from switch_tf.export.proof.parity import Comparison, Runner, incomparable
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run

_SIZE_LIMIT = 2**31  # bytes: what either format can hold


def verify(
    run: Run,
    artifacts: Sequence[Path] = (),
    texts: int = 2000,
    seed: int = 0,
    held_out: Sequence[str] | None = None,
    measured_on: str | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> list[Comparison]:
    """Compare artifacts (default: all under RUN/export) with the trained model, without judging them.

    Args:
        texts: adversarial texts to make up from `seed`, beside the held-out ones.
        held_out: texts instead of the sample that the run carries.
        measured_on: where the labelled data is that quantized artifacts are measured on; see `read_measured`.
        tell: called with a message before each long step.

    Raises:
        DataError: that data is not there.
        ModelError: there is nothing to compare, or something that is no artifact.
        ExportError: an artifact does not run.
    """
    found = list(artifacts) or find_artifacts(run)
    missing = [artifact for artifact in found if not artifact.exists()]
    if missing:
        raise ModelError(f"There is no {missing[0]}. Expected what an export of {run.path} wrote.")
    if not found:
        raise ModelError(f"{run.path / 'export'} holds no artifact. Export the run first.")
    tell(f"Loading the trained model of {run.path}")
    proofs: dict[int, Proof] = {}  # by words of the vocabulary, which a budget of bytes may have cut
    comparisons = []
    for artifact in found:
        words = words_of(artifact, len(run.vocabulary))
        if words not in proofs:
            proofs[words] = Proof(run, texts, seed, held_out, measured_on, words)
        proof = proofs[words]
        tell(f"Comparing {artifact} on {len(proof.texts):,} texts")
        for runner in open_runners(artifact, proof.model):
            try:
                comparisons.append(proof.compare(runner))
            except ParityError as error:  # signatures that disagree: nothing to hold against the trained model
                comparisons.append(incomparable(runner, len(proof.texts), str(error)))
    return comparisons


def words_of(artifact: Path, whole: int) -> int:
    """How many words of the run's vocabulary a file knows, as it says itself; all of them where it says nothing.

    Raises:
        ModelError: it says what cannot be.
    """
    from switch_tf.export.onnx_file.runner import read_metadata
    from switch_tf.export.tflite_file.flatbuffer import read_facts

    if not artifact.is_file() or artifact.suffix not in (".onnx", ".tflite"):
        return whole
    if artifact.stat().st_size > _SIZE_LIMIT:
        raise ModelError(f"{artifact} has {artifact.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
    try:
        facts = read_metadata(artifact) if artifact.suffix == ".onnx" else read_facts(artifact.read_bytes())
        words = json.loads(facts.get("text", "{}")).get("words", whole)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{artifact} cannot be read as a model of ours: {error}. Export it again.") from error
    if not isinstance(words, int) or not 0 < words <= whole:
        raise ModelError(f"{artifact} is not of this run: it has {words} words. Expected 1 to {whole}.")
    return words


def find_artifacts(run: Run) -> list[Path]:
    """The newest version of the SavedModel and every TFLite and ONNX file under RUN/export."""
    folder = run.path / "export"
    saved_models = [folder / "saved_model" / str(version) for version in saved_model_versions(folder / "saved_model")]
    return [*saved_models[-1:], *sorted(folder.glob("*.tflite")), *sorted(folder.glob("*.onnx"))]


def open_runners(artifact: Path, model: TextClassifier) -> list[Runner]:
    """What asks this kind of artifact, one for each kind of input that is compared on its own.

    Raises:
        ModelError: it is of no kind that we export.
    """
    from switch_tf.export.onnx_file.runner import open_onnx_runner
    from switch_tf.export.saved_model.runner import SavedModelRunner
    from switch_tf.export.tflite_file.runner import open_tflite_runner

    versions = saved_model_versions(artifact)
    if versions:
        artifact = artifact / str(versions[-1])
    if (artifact / "saved_model.pb").is_file():
        runner = SavedModelRunner(artifact, str(artifact), model.spec.num_bytes)
        return [runner, runner.bytes_runner()]
    if artifact.suffix == ".onnx" and artifact.is_file():
        return [open_onnx_runner(artifact, model)]
    if artifact.suffix == ".tflite" and artifact.is_file():
        return [open_tflite_runner(artifact, model)]
    expected = "a SavedModel folder, a .tflite or an .onnx file that an export wrote"
    raise ModelError(f"{artifact} is no artifact. Expected {expected}.")
