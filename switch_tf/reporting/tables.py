"""Figures as a person reads them on a terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

MANY_LABELS = 20  # from here on a table of all of them tells less than one of the worst
_WORST, _CONFUSIONS = 10, 10
_UNLIMITED = 100_000  # characters: wider than any table


def print_table(console: Console, table: Table) -> None:
    """A table in full: on a terminal in its width, elsewhere as wide as it needs, so that no name is cut."""
    if console.is_terminal:
        console.print(table)
        return
    needed = Measurement.get(console, console.options.update(width=_UNLIMITED), table).maximum
    wide = Console(file=console.file, width=needed, markup=False, emoji=False, quiet=console.quiet)
    wide.print(table)


def metrics_table(title: str, rows: Sequence[tuple[str, dict[str, Any]]], texts: bool = True) -> Table:
    """Accuracy, macro-F1, log loss and calibration error, a row for each model or split; `texts` says of how many."""
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for column in (*["texts"] * texts, "accuracy", "macro-F1", "log loss", "calibration\nerror"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, figures in rows:
        keys = ("accuracy", "macro_f1", "log_loss", "calibration_error")  # the last one unknown to runs of before
        numbers = [_figure(figures.get(key)) for key in keys]
        table.add_row(name, *[f"{figures['n']:,}"] * texts, *numbers)
    return table


def parity_table(comparisons: Sequence[Any]) -> Table:
    """Artifacts beside the trained model, a column for each `switch_tf.export.proof.parity.Comparison`.

    Accuracies are shown where one was measured, which is of quantized artifacts alone.
    """
    table = Table()
    table.add_column("Compared with the trained model")
    paths = [Path(each.path) for each in comparisons]
    for name, path, each in zip(_short_names(paths), paths, comparisons, strict=True):
        several = paths.count(path) > 1
        table.add_column(f"{name}, {each.door}" if several else name, justify="right", overflow="fold")

    def add(name: str, shown: Callable[[Any], str]) -> None:
        table.add_row(name, *(shown(each) for each in comparisons))

    add("bytes", lambda each: f"{each.size:,}")
    add("texts", lambda each: f"{each.texts:,}")
    add("ids equal", lambda each: f"{each.ids_equal:,}")
    add("words equal", lambda each: f"{each.words_equal:,} of {each.words:,}" if each.words else "")
    add("arrays read back", lambda each: f"{each.arrays:,}")
    add("max |dp|", lambda each: f"{each.max_abs_diff:.1e}")
    add("labels equal", lambda each: f"{each.labels_equal:,}")
    add("routing ties", lambda each: f"{each.routing_ties:,}")
    add("batch invariance", lambda each: f"{each.batch_invariance:.1e}")
    if any(each.accuracy is not None for each in comparisons):
        add("accuracy", lambda each: _figure(each.accuracy))
        add("trained model's", lambda each: _figure(each.accuracy_of_trained_model))
        add("least allowed", lambda each: _figure(_least_accuracy(each)))
    if any(each.mean_abs_diff is not None for each in comparisons):
        add("mean |dp|", lambda each: "" if each.mean_abs_diff is None else f"{each.mean_abs_diff:.1e}")
        add("labels changed", lambda each: "" if each.labels_changed is None else f"{each.labels_changed:.2%}")
    add("seconds", lambda each: f"{each.seconds:.1f}")
    table.add_row("", *(_Mark(each.ok) for each in comparisons))
    return table


class _Mark:
    """A tick or a cross, and a word on a terminal that cannot show them."""

    def __init__(self, ok: bool):
        self.signs = ("✓", "ok") if ok else ("✗", "failed")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.signs[options.ascii_only], justify="right")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = len(self.signs[options.ascii_only])
        return Measurement(width, width)


def _least_accuracy(comparison: Any) -> float | None:
    if comparison.accuracy_of_trained_model is None or comparison.max_loss is None:
        return None
    return comparison.accuracy_of_trained_model - comparison.max_loss


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The ends of paths, as long as it takes to tell them apart; a version number takes its folder with it."""
    names = [path.name for path in paths]
    for length in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = [str(Path(*path.parts[-(length + path.name.isdigit()) :])) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def label_tables(figures: dict[str, Any]) -> list[Table]:
    """Precision, recall and F1 of each label; of many labels the worst ones, and what is most often taken for what."""
    each, count = figures["per_label"], len(figures["per_label"])
    if not each:  # no text has a class
        return []
    if count <= MANY_LABELS:
        return [_label_table("", each)]
    occurring = [(label, row) for label, row in each.items() if row["support"]]
    worst = dict(sorted(occurring, key=lambda item: item[1]["f1"])[:_WORST])
    tables = [_label_table(f"The {len(worst)} labels of the lowest F1, of {count}", worst)]
    if figures["confusions"]:
        tables.append(_confusion_table(figures))
    return tables


def _label_table(title: str, labels: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title or None, title_justify="left")
    table.add_column("label", overflow="fold")
    for column in ("precision", "recall", "F1", "texts"):
        table.add_column(column, justify="right", no_wrap=True)
    for label, each in labels.items():
        table.add_row(label, *(f"{each[key]:.4f}" for key in ("precision", "recall", "f1")), f"{each['support']:,}")
    return table


def _confusion_table(figures: dict[str, Any]) -> Table:
    """The most frequent confusions, each with its share of the texts of the expected label."""
    table = Table(title="The most frequent confusions", title_justify="left")
    table.add_column("label", overflow="fold")
    table.add_column("answered", overflow="fold")
    table.add_column("texts", justify="right", no_wrap=True)
    table.add_column("of its texts", justify="right", no_wrap=True)
    for each in figures["confusions"][:_CONFUSIONS]:
        share = each["count"] / figures["per_label"][each["expected"]]["support"]
        table.add_row(each["expected"], each["answered"], f"{each['count']:,}", f"{share:.1%}")
    return table
