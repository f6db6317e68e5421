"""The tool that measures pruning and distillation: halves of a set, and tables of what came out."""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows, write_tsv

from switch_tf.data.examples import read_examples
from switch_tf.data.streams import open_lines

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from smaller import PRUNED, STUDENTS, distillation_table, halves, kept_of_gain, pruning_table


def test_halves_share_no_text_and_lose_none(tmp_path: Path) -> None:
    rows = made_up_rows(21, seed=0)
    labelled, unlabelled = halves(write_tsv(tmp_path / "train.tsv", rows), tmp_path, seed=1)
    known = read_examples(labelled)
    pairs = list(zip(known.texts.to_pylist(), known.labels.to_pylist(), strict=True))
    texts = [line.text for line in open_lines(str(unlabelled))]
    assert len(pairs) == 11 and set(pairs) <= set(rows)
    assert sorted([text for text, _ in pairs] + texts) == sorted(text for text, _ in rows)


@pytest.mark.parametrize(
    ("teacher", "alone", "student", "expected"),
    [(0.9, 0.8, 0.875, "75%"), (0.9, 0.8, 0.75, "-50%"), (0.8, 0.8, 0.9, "no gain"), (0.7, 0.8, 0.9, "no gain")],
)
def test_what_is_kept_of_a_gain(teacher: float, alone: float, student: float, expected: str) -> None:
    figures = {"teacher": [teacher], "student_alone": [alone], "student": [student]}
    assert kept_of_gain(figures, "student") == expected


def test_tables_have_a_row_for_each_way_that_was_measured() -> None:
    step = {"accuracy": 0.5, "dropped_share": 0.25, "bytes": 1000}
    pruned = {"before": step, "pruned": step | {"accuracy": 0.25, "bytes": 500}}
    model = {"accuracy": 0.5, "bytes": 1000}
    taught = {"teacher": model, "student_alone": model, "student": model, "student_of_more": model}
    first: dict[str, Any] = {f"pruned, {next(iter(PRUNED))}": pruned, f"student, {next(iter(STUDENTS))}": taught}
    table = pruning_table({"made/0": first, "made/1": first}).splitlines()
    assert table[2:] == [f"| made | {next(iter(PRUNED))} | 2 | 0.500 | 0.250 |  | 25.0% | 1,000 | 500 |"]
    table = distillation_table({"made/0": first}).splitlines()
    assert len(table) == 3 and table[2].endswith(
        "| 1 | 1,000, 1,000 | 0.500 | 0.500 | 0.500 | 0.500 | no gain | no gain |"
    )
    assert all(line.count("|") == table[0].count("|") for line in table)
