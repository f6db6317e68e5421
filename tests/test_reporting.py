"""What a person reads about a run must be the run's figures, whatever names its labels have."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from switch_tf.config import Config, ModelConfig
from switch_tf.reporting.summary import write_summary
from switch_tf.reporting.tables import label_tables, metrics_table, parity_table, print_table
from switch_tf.runs.folder import Run
from switch_tf.text.spec import TextSpec

FIGURES: dict[str, Any] = {
    "n": 12345,
    "accuracy": 0.87654,
    "macro_f1": 0.5,
    "log_loss": 0.123449,
    "confusions": [],
    "per_label": {
        "a|b": {"precision": 0.25, "recall": 1.0, "f1": 0.4, "support": 2000},
        "[red]c\\|d": {"precision": 0.75, "recall": 0.0, "f1": 0.0, "support": 1},
    },
}
TRAINING = {"epochs": 5, "best_epoch": 3, "seconds": 61.4, "tokens_per_second": 54321, "parameters": 1234567}


def printed(table: Table) -> list[list[str]]:
    """Cells of the rows of a table as they stand on a terminal that is wide enough."""
    console = Console(width=300, markup=False, emoji=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = capture.get().splitlines()
    return [[cell.strip() for cell in line.strip("│┃").split("│")] for line in lines if line.startswith("│")]


def summary(tmp_path: Path, metrics: dict[str, Any], **model: Any) -> list[str]:
    config = Config(TextSpec(sequence_length=12), ModelConfig(**model))
    data = {"data": "made.tsv", "training_examples": 9876}
    write_summary(Run(tmp_path, config, ["a|b", "[red]c\\|d"], ["x"] * 7, data), metrics)
    return (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()


def test_summary_holds_the_figures_of_the_last_split(tmp_path: Path) -> None:
    other = FIGURES | {"n": 10, "accuracy": 0.25, "per_label": {}}
    lines = summary(tmp_path, {"validation": other, "test": FIGURES, "training": TRAINING}, num_experts=8, d_model=16)
    assert lines[0] == "# made.tsv: 2 labels"
    assert "1 block(s) of width 16, 8 experts, 7 words, 12 tokens a text, 1,234,567 parameters." in lines[2]
    assert lines[4] == ("Trained on 9,876 texts in 61 s (54,321 tokens/s); epoch 3 of 5 was best on validation.")
    assert "| validation | 10 | 0.2500 | 0.5000 | 0.1234 |" in lines
    assert "| test | 12,345 | 0.8765 | 0.5000 | 0.1234 |" in lines
    assert "| a\\|b | 2,000 | 0.2500 | 1.0000 | 0.4000 |" in lines


def test_summary_escapes_what_would_end_a_cell(tmp_path: Path) -> None:
    lines = summary(tmp_path, {"validation": FIGURES, "training": TRAINING})
    assert "| [red]c\\\\\\|d | 1 | 0.7500 | 0.0000 | 0.0000 |" in lines
    assert not any(line.startswith("| test") for line in lines)


def test_summary_names_the_dense_twin(tmp_path: Path) -> None:
    assert (
        "no experts (dense twin)" in summary(tmp_path, {"validation": FIGURES, "training": TRAINING}, num_experts=0)[2]
    )


def test_tables_hold_the_figures_and_the_names_as_they_are() -> None:
    rows = [("[b]one[/b]", FIGURES), ("two", FIGURES | {"calibration_error": 0.0625})]
    assert printed(metrics_table("", rows)) == [
        ["[b]one[/b]", "12,345", "0.8765", "0.5000", "0.1234", ""],
        ["two", "12,345", "0.8765", "0.5000", "0.1234", "0.0625"],
    ]
    (table,) = label_tables(FIGURES)
    assert printed(table) == [
        ["a|b", "0.2500", "1.0000", "0.4000", "2,000"],
        ["[red]c\\|d", "0.7500", "0.0000", "0.0000", "1"],
    ]


@pytest.mark.parametrize(("ok", "sign"), [(True, "✓"), (False, "✗")])
def test_parity_table_shows_the_verdict(ok: bool, sign: str) -> None:
    compared = {"path": "x/a.onnx", "size": 4321, "texts": 1024, "ids_equal": 1023, "max_abs_diff": 2.34e-7}
    compared |= {"labels_equal": 1022, "routing_ties": 3, "batch_invariance": 0.0, "ok": ok, "accuracy": None}
    compared |= {"words": 9998, "words_equal": 9997, "arrays": 36, "mean_abs_diff": None, "seconds": 7.25}
    rows = printed(parity_table([SimpleNamespace(**compared)]))
    assert rows == [
        ["bytes", "4,321"],
        ["texts", "1,024"],
        ["ids equal", "1,023"],
        ["words equal", "9,997 of 9,998"],
        ["arrays read back", "36"],
        ["max |dp|", "2.3e-07"],
        ["labels equal", "1,022"],
        ["routing ties", "3"],
        ["batch invariance", "0.0e+00"],
        ["seconds", "7.2"],
        ["", sign],
    ]


def test_parity_table_fits_a_terminal_and_shows_accuracies_of_those_that_have_one() -> None:
    base: dict[str, Any] = {
        "size": 1,
        "texts": 1,
        "ids_equal": 1,
        "max_abs_diff": 0.0,
        "labels_equal": 1,
        "routing_ties": 0,
    }
    base |= {"batch_invariance": 0.0, "ok": True, "accuracy": None, "accuracy_of_trained_model": None, "max_loss": None}
    base |= {"words": 0, "words_equal": 0, "arrays": 23, "seconds": 1.0, "mean_abs_diff": None, "labels_changed": None}
    measured = base | {"accuracy": 0.77123, "accuracy_of_trained_model": 0.7722, "max_loss": 0.01}
    measured |= {"mean_abs_diff": 0.0026, "labels_changed": 0.0022}
    rows = [("runs/a/export/saved_model/12", base), ("runs/a/export/model.onnx", base), ("b/model.onnx", measured)]
    table = parity_table([SimpleNamespace(path=path, **figures) for path, figures in rows])
    assert [column.header for column in table.columns][1:] == [
        "export/saved_model/12",
        "export/model.onnx",
        "b/model.onnx",
    ]
    assert printed(table)[-7:-2] == [
        ["accuracy", "", "", "0.7712"],
        ["trained model's", "", "", "0.7722"],
        ["least allowed", "", "", "0.7622"],
        ["mean |dp|", "", "", "2.6e-03"],
        ["labels changed", "", "", "0.22%"],
    ]
    assert table.__rich_measure__(Console(width=80), Console(width=80).options).minimum <= 80


def figures_of(supports: list[int]) -> dict[str, Any]:
    """Figures of as many labels, label-00 and so on, whose F1 is their number / 100."""
    per_label = {
        f"label-{i:02}": {"precision": 1.0, "recall": 0.5, "f1": i / 100, "support": support}
        for i, support in enumerate(supports)
    }
    confused = [{"expected": "label-03", "answered": "label-04", "count": 2}]
    return FIGURES | {"per_label": per_label, "confusions": confused}


def test_twenty_labels_are_shown_in_full() -> None:
    (table,) = label_tables(figures_of([8] * 20))
    assert [row[0] for row in printed(table)] == [f"label-{i:02}" for i in range(20)]


def test_of_more_labels_the_worst_that_occur_and_the_confusions_are_shown() -> None:
    worst, confused = label_tables(figures_of([8, 0, *[8] * 19]))
    assert worst.title == "The 10 labels of the lowest F1, of 21"
    assert [row[0] for row in printed(worst)] == ["label-00", *(f"label-{i:02}" for i in range(2, 11))]
    assert printed(worst)[1] == ["label-02", "1.0000", "0.5000", "0.0200", "8"]
    assert printed(confused) == [["label-03", "label-04", "2", "25.0%"]]


def test_a_table_of_no_confusions_is_left_out() -> None:
    assert len(label_tables(figures_of([8] * 21) | {"confusions": []})) == 1


LONG = "a_label_of_" + "many_" * 30 + "words"


def test_no_name_is_cut_in_a_pipe() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, markup=False, emoji=False)
    figures = figures_of([8] * 21)
    figures["per_label"][LONG] = figures["per_label"].pop("label-00")
    figures["confusions"][0] |= {"expected": LONG, "answered": LONG}
    for table in (metrics_table("", [(LONG, FIGURES)]), *label_tables(figures)):
        print_table(console, table)
    assert written.getvalue().count(LONG) == 4 and "…" not in written.getvalue()


def test_tables_fit_a_terminal_of_80_columns_and_fold_names() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, markup=False, emoji=False, force_terminal=True, color_system=None)
    figures = figures_of([8] * 21)
    figures["per_label"][LONG] = figures["per_label"].pop("label-00")
    for table in (metrics_table("", [(LONG, FIGURES)]), *label_tables(figures)):
        print_table(console, table)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    folded = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
    assert folded.count(LONG) == 2 and "0.8765" in written.getvalue()
