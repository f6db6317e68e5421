"""The table and the picture that tools/language_model.py makes of its results."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import colormaps
from matplotlib.figure import Figure
from quality_plots import STYLE, legend, plain, svg

Figures = Mapping[str, Any]  # what language_model.Results holds
_PICTURE = "quality-language-model.svg"
_DENSE = "#e3803c"
_FROM = 0.2  # of the steps: what comes before would take all the height
_TRAINING = 3  # times the FLOPs of a forward pass: a product has two in its gradient


def runs_of(figures: Figures) -> dict[int, list[dict[str, Any]]]:
    """The runs by number of experts, fewest first, and by seed."""
    found: dict[int, list[dict[str, Any]]] = {}
    for key in sorted(figures["runs"], key=lambda key: tuple(map(int, key.split("/")))):
        found.setdefault(int(key.partition("/")[0]), []).append(figures["runs"][key])
    return found


def table(figures: Figures) -> str:
    """What was reached at the end, at which work and in which time; differences from the dense model are of seeds."""
    lines = [
        "| experts | parameters | FLOPs a token: of the tokens, with empty slots | held-out loss, nats a byte "
        "| less than dense | steps to dense's last loss | dropped | time of a step, to dense |",
        "|---|---|---|---|---|---|---|---|",
    ]
    runs = runs_of(figures)
    for experts, seeds in runs.items():
        first, last = seeds[0], [run["curve"][-1][1] for run in seeds]
        dense = runs.get(1, [])
        pairs = [(run["curve"], other["curve"]) for run, other in zip(seeds, dense, strict=False)]
        cells = [
            f"{experts}" if experts > 1 else "dense",
            f"{first['parameters']:,}",
            f"{first['flops_of_tokens']:,}, {first['flops']:,}",
            _spread(last),
            _spread([theirs[-1][1] - ours[-1][1] for ours, theirs in pairs]) if experts > 1 and pairs else "-",
            _share_of_steps(pairs) if experts > 1 and pairs else "-",
            f"{100 * statistics.mean(run['dropped_share'] for run in seeds):.1f} %" if experts > 1 else "-",
            _ratio(figures["milliseconds"], experts),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def steps_to(curve: list[list[float]], loss: float) -> float | None:
    """At which step a curve of [step, loss] first is down at that loss, between two points on the line; None if never.

    >>> steps_to([[100, 3.0], [200, 2.0], [300, 1.5]], 2.25), steps_to([[100, 3.0]], 2.0)
    (175.0, None)
    """
    before: list[float] | None = None
    for step, value in curve:
        if value <= loss:
            if before is None:
                return float(step)
            return before[0] + (step - before[0]) * (before[1] - loss) / (before[1] - value)
        before = [step, value]
    return None


def _share_of_steps(pairs: list[tuple[list[list[float]], list[list[float]]]]) -> str:
    """Of the steps that the dense model took, how many a model takes to be as good, the mean over seeds."""
    found = [steps_to(ours, theirs[-1][1]) for ours, theirs in pairs]
    shares = [step / theirs[-1][0] for step, (_, theirs) in zip(found, pairs, strict=True) if step is not None]
    return f"{100 * statistics.mean(shares):.0f} %" if len(shares) == len(pairs) else "never"


def _ratio(milliseconds: Mapping[str, list[float]], experts: int) -> str:
    """The median over rounds of a model's time by the dense one's in the same round."""
    ours, theirs = milliseconds.get(str(experts)), milliseconds.get("1")
    if ours is None or theirs is None:
        return "not run"
    return f"{statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)):.2f}"


def _spread(values: list[float]) -> str:
    """A mean, and half of what lies between the least and the greatest where that is not nothing in three places."""
    half = f"{(max(values) - min(values)) / 2:.3f}"
    return f"{statistics.mean(values):.3f}" + ("" if half == "0.000" else f" ±{half.removeprefix('0')}")


def draw(figures: Figures, folder: Path) -> Path:
    """Held-out loss by steps, by FLOPs of training and by processor time, into `folder`; says where.

    A line is the mean over the seeds, the band behind it their range.
    """
    runs, experiment = runs_of(figures), figures["experiment"]
    tokens = _TRAINING * experiment["tokens_per_step"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
        for place, (experts, seeds) in enumerate(runs.items()):
            times = figures["milliseconds"].get(str(experts))
            scales = (1.0, seeds[0]["flops"] * tokens / 1e12, statistics.median(times) / 1000 if times else None)
            color = colormaps["viridis"](0.3 + 0.6 * place / len(runs)) if experts > 1 else _DENSE
            for axes, scale in zip(panels, scales, strict=True):
                if scale is not None:
                    _draw_curves(axes, scale, seeds, color, f"{experts} experts" if experts > 1 else "dense")
        for axes, label in zip(panels, ("steps", "FLOPs of training, in 10¹²", "processor time, s"), strict=True):
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
            plain(axes)
        panels[0].set_ylabel("held-out loss, nats a byte")
        legend(figure, panels[0], len(runs))
    path = folder / _PICTURE
    path.write_text(svg(figure, "tools/language_model.py"), "utf-8")
    return path


def _draw_curves(axes: Any, scale: float, seeds: list[dict[str, Any]], color: Any, label: str) -> None:
    """One model's line and band; `scale` is what a step costs."""
    points = list(zip(*(run["curve"] for run in seeds), strict=True))  # [step, loss] of each seed
    points = [point for point in points if point[0][0] >= _FROM * points[-1][0][0]]
    at = [scale * point[0][0] for point in points]
    losses = [[loss for _, loss in point] for point in points]
    axes.fill_between(at, list(map(min, losses)), list(map(max, losses)), color=color, alpha=0.25, linewidth=0)
    axes.plot(at, list(map(statistics.mean, losses)), color=color, linewidth=1.3, label=label)
