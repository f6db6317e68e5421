"""AdamW with warm-up and cosine decay, as the training loops use it, and its state on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from switch_tf import files
from switch_tf.config import Config
from switch_tf.errors import RunError
from switch_tf.layers import replicas
from switch_tf.models.weights import arrays_of, assign_weights
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


def summed_and_clipped(gradients: Sequence[Any], limit: float) -> list[Any]:
    """Gradients summed over the replicas that share a batch, then clipped together to a global norm; 0 is no limit.

    Rows of a table that came more than once count in the norm as often as they came, on one device and on many alike.
    """
    sharing = replicas.current()
    if sharing.count == 1:
        return tf.clip_by_global_norm(gradients, limit)[0] if limit > 0.0 else list(gradients)
    by_row = [isinstance(gradient, tf.IndexedSlices) for gradient in gradients]
    squares = [tf.reduce_sum(tf.square(each.values)) for each in gradients if isinstance(each, tf.IndexedSlices)]
    dense = sharing.sums([tf.convert_to_tensor(gradient) for gradient in gradients] + squares)
    dense, squares = dense[: len(by_row)], dense[len(by_row) :]
    if limit <= 0.0:
        return dense
    squares += [tf.reduce_sum(tf.square(each)) for each, rows in zip(dense, by_row, strict=True) if not rows]
    return tf.clip_by_global_norm(dense, limit, use_norm=tf.sqrt(tf.add_n(squares)))[0]


def save_state(path: Path, model: keras.Model, optimizers: Sequence[Any], reached: Reached) -> None:
    """Write weights, the state of optimizers, and how far the training has come.

    Raises:
        RunError: the file cannot be written; what stood there still stands.
    """
    tensors = {f"weights/{name}": array for name, array in arrays_of(model).items()}
    state = [variable for optimizer in optimizers for variable in optimizer.variables]
    tensors |= {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(state)}
    files.write_tensors(path, tensors, reached.to_metadata())


def restore_state(path: Path, model: keras.Model, optimizers: Sequence[Any]) -> Reached:
    """Give weights and optimizers what `save_state` wrote; how far the training had come.

    Raises:
        RunError: it does not fit, or is damaged.
    """
    tensors, metadata = files.read_tensors(path)
    weights = {name.removeprefix("weights/"): a for name, a in tensors.items() if name.startswith("weights/")}
    assign_weights(model, weights, str(path))
    try:
        for i, variable in enumerate(variable for optimizer in optimizers for variable in optimizer.variables):
            variable.assign(tensors[f"optimizer/{i}"])
        return Reached.from_metadata(metadata)
    except (KeyError, TypeError, ValueError) as error:  # an array or the history is missing, or of another shape
        raise RunError(f"{path} does not fit: {error}. Remove it to train from the start.") from error
