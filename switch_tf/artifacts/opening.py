"""Whatever kind of model a path holds, opened as one that answers or writes; each kind imports what it alone needs."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from switch_tf.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor
    from switch_tf.artifacts.generator import TextGenerator
    from switch_tf.artifacts.providers import Provider


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=6)  # of who calls `switch_tf.load`


def load_predictor(
    path: Path, threads: int | None = None, provider: "Provider" = "auto", tell: Callable[[str], None] = _warn
) -> "Predictor":
    """The model at `path`: a run folder, a SavedModel, a folder of its versions (the newest), a .tflite or .onnx file.

    Args:
        path: of the folder or file.
        threads: that one operator of a file may use.
        provider: of ONNX Runtime, for an .onnx file: "cpu", "cuda", or "auto", which is CUDA for a file that takes ids
            where the installed build has it, and the CPU for all others.
        tell: gets a line if "auto" tried CUDA in vain, and the CPU answers; it is a warning unless given.

    Raises:
        ArgumentError: `threads` or `provider` for another kind of model, or no such provider is installed.
        RunError: a run folder is unfinished or damaged.
        ModelError: there is no model, or one that is not ours.
    """
    from switch_tf.artifacts.fine_tuned_folder import artifact_folder, is_artifact

    path = artifact_folder(path)
    if path.suffix == ".onnx" and path.is_file():
        from switch_tf.artifacts.onnx_file import OnnxPredictor

        return OnnxPredictor(path, threads, provider=provider, tell=tell)
    from switch_tf.artifacts.providers import check_provider

    check_provider(provider)
    is_fine_tuned_export = is_artifact(path)
    if is_fine_tuned_export and provider == "cuda":
        problem = "the one provider that an export of a fine-tuned run is answered with is the CPU"
        raise ArgumentError(f"Received provider='cuda' for {path}, and {problem}. Leave it out.", "provider")
    if provider != "auto" and not is_fine_tuned_export:
        raise ArgumentError(f"{path} is no .onnx file: provider is for those alone. Leave it out.", "provider")
    if path.suffix == ".tflite" and path.is_file():
        from switch_tf.artifacts.tflite_file import TFLitePredictor

        return TFLitePredictor(path, threads)
    if is_fine_tuned_export:
        return _open_fine_tuned_export(path, threads)
    if threads is not None:
        raise ArgumentError(f"{path} is no .onnx or .tflite file: threads is for those alone. Leave it out.", "threads")
    from switch_tf.artifacts.saved_model import SavedModelPredictor, newest_version
    from switch_tf.runs.fine_tuned import is_fine_tuned
    from switch_tf.runs.folder import UNFINISHED, is_run

    if is_fine_tuned(path):
        from switch_tf.artifacts.fine_tuned import FineTunedPredictor

        return FineTunedPredictor(path)
    if is_run(path) or path.name.endswith(UNFINISHED):
        from switch_tf.artifacts.tensorflow import RunPredictor

        return RunPredictor(path)
    saved_model = newest_version(path)
    if saved_model is not None:
        return SavedModelPredictor(saved_model)
    problem = "is not a model" if path.exists() else "does not exist"
    raise ModelError(
        f"{path} {problem}. Expected a run folder, or what an export wrote: a SavedModel folder, a .tflite or "
        "an .onnx file."
    )


def _open_fine_tuned_export(path: Path, threads: int | None) -> "Predictor":
    from switch_tf.artifacts.fine_tuned_export import FineTunedArtifact
    from switch_tf.artifacts.fine_tuned_folder import SAVED_MODEL_FILE

    if threads is not None and (path / SAVED_MODEL_FILE).is_file():
        problem = f"{path} holds no .onnx or .tflite file: threads is for those alone"
        raise ArgumentError(f"{problem}. Leave it out.", "threads")
    return FineTunedArtifact(path, threads)


def load_generator(path: Path, threads: int | None = None, provider: "Provider" = "auto") -> "TextGenerator | None":
    """The encoder-decoder in the folder `path`; None where it holds none.

    Raises:
        ArgumentError: `threads` or `provider`, which are for files, with one.
        ModelError: it is damaged or not supported.
    """
    if not path.is_dir():
        return None
    from switch_tf.artifacts.fine_tuned_folder import is_artifact
    from switch_tf.models.huggingface import is_huggingface
    from switch_tf.runs.fine_tuned import is_fine_tuned

    if is_fine_tuned(path) or is_artifact(path) or not is_huggingface(path):
        return None
    if threads is not None or provider != "auto":
        name = "provider" if threads is None else "threads"
        raise ArgumentError(f"{path} is no .onnx or .tflite file: {name} is for those alone. Leave it out.", name)
    from switch_tf.artifacts.generator import TextGenerator

    return TextGenerator(path)
