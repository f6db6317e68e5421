"""How a router comes to its logits, and the bias that balances loads without a loss. Pure functions, all in float32."""

import numpy as np
import tensorflow as tf

_LEAST_NORM = 1e-6  # a vector of zeros has no direction; its cosines are 0


def linear_logits(x: tf.Tensor, router: tf.Tensor) -> tf.Tensor:
    """x W_r (Switch Transformers, arXiv 2101.03961, equation 1).

    Args:
        x: float32 [batch, length, d_model].
        router: float32 [d_model, experts].

    Returns:
        float32 [batch, length, experts].
    """
    logits = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), router)  # [batch * length, experts]: one product
    return tf.reshape(logits, [-1, x.shape[1], router.shape[-1]])


def hypersphere_logits(x: tf.Tensor, projection: tf.Tensor, router: tf.Tensor, log_temperature: tf.Tensor) -> tf.Tensor:
    """cos(x P, e_i) / t: scores on a hypersphere of few dimensions (X-MoE, arXiv 2204.09179, section 3).

    Only directions count, so that the router does not draw tokens towards its experts' vectors; t is learned.

    Args:
        x: float32 [batch, length, d_model].
        projection: float32 [d_model, dimensions]; the paper's dimensions are half as many as experts.
        router: float32 [dimensions, experts], a column e_i for each expert.
        log_temperature: float32 [], log t, so that t stays positive.

    Returns:
        float32 [batch, length, experts], within plus or minus 1 / t.
    """
    return direction_logits(x, projection, unit(router, axis=0)) * tf.exp(-log_temperature)


def direction_logits(x: tf.Tensor, projection: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """`hypersphere_logits` by vectors of the experts that `scaled_directions` has made."""
    return linear_logits(unit(linear_logits(x, projection), axis=-1), directions)


def scaled_directions(router: np.ndarray, log_temperature: np.ndarray) -> np.ndarray:
    """e_i / (|e_i| t) for each column: float32 [dimensions, experts] to the same, computed in float64."""
    wide = router.astype(np.float64)
    norms = np.maximum(np.sqrt(np.sum(wide**2, axis=0, keepdims=True)), _LEAST_NORM)
    return (wide / norms * np.exp(-log_temperature.astype(np.float64))).astype(np.float32)


def hypersphere_dimensions(num_experts: int) -> int:
    """Half as many as there are experts, and at least 2: on a line there are only two directions.

    >>> hypersphere_dimensions(16), hypersphere_dimensions(1)
    (8, 2)
    """
    return max(2, num_experts // 2)


def unit(x: tf.Tensor, axis: int) -> tf.Tensor:
    """x / max(|x|, 1e-6) along an axis."""
    squares = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    return x * tf.math.rsqrt(tf.maximum(squares, _LEAST_NORM**2))


def balanced_bias(bias: tf.Tensor, tokens_per_expert: tf.Tensor, rate: float) -> tf.Tensor:
    """b_i + u sign(mean load - load_i): balancing without a loss (Wang et al. 2024, arXiv 2408.15664, algorithm 1).

    Experts are chosen by p + b and weighted by p, so the bias moves tokens and disturbs no gradient.

    Args:
        bias: float32 [experts], of the step before.
        tokens_per_expert: float32 [experts], the step's loads.
        rate: u, by how much a bias changes in a step.
    """
    return bias + rate * tf.sign(tf.reduce_mean(tokens_per_expert) - tokens_per_expert)
