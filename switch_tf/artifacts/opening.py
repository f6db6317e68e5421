"""Whatever kind of model a path holds, opened as one that answers texts."""

from pathlib import Path

from switch_tf.artifacts.base import Predictor
from switch_tf.artifacts.saved_model import SavedModelPredictor, newest_version
from switch_tf.errors import ArgumentError, ModelError
from switch_tf.runs.folder import UNFINISHED, is_run


def load_predictor(path: Path, threads: int | None = None) -> Predictor:
    """The model at `path`: a run folder, a SavedModel, a folder of its versions (the newest), a .tflite or .onnx file.

    `threads` limits what one operator of a file may use.

    Raises:
        ArgumentError: `threads` for another kind of model.
        RunError: a run folder is unfinished or damaged.
        ModelError: there is no model, or one that is not ours.
    """
    if path.suffix == ".onnx" and path.is_file():
        from switch_tf.artifacts.onnx_file import OnnxPredictor

        return OnnxPredictor(path, threads)
    if path.suffix == ".tflite" and path.is_file():
        from switch_tf.artifacts.tflite_file import TFLitePredictor

        return TFLitePredictor(path, threads)
    if threads is not None:
        raise ArgumentError(f"{path} is no .onnx or .tflite file: threads is for those alone. Leave it out.", "threads")
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
