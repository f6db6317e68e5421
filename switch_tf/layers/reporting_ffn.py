"""The Switch feed-forward layer of an encoder block."""

from collections.abc import Sequence
from typing import Any, Self

import tensorflow as tf

from switch_tf.config import ModelConfig
from switch_tf.layers.arguments import EXPECTED
from switch_tf.layers.common import dtype_policy
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.switch_ffn import RouterReport, SwitchFFN
from switch_tf.layers.token_routes import TokenRoutes, Words


class ReportingSwitchFFN(SwitchFFN):
    """`SwitchFFN` as an encoder block calls it: with a seed of the step, for what `route` returns and no more."""

    keeps_seed = False
    infers_apart = False  # what is exported keeps each weight whole, as the run stores it

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

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | TokenRoutes | None = None,
    ) -> tuple[tf.Tensor, RouterReport]:
        return self.route(inputs, mask, training, seed, words)


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
