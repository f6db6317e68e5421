"""Weights by name: how a run keeps them, and how a model gets them back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import RunError
from switch_tf.files import Shape

Stored = np.ndarray | Shape  # a weight, or what the header of its file says of it

EMBEDDINGS = "classifier/tokens/embeddings"  # the weight that has a row for each id
PAIR_EMBEDDINGS = "classifier/pairs/embeddings"  # the one that has a row for each pair, and a last one of zeros


def named_weights(model: keras.Model) -> dict[str, tf.Variable]:
    """Weights by name, the same names for every model of the same settings; those that no gradient moves as well."""
    return {variable.name.removesuffix(":0"): variable for variable in model.variables}


@contextmanager
def creating_only(
    stored: Mapping[str, Any], source: str, remedy: str = "Restore the folder whole, or train again."
) -> Iterator[None]:
    """Refuse to create a weight that is not among those `stored` in the file `source`, before it takes any memory.

    Args:
        stored: arrays, or whatever else has a `dtype` and a `shape`.
        source: where they are stored.
        remedy: the last sentence of the refusal.

    Raises:
        RunError: a model that is built in the block has a weight that is missing, or of another type or shape.
    """
    problems: list[str] = []

    def create(make: Any, **arguments: Any) -> tf.Variable:
        shape, scope = arguments.get("shape"), tf.get_current_name_scope()
        if shape is not None:
            name = f"{scope}/{arguments['name']}" if scope else str(arguments["name"])
            dtype = tf.as_dtype(arguments.get("dtype") or tf.float32).name
            problem = _difference(name, stored.get(name), tuple(shape), dtype)
            if problem:
                problems.append(problem)
                raise RunError(problem)
        return make(**arguments)

    try:
        with tf.variable_creator_scope(create):
            yield
    except RunError:
        if not problems:
            raise
        # Keras has wrapped what was raised inside a layer in words of its own.
        raise RunError(f"{source} does not fit its settings: {problems[0]}. {remedy}") from None


def _difference(name: str, stored: Any, shape: tuple[int, ...], dtype: str) -> str | None:
    if stored is not None and str(stored.dtype) == dtype and tuple(stored.shape) == shape:
        return None
    received = "none (missing)" if stored is None else f"{stored.shape} of {stored.dtype}"
    return f"weight {name!r} has shape {received}, expected {shape} of {dtype}"


def refuse_others(model: keras.Model, weights: Mapping[str, Stored], source: str) -> None:
    """
    Raises:
        RunError: a weight of an initialized model is missing, of another shape, or there are more than the model has.
    """
    expected = {name: tuple(variable.shape) for name, variable in named_weights(model).items()}
    received = {name: tuple(each.shape) for name, each in weights.items()}
    if expected != received:
        name = sorted(name for name in expected | received if expected.get(name) != received.get(name))[0]
        raise RunError(
            f"{source} does not fit its settings: weight {name!r} has shape {received.get(name, 'none (missing)')}, "
            f"expected {expected.get(name, 'no such weight')}. Restore the folder whole, or train again."
        )


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of an initialized model by name, as `assign_weights` takes them."""
    return {name: variable.numpy() for name, variable in named_weights(model).items()}


def assign_weights(model: keras.Model, weights: Mapping[str, np.ndarray], source: str) -> None:
    """Give an initialized model its weights.

    Raises:
        RunError: as `refuse_others`.
    """
    refuse_others(model, weights, source)
    for name, variable in named_weights(model).items():
        variable.assign(weights[name])
