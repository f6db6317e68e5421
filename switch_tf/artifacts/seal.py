"""The checksum that a model file carries in its own last bytes, so that it can be checked wherever it is moved.

A sealed file ends in 64 hexadecimal digits: the SHA-256 of all bytes before them. A few bytes of its format stand in
front, so that the digits are an entry `sha256` of ONNX metadata, or the comment of the archive behind a TFLite model.

    head -c -64 model.onnx | sha256sum    # is what
    tail -c 64 model.onnx                 # says
"""

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

from switch_tf import checksums, files
from switch_tf.errors import ModelError, RunError

DIGITS = 64
# ONNX: field 14 (metadata_props) of 74 bytes, in it the key "sha256" and a value of 64. An entry at the end of a
# protobuf message joins those before it.
ONNX = b"\x72\x4a\x0a\x06sha256\x12\x40"
# TFLite: a comment of 71 bytes ends an archive; its length is written before it.
TFLITE = b"sha256:"


def sealed(content: bytes) -> bytes:
    """What ends in the beginning of a seal, with the digits behind it."""
    return content + hashlib.sha256(content).hexdigest().encode()


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact that is one file stands: model.onnx.manifest.json beside model.onnx."""
    return artifact.with_name(f"{artifact.name}.manifest.json")


def check_file(source: Path | bytes, beginning: bytes, path: str) -> bool:
    """Whether a file could be checked: by its seal, or by a manifest beside it.

    Args:
        source: the file, read once and in pieces, or its content.
        beginning: what stands before the digits in its format.
        path: what messages call it.

    Raises:
        ModelError: it is not as it was written, or is not the file that the manifest beside it describes.
    """
    try:
        if isinstance(source, bytes):
            return _check(io.BytesIO(source), beginning, path)[0]
        with source.open("rb") as stream:
            is_sealed, described = _check(stream, beginning, path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}. Export it again.") from error
    return _check_manifest(source, described) or is_sealed


def _check(stream: BinaryIO, beginning: bytes, path: str) -> tuple[bool, dict[str, object]]:
    """Whether there is a seal, and {"bytes", "sha256"} of the whole."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    digest = checksums.digest_of_first(stream, size - DIGITS - len(beginning))
    before = stream.read(len(beginning))
    digest.update(before)
    expected = digest.hexdigest().encode()
    digits = stream.read()
    digest.update(digits)
    if before != beginning or len(digits) != DIGITS:
        return False, {"bytes": size, "sha256": digest.hexdigest()}
    if digits != expected:
        raise ModelError(f"{path} is damaged or was changed: its checksum is not that of its content. Export it again.")
    return True, {"bytes": size, "sha256": digest.hexdigest()}


def _check_manifest(artifact: Path, described: dict[str, object]) -> bool:
    path = manifest_path(artifact)
    if not path.exists():
        return False
    try:
        manifest = files.read_json(path)
        (expected,) = manifest["files"].values()
    except (RunError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {error}. Export {artifact} again, or remove it.") from error
    if expected != described:
        raise ModelError(f"{artifact} is not the file that {path} describes. Export it again, or remove the latter.")
    return True
