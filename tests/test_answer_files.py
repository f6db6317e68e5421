"""Answers beside their rows: every column comes back, bad rows stay in place, and the file is whole or not there."""

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_sniffing import workbook

from switch_tf.data.answers import answers_file, check_answers_path, free_names
from switch_tf.data.streams import open_lines
from switch_tf.errors import ArgumentError, RunError

LATE = (".json", ".jsonl", ".xlsx")


def answered(source: Path, output: Path) -> list[dict[str, Any]]:
    """The rows of the file in which each text of `source` is answered by its length."""
    with answers_file(output, source.suffix in LATE) as file:
        for line in open_lines(str(source), keep=True):
            error = {"line": line.number, "error": line.error}
            file.write(line, error if line.error else {"label": "long", "score": float(len(line.text))})
    if output.suffix == ".csv":
        with output.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    if output.suffix == ".jsonl":
        return [json.loads(line) for line in output.read_text("utf-8").split("\n")[:-1]]
    return pq.read_table(output).to_pylist()


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_every_column_and_every_row_comes_back(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text('id,text,id\n7,"one, two",x\n8\n9,,y\n', encoding="utf-8")
    rows = answered(source, tmp_path / f"out{kind}")
    assert [(row["id"], row["text"], row["id.2"]) for row in rows if row["id"]] == [
        ("7", "one, two", "x"),
        ("9", "", "y"),
    ]
    assert [row["label"] or None for row in rows] == ["long", None, "long"]
    assert [str(row["score"]) for row in rows] == ["8.0", "" if kind == ".csv" else "None", "0.0"]
    assert "expected 3 fields" in rows[1]["error"].lower() and not rows[0]["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", f"out{kind}"]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    when = pa.array([datetime.datetime(2024, 5, 1, 12), None], pa.timestamp("ns"))
    table = pa.table({"text": ["a", "bc"], "when": when, "tags": [["x"], []], "n": pa.array([1, None], pa.int8())})
    pq.write_table(table, tmp_path / "a.parquet")
    answered(tmp_path / "a.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["text", "when", "tags", "n"]).equals(table)
    assert found.schema.field("score").type == pa.float32()
    rows = answered(tmp_path / "a.parquet", tmp_path / "out.jsonl")
    assert (rows[0]["tags"], rows[1]["n"], rows[0]["when"][:10]) == (["x"], None, "2024-05-01")


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_columns_of_json_that_come_late_are_kept(kind: str, tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b", "n": 1}, {"text": "c", "n": 2.5, "tags": {"k": [1]}}, {"text": 5}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = answered(tmp_path / "a.json", tmp_path / f"out{kind}")
    assert [row["text"] for row in found] == ["a", "b", "c", "5" if kind != ".jsonl" else 5]
    assert [float(row["n"] or 0) for row in found] == [0.0, 1.0, 2.5, 0.0]
    assert found[2]["tags"] == ({"k": [1]} if kind == ".jsonl" else '{"k": [1]}')
    assert found[3]["error"].startswith("Column 'text': expected a string")


def test_workbooks_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(workbook([["text", "n"], ["a", 1], ["b", "x"]]))
    assert [row["n"] for row in answered(tmp_path / "a.xlsx", tmp_path / "out.parquet")] == ["1", "x"]


def test_names_that_are_taken_are_not_overwritten() -> None:
    assert free_names({"label": 1, "predicted_score": 1}, ["label", "score"])[0] == "predicted_predicted_label"


def test_nothing_is_left_where_it_fails_and_what_stood_there_stands(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("before")
    with pytest.raises(KeyboardInterrupt), answers_file(output, False) as file:
        file.write(next(iter(open_lines(str(write(tmp_path)), keep=True))), {"label": "x", "score": 1.0})
        raise KeyboardInterrupt
    assert output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "out.csv"]
    with pytest.raises(RunError, match="cannot be written"), answers_file(tmp_path / "none" / "out.csv", False):
        pass
    with pytest.raises(ArgumentError, match=r"Expected a name in \.csv, \.jsonl, \.parquet"):
        check_answers_path(Path("out.xlsx"))


def write(folder: Path) -> Path:
    (folder / "a.txt").write_text("one\n")
    return folder / "a.txt"


def test_a_file_may_be_replaced_by_its_own_answers(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("text\n" + "word\n" * 3000)
    assert len(answered(source, source)) == 3000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5),
    kind=st.sampled_from([".csv", ".jsonl", ".parquet"]),
)
@example(texts=["\r"], kind=".csv")
@example(texts=["a\rb", "\n", '"', ","], kind=".csv")
def test_any_text_comes_back(texts: list[str], kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert [row["text"] for row in answered(tmp_path / "a.jsonl", tmp_path / f"out{kind}")] == texts
