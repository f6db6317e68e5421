"""Which weights each choice of a router has after pruning: an expert map, a number for each of the layer's experts.

    [0, 1, -1, 2, 1]   of five experts the third is gone, and the fifth answers with the weights of the second

The router still weighs all of them up, so gates, and the slots that `num_experts` stands for, are what they were.
"""

from collections.abc import Sequence

GONE = -1


def stored_experts(expert_map: Sequence[int]) -> int:
    """How many experts have weights.

    >>> stored_experts([0, 1, -1, 2, 1])
    3
    """
    return max(expert_map) + 1


def map_problem(expert_map: object, num_experts: int, router: str) -> str | None:
    """What is wrong with an expert map; None if nothing is.

    >>> map_problem([0, 2], 2, "top1")
    'must have every number from 0 to the highest one'
    """
    if not isinstance(expert_map, list | tuple) or not all(type(number) is int for number in expert_map):
        return "must be a list of integers"
    numbers = set(expert_map) - {GONE}
    if len(expert_map) != num_experts or not numbers:
        return f"must have a number for each of num_experts = {num_experts} experts, one of them at least not {GONE}"
    if numbers != set(range(len(numbers))):
        return "must have every number from 0 to the highest one"
    if router == "top2" and len(numbers) < 2:
        return "must leave two experts, since router = 'top2' asks two"
    if router == "expert_choice" and len(numbers) < len(expert_map) - list(expert_map).count(GONE):
        return "has a number twice: with router = 'expert_choice' an expert chooses its own tokens, and cannot share"
    return None
