"""A training step's time beside that of the usual formulation of a Switch classifier in Keras.

    python tools/bench_training.py

Both train at the shape of Keras' own example of a Switch Transformer: one block, width 32, 10 experts, 50 texts of 200
tokens. Theirs is written here after its description: all tokens of the batch queue for the experts together, one-hot
tensors of [tokens, experts, capacity] bring them there and back by einsum, every expert is two Dense layers, and the
gradient of the embeddings is as large as their table. Ours is the step of `switch-tf train` with attention. Processor
time on one thread, in turns; tracing and the first step are left out, and told in the note.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click
from bench_layer import OURS, in_rounds, one_thread

THEIRS = "the Keras example's formulation"


class Shape(NamedTuple):
    """The defaults are the example's."""

    words: int = 20_000
    length: int = 200
    width: int = 32
    experts: int = 10
    heads: int = 2
    batch: int = 50
    rounds: int = 7

    def __str__(self) -> str:
        return f"a step: 1 block, d={self.width}, E={self.experts}, {self.batch} x {self.length} tokens"


@click.command()
@click.option("--quick", is_flag=True, help="A small size and few rounds, to see that it works.")
@click.option("--json", "as_json", is_flag=True)
def main(quick: bool, as_json: bool) -> None:
    """Time a training step of ours and of theirs."""
    rows = measure(quick)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        times = f"{row['milliseconds']:.1f} ms, theirs {row['peer_milliseconds']:.1f}"
        click.echo(f"{row['ratio']:.3f} x {row['ratio_to']}, {row['what']}: {times}; {row['note']}")


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """One row for docs/performance.md."""
    import numpy as np

    one_thread()
    shape = Shape(words=100, length=12, width=8, experts=3, batch=4, rounds=2) if quick else Shape()
    random = np.random.default_rng(0)
    ids = random.integers(2, shape.words, [shape.batch, shape.length]).astype(np.int32)
    labels = random.integers(0, 2, shape.batch).astype(np.int32)
    steps, first = {}, {}
    for name, make in ((OURS, _ours), (THEIRS, _theirs)):
        started = time.process_time()
        step = make(shape, ids, labels)
        step()
        first[name] = time.process_time() - started
        steps[name] = _timed(step)
    taken = in_rounds(steps, shape.rounds)
    ours, theirs = (float(np.median(taken[name])) for name in (OURS, THEIRS))
    note = f"{1000 * shape.batch / ours:,.0f} texts/s, theirs {1000 * shape.batch / theirs:,.0f}"
    note += f"; to build, trace and take the first step {first[OURS]:.1f} s, theirs {first[THEIRS]:.1f} s"
    return [
        {
            "section": "Training",
            "what": str(shape),
            "ratio_to": THEIRS,
            "ratio": float(np.median(np.divide(taken[OURS], taken[THEIRS]))),
            "milliseconds": ours,
            "peer_milliseconds": theirs,
            "note": note,
        }
    ]


def _timed(step: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        started = time.process_time()
        step()
        return 1000 * (time.process_time() - started)

    return timed


def _ours(shape: Shape, ids: Any, labels: Any) -> Callable[[], Any]:
    import numpy as np

    from switch_tf.config import config_from_dict
    from switch_tf.training.steps import Encoded
    from switch_tf.training.trainer import Trainer

    model = {"d_model": shape.width, "d_ff": shape.width, "num_heads": shape.heads, "num_blocks": 1}
    tables = {
        "text": {"sequence_length": shape.length, "vocabulary_size": shape.words},
        "model": {**model, "num_experts": shape.experts, "token_dropout": 0.0},
        "train": {"batch_size": shape.batch},
    }
    trainer = Trainer(config_from_dict(tables, "the benchmark"), shape.words, 2, total_steps=1000)
    data, rows = Encoded(ids, labels), np.arange(shape.batch)
    return lambda: trainer.train_on(data, rows, 0, 0)


def _theirs(shape: Shape, ids: Any, labels: Any) -> Callable[[], Any]:
    import tensorflow as tf
    import tf_keras as keras

    layers = keras.layers
    table = tf.Variable(tf.random.stateless_uniform([shape.words, shape.width], [1, 2], -0.05, 0.05))
    places = tf.Variable(tf.random.stateless_uniform([shape.length, shape.width], [3, 4], -0.05, 0.05))
    attention = layers.MultiHeadAttention(shape.heads, shape.width)
    norms = [layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)]
    router = layers.Dense(shape.experts)
    experts = [
        keras.Sequential([layers.Dense(shape.width, "relu"), layers.Dense(shape.width)]) for _ in range(shape.experts)
    ]
    head = keras.Sequential(
        [layers.Dropout(0.25), layers.Dense(shape.width, "relu"), layers.Dropout(0.25), layers.Dense(2)]
    )

    def loss(ids: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        x = tf.gather(table, ids) + places  # [batch, length, width]
        x = norms[0](x + tf.nn.dropout(attention(x, x), 0.25))
        y, auxiliary = switch_by_einsum(tf.reshape(x, [-1, shape.width]), router, experts)
        x = norms[1](x + tf.nn.dropout(tf.reshape(y, tf.shape(x)), 0.25))
        logits = head(tf.reduce_mean(x, axis=1), training=True)  # [batch, 2]
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(each) + auxiliary

    ids, labels = tf.constant(ids), tf.constant(labels)
    loss(ids, labels)  # makes the weights
    parts = [attention, *norms, router, *experts, head]
    variables = [table, places, *(variable for part in parts for variable in part.trainable_variables)]
    optimizer = keras.optimizers.Adam(1e-3, jit_compile=False)
    optimizer.build(variables)

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(ids, labels)
        gradients = [tf.convert_to_tensor(each) for each in tape.gradient(value, variables)]  # dense, the table's too
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return value

    compiled = tf.function(step, autograph=False)
    return lambda: compiled().numpy()


def switch_by_einsum(tokens: Any, router: Any, experts: list[Any]) -> tuple[Any, Any]:
    """[tokens, width] to the same, and the weighted load-balancing loss; the batch as one group, capacity factor 1."""
    import tensorflow as tf

    number = len(experts)
    capacity = tokens.shape[0] // number
    probabilities = tf.nn.softmax(router(tokens))  # [tokens, experts]
    gate, chosen = tf.reduce_max(probabilities, axis=-1), tf.argmax(probabilities, axis=-1)  # [tokens]
    mask = tf.one_hot(chosen, number)  # [tokens, experts]
    auxiliary = 1e-2 * number * tf.reduce_sum(tf.reduce_mean(mask, axis=0) * tf.reduce_mean(probabilities, axis=0))
    place = tf.reduce_sum(tf.cumsum(mask, axis=0) * mask, axis=-1) - 1.0  # [tokens]
    mask *= tf.cast(place < capacity, tf.float32)[:, tf.newaxis]
    slots = mask[..., tf.newaxis] * tf.one_hot(tf.cast(place, tf.int32), capacity)[:, tf.newaxis]  # [.., capacity]
    placed = tf.einsum("td,tec->ecd", tokens, slots)  # [experts, capacity, width]
    answers = tf.stack([expert(rows) for expert, rows in zip(experts, tf.unstack(placed), strict=True)])
    combined = slots * gate[:, tf.newaxis, tf.newaxis]  # [tokens, experts, capacity]
    return tf.einsum("ecd,tec->td", answers, combined), auxiliary


if __name__ == "__main__":
    sys.exit(main())
