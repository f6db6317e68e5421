"""Which of many texts are equal, without keeping them: numbers for keys, from 16 bytes of each."""

import hashlib

import numpy as np


class KeyNumbers:
    """Numbers of keys in the order in which they were first seen, equal for equal keys; 16 bytes are kept of each."""

    def __init__(self, count: int):
        self._digests, self._added = np.empty(count, "V16"), 0

    def add(self, key: bytes) -> None:
        """The next of `count` keys."""
        self._digests[self._added] = hashlib.blake2b(key, digest_size=16).digest()
        self._added += 1

    def numbers(self) -> np.ndarray:
        """int64 [count].

        >>> keys = KeyNumbers(4)
        >>> for key in (b"b", b"a", b"b", b"c"):
        ...     keys.add(key)
        >>> keys.numbers()
        array([0, 1, 0, 2])
        """
        halves = self._digests.view(np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # equal keys stand together, the first seen first
        ordered = halves[order]
        begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(order)]
        first = np.empty(len(order), np.int64)
        first[order] = order[begins][np.cumsum(begins) - 1]  # [count], where each key was first seen
        return np.cumsum(first == np.arange(len(first)))[first] - 1
