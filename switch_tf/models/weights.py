"""Weights by name: how a run keeps them, and how a model gets them back."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import RunError

EMBEDDINGS = "classifier/tokens/embeddings"  # the weight that has a row for each id
PAIR_EMBEDDINGS = "classifier/pairs/embeddings"  # the one that has a row for each pair, and a last one of zeros


def named_weights(model: keras.Model) -> dict[str, tf.Variable]:
    """Weights by name, the same names for every model of the same settings."""
    return {variable.name.removesuffix(":0"): variable for variable in model.trainable_variables}


def assign_weights(model: keras.Model, weights: dict[str, np.ndarray], source: str) -> None:
    """Give an initialized model its weights.

    Raises:
        RunError: a weight is missing, of another shape, or more than the model has.
    """
    variables = named_weights(model)
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    received = {name: array.shape for name, array in weights.items()}
    if expected != received:
        name = sorted(name for name in expected | received if expected.get(name) != received.get(name))[0]
        raise RunError(
            f"{source} does not fit its settings: weight {name!r} has shape {received.get(name, 'none (missing)')}, "
            f"expected {expected.get(name, 'no such weight')}. Restore the folder whole, or train again."
        )
    for name, variable in variables.items():
        variable.assign(weights[name])
