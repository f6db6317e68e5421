"""The weights of a finished model that routes by the word: tables over ids in place of routers."""

from collections.abc import Mapping

import numpy as np

from switch_tf.config import ModelConfig
from switch_tf.layers.token_routes import TokenTables, token_tables
from switch_tf.models.weights import EMBEDDINGS

_BLOCK, _ROUTES = "classifier/block_", "classifier/routes_"
_ROUTER, _BIAS = "/switch_ffn/router", "/switch_ffn/router_bias"


def with_tables(weights: Mapping[str, np.ndarray], settings: ModelConfig) -> dict[str, np.ndarray]:
    """The weights of a model in training as those of a finished one; the same where no router looks at words alone."""
    if settings.router != "token":
        return dict(weights)
    finished = dict(weights)
    for name in [name for name in weights if name.startswith(_BLOCK) and name.endswith(_ROUTER)]:
        block = name.removeprefix(_BLOCK).removesuffix(_ROUTER)
        router, bias = finished.pop(name), finished.pop(f"{_BLOCK}{block}{_BIAS}", None)
        tables = token_tables(weights[EMBEDDINGS], router, bias)
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


def cut_tables(weights: Mapping[str, np.ndarray], num_ids: int) -> dict[str, np.ndarray]:
    """The weights with tables of the first ids alone."""
    return {name: array[:num_ids] if name.startswith(_ROUTES) else array for name, array in weights.items()}
