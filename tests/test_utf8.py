"""Rows of bytes are decoded in a graph as Python decodes them, with U+FFFD for every byte that is not UTF-8."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text.characters import _EACH_BYTE
from switch_tf.text.utf8 import NO_LEAD, code_points

WIDTH = 8


def decoded(rows: list[bytes]) -> list[str]:
    padded = np.array([list(row.ljust(WIDTH, b"\0")) for row in rows], np.uint8)
    points = code_points(tf.constant(padded)).numpy()
    return ["".join(chr(point) for point in row if point != NO_LEAD) for row in points]


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
