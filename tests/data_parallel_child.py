"""Steps of two replicas beside those of one device, in a process of its own: it splits the CPU in two logical devices.

Usage: python data_parallel_child.py SETTING... -- SETTING... -- ...; each group of settings is a case. Prints a JSON
list: for each case the largest differences of the losses and of the weights, and the largest loss.
"""

import contextlib
import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow as tf
import tf_keras as keras

sys.path.insert(0, str(Path(__file__).parent))
from conftest import tiny_config

from switch_tf.layers import routing
from switch_tf.training.composed import ComposedTrainer
from switch_tf.training.loop import epoch_batches
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import Trainer

NUM_IDS, LENGTH, STEPS = 20, 12, 40
OWN = "own"  # in place of a setting: each replica evens out its own loads, which is the mistake to be found


def texts(count: int) -> Encoded:
    random = np.random.default_rng(3)
    lengths = random.integers(1, LENGTH + 1, count)
    ids = random.integers(2, NUM_IDS, [count, LENGTH]) * (np.arange(LENGTH) < lengths[:, np.newaxis])
    return Encoded(ids.astype(np.int32), random.integers(0, 2, count).astype(np.int32))


def grams() -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((np.random.default_rng(2).random([NUM_IDS, 7]) < 0.4).astype(np.float32))


def trained(config: Any, strategy: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Figures of each step, and the weights after the last."""
    data = texts(150)  # the last batch of an epoch has fewer rows than there are places
    keras.utils.set_random_seed(0)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        made = (
            ComposedTrainer(config, data.ids, NUM_IDS, 2, STEPS, grams())
            if config.model.context == "mean"
            else Trainer(config, NUM_IDS, 2, STEPS)
        )
    figures = []
    for epoch in range(STEPS // 10):
        for number, rows in enumerate(epoch_batches(len(data.ids), 16, 0, epoch)):
            step = made.train_on(data, rows, epoch, 10 * epoch + number)
            figures.append([float(step.loss), float(step.correct), float(step.tokens), *np.ravel(step.load)])
            figures[-1] += [*np.ravel(step.dropped), *np.ravel(step.entropy)]
    return np.array(figures), made.weights()


def compared(changes: list[str], strategy: Any) -> dict[str, float]:
    config = tiny_config(*(change for change in changes if change != OWN))
    alone, weights = trained(config, None)
    summed = routing.load_balancing_loss
    if OWN in changes:
        routing_of_own(summed)
    shared, others = trained(config, strategy)
    restore(summed)
    return {
        "figures": float(np.abs(alone - shared).max()),
        "loss": float(np.abs(alone[:, 0] - shared[:, 0]).max()),
        "weights": max(float(np.abs(weights[name] - others[name]).max()) for name in weights),
        "largest": float(alone[:, 0].max()),
    }


def routing_of_own(summed: Any) -> None:
    from switch_tf.layers import replicas, routers

    def own(tokens: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        with replicas.sharing(replicas.ALONE):
            return summed(tokens, mean)

    routers.load_balancing_loss = own


def restore(summed: Any) -> None:
    from switch_tf.layers import routers

    routers.load_balancing_loss = summed


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    cases = [list(group) for apart, group in groupby(sys.argv[1:], lambda word: word == "--") if not apart]
    print(json.dumps([compared(case, both) for case in cases]))
