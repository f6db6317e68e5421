"""Files of rows as Arrow: every column and row comes back, in order, and what cannot be used is told."""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switch_tf.data import arrow_tables
from switch_tf.data.arrow_tables import ArrowTables, open_tables
from switch_tf.data.inputs import find_inputs
from switch_tf.data.rows import Wanted
from switch_tf.errors import ArgumentError, DataError


def opened(pattern: Path, **wanted: Any) -> tuple[ArrowTables, list[dict[str, Any]], list[str | None]]:
    """The table of files, all its rows, and what is wrong with each."""
    files = find_inputs(str(pattern))
    tables = open_tables(files, Wanted(**wanted))
    batches = [batch for file in files for batch in tables.batches(file)]
    assert all(batch.rows.schema.equals(tables.schema) for batch in batches)
    assert batches[-1].share_read == 1.0
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    errors = [error for batch in batches for error in batch.errors]
    assert len(rows) == len(errors)
    return tables, rows, errors


def test_parquet_keeps_its_types_and_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_tables, "_ROWS", 7)
    table = pa.table(
        {
            "n": pa.array(range(20), pa.int8()),
            "text": pa.array([None, "b", *"cdefghijklmnopqrst"]).dictionary_encode(),
            "when": pa.array([datetime.datetime(2024, 5, 1)] * 20, pa.timestamp("ns", "UTC")),
            "tags": [["x"], None] * 10,
        }
    )
    pq.write_table(table.slice(0, 12), tmp_path / "a.parquet", row_group_size=5)
    pq.write_table(table.slice(12).select(["when", "tags", "text", "n"]), tmp_path / "b.parquet")
    files = find_inputs(str(tmp_path))
    tables = open_tables(files, Wanted())
    found = pa.Table.from_batches([batch.rows for file in files for batch in tables.batches(file)])
    assert found.cast(table.schema).equals(table)
    assert found.schema.remove_metadata().equals(table.schema.remove_metadata())
    assert (tables.texts, tables.json) == (["text"], frozenset())


def test_types_of_parquet_files_are_joined_where_they_can_be(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": pa.nulls(1), "n": pa.array([2**40])}), tmp_path / "b.parquet")
    _, rows, errors = opened(tmp_path)
    assert rows == [{"text": "a", "n": 1}, {"text": None, "n": 2**40}]
    assert errors == [None, None]
    pq.write_table(pa.table({"text": ["c"], "n": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="types that do not agree"):
        opened(tmp_path)


def test_a_value_that_the_joined_type_cannot_hold_is_told(tmp_path: Path) -> None:
    """Identifiers that pandas wrote as float64 in one file, where some are missing."""
    pq.write_table(pa.table({"text": ["a", "b"], "id": [1.0, None]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["c"], "id": [1234567890123456789]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet, column 'id': int64 becomes double beside .*with one type"):
        opened(tmp_path)


def test_parquet_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"a.parquet has the column 'n', which .*b.parquet lacks"):
        opened(tmp_path)


def test_every_column_of_texts_is_looked_at_and_the_first_that_is_wrong_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_tables, "ROW_LIMIT", 3)
    pq.write_table(pa.table({"a": ["abc", "abcd", "x"], "b": ["abcd", "abcd", "x"]}), tmp_path / "a.parquet")
    _, _, errors = opened(tmp_path, text="a,b")
    assert [error[:10] if error else None for error in errors] == ["Column 'b'", "Column 'a'", None]


def test_strings_that_are_not_utf_8_are_told_beside_their_row(tmp_path: Path) -> None:
    damaged = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    pq.write_table(pa.table({"text": damaged}), tmp_path / "a.parquet")
    files = find_inputs(str(tmp_path))
    (batch,) = open_tables(files, Wanted()).batches(files[0])
    assert [bool(error) for error in batch.errors] == [False, True, False]
    assert str(batch.errors[1]).startswith("Column 'text': a string is not UTF-8")


def test_texts_that_are_too_long_are_told_beside_their_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_tables, "ROW_LIMIT", 3)
    pq.write_table(pa.table({"text": ["abc", "abcd", None]}), tmp_path / "a.parquet")
    _, _, errors = opened(tmp_path)
    assert [error[:11] if error else None for error in errors] == [None, "Column 'tex", None]


def test_csv_is_strings_and_a_broken_row_stays_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text,id\n007,"one, two",x\n8\n9,caf\xe9,y\n10,,z\n')
    (tmp_path / "b.csv").write_text("id,id.2,text\n11,q,three\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text("id,text,id\n", encoding="utf-8")
    tables, rows, errors = opened(tmp_path)
    assert tables.schema.names == ["id", "text", "id.2"]
    assert [row["id"] for row in rows] == ["007", None, "9", "10", "11"]
    assert [row["text"] for row in rows if row["text"]] == ["one, two", "caf\ufffd", "three"]
    assert [bool(error) for error in errors] == [False, True, True, False, False]
    assert "Expected 3 fields" in str(errors[1]) and "0xe9 is not UTF-8" in str(errors[2])


def test_columns_of_json_are_what_all_their_values_are(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "n": 1, "x": 1, "big": 2**60, "mixed": 1, "yes": True},
        {"text": None, "n": None, "x": 2.5, "big": 1.5, "mixed": "1", "late": {"k": [1]}},
        {"text": 5, "huge": 2**70},
    ]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "b.json").write_text(json.dumps([{"text": "d", "n": 4}]))
    tables, found, errors = opened(tmp_path)
    kinds = {name: str(kind) for name, kind in zip(tables.schema.names, tables.schema.types, strict=True)}
    strings = dict.fromkeys(["text", "big", "mixed", "late", "huge"], "string")
    assert kinds == {**strings, "n": "int64", "x": "double", "yes": "bool"}
    assert tables.json == {"big", "mixed", "late", "huge"}
    assert [row["text"] for row in found] == ["a", None, "5", "d"]
    assert [row["mixed"] for row in found] == ["1", '"1"', None, None]
    assert (found[0]["big"], found[1]["late"], found[2]["huge"]) == (str(2**60), '{"k": [1]}', str(2**70))
    assert [bool(error) for error in errors] == [False, False, True, False]


def test_half_a_surrogate_pair_is_replaced_where_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "other": "x\\ud800"}\n{"text": "\\ud800"}\n')
    _, rows, errors = opened(tmp_path)
    assert (rows[0]["other"], rows[1]["text"]) == ("x?", "?")
    assert errors[0] is None and "half of a surrogate pair" in str(errors[1])


def test_rows_that_are_broken_hide_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\nbroken\nbroken\none,1\n")
    tables, rows, errors = opened(tmp_path)
    assert tables.schema.names == ["text", "n"]
    assert (rows[2], [bool(error) for error in errors]) == ({"text": "one", "n": "1"}, [True, True, False])


def test_whole_numbers_of_any_size_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b", "id": 1234567890123456789}\n')
    tables, rows, _ = opened(tmp_path)
    assert [row["id"] for row in rows] == [1, 1234567890123456789] and tables.json == frozenset()
    assert tables.schema.field("id").type == pa.int64()


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "one\n\ntwo\n"), ("a", "one\n\ntwo"), ("a.tsv", "text\none\n\ntwo")]
)
def test_lines_of_text(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    tables, rows, _ = opened(tmp_path / name)
    assert (tables.texts, [row["text"] for row in rows]) == (["text"], ["one", "", "two"])


def test_long_cells_beside_the_texts_make_batches_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_tables, "_BYTES", 10)
    (tmp_path / "a.csv").write_text("text,page\na,1234\nb,1234\nc,1234\nd,1\n")
    files = find_inputs(str(tmp_path))
    found = [batch.rows["text"].to_pylist() for batch in open_tables(files, Wanted()).batches(files[0])]
    assert found == [["a", "b", "c"], ["d"]]


