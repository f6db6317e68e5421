"""Reads rows of UTF-8 in a graph: what a table says of each character, found byte by byte.

The table has 256 entries, one for each byte that a character may begin with, and behind them blocks of 65, one for each
byte that may stand further on and one for all that may not. An entry is the number of a character, or leads to the
block of the next byte: entries below 0 name blocks, and those of a character's last bytes are named last, so that the
highest entry on the way is where it leads to. The numbers of what is not UTF-8 end the way at once.
"""

import numpy as np
import tensorflow as tf

from switch_tf.text.double_array import narrow
from switch_tf.text.graph_rows import look_up

NOTHING = 0  # the number of what is no character: further bytes of one, and what vanishes
_FURTHER = 0x80  # the first byte that may stand further on in a character, of 64
_TWO, _THREE, _FOUR = 0xC2, 0xE0, 0xF0  # the first bytes that characters of so many bytes begin with
_END = 0xF5
_PLACES = 64  # of a block, and one
_FIRST_BLOCK = 256
_LOWEST = -(2**15)  # entries of block 0, which ways lead to that have ended


def byte_table(numbers: np.ndarray, bad: int) -> np.ndarray:
    """The table of characters' numbers.

    Overlong forms, surrogates, what is beyond U+10FFFF and a character that the row cuts off are not UTF-8 (RFC 3629).

    Args:
        numbers: int32 [code points], from 0 on.
        bad: the number of every byte that is not UTF-8, and of no character.

    Returns:
        int16 or int32 [256 + blocks * 65].
    """
    numbers = np.where(np.arange(len(numbers)) // 0x800 == 0xD800 // 0x800, bad, numbers)  # surrogates
    blocks = [np.full(_PLACES, _LOWEST)]
    pages = _named(numbers, blocks)  # [pages of 64 code points]
    further_pages = np.where(np.arange(len(pages)) < 0x800 // _PLACES, bad, pages)  # shorter forms have these
    planes = _named(further_pages, blocks)
    shortest = np.where(np.arange(len(planes)) < 0x10000 // _PLACES**2, bad, planes)
    longest = np.pad(shortest, (0, -len(planes) % _PLACES), constant_values=bad)
    of_first = np.full(_FIRST_BLOCK, bad)
    of_first[:_FURTHER] = numbers[:_FURTHER]
    of_first[_TWO:_THREE] = pages[_TWO - 0xC0 : _THREE - 0xC0]
    of_first[_THREE:_FOUR] = planes[: _FOUR - _THREE]
    of_first[_FOUR:_END] = _named(longest, blocks)
    with_others = [np.append(block, _LOWEST if block[0] == _LOWEST else bad) for block in blocks]
    return narrow(np.concatenate([of_first, *with_others]))


def _named(entries: np.ndarray, blocks: list[np.ndarray]) -> np.ndarray:
    """The entries that lead to blocks of 64 of these, which are put to the others: int [n] -> int [n / 64]."""
    different, inverse = np.unique(entries.reshape(-1, _PLACES), axis=0, return_inverse=True)
    names = -np.arange(len(blocks), len(blocks) + len(different))
    blocks.extend(different)
    return names[inverse.reshape(-1)]


def read_characters_of(rows: tf.Tensor, table: np.ndarray, bad: int) -> tf.Tensor:
    """The number of each character at its first byte, `bad` at every byte that is not UTF-8, and `NOTHING` elsewhere.

    Args:
        rows: uint8, or int32 of bytes, [batch, N].
        table: of `byte_table`.
        bad: as it had there.

    Returns:
        int32 [batch, N].
    """
    width = rows.shape[1]
    first = tf.cast(rows, tf.int32)  # not cut out as those behind it: LiteRT takes rows of another width, and must fail
    padded = tf.pad(first, [[0, 0], [0, 3]])  # [batch, N + 3]
    stands_first = (padded - _FURTHER) * (padded - (_FURTHER + _PLACES - 1)) > 0
    place = tf.where(stands_first, _PLACES, padded - _FURTHER) + _FIRST_BLOCK
    number = look_up(table, first)  # [batch, N], as all below
    for step in (1, 2, 3):
        block = tf.where(number < 0, number * -(_PLACES + 1), 0)
        number = tf.maximum(number, look_up(table, block + tf.slice(place, [0, step], [-1, width])))
    leads = tf.where(tf.equal(number, bad), 0, first)
    before = tf.pad(leads, [[0, 0], [3, 0]])  # [batch, N + 3]
    three, two, one = (tf.slice(before, [0, start], [-1, width]) for start in range(3))
    covered = tf.maximum(tf.maximum(one - 0xC0, two - _THREE), three - _FOUR) >= 0
    return tf.where(covered, NOTHING, number)
