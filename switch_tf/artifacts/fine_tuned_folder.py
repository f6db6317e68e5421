"""What the folder is known by that an export of a fine-tuned run is; nothing else is loaded to tell it."""

from pathlib import Path

from switch_tf import files
from switch_tf.errors import RunError

KIND = "fine_tuned_classifier"  # in its manifest
MANIFEST = "manifest.json"
SAVED_MODEL_FILE, TFLITE_FILE, ONNX_FILE = "saved_model.pb", "model.tflite", "model.onnx"
FILES = (SAVED_MODEL_FILE, TFLITE_FILE, ONNX_FILE)  # one of which it holds


def artifact_folder(path: Path) -> Path:
    """The folder that holds a file of such an export; any other path is its own."""
    return path.parent if path.name in (TFLITE_FILE, ONNX_FILE) and is_artifact(path.parent) else path


def is_artifact(path: Path) -> bool:
    """Whether an export of a fine-tuned run stands in the folder."""
    if not any((path / name).is_file() for name in FILES) or not (path / MANIFEST).is_file():
        return False
    try:
        manifest = files.read_json(path / MANIFEST)
    except RunError:
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == KIND
