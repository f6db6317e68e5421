"""The weights of a model without some of its experts: dropped, or merged into others.

A dropped expert leaves its column in the router, so that gates, and the room of the others, are what they were; its
tokens go to the best of those that are left. Where routes are tables, the words of a dropped expert go to the expert
whose words' vectors are most like theirs. A merged expert leaves the mean of its weights and another's, each by its
use, hidden units matched first (Li et al. 2023, "Merge, then compress", arXiv 2310.01334, section 3.2).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize

from switch_tf.config import ModelConfig
from switch_tf.expert_map import GONE
from switch_tf.layers.token_routes import NORM_EPSILON
from switch_tf.models.blocks import map_of_block, switch_blocks
from switch_tf.models.finished import tables_of
from switch_tf.models.weights import EMBEDDINGS

Weights = dict[str, np.ndarray]

_EXPERT_WEIGHTS = ("w_in", "b_in", "w_out", "b_out")


def prune_weights(
    weights: Mapping[str, np.ndarray],
    settings: ModelConfig,
    kept: Sequence[Sequence[int]],
    use: Sequence[np.ndarray],
    merge: bool,
) -> tuple[Weights, list[list[int]]]:
    """The weights of a finished model with fewer experts, and the expert map of each Switch layer.

    Args:
        weights: all of them; the others stay as they are.
        kept: of each Switch layer, the numbers of the experts to keep, rising, among those that have weights.
        use: of each layer, how much each of these is used, [experts].
        merge: whether the others are merged into those that are kept, else dropped.
    """
    pruned, maps = dict(weights), []
    for layer, block in enumerate(switch_blocks(settings)):
        before = map_of_block(settings, block) or list(range(settings.num_experts))
        likeness = _likeness(weights, settings, block, before)
        owners = _owners(kept[layer], len(use[layer]), likeness if merge else None)
        experts = {name: weights[_name(block, name)] for name in _EXPERT_WEIGHTS}
        if merge:
            experts = _merged(experts, kept[layer], owners, use[layer])
        pruned |= {_name(block, name): array[list(kept[layer])] for name, array in experts.items()}
        maps.append([GONE if number == GONE else owners[number] for number in before])
        if GONE in owners and settings.router == "token":
            pruned |= _rerouted(weights, block, before, kept[layer], likeness)
    return pruned, maps


def _name(block: int, weight: str) -> str:
    return f"classifier/block_{block}/switch_ffn/{weight}"


def _owners(kept: Sequence[int], experts: int, likeness: np.ndarray | None) -> list[int]:
    """What becomes of each expert: its new number, or that of the one most like it, or `GONE` without `likeness`."""
    owners = [GONE] * experts
    for new, number in enumerate(kept):
        owners[number] = new
    if likeness is not None:
        for number in set(range(experts)) - set(kept):
            owners[number] = int(np.argmax(likeness[number, list(kept)]))
    return owners


def _likeness(weights: Mapping[str, np.ndarray], settings: ModelConfig, block: int, before: list[int]) -> np.ndarray:
    """Cosines between what the experts are asked, float64 [experts, experts].

    That is the router's vector of each, or the mean vector of its words; of experts that share weights, the sum.
    """
    if settings.router == "token":
        experts = tables_of(weights)[block].expert
        vectors = _normalised(weights[EMBEDDINGS][: len(experts)])
        asked = np.stack([vectors[experts == number].sum(axis=0) for number in range(settings.num_experts)])
    else:
        asked = weights[_name(block, "router")].T.astype(np.float64)  # [num_experts, width]
    shared = np.stack([asked[np.array(before) == number].sum(axis=0) for number in range(max(before) + 1)])
    unit = shared / np.maximum(np.linalg.norm(shared, axis=1, keepdims=True), NORM_EPSILON)
    return unit @ unit.T


def _normalised(words: np.ndarray) -> np.ndarray:
    """As `switch_tf.layers.token_routes.token_input`, in float64: [words, width]."""
    centred = words.astype(np.float64) - words.mean(axis=1, keepdims=True, dtype=np.float64)
    return centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + NORM_EPSILON)


def _rerouted(
    weights: Mapping[str, np.ndarray], block: int, before: list[int], kept: Sequence[int], likeness: np.ndarray
) -> Weights:
    """The table of routes in which no word goes to a dropped expert; gates stay.

    The words of each dropped expert go to the kept one that is most like it.
    """
    name = f"classifier/routes_{block}/expert"
    table = weights[name].copy()
    for number in range(max(before) + 1):
        if number not in kept:
            nearest = kept[int(np.argmax(likeness[number, list(kept)]))]
            going = [choice for choice, owner in enumerate(before) if owner == number]
            table[np.isin(weights[name], going)] = before.index(nearest)
    return {name: table}


def _merged(experts: Mapping[str, np.ndarray], kept: Sequence[int], owners: Sequence[int], use: np.ndarray) -> Weights:
    """Weights in which each kept expert is the mean of those that it stands for, weighted by their use.

    One that nothing uses changes nothing.
    """
    merged = {name: array.copy() for name, array in experts.items()}
    for new, head in enumerate(kept):
        others = [number for number, owner in enumerate(owners) if owner == new and number != head and use[number] > 0]
        if not others:
            continue
        parts = [(use[head], _of_expert(experts, head))]
        parts += [(use[number], _matched(_of_expert(experts, number), parts[0][1])) for number in others]
        total = sum(weight for weight, _ in parts)
        for name, array in merged.items():
            array[head] = sum(weight * each[name] for weight, each in parts) / total
    return merged


def _of_expert(experts: Mapping[str, np.ndarray], number: int) -> Weights:
    return {name: array[number].astype(np.float64) for name, array in experts.items()}


def _matched(expert: Weights, head: Weights) -> Weights:
    """The same expert with its hidden units in the order in which they are most like those of another."""
    units, wanted = (np.concatenate([each["w_in"].T, each["b_in"].T, each["w_out"]], axis=1) for each in (expert, head))
    _, order = scipy.optimize.linear_sum_assignment(wanted @ units.T, maximize=True)  # [d_ff], units of [d_ff, width]
    return expert | {
        "w_in": expert["w_in"][:, order],
        "b_in": expert["b_in"][:, order],
        "w_out": expert["w_out"][order],
    }
