"""Steps of two replicas beside those of one device, in a process of its own: it splits the CPU in two logical devices.

Usage: python data_parallel_child.py SETTING... -- SETTING... -- ...; each group of settings is a case. Prints a JSON
list with what `compared` says of each.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow as tf
import tf_keras as keras

sys.path.insert(0, str(Path(__file__).parent))
from conftest import tiny_config

from switch_tf.layers import replicas, routers
from switch_tf.training.composed import ComposedTrainer
from switch_tf.training.loop import epoch_batches
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import Trainer

NUM_IDS, LENGTH, EPOCHS = 20, 12, 4
OWN = "own"  # in place of a setting: each replica evens out its own loads, which is the mistake to be found


def texts(count: int) -> Encoded:
    """Of 11 or 12 tokens, so that one length is traced."""
    random = np.random.default_rng(3)
    lengths = random.integers(LENGTH - 1, LENGTH + 1, count)
    ids = random.integers(2, NUM_IDS, [count, LENGTH]) * (np.arange(LENGTH) < lengths[:, np.newaxis])
    return Encoded(ids.astype(np.int32), random.integers(0, 2, count).astype(np.int32))


def grams() -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((np.random.default_rng(2).random([NUM_IDS, 7]) < 0.4).astype(np.float32))


@cache
def trained_alone(config: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return trained(config, contextlib.nullcontext())


def trained(config: Any, scope: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The figures of each of 40 steps, [steps, figures] with the loss first, and the weights after the last."""
    data = texts(149)  # the last batch of an epoch has 5 rows for 16 places: the second replica has none of them
    keras.utils.set_random_seed(0)
    made: Trainer
    with scope:
        if config.model.context == "mean":
            made = ComposedTrainer(config, data.ids, NUM_IDS, 2, 10 * EPOCHS, grams())
        else:
            made = Trainer(config, NUM_IDS, 2, 10 * EPOCHS)
    figures = []
    for epoch in range(EPOCHS):
        for number, rows in enumerate(epoch_batches(len(data.ids), 16, 0, epoch)):
            step = made.train_on(data, rows, epoch, 10 * epoch + number)
            figures.append(np.concatenate([np.ravel(each) for each in step]))
    return np.array(figures), made.weights()


@contextlib.contextmanager
def own_loads() -> Iterator[None]:
    """The auxiliary loss with each replica's own shares of the load in place of the batch's."""
    of_batch = vars(routers)["load_balancing_loss"]

    def of_replica(tokens: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        with replicas.sharing(replicas.ALONE):
            return of_batch(tokens, mean)

    vars(routers)["load_balancing_loss"] = of_replica
    try:
        yield
    finally:
        vars(routers)["load_balancing_loss"] = of_batch


def compared(changes: list[str], strategy: Any) -> dict[str, float]:
    """The largest differences of the losses, of the other figures as shares, and of the weights."""
    config = tiny_config(*(change for change in changes if change != OWN))
    alone, weights = trained_alone(config)
    with own_loads() if OWN in changes else contextlib.nullcontext():
        shared, others = trained(config, strategy.scope())
    return {
        "steps": len(alone),
        "loss": float(np.abs(alone - shared)[:, 0].max()),
        "figures": float((np.abs(alone - shared) / np.maximum(np.abs(alone), 1.0)).max()),
        "weights": max(float(np.abs(weights[name] - others[name]).max()) for name in weights),
    }


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    cases = [list(group) for apart, group in groupby(sys.argv[1:], lambda word: word == "--") if not apart]
    print(json.dumps([compared(case, both) for case in cases]))
