"""AdamW with warm-up and cosine decay, as the training loops use it, and its state on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf import files
from switch_tf.config import Config
from switch_tf.errors import RunError
from switch_tf.layers import replicas
from switch_tf.models.weights import assign_weights, named_weights
from switch_tf.training.reached import Reached

_WARMUP = 0.1  # of all steps, where a checkpoint is trained further


def make_optimizer(config: Config, total_steps: int) -> keras.optimizers.Optimizer:
    """AdamW with linear warm-up and cosine decay to zero; biases and layer norms do not decay."""
    settings = config.train
    warmup = int(settings.warmup_share * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        max(total_steps - warmup, 1),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, beta_2=0.98, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "b_in", "b_out"])
    return optimizer


def warmed_up_adamw(rate: float, steps: int, weight_decay: float) -> keras.optimizers.Optimizer:
    """The same for models in T5's form, from its peak `rate`; neither norms nor biases decay."""
    warmup = max(1, int(_WARMUP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warmup, 1), warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "positions"])
    return optimizer


def summed_and_clipped(gradients: Sequence[Any], limit: float, held: Sequence[bool] = ()) -> list[Any]:
    """Gradients summed over the replicas that share a batch, then clipped together to a global norm; 0 is no limit.

    Rows of a table that came more than once count in the norm as often as they came, on one device and on many alike.

    Args:
        held: of each gradient, whether it is that of experts that this replica alone holds: it is a sum already, and
            only its share of the norm has to be told to the others. Empty if all replicas have all weights.
    """
    sharing = replicas.current()
    if sharing.count == 1:
        return tf.clip_by_global_norm(gradients, limit)[0] if limit > 0.0 else list(gradients)
    common = [number for number in range(len(gradients)) if not (held and held[number])]
    by_row = [number for number in common if isinstance(gradients[number], tf.IndexedSlices)]
    squares = [_square(gradients[number].values) for number in by_row]
    squares += [_square(gradient) for number, gradient in enumerate(gradients) if number not in common]
    sums = sharing.sums([tf.convert_to_tensor(gradients[number]) for number in common] + squares)
    summed, squares = list(gradients), sums[len(common) :]
    for number, gradient in zip(common, sums, strict=False):
        summed[number] = gradient
    if limit <= 0.0:
        return summed
    squares += [_square(summed[number]) for number in common if number not in by_row]
    return tf.clip_by_global_norm(summed, limit, use_norm=tf.sqrt(tf.add_n(squares)))[0]


def _square(gradient: tf.Tensor) -> tf.Tensor:
    """Of its norm."""
    return tf.reduce_sum(tf.square(gradient))


# All that a variable is, where each replica may hold a part of it; and what of all that a variable holds.
Whole = Callable[[tf.Variable], np.ndarray]
Part = Callable[[tf.Variable, np.ndarray], np.ndarray]


def save_state(path: Path, model: keras.Model, optimizers: Sequence[Any], reached: Reached) -> None:
    """Write weights, the state of optimizers, and how far the training has come.

    Raises:
        RunError: the file cannot be written; what stood there still stands.
    """
    files.write_tensors(path, state_tensors(model, optimizers), reached.to_metadata())


def state_tensors(
    model: keras.Model, optimizers: Sequence[Any], whole: Whole = lambda variable: variable.numpy()
) -> dict[str, np.ndarray]:
    """Weights and the state of optimizers, as `restore_state` takes them."""
    tensors = {f"weights/{name}": whole(variable) for name, variable in named_weights(model).items()}
    return tensors | {f"optimizer/{i}": whole(variable) for i, variable in enumerate(_variables(optimizers))}


def restore_state(
    path: Path, model: keras.Model, optimizers: Sequence[Any], part: Part = lambda _, whole: whole
) -> Reached:
    """Give weights and optimizers what `save_state` wrote; how far the training had come.

    Raises:
        RunError: it does not fit, or is damaged.
    """
    tensors, metadata = files.read_tensors(path)
    variables = named_weights(model)
    weights = {name.removeprefix("weights/"): a for name, a in tensors.items() if name.startswith("weights/")}
    weights = {name: part(variables[name], a) if name in variables else a for name, a in weights.items()}
    assign_weights(model, weights, str(path))
    try:
        for i, variable in enumerate(_variables(optimizers)):
            variable.assign(part(variable, tensors[f"optimizer/{i}"]))
        return Reached.from_metadata(metadata)
    except (KeyError, TypeError, ValueError) as error:  # an array or the history is missing, or of another shape
        raise RunError(f"{path} does not fit: {error}. Remove it to train from the start.") from error


def _variables(optimizers: Sequence[Any]) -> list[tf.Variable]:
    return [variable for optimizer in optimizers for variable in optimizer.variables]
