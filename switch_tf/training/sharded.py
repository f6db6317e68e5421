"""Training with experts sharded over a strategy's workers; the exchange itself is in `switch_tf.layers.exchange`.

What is sharded is known here alone: checkpoints and weights have the names and shapes of a model on one device, so that
another number of workers can go on, and evaluation and export know nothing of it. An expert's weights, their gradients
and the optimizer's moments are on one worker; everything else is on all, and equal.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.config import Config
from switch_tf.errors import ConfigError
from switch_tf.layers import replicas
from switch_tf.layers.exchange import Exchange, all_to_all, both_ways
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.weights import named_weights
from switch_tf.text.spec import PADDING_ID
from switch_tf.training.optimizer import restore_state, state_tensors
from switch_tf.training.reached import Reached
from switch_tf.training.trainer import EVALUATION_BATCH, Trainer
from switch_tf.training.workers import Workers

OF_EXPERTS = ("w_in", "b_in", "w_out", "b_out")  # the weights of a Switch layer that have a row for each expert


class ShardedTrainer(Trainer):
    """A `Trainer` of which every worker holds its share of the experts, made in the scope of a strategy.

    All workers have to call all methods, in the same order; files are written by worker 0.
    """

    needs_all = True

    def __init__(self, config: Config, num_ids: int, num_classes: int, total_steps: int, exchange: Exchange):
        self.exchange = exchange
        super().__init__(config, num_ids, num_classes, total_steps)
        self._gathers: dict[str, Callable[[], tf.Tensor]] = {}  # by the variable's name
        self.names = sharded_names(self.model)
        self.held = [self._is_sharded(variable) for variable in self.variables]

    def keep(self, path: Path) -> None:
        weights = self.weights()
        if self.exchange.replica == 0:
            files.write_tensors(path, weights)

    def save(self, path: Path, reached: Reached) -> None:
        tensors = state_tensors(self.model, [self.optimizer], self._whole)
        if self.exchange.replica == 0:
            files.write_tensors(path, tensors, reached.to_metadata())

    def restore(self, path: Path) -> Reached:
        return restore_state(path, self.model, [self.optimizer], self._part)

    def _new_model(self, num_ids: int, compute_dtype: str) -> SwitchClassifier:
        model = SwitchClassifier(self.config, num_ids, self.num_classes, compute_dtype)
        for layer in model.switch_layers():
            layer.shard_experts(self.exchange)
        model.initialize()
        return model

    def weights(self) -> dict[str, np.ndarray]:
        """As of `Trainer`, for worker 0."""
        whole = {name: self._whole(variable) for name, variable in named_weights(self.model).items()}
        return finish(whole, self.config.model)

    @cached_property
    def _logits(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Each worker answers its rows, as experts are everywhere, and is told what the others answer."""
        count = self.exchange.replicas
        rows = -(-EVALUATION_BATCH // count)
        part = replicas.Replicas(self.exchange.replica, count)

        def answer(ids: tf.Tensor) -> tf.Tensor:
            context: Any = tf.distribute.get_replica_context()
            return context.all_gather(self.float_model(part.rows_of(ids)).logits, axis=0)

        compiled = tf.function(lambda ids: self.strategy.run(answer, (ids,)), autograph=False)

        def logits(ids: tf.Tensor) -> tf.Tensor:
            filled = tf.pad(ids, [[0, rows * count - ids.shape[0]], [0, 0]], constant_values=PADDING_ID)
            return compiled(filled)[: ids.shape[0]]

        return logits

    def _is_sharded(self, variable: tf.Variable) -> bool:
        """Whether it is a weight of experts, or a moment of one, whose name ends in that of the weight."""
        return variable.name.removesuffix(":0").endswith(self.names)

    def _whole(self, variable: tf.Variable) -> np.ndarray:
        """What all workers hold of it, one behind the other; what it is here of one that is not sharded.

        For worker 0, which writes; the others give their parts, and keep nothing of the rest.
        """
        if not self._is_sharded(variable):
            return variable.numpy()
        if variable.name not in self._gathers:

            def gather() -> tf.Tensor:
                context: Any = tf.distribute.get_replica_context()
                return context.all_gather(variable.read_value(), axis=0)

            compiled = tf.function(lambda: self.strategy.run(gather), autograph=False)
            self._gathers[variable.name] = compiled.get_concrete_function()
        gathered = self._gathers[variable.name]()
        return (gathered if self.exchange.replica == 0 else variable).numpy()

    def _part(self, variable: tf.Variable, whole: np.ndarray) -> np.ndarray:
        """Of an array of all experts what this worker holds; one of another size stays, and is refused as such."""
        if self._is_sharded(variable) and whole.shape[:1] == (self.exchange.replicas * variable.shape[0],):
            return self.exchange.cut(whole)
        return whole


def exchange_of(workers: Workers, strategy: Any) -> Exchange:
    """Between the processes of a cluster, seen from this one.

    Raises:
        ConfigError: they have several devices each.
    """
    devices = strategy.num_replicas_in_sync
    if devices != workers.count:
        raise ConfigError(
            f"train.shard_experts = true with {workers.count} workers of {devices} devices in all. "
            "Expected one device in each process: let CUDA_VISIBLE_DEVICES name one, and start a worker for each.",
            "settings",
        )
    return Exchange(workers.count, workers.index, both_ways(all_to_all(workers.count)))


def sharded_names(model: SwitchClassifier) -> tuple[str, ...]:
    """The weights of experts, by name."""
    layers = model.switch_layers()
    return tuple(getattr(layer, name).name.removesuffix(":0") for layer in layers for name in OF_EXPERTS)
