"""What a reject threshold does, as a person reads it."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

_FEWEST = 50  # answered texts that a precision can be told from


def rejection_table(rows: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Coverage and precision, a row for each split or file, from figures that have a `rejection`.

    Where texts fit no class, which share of them was rejected, and which share of the rejected they are.
    """
    figures = [(name, each["rejection"]) for name, each in rows]
    label, threshold = figures[0][1]["label"], figures[0][1]["threshold"]
    table = Table(title=f"Answered {label!r} below a probability of {threshold:.4f}", title_justify="left")
    outside = any("out_of_scope" in each for _, each in figures)
    columns = ["texts", "answered", "coverage", "precision"]
    columns += ["right,\nrejected too", "out of\nscope", "of these\nrejected", "of rejected\nout of scope"] * outside
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, each in figures:
        cells = [f"{each['n']:,}", f"{each['answered']:,}", _share(each["coverage"]), _share(each["precision"])]
        if "out_of_scope" in each:
            found = each["out_of_scope"]
            shares = (_share(found["recall"]), _share(found["precision"]))
            cells += [_share(each["accuracy"]), f"{found['n']:,}", *shares]
        table.add_row(name, *cells)
    return table


def rejection_remarks(validation: dict[str, Any]) -> list[str]:
    """What the choice of a threshold says in words, if it is not that all is well.

    Args:
        validation: what `measure_rejection` says of the texts that it was chosen on.
    """
    said = []
    if validation["threshold"] == 0.0:
        said.append(
            f"No text will be answered {validation['label']!r}: the validation texts are answered with a precision of "
            f"{validation['precision']:.4f} without that. Ask for a higher one to have texts rejected."
        )
    if validation["answered"] < _FEWEST:
        said.append(
            f"Warning: the threshold was chosen on {validation['answered']:,} answered validation texts, too few to "
            "promise a precision. More data, or a larger validation_share, would tell."
        )
    return said


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
