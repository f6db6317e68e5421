"""What layers share: stateless dropout, pooling, activations, initial weights, dtype policies."""

import math
from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.layers import noise, replicas


def dropout(
    x: tf.Tensor, rate: float, training: bool, seed: tf.Tensor | None, place: int, groups: int = 1
) -> tf.Tensor:
    """Stateless dropout; `place` tells apart the places that share a seed, `groups` is as of `noise.uniform`."""
    if not training or rate == 0.0:
        return x
    drawn = fold_in(seed, place)
    if replicas.current().count == 1:
        return tf.nn.experimental.stateless_dropout(x, rate, seed=drawn, rng_alg="philox")
    # The same arithmetic with a part of the same noise.
    return tf.nn.experimental.general_dropout(
        x, rate, lambda shape, dtype: noise.uniform(shape, drawn, dtype=dtype, groups=groups)
    )


def masked_pool(x: tf.Tensor, mask: tf.Tensor, pooling: str) -> tf.Tensor:
    """Mean or maximum over the real tokens; zeros for a text without any, so that its answer is finite.

    Args:
        x: float32 [batch, length, width].
        mask: bool [batch, length].
        pooling: "mean" or "max".

    Returns:
        float32 [batch, width].
    """
    real = tf.cast(mask, x.dtype)[..., tf.newaxis]  # [batch, length, 1]
    if pooling == "mean":
        return tf.reduce_sum(x * real, axis=1) / tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
    highest = tf.reduce_max(x * real - 1e9 * (1.0 - real), axis=1)  # [batch, width]
    return highest * tf.reduce_max(real, axis=1)


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The activation function of that name; gelu is exact and written with erf, which every exporter has."""
    if name == "relu":
        return tf.nn.relu
    return lambda x: 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2.0)))


def scaled(fan_in: int, config: ModelConfig) -> keras.initializers.Initializer:
    """`truncated_normal` of the scale that the settings ask for."""
    return truncated_normal(fan_in, config.initializer_scale)


def truncated_normal(fan_in: int, scale: float) -> keras.initializers.Initializer:
    """Truncated normal of standard deviation sqrt(scale / fan_in) (section 2.4 of the paper).

    Written out since Keras' VarianceScaling would take the experts of a [experts, in, out] weight for inputs.
    """
    of_truncated = 0.87962566103423978  # standard deviation of a unit normal cut at two of its own
    return keras.initializers.TruncatedNormal(stddev=math.sqrt(scale / fan_in) / of_truncated)


def fold_in(seed: tf.Tensor | None, place: int) -> tf.Tensor:
    if seed is None:
        raise ValueError("A seed, int32 [2], is needed when training=True. Received: None.")
    return tf.random.fold_in(seed, place)


def dtype_policy(compute_dtype: str) -> keras.mixed_precision.Policy:
    """Weights in float32, computation in `compute_dtype`."""
    return keras.mixed_precision.Policy("float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}")
