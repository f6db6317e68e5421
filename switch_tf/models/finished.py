"""The weights of a finished model, in which nothing that routers only need to learn is left.

    token   the expert and the gate of every word are tables over ids, in place of the router
    xmoe    the experts' vectors have length 1 / t, as the logits need them, in place of any length and the temperature

Both are computed once, when training ends, so that all artifacts hold the same numbers.
"""

from collections.abc import Mapping

import numpy as np

from switch_tf.config import ModelConfig
from switch_tf.errors import RunError
from switch_tf.expert_map import GONE
from switch_tf.layers.router_scores import scaled_directions
from switch_tf.layers.token_routes import TokenTables, token_tables
from switch_tf.models.blocks import map_of_block
from switch_tf.models.weights import EMBEDDINGS

ROUTERS = {"token": "table", "xmoe": "cosine"}  # what routers are in a finished model, where that is something else
_BLOCK, _ROUTES = "classifier/block_", "classifier/routes_"
_ROUTER, _BIAS = "/switch_ffn/router", "/switch_ffn/router_bias"


def finish(weights: Mapping[str, np.ndarray], settings: ModelConfig) -> dict[str, np.ndarray]:
    """The weights of a model in training as those of a finished one; the same for routers that stay what they are."""
    if settings.router not in ROUTERS:
        return dict(weights)
    finished = dict(weights)
    for name in [name for name in weights if name.startswith(_BLOCK) and name.endswith(_ROUTER)]:
        if settings.router == "xmoe":
            finished[name] = scaled_directions(weights[name], finished.pop(f"{name}_temperature"))
            continue
        block = name.removeprefix(_BLOCK).removesuffix(_ROUTER)
        router, bias = finished.pop(name), finished.pop(f"{_BLOCK}{block}{_BIAS}", None)
        tables = token_tables(weights[EMBEDDINGS], router, bias, map_of_block(settings, int(block)))
        finished |= {f"{_ROUTES}{block}/{field}": array for field, array in tables._asdict().items()}
    return finished


def tables_of(weights: Mapping[str, np.ndarray]) -> dict[int, TokenTables]:
    """The tables of each block of a finished model, by the block's number; none where routers look further."""
    blocks = sorted(
        int(name.removeprefix(_ROUTES).removesuffix("/expert"))
        for name in weights
        if name.startswith(_ROUTES) and name.endswith("/expert")
    )
    return {
        block: TokenTables(weights[f"{_ROUTES}{block}/expert"], weights[f"{_ROUTES}{block}/gate"]) for block in blocks
    }


def refuse_routes(weights: Mapping[str, np.ndarray], settings: ModelConfig, source: str) -> None:
    """
    Raises:
        RunError: a table of routes names an expert that there is not, or one that is gone.
    """
    for block, tables in tables_of(weights).items():
        left = map_of_block(settings, block) or range(settings.num_experts)
        known = np.flatnonzero(np.array(left) != GONE)
        if not np.isin(tables.expert, known).all():
            unfit = f"{source} has tables of routes to experts that block {block} has not"
            raise RunError(f"{unfit}. Restore it, or train again.")


def cut_tables(weights: Mapping[str, np.ndarray], num_ids: int) -> dict[str, np.ndarray]:
    """The weights with tables of the first ids alone."""
    return {name: array[:num_ids] if name.startswith(_ROUTES) else array for name, array in weights.items()}
