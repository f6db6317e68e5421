"""What the experts compute: each its own two products on its own slots, all at once or one after the other.

TensorFlow's CPU kernels compute a product, its bias and its relu in one pass, but only for matrices: a batched product
is followed by two more passes over [experts, slots, d_ff], the widest tensor of the layer. So experts that have rows
enough run apart. The gradient of a weight that was taken apart is put together by a copy of it, so in training that
pays as long as an expert has more rows than the weight has.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class ExpertWeights(NamedTuple):
    """Weights of all experts, in one dtype.

    Attributes:
        w_in: [experts, d_model, d_ff].
        b_in: [experts, 1, d_ff].
        w_out: [experts, d_ff, d_model].
        b_out: [experts, 1, d_model].
    """

    w_in: tf.Tensor
    b_in: tf.Tensor
    w_out: tf.Tensor
    b_out: tf.Tensor


# What stands between the two products: [rows, d_ff] of an expert, or [experts, rows, d_ff] of all, to the same.
Between = Callable[[tf.Tensor, int], tf.Tensor]


def run_apart(hidden: tf.Tensor, weights: ExpertWeights, between: Between) -> tf.Tensor:
    """One expert after the other: [experts, rows, d_model] to the same.

    Args:
        between: is told the expert's number.
    """
    biases = tf.squeeze(weights.b_in, 1), tf.squeeze(weights.b_out, 1)  # [experts, d_ff] and [experts, d_model]
    each = (tf.unstack(part) for part in (hidden, weights.w_in, biases[0], weights.w_out, biases[1]))  # copies nothing
    answers = []
    for number, (rows, w_in, b_in, w_out, b_out) in enumerate(zip(*each, strict=True)):
        inner = between(tf.nn.bias_add(tf.matmul(rows, w_in), b_in), number)  # [rows, d_ff]
        answers.append(tf.nn.bias_add(tf.matmul(inner, w_out), b_out))  # [rows, d_model]
    return tf.stack(answers)  # [experts, rows, d_model]


def run_together(hidden: tf.Tensor, weights: ExpertWeights, between: Between) -> tf.Tensor:
    """As `run_apart`, by two batched products: for accelerators, and where each expert has few rows to learn from."""
    w_in, b_in, w_out, b_out = weights
    inner = between(tf.matmul(hidden, w_in) + b_in, 0)  # [experts, rows, d_ff]
    return tf.matmul(inner, w_out) + b_out  # [experts, rows, d_model]


def pays_apart(rows: int | None, d_model: int, training: bool) -> bool:
    """Whether `run_apart` is the faster one on a CPU; `rows` of one expert, None if the batch is of any size.

    >>> pays_apart(1024, 256, training=True), pays_apart(128, 256, training=True), pays_apart(128, 256, training=False)
    (True, False, True)
    """
    return not training or rows is None or rows >= d_model
