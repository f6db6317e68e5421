"""Train a Switch-Transformer text classifier and ship it everywhere as one raw-text model.

>>> import switch_tf
>>> classifier = switch_tf.train("reviews", epochs=3)  # doctest: +SKIP
>>> classifier.predict(["A warm, funny film."])  # doctest: +SKIP
array(['pos'], dtype=object)

Public names load on first use, so that importing the package costs nothing until TensorFlow is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from switch_tf import environment
from switch_tf.errors import (
    ArgumentError,
    ConfigError,
    DataError,
    ExportError,
    ModelError,
    ParityError,
    RunError,
    SwitchTFError,
    UsageError,
)
from switch_tf.version import __version__

environment.prepare()  # before anything imports TensorFlow

if TYPE_CHECKING:
    from switch_tf import export, layers
    from switch_tf.api import load, train
    from switch_tf.artifacts.generator import TextGenerator
    from switch_tf.classifier import Classifier
    from switch_tf.config import Config

__all__ = [
    "ArgumentError",
    "Classifier",
    "Config",
    "ConfigError",
    "DataError",
    "ExportError",
    "ModelError",
    "ParityError",
    "RunError",
    "SwitchTFError",
    "TextGenerator",
    "UsageError",
    "__version__",
    "export",
    "layers",
    "load",
    "train",
]

_HOMES = {
    "Classifier": "switch_tf.classifier",
    "TextGenerator": "switch_tf.artifacts.generator",
    "load": "switch_tf.api",
    "train": "switch_tf.api",
    "Config": "switch_tf.config",
}
_PACKAGES = ("export", "layers")

if not TYPE_CHECKING:  # where types are checked, it would make every misspelt name one of type Any

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            found = getattr(import_module(_HOMES[name]), name)
        elif name in _PACKAGES:
            found = import_module(f"switch_tf.{name}")
        else:
            raise AttributeError(f"module 'switch_tf' has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
