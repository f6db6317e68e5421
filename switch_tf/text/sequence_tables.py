"""Sequences of codes as two arrays, for a graph that writes them one behind the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from switch_tf.text.double_array import Codes, narrow


@dataclass(frozen=True, eq=False)
class Sequences:
    """A sequence's number is the place of its first code. What is below the first one's stands for what is none.

    Attributes:
        lengths: int16 or int32, of the sequence that begins at each place of `codes`; 0 for number 0.
        codes: int16 or int32, of all sequences, one behind the other, and twice `room` zeros before them: those of
            number `room` stand behind the last sequence of a text.
        room: a power of two that no sequence is longer than.
        numbers: int32 [sequences], in the order they were given in.
    """

    lengths: np.ndarray
    codes: np.ndarray
    room: int
    numbers: np.ndarray


def build_sequences(sequences: Sequence[Codes]) -> Sequences:
    """The arrays; an empty sequence has number 0."""
    sizes = np.array([len(each) for each in sequences], np.int32)
    room = 1 << (int(sizes.max(initial=1)) - 1).bit_length()
    numbers = np.where(sizes > 0, 2 * room + np.cumsum(sizes) - sizes, 0).astype(np.int32)
    codes = np.array([*[0] * 2 * room, *(code for each in sequences for code in each)], np.int32)
    lengths = np.zeros(len(codes), np.int32)
    lengths[numbers] = sizes
    lengths[[0, room]] = 0, 1
    return Sequences(narrow(lengths), narrow(codes), room, numbers)
