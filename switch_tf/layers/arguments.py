"""What the arguments of a Switch layer may be."""

import math
from collections.abc import Callable
from typing import Any

ROUTERS = ("top1", "top2", "expert_choice", "xmoe", "token", "table", "cosine")


def _integer(value: object, least: int, below: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < below


def _number(value: object, least: float, below: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < below


_TINY = math.ulp(0.0)  # the least number above 0
# Every argument of the layer, in order: whether a value of it will do, and the words for what will.
EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_experts": (lambda value: _integer(value, 1), "an integer of at least 1"),
    "d_ff": (lambda value: _integer(value, 1), "an integer of at least 1"),
    "router": (lambda value: value in ROUTERS, "'" + "', '".join(ROUTERS) + "'"),
    "priority": (lambda value: value in ("position", "gate"), "'position' or 'gate'"),
    "normalize_gates": (lambda value: isinstance(value, bool), "True or False"),
    "capacity_factor": (lambda value: _number(value, _TINY), "a finite number above 0"),
    "eval_capacity_factor": (lambda value: _number(value, _TINY), "a finite number above 0, or None"),
    "min_capacity": (lambda value: _integer(value, 1), "an integer of at least 1"),
    "drop_tokens": (lambda value: isinstance(value, bool), "True or False"),
    "dispatch": (lambda value: value in ("gather", "einsum"), "'gather' or 'einsum'"),
    "scale_by_gate": (lambda value: isinstance(value, bool), "True or False"),
    "auxiliary_loss_weight": (lambda value: _number(value, 0.0), "a finite number of at least 0"),
    "z_loss_weight": (lambda value: _number(value, 0.0), "a finite number of at least 0"),
    "balance_rate": (lambda value: _number(value, 0.0), "a finite number of at least 0"),
    "router_jitter": (lambda value: _number(value, 0.0, 1.0), "a number from 0 and below 1"),
    "expert_dropout": (lambda value: _number(value, 0.0, 1.0), "a number from 0 and below 1"),
    "activation": (lambda value: value in ("relu", "gelu"), "'relu' or 'gelu'"),
    "initializer_scale": (lambda value: _number(value, _TINY), "a finite number above 0"),
    "expert_map": (
        lambda value: value is None or isinstance(value, list | tuple),
        "a number for each expert, or None",
    ),
    "sequence_length": (lambda value: value is None or _integer(value, 1), "an integer of at least 1, or None"),
    "seed": (lambda value: value is None or _integer(value, 0, 2**31), "an integer from 0 and below 2**31, or None"),
}
