"""Train a Switch-Transformer text classifier and ship it everywhere as one raw-text model.

Public names load on first use, so that importing the package costs nothing until TensorFlow is needed.
"""

from switch_tf import environment
from switch_tf.version import __version__

environment.prepare()  # before anything imports TensorFlow

__all__ = ["__version__"]
