"""What an artifact is and how it was proven, written beside it: figures, checksums, labels, signature, text."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from switch_tf import checksums, files
from switch_tf.artifacts.seal import manifest_path
from switch_tf.errors import ExportError
from switch_tf.export.proof.parity import Comparison
from switch_tf.models.text_classifier import TextClassifier


def write_file(
    output: Path, content: bytes, model: TextClassifier, comparison: Comparison, signature: Mapping[str, Any]
) -> None:
    """Write an artifact that is one file, and its manifest; earlier ones are replaced.

    Both are on disk before either gets its name, and the old manifest goes first: a kill at any moment leaves the old
    file or the new one, whole, and beside it its own manifest or none.

    Raises:
        RunError: one of them cannot be written.
    """
    manifest = manifest_path(output)
    files.remove_parts(manifest.parent, manifest.name)  # of an export that was killed
    described = describe_artifact(model, [comparison], {output.name: content}, signature)
    beside = files.part(manifest, files.as_json(described))
    with files.part(output, content) as new, beside as new_manifest, files.refusing(output):
        manifest.unlink(missing_ok=True)
        new.replace(output)
        new_manifest.replace(manifest)
        files.flush(output.parent)


def write_manifest(
    path: Path,
    model: TextClassifier,
    comparisons: Sequence[Comparison],
    contents: Mapping[str, bytes | Path],
    signature: Mapping[str, Any],
) -> None:
    """Write `describe_artifact` as JSON.

    Raises:
        RunError: it cannot be written.
    """
    files.write_json(path, describe_artifact(model, comparisons, contents, signature))


def describe_artifact(
    model: TextClassifier,
    comparisons: Sequence[Comparison],
    contents: Mapping[str, bytes | Path],
    signature: Mapping[str, Any],
) -> dict[str, Any]:
    """What a manifest says of an artifact.

    Args:
        comparisons: how it compared, one for each kind of input.
        contents: the artifact's files by name, each its bytes or where it is.
        signature: inputs, outputs and operators, as the format has them.
    """
    return {
        "producer": f"switch-tf {version('switch-tf')}, tensorflow {version('tensorflow')}",
        "labels": model.label_list,
        **({} if model.rejection is None else {"reject": model.rejection.as_dict()}),
        "dispatch": model.classifier.settings.dispatch,
        "text": model.spec.as_dict() | {"words": len(model.vocabulary)},
        **signature,
        "parity": {
            each.door: {key: value for key, value in each.as_dict().items() if key not in ("path", "door", "problems")}
            for each in comparisons
        },
        "files": {name: checksums.describe(content) for name, content in contents.items()},
    }


def refuse_size(size: int, limit: int | None, path: Path) -> None:
    """
    Raises:
        ExportError: an artifact has more bytes than it may have.
    """
    if limit is not None and size > limit:
        problem = f"{path} would have {size:,} bytes. Expected at most {limit:,}. Allow more"
        raise ExportError(f"{problem}, or train a smaller model.", argument="max_size")
