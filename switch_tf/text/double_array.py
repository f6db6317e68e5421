"""A trie as three arrays of integers, which a graph walks by two look-ups a step: exact, without hashing.

A node of the trie is a slot. Its child by the code c stands in the slot x = base[node] + c if labels[x] is c, and there
is none otherwise: no two nodes with children have the same base, and no such node has that of all others, 0. So 16 bits
tell a child, however many slots there are. Roots have the slots 0, 1...; behind them stands one slot without children,
where a walk that has no further step stays.

Source: Aoe 1989, "An efficient digital search algorithm by using a double-array structure".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_NONE = -1  # no code
_WINDOW = 4096  # slots that are looked at in one go

Codes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class DoubleArray:
    """The arrays.

    Attributes:
        base: int16 or int32 [slots].
        labels: int16 or int32 [slots + codes], the code that leads to each slot: longer, so that every x is in it.
        values: int32 [slots], of the sequence that ends there; 0 where none does.
        depths: int32 [slots], codes from the root.
        dead: the slot without children.
    """

    base: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    depths: np.ndarray
    dead: int

    def longest(self, root: int, codes: Sequence[int]) -> tuple[int, int]:
        """Length and value of the longest sequence that `codes` begin with; two zeros where there is none."""
        found, node = (0, 0), root
        for code in codes:
            slot = int(self.base[node]) + code
            if self.labels[slot] != code:
                break
            node = slot
            if self.values[node]:
                found = int(self.depths[node]), int(self.values[node])
        return found

    def longest_on_the_way(self) -> tuple[np.ndarray, np.ndarray]:
        """Length and value of the longest sequence on the way to each slot, zeros where none is: int32 [slots]."""
        depths, values = np.where(self.values > 0, self.depths, 0), self.values.copy()
        parents = np.zeros(int(self.base.max()) + 1, np.int64)
        parents[self.base] = np.arange(len(self.base))
        for depth in range(1, int(self.depths.max()) + 1):
            nodes = np.flatnonzero((self.depths == depth) & (self.values == 0))
            above = parents[nodes - self.labels[nodes]]
            depths[nodes], values[nodes] = depths[above], values[above]
        return depths, values


class _Nodes:
    """A trie as it grows: for each node its children by code, its value and its depth."""

    def __init__(self, roots: Sequence[Mapping[Codes, int]]):
        self.children: list[dict[int, int]] = [{} for _ in roots]
        self.values, self.depths = [0] * len(roots), [0] * len(roots)
        for root, sequences in enumerate(roots):
            for codes, value in sequences.items():
                self._insert(root, codes, value)

    def _insert(self, node: int, codes: Codes, value: int) -> None:
        for code in codes:
            child = self.children[node].get(code)
            if child is None:
                child = self.children[node][code] = len(self.children)
                self.children.append({})
                self.values.append(0)
                self.depths.append(self.depths[node] + 1)
            node = child
        self.values[node] = value


class _Room:
    """Slots that are free, and places where the children of a node fit among them."""

    def __init__(self, taken: int, capacity: int):
        self.free = np.ones(capacity, bool)
        self.free[:taken] = False
        self._new = np.ones(capacity, bool)  # bases that no node has
        self._new[0] = False
        self._next = list(
            range(capacity + 1)
        )  # of each slot, one at or behind it that may be free: followed to the end
        for slot in range(taken):
            self._next[slot] = slot + 1

    def take(self, codes: np.ndarray) -> int:
        """The first base at which slots for all of the rising codes are free, which are taken."""
        first = int(codes[0])
        start = self._first_free(first)
        while True:
            candidates = np.flatnonzero(self.free[start : start + _WINDOW]) + (start - first)  # bases
            fits = self._new[candidates]
            for code in codes[1:]:
                fits &= self.free[candidates + code]
            if fits.any():
                break
            start = self._first_free(start + _WINDOW)
        base = int(candidates[np.argmax(fits)])
        self.free[base + codes] = False
        self._new[base] = False
        for slot in (base + codes).tolist():
            self._next[slot] = slot + 1
        return base

    def _first_free(self, slot: int) -> int:
        end = slot
        while self._next[end] != end:
            end = self._next[end]
        while self._next[slot] != end and self._next[slot] != slot:  # shorten the way for the next time
            self._next[slot], slot = end, self._next[slot]
        return end


def narrow(array: np.ndarray) -> np.ndarray:
    """In 16 bits where that holds it."""
    fits = array.max(initial=0) < 2**15 and array.min(initial=0) >= -(2**15)
    return array.astype(np.int16) if fits else array.astype(np.int32)


def build_double_array(roots: Sequence[Mapping[Codes, int]], num_codes: int) -> DoubleArray:
    """One trie for each root.

    Args:
        roots: values above 0 by sequences of codes above 0 and below `num_codes`.
    """
    nodes = _Nodes(roots)
    count, dead = len(nodes.children), len(roots)
    room = _Room(dead + 1, 2 * count + 2 * num_codes + 2 * _WINDOW)
    slot = np.zeros(count, np.int64)
    slot[:dead] = np.arange(dead)
    bases = np.zeros(count, np.int64)
    parents = sorted(
        (node for node in range(count) if nodes.children[node]), key=lambda node: -len(nodes.children[node])
    )
    for node in parents:  # the largest families first: single children fill what is left between
        codes = np.array(sorted(nodes.children[node]), np.int64)
        bases[node] = room.take(codes)
        slot[[nodes.children[node][code] for code in codes.tolist()]] = bases[node] + codes
    slots = int(max(slot.max(), dead)) + 1
    base, values, depths = (np.zeros(slots, np.int32) for _ in range(3))
    base[slot], values[slot], depths[slot] = bases, nodes.values, nodes.depths
    labels = np.full(max(slots, int(bases.max(initial=0))) + num_codes, _NONE, np.int32)
    for node in parents:
        codes = np.array(list(nodes.children[node]), np.int64)
        labels[bases[node] + codes] = codes
    return DoubleArray(narrow(base), narrow(labels), values, depths, dead)
