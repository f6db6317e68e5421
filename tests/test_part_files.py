"""Tables of answers as files: every value comes back from each format, and the same table gives the same bytes."""

import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from switch_tf.data.rows import Wanted
from switch_tf.data.tables import read_rows
from switch_tf.serving.part_files import FORMATS, encode

TABLE = pa.table(
    {
        "text": pa.array(['say "a, b"\r\nc', ""]).dictionary_encode(),
        "n": pa.array([1, None], pa.int8()),
        "x": [float("nan"), 1.5],
        "score": pa.array([0.1, None], pa.float32()),
        "yes": [True, None],
        "when": pa.array([datetime.date(2024, 5, 1), None]),
        "price": [Decimal("1.10"), None],
        "tags": [["ä"], None],
        "any": ['{"k": [1]}', '"1"'],
        "none": pa.nulls(2),
    }
)


def rows_of(content: bytes, format: str, tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / f"a.{format}"
    path.write_bytes(content)
    return [dict(row.cells or {}) for row in read_rows(path, Wanted(keep=True))]


def test_parquet_is_the_table() -> None:
    found = pq.read_table(io.BytesIO(encode(TABLE, "parquet", frozenset({"any"}))))
    assert found.drop_columns("x").equals(TABLE.drop_columns("x"))


def test_jsonl_has_what_json_can_hold() -> None:
    lines = encode(TABLE, "jsonl", frozenset({"any"})).decode().split("\n")
    assert lines[0] == (
        '{"text": "say \\"a, b\\"\\r\\nc", "n": 1, "x": null, "score": 0.1, "yes": true, "when": "2024-05-01", '
        '"price": "1.10", "tags": ["ä"], "any": {"k": [1]}, "none": null}'
    )
    assert json.loads(lines[1]) == {**dict.fromkeys(TABLE.schema.names), "text": "", "x": 1.5, "any": "1"}
    assert lines[2:] == [""]


def test_csv_has_words_for_all(tmp_path: Path) -> None:
    first, second = rows_of(encode(TABLE, "csv", frozenset({"any"})), "csv", tmp_path)
    assert first == {
        "text": 'say "a, b"\r\nc',
        "n": "1",
        "x": "nan",
        "score": "0.1",
        "yes": "true",
        "when": "2024-05-01",
        "price": "1.10",
        "tags": '["ä"]',
        "any": '{"k": [1]}',
        "none": "",
    }
    assert second["text"] == second["n"] == second["score"] == "" and second["x"] == "1.5"


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_table_gives_the_same_bytes(format: str) -> None:
    pieces = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert encode(TABLE, format, frozenset()) == encode(TABLE, format, frozenset())
    if format != "parquet":
        assert encode(pieces, format, frozenset()) == encode(TABLE, format, frozenset())


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_what_is_not_utf_8_is_replaced(format: str, tmp_path: Path) -> None:
    damaged = pa.table({"text": pa.array([b"a\xff", None]).view(pa.string())})
    assert rows_of(encode(damaged, format, frozenset()), format, tmp_path)[0] == {"text": "a\ufffd"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5),
    format=st.sampled_from(["csv", "jsonl"]),
)
@example(texts=["\r", "a\rb", "\n", '"', ",", "\ufeff", "\0"], format="csv")
def test_any_text_comes_back(texts: list[str], format: str, tmp_path: Path) -> None:
    content = encode(pa.table({"text": texts, "n": [1] * len(texts)}), format, frozenset())
    assert [row["text"] for row in rows_of(content, format, tmp_path)] == texts
