"""How a training went, epoch by epoch: history.csv and history.png."""

from pathlib import Path
from typing import Any

from switch_tf import files


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """history.csv and history.png."""
    import csv
    import io

    table = io.StringIO()
    rows = [flat_row(row) for row in history]
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(folder / "history.csv", table.getvalue())
    files.write_bytes(folder / "history.png", _draw(history))


def flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of figures with those of each Switch layer as columns of their own; loads stand in one, between spaces.

    >>> flat_row({"epoch": 1, "layers": [{"load": [0.25, 0.75], "entropy": 0.5, "dropped_share": 0.0}]})
    {'epoch': 1, 'layer_0_load': '0.25 0.75', 'layer_0_entropy': 0.5, 'layer_0_dropped_share': 0.0}
    """
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name != "layers":
            flat[name] = value
            continue
        for number, layer in enumerate(value):
            load = {f"layer_{number}_load": " ".join(map(str, layer["load"]))}
            flat |= load | {f"layer_{number}_{name}": layer[name] for name in ("entropy", "dropped_share")}
    return flat


def _draw(history: list[dict[str, Any]]) -> bytes:
    """Loss, accuracy and routing by epoch, as a PNG picture."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs no screen
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy, routing = figure.subplots(1, 3)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, [row[name] for row in history], "o-", label="training")
        axes.plot(epochs, [row[f"validation_{name}"] for row in history], "o-", label="validation")
        axes.set_title(name)
        axes.legend()
    routing.plot(epochs, [100 * row["dropped_share"] for row in history], "o-", color="tab:red")
    routing.set_title("tokens dropped by full experts, %")
    for axes in (loss, accuracy, routing):
        axes.set_xlabel("epoch")
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()
