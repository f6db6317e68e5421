"""A student beside its teacher, as a person reads it on a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from switch_tf.reporting.tables import print_table

_NAMES = {
    "teacher": "the teacher",
    "student": "the student",
    "student_alone": "the same student without a teacher",
}


def print_distillation(console: Console, report: dict[str, Any]) -> None:
    """Figures and sizes, and what is kept of the teacher's gain.

    Args:
        report: of `switch_tf.training.distilling.distill`.
    """
    title = f"On the same {report['student']['n']:,} {report['split']} texts"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("accuracy", "macro-F1", "log loss", "parameters", "bytes of\nweights"):
        table.add_column(column, justify="right", no_wrap=True)
    for key, name in _NAMES.items():
        if key not in report:
            continue
        each = report[key]
        figures = [f"{each[figure]:.4f}" for figure in ("accuracy", "macro_f1", "log_loss")]
        table.add_row(name, *figures, f"{each['parameters']:,}", f"{each['bytes']:,}")
    print_table(console, table)
    if "gain_kept" in report:
        console.print(_gain(report), highlight=False, soft_wrap=True)


def _gain(report: dict[str, Any]) -> str:
    kept = report["gain_kept"]
    if kept is None:
        return "The teacher is no better than the student alone: there is no gain to keep."
    gain = report["teacher"]["accuracy"] - report["student_alone"]["accuracy"]
    return f"The teacher is {100 * gain:.2f} points better than the student alone, who keeps {kept:.0%} of that by it."
