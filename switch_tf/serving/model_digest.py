"""One checksum for a model, whatever kind it is of: equal where all that its answers depend on is equal."""

import hashlib
import json
from pathlib import Path

from switch_tf import checksums
from switch_tf.errors import ModelError

_EXPORTS = "export"  # a folder inside a run, on which its answers do not depend


def digest_of(path: Path) -> str:
    """SHA-256, as hexadecimal digits, of a file, or over the files of a folder; of a run its manifest has theirs.

    Raises:
        ModelError: it cannot be read.
    """
    from switch_tf.artifacts.fine_tuned_folder import artifact_folder

    path = artifact_folder(path)  # a tokenizer stands beside the file
    try:
        if path.is_file():
            return str(checksums.describe(path)["sha256"])
        from switch_tf.artifacts.saved_model import newest_version
        from switch_tf.runs.folder import MANIFEST, is_run

        if is_run(path) and (path / MANIFEST).is_file():
            return str(checksums.describe(path / MANIFEST)["sha256"])
        folder = newest_version(path) or path
        described = {
            each.relative_to(folder).as_posix(): checksums.describe(each)
            for each in sorted(folder.rglob("*"))
            if each.is_file() and each.relative_to(folder).parts[0] != _EXPORTS
        }
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}. Check the path, and who may read it.") from error
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
