"""Traced functions and the variables they read, as a SavedModel without a Python class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from switch_tf.errors import ExportError


def save_functions(
    variables: Sequence[tf.Variable], signatures: Mapping[str, Any], folder: Path, resources: Sequence[Any] = ()
) -> None:
    """Write a SavedModel with these signatures; no Keras object is in it, so that no Python class is asked for.

    Args:
        resources: what the functions use besides variables, such as a tokenizer.

    Raises:
        ExportError: the folder cannot be written.
    """
    module: Any = tf.Module()
    module.weights, module.resources = variables, list(resources)
    try:
        tf.saved_model.save(module, str(folder), signatures=dict(signatures))
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(f"{folder} cannot be written: {error}. Make room there.") from error
