"""The pictures of docs/quality.md, drawn from the figures of tools/quality.py: SVG that is read on white and on black.

Sets and figures that were not measured are left out; a picture of which nothing is left is not drawn.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

Runs = Mapping[str, Sequence[Mapping[str, Any]]]  # figures by set and seed

INK = "#7d8590"  # of text and axes: of about the same contrast with white and with black
_MODEL, _WIDE, _FASTTEXT, _BEFORE = "#2f81f7", "#e3803c", "#3fb950", "#e5534b"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "switch-tf",
    "font.family": "sans-serif",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
_CURVES_IN_A_ROW = 4


def draw_all(runs: Runs, folder: Path) -> list[Path]:
    """Write the pictures into `folder`, and say which."""
    drawn = []
    for name, draw in (("accuracy", draw_accuracy), ("calibration", draw_calibration), ("curves", draw_curves)):
        figure = draw(runs)
        if figure is not None:
            path = folder / f"quality-{name}.svg"
            path.write_text(svg(figure), "utf-8")
            drawn.append(path)
    return drawn


def svg(figure: Figure, creator: str = "tools/quality.py") -> str:
    """The picture without background, the same for the same figures."""
    with matplotlib.rc_context(STYLE):
        written = io.StringIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": creator})
    text = re.sub(r"[ \t]+$", "", written.getvalue(), flags=re.MULTILINE)
    return text if text.endswith("\n") else text + "\n"


def differences(runs: Runs, model: str) -> dict[str, list[float]]:
    """Points of accuracy over TF-IDF + LR by set, a number for each seed that has both."""
    found = {}
    for name, seeds in runs.items():
        both = [each["accuracy"] for each in seeds if {model, "linear"} <= set(each["accuracy"])]
        if both:
            found[name] = [100 * (each[model] - each["linear"]) for each in both]
    return found


def draw_accuracy(runs: Runs) -> Figure | None:
    """Accuracy over TF-IDF + LR: a dot for the mean of the seeds, a line from the worst to the best."""
    own = differences(runs, "model")
    if not own:
        return None
    order = sorted(own, key=lambda name: sum(own[name]) / len(own[name]))
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(7.2, 0.9 + 0.32 * len(order))
        axes.axvline(0, color=INK, linewidth=1)
        shown = (("fasttext", "fastText", _FASTTEXT, "^"), ("wide", "wide path", _WIDE, "s"))
        for key, label, color, marker in (*shown, ("model", "the model", _MODEL, "o")):
            found = differences(runs, key)
            rows = [row for row, name in enumerate(order) if name in found]
            values = [found[order[row]] for row in rows]
            means = [sum(each) / len(each) for each in values]
            axes.hlines(rows, [min(each) for each in values], [max(each) for each in values], color=color, linewidth=2)
            size = 6 if key == "model" else 4
            axes.plot(means, rows, marker, color=color, markersize=size, label=label, linestyle="none")
        axes.set_yticks(range(len(order)), order)
        axes.set_xlabel("test accuracy over TF-IDF + logistic regression, in points; lines are the range of the seeds")
        legend(figure, axes, 3)
    return figure


def draw_calibration(runs: Runs) -> Figure | None:
    """The calibration error of each set without and with the temperature, and both diagrams of all sets together.

    That of TF-IDF + LR stands beside them.
    """
    measured = {name: seeds[0]["calibration"] for name, seeds in runs.items() if "calibration" in seeds[0]}
    if not measured:
        return None
    names = sorted(measured, key=lambda name: measured[name]["before"]["error"])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, max(2.8, 0.9 + 0.3 * len(names))), layout="constrained")
        errors, diagram = figure.subplots(1, 2)
        for row, name in enumerate(names):
            ends = [measured[name][when]["error"] for when in ("before", "after")]
            errors.plot(ends, [row, row], "-", color=INK, linewidth=1)
        for when, color, label in (("before", _BEFORE, "without temperature"), ("after", _MODEL, "with temperature")):
            values = [measured[name][when]["error"] for name in names]
            errors.plot(values, range(len(names)), "o", color=color, markersize=5, label=label)
            sure, right = pooled([measured[name][when]["bins"] for name in names])
            diagram.plot(sure, right, "o-", color=color, markersize=3, linewidth=1.2, label=label)
        others = {name: runs[name][0].get("calibration_errors", {}).get("linear") for name in names}
        places = [row for row, name in enumerate(names) if others[name] is not None]
        if places:
            values = [others[names[row]] for row in places]
            errors.plot(values, places, "^", color=_WIDE, markersize=5, label="TF-IDF + LR")
        errors.set_yticks(range(len(names)), names)
        errors.set_xlim(left=0)
        errors.set_xlabel("calibration error of the test texts")
        diagram.plot([0, 1], [0, 1], "--", color=INK, linewidth=1)
        diagram.set_xlabel("probability of the answer, all sets")
        diagram.set_ylabel("share of right answers")
        for axes in (errors, diagram):
            plain(axes)
        legend(figure, errors, 3)
    return figure


def pooled(sets: Sequence[Sequence[Sequence[float]]]) -> tuple[list[float], list[float]]:
    """Mean probability and share of right answers in each bin of [texts, sum of probabilities, right ones] over sets.

    Every set counts alike, however many texts it has.
    """
    totals = [sum(row[0] for row in bins) for bins in sets]
    sums = [
        [sum(bins[place][k] / total for bins, total in zip(sets, totals, strict=True)) for k in range(3)]
        for place in range(len(sets[0]))
    ]
    filled = [row for row in sums if row[0] > 0]
    return [sure / share for share, sure, _ in filled], [right / share for share, _, right in filled]


def draw_curves(runs: Runs) -> Figure | None:
    """The deep path's log loss by epoch on training and validation texts, of the first seed of each set."""
    measured = {name: seeds[0]["curves"] for name, seeds in runs.items() if "curves" in seeds[0]}
    if not measured:
        return None
    rows = -(-len(measured) // _CURVES_IN_A_ROW)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.6 + 1.45 * rows), layout="constrained")
        grid = figure.subplots(rows, _CURVES_IN_A_ROW, squeeze=False).ravel()
        for axes, (name, curves) in zip(grid, sorted(measured.items()), strict=False):
            epochs = range(1, len(curves["validation"]) + 1)
            axes.plot(epochs, curves["training"], color=_WIDE, linewidth=1.3, label="training texts")
            axes.plot(epochs, curves["validation"], color=_MODEL, linewidth=1.3, label="validation texts")
            axes.set_title(name, fontsize=9)
            axes.set_ylim(bottom=0)
            plain(axes)
        for axes in grid[len(measured) :]:
            axes.set_visible(False)
        legend(figure, grid[0], 2)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel("log loss", fontsize=9)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    return figure, axes


def plain(axes: Any) -> None:
    axes.patch.set_alpha(0)
    axes.figure.patch.set_alpha(0)
    axes.grid(alpha=0.25, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend(figure: Figure, axes: Any, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)