def test_labels_of_fasttext_are_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("__label__x a film\n__label__y another\n")
    _, rows, _ = opened(tmp_path / "a.txt")
    assert rows == [{"text": "a film", "label": "x"}, {"text": "another", "label": "y"}]


def test_several_text_columns_and_none_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\na,b\n")
    assert opened(tmp_path / "a.csv", text="1,2")[0].texts == ["1", "2"]
    assert opened(tmp_path / "a.csv", text="2", no_header=True)[1] == [{"1": "1", "2": "2"}, {"1": "a", "2": "b"}]
    (tmp_path / "b.csv").write_text("x,one film\nx,another film\n")
    with pytest.raises(DataError, match=r"no header, and 2 columns. Name the one of the texts by its number") as error:
        opened(tmp_path / "b.csv", no_header=True)
    assert error.value.argument == "text_column"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": "id\n1\n"}, r"there is no column 'text'. The columns are: 'id'"),
        ({"a.jsonl": '{"id": 1}\n'}, r"line 1: there is no column 'text'"),
        ({"a.csv": ""}, r"a.csv is empty"),
        ({"a.csv": "text\n"}, r"has no rows of data"),
        ({"a.jsonl": "\n"}, r"has no rows of data"),
        ({"a.csv": "text,n\na,1\n", "b.csv": "text\nb\n"}, r"a.csv has the column 'n', which .*b.csv lacks"),
        ({"a.csv": "text\na\n", "b.csv": "text,n\nb,1\n"}, r"b.csv has the column 'n', which .*a.csv lacks"),
        ({"a.csv": "text\na\n", "b.jsonl": '{"text": "b"}\n'}, r"Expected files of one format"),
        ({"a.csv": "text\na\n", "b.pdf": "x"}, r"b.pdf has no known extension"),
        ({"a.parquet": "text\na\n"}, r"damaged or not parquet"),
        ({"a.csv": "\x1f\x8b\x08\x00text\n"}, r"holds gzip|other"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        open_tables(find_inputs(str(tmp_path)), Wanted())


@pytest.mark.parametrize("values", [[1], [1.5], [True], [b"x"], [["x"]]])
def test_a_column_of_parquet_that_holds_no_strings_is_refused(values: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'text': expected strings, received .*Name another column") as error:
        open_tables(find_inputs(str(tmp_path)), Wanted())
    assert error.value.argument == "text_column"


def test_parquet_without_rows_or_with_two_columns_of_a_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no rows of data"):
        open_tables(find_inputs(str(tmp_path)), Wanted())
    pq.write_table(pa.table([["x"], ["a"], [1]], names=["n", "text", "n"]), tmp_path / "a.parquet")
    assert opened(tmp_path)[1] == [{"n": "x", "text": "a", "n.2": 1}]
    pq.write_table(pa.table([["x"], ["a"]], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="stands there more than once"):
        opened(tmp_path)
    with pytest.raises(ArgumentError, match="no_header needs a table"):
        opened(tmp_path, text="n", no_header=True)
