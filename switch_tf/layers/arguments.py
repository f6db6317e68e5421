"""What the arguments of a Switch layer may be."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from switch_tf.errors import ArgumentError
from switch_tf.expert_map import map_problem

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


def check_arguments(layer: Any) -> None:
    """Look at the arguments that a layer keeps as attributes; NumPy numbers, which JSON does not know, become Python's.

    Raises:
        ArgumentError: a value is out of range, or the map of experts does not fit.
    """
    for name, (accepts, expected) in EXPECTED.items():
        value = getattr(layer, name)
        if isinstance(value, np.generic):
            value = value.item()
            setattr(layer, name, value)
        if not accepts(value):
            raise ArgumentError(f"Received {name}={value!r}. Expected {expected}: change {name}.", argument=name)
    expert_map = layer.expert_map
    problem = None if expert_map is None else map_problem(expert_map, layer.num_experts, layer.router)
    if problem:
        raise ArgumentError(f"Received expert_map={expert_map!r}. It {problem}.", argument="expert_map")
