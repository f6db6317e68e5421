"""Rows of bytes are decoded in a graph as Python decodes them, with U+FFFD for every byte that is not UTF-8."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text.characters import _EACH_BYTE
from switch_tf.text.utf8 import NOTHING, byte_table, read_characters_of

WIDTH = 8
POINTS = 0x110000
BAD = POINTS + 1
TABLE = byte_table(np.arange(1, POINTS + 1, dtype=np.int32), BAD)  # a number each


@tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.uint8)], autograph=False)
def numbers_of(rows: tf.Tensor) -> tf.Tensor:
    return read_characters_of(rows, TABLE, BAD)


def decoded(rows: list[bytes]) -> list[str]:
    padded = np.array([list(row.ljust(WIDTH, b"\0")) for row in rows], np.uint8)
    numbers = numbers_of(tf.constant(padded)).numpy()
    return ["".join("\ufffd" if each == BAD else chr(each - 1) for each in row if each != NOTHING) for row in numbers]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"a\xc3\xa9\xe4\xb8\xad", "aé中\0\0"),
        ("😀x".encode(), "😀x\0\0\0"),
        (b"\xc3", "\ufffd" + "\0" * 7),
        (b"\xe4\xb8x", "\ufffd\ufffdx" + "\0" * 5),  # each byte by itself
        (b"\xed\xa0\x80", "\ufffd" * 3 + "\0" * 5),  # half of a surrogate pair
        (b"\xc0\x80\xe0\x80\x80", "\ufffd" * 5 + "\0" * 3),  # longer forms of NUL
        (b"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80", "\U0010ffff" + "\ufffd" * 4),
        (b"aaaaaa\xe4\xb8", "aaaaaa\ufffd\ufffd"),  # cut off by the end of the row
        (b"aaaaa\xe4\xb8\xad", "aaaaa中"),
    ],
)
def test_by_hand(row: bytes, expected: str) -> None:
    assert decoded([row]) == [expected]


def test_every_character() -> None:
    points = [point for point in range(POINTS) if not 0xD800 <= point < 0xE000]
    text = "".join(map(chr, points)).encode()
    rows = np.frombuffer(text + bytes(3), np.uint8)[np.newaxis]
    numbers = read_characters_of(tf.constant(rows), TABLE, BAD).numpy()[0]
    assert (numbers[numbers != NOTHING] - 1).tolist() == [*points, 0, 0, 0]


def test_pages_that_are_alike_are_stored_once() -> None:
    numbers = np.zeros(POINTS, np.int32)
    numbers[[ord("a"), 0x4E00, 0x4E01]] = 1, 2, 3
    table = byte_table(numbers, bad=4)
    # Blocks: none, of one page with a and one without, of one with 0x4E00, of all bad; and those that lead to them.
    assert table.dtype == np.int16
    assert (len(table) - 256) % 65 == 0 and len(table) < 256 + 65 * 16
    rows = tf.constant([[*b"a", *"\u4e01".encode(), *"\u4e02".encode(), 0xFF]], tf.uint8)
    assert read_characters_of(rows, table, 4).numpy().tolist() == [[1, 3, 0, 0, 0, 0, 0, 4]]


def test_every_two_bytes_and_their_continuations() -> None:
    tails = [b"", b"\x80", b"\x80\x80", b"\xbf\xbf\xbf", b"a"]
    rows = [
        bytes([first, second]) + tail
        for first, second, tail in itertools.product(range(0xBE, 256), range(0, 256, 3), tails)
    ]
    assert decoded(rows) == [row.ljust(WIDTH, b"\0").decode("utf-8", _EACH_BYTE) for row in rows]


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=WIDTH), st.text(max_size=3).map(str.encode)), min_size=1, max_size=20))
def test_any_rows(rows: list[bytes]) -> None:
    cut = [row[:WIDTH] for row in rows]
    assert decoded(cut) == [row.ljust(WIDTH, b"\0").decode("utf-8", _EACH_BYTE) for row in cut]
