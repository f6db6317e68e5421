"""A table of integers that answers in one look: every key has a slot of its own, found by arithmetic alone.

Hash and displace. A key is a row of two or more integers. Its second one chooses a group, its first one a home among
the slots, and all keys of a group stand the same number of slots behind their homes:

    slot = (key[0] % slots + shift[key[1] % groups]) % slots

The builder looks for shifts that let no two keys meet, the largest groups first, while there is room. The slot holds
the whole key, so that a key which is not in the table is told from the one that stands there. With two integers a key,
a table takes about 13 bytes for each key.

>>> table = build_perfect_hash(np.array([[7, 1], [8, 2], [9, 1]]), np.array([20, 30, 40]), missing=1)
>>> table.find(np.array([[9, 1], [8, 2], [7, 1], [9, 2], [0, 0]]))
array([40, 30, 20,  1,  1], dtype=int32)

Source: Pagh, "Hash and displace: efficient evaluation of minimal perfect hash functions", WADS 1999, and Belazzougui,
Botelho and Dietzfelbinger, "Hash, displace, and compress", ESA 2009, for large groups first. NumPy only.
"""

from dataclasses import dataclass

import numpy as np

_FILLED = 0.97  # share of the slots in use: more makes the search for shifts long, less the table large
_KEYS_PER_GROUP = 4  # on average: more makes the search long, less the list of shifts
_ATTEMPTS = 500  # sizes tried; about one in eight will do, since the keys of a group must have different homes
_SHIFTS_AT_A_TIME = 256


class KeyCollisionError(ValueError):
    """Two keys cannot be told apart, or no table was found that keeps them apart."""


@dataclass(frozen=True, eq=False)
class PerfectHash:
    """A finished table; all integers are in [0, 2^31).

    Attributes:
        shifts: int16 or int32 [groups]. How far the keys of a group stand behind their homes.
        keys: int32 [slots, integers]. The key in each slot, zeros where there is none.
        values: int16 or int32 [slots]. Its value, and in empty slots the one for missing keys, so that their zeros are
            harmless.
        missing: the value of all other keys.
    """

    shifts: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    missing: int

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.shifts.nbytes + self.keys.nbytes + self.values.nbytes

    def slot(self, keys: np.ndarray) -> np.ndarray:
        """The one slot where each key may stand: integers [n, integers] -> [n]."""
        home, group = _home_and_group(keys, len(self.values), len(self.shifts))
        return (home + self.shifts[group]) % len(self.values)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The value of each key, or `missing`: integers [n, integers] -> int32 [n]."""
        slot = self.slot(keys)  # [n]
        found = (self.keys[slot] == keys).all(axis=1)  # [n]
        return np.where(found, self.values[slot], np.int32(self.missing))


def build_perfect_hash(keys: np.ndarray, values: np.ndarray, missing: int) -> PerfectHash:
    """The table of `keys`, integers [n, 2 or more] in [0, 2^31), and `values`, [n]; the same for the same arguments.

    Raises:
        KeyCollisionError: two keys have the same first two integers, or no table was found.
        ValueError: a key is out of range.
    """
    keys = np.asarray(keys, np.int64)
    if np.any((keys < 0) | (keys >= 2**31)):
        raise ValueError(f"Received keys from {keys.min()} to {keys.max()}. Expected integers in [0, 2^31).")
    places = keys[:, 0] << 32 | keys[:, 1]  # [n]
    if len(np.unique(places)) < len(keys):
        raise KeyCollisionError("Two keys have the same first two integers, which decide their slot.")
    smallest = max(1, int(np.ceil(len(keys) / _FILLED)))
    fewest = max(1, len(keys) // _KEYS_PER_GROUP)
    for extra in range(_ATTEMPTS):  # both grow, so that keys of one home come apart as well as keys of one group
        slots, groups = smallest + extra, fewest + extra
        home, group = _home_and_group(keys, slots, groups)
        shifts = _find_shifts(home, group, slots, groups)
        if shifts is not None:
            return _fill(keys, values, shifts, slots, missing)
    raise KeyCollisionError(f"No table of {smallest} to {slots} slots keeps the keys apart.")


def _home_and_group(keys: np.ndarray, slots: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Both int64 [n]."""
    return keys[:, 0] % slots, keys[:, 1] % groups


def _find_shifts(home: np.ndarray, group: np.ndarray, slots: int, groups: int) -> np.ndarray | None:
    """A shift for each group, int32 [groups], such that no two keys meet; None when one finds no room."""
    if len(np.unique(group * slots + home)) < len(home):
        return None  # two keys of one group have one home, and would meet whatever the shift
    sizes = np.bincount(group, minlength=groups)  # [groups]
    ends = np.cumsum(sizes)
    by_group = home[np.argsort(group, kind="stable")]  # [n], the homes of group g at ends[g] - sizes[g]
    shifts = np.zeros(groups, np.int32)
    used = np.zeros(slots, bool)
    for number in np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]:
        homes = by_group[ends[number] - sizes[number] : ends[number]]
        start = number * slots // groups  # if all began at 0, keys would crowd where homes do
        further = _first_free_shift(used, homes + start)
        if further is None:
            return None
        shifts[number] = (start + further) % slots
        used[(homes + shifts[number]) % slots] = True
    return shifts


def _first_free_shift(used: np.ndarray, homes: np.ndarray) -> int | None:
    """The least shift that brings every home to a slot not in use."""
    for first in range(0, len(used), _SHIFTS_AT_A_TIME):
        shifts = np.arange(first, min(first + _SHIFTS_AT_A_TIME, len(used)))
        taken = np.any(used[(homes[:, None] + shifts) % len(used)], axis=0)  # [shifts]
        if not taken.all():
            return first + int(np.argmin(taken))
    return None


def _fill(keys: np.ndarray, values: np.ndarray, shifts: np.ndarray, slots: int, missing: int) -> PerfectHash:
    """The finished table, after a look for every key."""
    empty = np.full(slots, missing, _narrowest(max(missing, values.max(initial=0))))
    shifts = shifts.astype(_narrowest(slots))
    table = PerfectHash(shifts, np.zeros([slots, keys.shape[1]], np.int32), empty, missing)
    slot = table.slot(keys)  # [n]
    table.keys[slot], table.values[slot] = keys, values
    if not np.array_equal(table.find(keys), values):
        raise KeyCollisionError("The table does not find its own keys.")  # would be a mistake of this module
    return table


def _narrowest(largest: int) -> type[np.signedinteger]:
    """What holds 0 to `largest`; half the bytes for most vocabularies, and runtimes gather either."""
    return np.int16 if largest < 2**15 else np.int32
