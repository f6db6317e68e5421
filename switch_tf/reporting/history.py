"""How a training went, epoch by epoch: history.csv and history.png."""

from pathlib import Path
from typing import Any

from switch_tf import files


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """history.csv and history.png."""
    import csv
    import io

    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    files.write_text(folder / "history.csv", table.getvalue())
    files.write_bytes(folder / "history.png", _draw(history))


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
