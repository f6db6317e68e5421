"""The Switch feed-forward layer of an encoder block."""

from collections.abc import Sequence
from typing import Any, Self

import tensorflow as tf

from switch_tf.config import ModelConfig
from switch_tf.errors import ArgumentError
from switch_tf.layers import replicas
from switch_tf.layers.arguments import EXPECTED
from switch_tf.layers.common import dropout, dtype_policy, fold_in, truncated_normal
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.exchange import Exchange, by_experts
from switch_tf.layers.switch_ffn import RouterReport, SwitchFFN
from switch_tf.layers.token_routes import TokenRoutes, Words


class ReportingSwitchFFN(SwitchFFN):
    """`SwitchFFN` as an encoder block calls it: with a seed of the step, for what `route` returns and no more.

    Its experts may be sharded over replicas, see `switch_tf.layers.exchange`.
    """

    keeps_seed = False
    infers_apart = False  # what is exported keeps each weight whole, as the run stores it
    exchange: Exchange | None = None

    @classmethod
    def from_settings(
        cls, settings: ModelConfig, sequence_length: int, compute_dtype: str = "float32", **kwargs: Any
    ) -> Self:
        """The layer of a model's settings, of which it takes those that are arguments of `SwitchFFN`.

        The maps of pruned experts are of all layers there, so that its own is given as `expert_map`.
        """
        taken = {name: getattr(settings, name) for name in EXPECTED if hasattr(settings, name) and name != "expert_map"}
        given = {"sequence_length": sequence_length, "dtype": dtype_policy(compute_dtype)} | kwargs
        return cls(**(taken | given))

    def shard_experts(self, exchange: Exchange) -> None:
        """Hold a share of the experts alone; tokens travel to the others. Of a layer that has no weights yet.

        Raises:
            ArgumentError: the experts cannot be dealt out evenly, or there are weights of all of them.
        """
        if self.built:
            raise ArgumentError(f"{self.name} has weights already. Shard its experts before its first call.")
        exchange.held(self.stored_experts)
        self.exchange = exchange

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | TokenRoutes | None = None,
    ) -> tuple[tf.Tensor, RouterReport]:
        return self.route(inputs, mask, training, seed, words)

    def _run_experts(self, hidden: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        if self.exchange is None:
            return super()._run_experts(hidden, training, seed)

        def run(received: tf.Tensor) -> tf.Tensor:
            with replicas.sharing(replicas.ALONE):  # all rows of the batch are here, of some experts
                return super(ReportingSwitchFFN, self)._run_experts(received, training, seed)

        return by_experts(hidden, self.exchange, run)

    def _drop_units(self, inner: tf.Tensor, seed: tf.Tensor | None, expert: int | None) -> tf.Tensor:
        if self.exchange is None:
            return super()._drop_units(inner, seed, expert)
        if expert is not None:
            return super()._drop_units(inner, seed, self.exchange.first(self.stored_experts) + expert)
        # Noise of [experts, rows, d_ff], of which the first axis is divided here, not the rows.
        with replicas.sharing(replicas.Replicas(self.exchange.replica, self.exchange.replicas)):
            return dropout(inner, self.expert_dropout, True, fold_in(seed, 0), 1)

    def _add_of_experts(self, name: str, shape: list[int], fan_in: int | None = None) -> None:
        """Those that are held here, which begin as they would where all of them are."""
        if self.exchange is None:
            super()._add_of_experts(name, shape, fan_in)
            return
        held = self.exchange.held(self.stored_experts)
        self._add(name, [held, *shape])
        if fan_in:
            drawn = truncated_normal(fan_in, self.initializer_scale)([self.stored_experts, *shape], tf.float32)
            # Assigned, for an initial value would be that of the first replica everywhere.
            getattr(self, name).assign(self.exchange.cut(drawn))


def feed_forward(
    settings: ModelConfig,
    sequence_length: int,
    use_switch: bool,
    compute_dtype: str,
    router: str | None,
    expert_map: Sequence[int] | None,
) -> ReportingSwitchFFN | DenseFFN:
    """The feed-forward layer of an encoder block.

    Args:
        use_switch: a Switch layer, else a dense one, to which what follows means nothing.
        router: in place of that of the settings; None for that one.
        expert_map: of this layer, after pruning.
    """
    if not use_switch:
        return DenseFFN(settings, compute_dtype, name="dense_ffn")
    changes = {"router": router or settings.router, "expert_map": expert_map}
    return ReportingSwitchFFN.from_settings(settings, sequence_length, compute_dtype, name="switch_ffn", **changes)
