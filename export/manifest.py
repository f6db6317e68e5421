"""What an artifact is and how it was proven, written beside it: figures, checksums, labels, signature, text."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from switch_tf import files
from switch_tf.errors import ExportError, RunError
from switch_tf.export.proof.parity import Comparison
from switch_tf.models.text_classifier import TextClassifier


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact that is one file stands: model.onnx.manifest.json beside model.onnx."""
    return artifact.with_name(f"{artifact.name}.manifest.json")


def write_file(
    output: Path, content: bytes, model: TextClassifier, comparison: Comparison, signature: Mapping[str, Any]
) -> None:
    """Write an artifact that is one file, and its manifest; earlier ones are replaced.

    Raises:
        RunError: one of them cannot be written. No manifest is left that describes another file.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{output} cannot be written: {error}. Choose another place.", argument="output") from error
    files.write_bytes(output, content)
    try:
        write_manifest(manifest_path(output), model, [comparison], {output.name: content}, signature)
    except RunError:
        manifest_path(output).unlink(missing_ok=True)
        raise


def write_manifest(
    path: Path,
    model: TextClassifier,
    comparisons: Sequence[Comparison],
    contents: Mapping[str, bytes | Path],
    signature: Mapping[str, Any],
) -> None:
    """A JSON file about an artifact.

    Args:
        comparisons: how it compared, one for each kind of input.
        contents: the artifact's files by name, each its bytes or where it is.
        signature: inputs, outputs and operators, as the format has them.

    Raises:
        RunError: it cannot be written.
    """
    manifest: dict[str, Any] = {
        "producer": f"switch-tf {version('switch-tf')}, tensorflow {version('tensorflow')}",
        "labels": model.labels,
        "dispatch": model.classifier.settings.dispatch,
        "text": model.spec.as_dict() | {"words": len(model.vocabulary)},
        **signature,
        "parity": {
            each.door: {key: value for key, value in each.as_dict().items() if key not in ("path", "door", "problems")}
            for each in comparisons
        },
        "files": {name: _describe(content) for name, content in contents.items()},
    }
    files.write_json(path, manifest)


def refuse_size(size: int, limit: int | None, path: Path) -> None:
    """
    Raises:
        ExportError: an artifact has more bytes than it may have.
    """
    if limit is not None and size > limit:
        problem = f"{path} would have {size:,} bytes. Expected at most {limit:,}. Allow more"
        raise ExportError(f"{problem}, or train a smaller model.", argument="max_size")


def sha256(file: Path) -> str:
    """The file's checksum, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _describe(content: bytes | Path) -> dict[str, Any]:
    if isinstance(content, Path):
        return {"bytes": content.stat().st_size, "sha256": sha256(content)}
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
