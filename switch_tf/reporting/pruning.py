"""What pruning a run has changed, as a person reads it on a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from switch_tf.reporting.tables import print_table

_STEPS = {"before": "before", "pruned": "pruned", "fine_tuned": "after learning on"}


def print_pruning(console: Console, report: dict[str, Any]) -> None:
    """The experts of each layer, and figures before and after.

    Args:
        report: of `switch_tf.training.pruning.prune`.
    """
    for layer in report["layers"]:
        shares = " ".join(f"{share:.1%}" for share in layer["use"])
        console.print(f"Block {layer['block']}: {layer['before']} experts, {layer['after']} stay", highlight=False)
        console.print(f"  use of each       {shares}", highlight=False, soft_wrap=True)
        for name in ("dropped", "merged"):
            if layer[name]:
                console.print(f"  {name:<17} {_numbers(layer[name])}", highlight=False, soft_wrap=True)
    print_table(console, _figures_table(report))
    said = f"Probabilities moved by {report['max_abs_diff']:.1e} at most by pruning; an expert has {report['slots']} "
    console.print(f"{said}slots for a text, as before.", highlight=False, soft_wrap=True)


def _figures_table(report: dict[str, Any]) -> Table:
    measured = report["measured_on"]
    table = Table(title=f"On {measured['texts']:,} texts of {measured['data']}", title_justify="left")
    table.add_column("")
    for column in ("accuracy", "macro-F1", "log loss", "tokens without\nan expert", "parameters", "bytes of\nweights"):
        table.add_column(column, justify="right", no_wrap=True)
    for step, name in _STEPS.items():
        if step not in report:
            continue
        each = report[step]
        figures = ["" if each[key] is None else f"{each[key]:.4f}" for key in ("accuracy", "macro_f1", "log_loss")]
        sizes = f"{each['parameters']:,}", f"{each['bytes']:,}"
        table.add_row(name, *figures, f"{each['dropped_share']:.2%}", *sizes)
    return table


def _numbers(gone: list[Any]) -> str:
    """Of dropped experts, or of merged ones with what they went into."""
    return ", ".join(f"{each[0]} into {each[1]}" if isinstance(each, list) else str(each) for each in gone)
