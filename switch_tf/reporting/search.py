"""A search for settings as a person reads it: its best trials, and what it changed."""

from typing import Any

from rich.console import Console
from rich.table import Table

from switch_tf.reporting.tables import print_table

_SHOWN = 5  # trials


def print_search(console: Console, record: dict[str, Any]) -> None:
    """The best trials of a search, and the settings of the first of them with what they were chosen for."""
    ended = [row for row in record["trials"] if "ended" not in row]
    early = len(record["trials"]) - len(ended)
    interrupted = ", then interrupted" if record["ended_by"] == "interruption" else ""
    tried = f"{len(record['trials'])} trials in {record['seconds']:.0f} s{interrupted}, {early} of them ended early"
    console.print(f"The best of {tried}:", highlight=False, soft_wrap=True)
    print_table(console, _table(_ranked(ended, record["by"]), record["max_size"] is not None))
    for line in chosen_lines(record):
        console.print(line, highlight=False, soft_wrap=True)


def _ranked(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """The best first; of equals the earlier one."""
    return sorted(rows, key=lambda row: row[by] if by == "log_loss" else -row[by])[:_SHOWN]


def _table(rows: list[dict[str, Any]], sized: bool) -> Table:
    table = Table()
    for column in ("trial", "log loss", "accuracy", "macro-F1", *["bytes"] * sized, "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        bytes_of = [f"{row['bytes']:,}" if "bytes" in row else ""] * sized
        figures = [f"{row[key]:.4f}" for key in ("log_loss", "accuracy", "macro_f1")]
        table.add_row(str(row["trial"]), *figures, *bytes_of, f"{row['seconds']:.0f}")
    return table


def chosen_lines(record: dict[str, Any]) -> list[str]:
    """What the search changed, a line for each setting, and a word on what its figures are worth."""
    best, first = record["trials"][record["best"]], record["trials"][0]
    texts = "the figures it was chosen by are those of the validation texts: expect a little less on others"
    if not best["settings"]:
        return ["No trial was better than the settings it began with: they stay."]
    why = f"trial {best['trial']}, {_difference(best, first, record['by'])}"
    lines = [f"  {key} = {value}: {why}" for key, value in sorted(best["settings"].items())]
    return [*lines, f"Of the search: {texts}."]


def _difference(best: dict[str, Any], first: dict[str, Any], by: str) -> str:
    name = {"log_loss": "log loss", "macro_f1": "macro-F1"}.get(by, by)
    if by not in first:
        return f"{name} {best[by]:.4f}; the first one did not fit"
    return f"{name} {best[by]:.4f} against {first[by]:.4f} at first"


def shown_value(row: dict[str, Any], by: str) -> str:
    """The figure that decides: "log loss 0.5312"."""
    return f"{by.replace('macro_f1', 'macro-F1').replace('_', ' ')} {row[by]:.4f}"


def trial_line(row: dict[str, Any], by: str) -> str:
    """A finished trial in a line of less than 80 characters."""
    begin = f"trial {row['trial']:>3}  "
    if "ended" in row:
        return f"{begin}{row['ended'][:55]}  {row['seconds']:.0f} s"
    line = f"{begin}{shown_value(row, by)}"
    line += "" if by == "accuracy" else f"  accuracy {row['accuracy']:.4f}"
    line += f"  {row['bytes']:,} bytes" if "bytes" in row else ""
    remark = "  the start" if not row["settings"] else "  best so far" if row.get("improved") else ""
    return f"{line}  {row['seconds']:.0f} s{remark}"
