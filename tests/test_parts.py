"""Rows in parts: the same parts of the same rows, however a reader hands them over."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.data.arrow_tables import Batch
from switch_tf.data.inputs import InputFile
from switch_tf.serving import parts
from switch_tf.serving.parts import cut


class Lines:
    """A table of one column of texts that comes so many rows at a time; texts that are "!" have an error."""

    def __init__(self, rows: dict[str, list[str | None]], at_a_time: int):
        self.schema = pa.schema([("text", pa.string())])
        self.texts, self.json = ["text"], frozenset[str]()
        self._rows, self._at_a_time = rows, at_a_time

    def batches(self, file: InputFile) -> Iterator[Batch]:
        rows = self._rows[file.path]
        for start in range(0, len(rows), self._at_a_time):
            some = rows[start : start + self._at_a_time]
            errors = ["wrong" if text == "!" else None for text in some]
            yield Batch(pa.record_batch([some], schema=self.schema), errors, (start + len(some)) / len(rows))


def cut_up(rows: dict[str, list[str | None]], at_a_time: int, rows_per_part: int) -> list[parts.Part]:
    files = [InputFile(name, 10) for name in rows]
    return list(cut(Lines(rows, at_a_time), files, "error", rows_per_part))


def test_parts_end_with_their_rows_or_their_file() -> None:
    found = cut_up({"a": ["1", "!", "3", None, "5"], "none": [], "b": ["6"]}, 4, 2)
    assert [part.number for part in found] == [0, 1, 2, 3]
    assert [(part.source, part.first, part.errors) for part in found] == [
        ("a", 1, 1),
        ("a", 3, 0),
        ("a", 5, 0),
        ("b", 1, 0),
    ]
    assert [part.rows["text"].to_pylist() for part in found] == [["1", "!"], ["3", None], ["5"], ["6"]]
    assert found[0].rows["error"].to_pylist() == [None, "wrong"]
    assert sum(part.share for part in found) == pytest.approx(2 / 3)  # of three files of a size, one without rows


def test_a_part_ends_with_the_text_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BYTES", 6)
    found = cut_up({"a": ["123", "1234", "öäü", "", None, "1", "1" * 20, "x"]}, 3, 100)
    assert [part.rows["text"].to_pylist() for part in found] == [
        ["123", "1234"],
        ["öäü"],
        ["", None, "1", "1" * 20],
        ["x"],
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"1234", None, b"", b"12", b"1", b"1"]),
        pa.array([{"bytes": b"12", "path": "34"}, None, {}, {"bytes": b"12"}, {"path": "1"}, {"path": "1"}]),
        pa.array([["12", "34"], None, [], ["1", None, "1"], ["1"], ["1"]]),
        pa.array(["1234", None, "", "12", "1", "1"]).dictionary_encode(),
        pa.array([[{"a": ["1", "23"], "b": "4"}], [None], None, [{"a": ["12"]}], [{"b": "1"}], [{"b": "1"}]]),
    ],
)
def test_what_stands_beside_the_texts_counts_too(column: pa.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, pages: a part is held in memory whole."""
    monkeypatch.setattr(parts, "BYTES", 6)
    rows = pa.record_batch([pa.array(range(6)), column], names=["text", "beside"])

    class Table:
        schema, texts, json = rows.schema, ["text"], frozenset[str]()

        def batches(self, file: InputFile) -> Iterator[Batch]:
            yield Batch(rows.slice(0, 3), [None] * 3, 0.5)
            yield Batch(rows.slice(3), [None] * 3, 1.0)

    found = list(cut(Table(), [InputFile("a", 10)], "error", 100))
    assert [part.rows["text"].to_pylist() for part in found] == [[0, 1, 2, 3], [4, 5]]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=40),
    at_a_time=st.integers(1, 50),
    rows_per_part=st.integers(1, 12),
)
def test_how_rows_are_handed_over_makes_no_difference(
    texts: list[str | None], at_a_time: int, rows_per_part: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "BYTES", 20)
        one, other = (cut_up({"a": texts}, size, rows_per_part) for size in (at_a_time, 3))
    assert [part.rows["text"].to_pylist() for part in one] == [part.rows["text"].to_pylist() for part in other]
    assert [text for part in one for text in part.rows["text"].to_pylist()] == texts
    assert all(0 < part.rows.num_rows <= rows_per_part for part in one)


def test_the_default_is_some_seconds_of_work() -> None:
    assert parts.ROWS == 32_768
