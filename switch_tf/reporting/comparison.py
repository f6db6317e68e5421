"""A model beside what it has to be measured against: a table, and a word where it does not win."""

import math
from typing import Any

from rich.console import Console

from switch_tf.reporting.rejection import rejection_remarks, rejection_table
from switch_tf.reporting.tables import metrics_table, print_table

NAMES = {
    "majority": "the majority class",
    "linear": "TF-IDF + logistic regression",
    "wide": "wide path alone",
    "deep": "deep path alone",
    "model": "the model",
    "dense_twin": "its dense twin",
}


def print_figures(console: Console, title: str, metrics: dict[str, Any]) -> None:
    """The figures of a run by split, those of the models beside it, and a warning if there is reason for one."""
    splits = [(name, metrics[name]) for name in ("validation", "test") if name in metrics]
    print_table(console, metrics_table(title, splits))
    if "rejection" in metrics.get("validation", {}):
        print_table(console, rejection_table(splits))
        for line in rejection_remarks(metrics["validation"]["rejection"]):
            console.print(line, highlight=False, soft_wrap=True)
    comparison = metrics.get("comparison")
    if comparison is None:  # a run of before there was one
        return
    print_table(console, metrics_table(heading(comparison), rows(comparison), texts=False))
    for line in remarks(comparison):
        console.print(line, highlight=False, soft_wrap=True)


def heading(comparison: dict[str, Any]) -> str:
    """Where models were compared, and the standard error of an accuracy there: the root of p (1 - p) / n."""
    model = comparison["models"]["model"]
    error = math.sqrt(model["accuracy"] * (1.0 - model["accuracy"]) / model["n"])
    return f"On the same {model['n']:,} {comparison['split']} texts (standard error of an accuracy {error:.4f})"


def rows(comparison: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and figures, from the simplest model on."""
    models = comparison["models"]
    return [(name, models[key]) for key, name in NAMES.items() if key in models]


def remarks(comparison: dict[str, Any]) -> list[str]:
    """What the figures say in words, if it is not that all is well."""
    models = comparison["models"]
    said = []
    by, name = ("macro_f1", "a macro-F1") if comparison["by"] == "macro_f1" else ("accuracy", "an accuracy")
    own = models["model"][by]
    beaten_by = [key for key in ("majority", "linear") if key in models and models[key][by] >= own]
    if beaten_by:
        better = beaten_by[-1]
        said.append(
            f"Warning: the model is no better than {NAMES[better]}: {name} of {own:.4f} on these texts, against "
            f"{models[better][by]:.4f}. Prefer that one, unless other data says otherwise."
        )
    linear = models.get("linear", {"sampled": False})
    if linear["sampled"]:
        sample = f"a sample of {linear['fitted_on']:,} texts"
        said.append(f"TF-IDF + logistic regression learnt from {sample}, for the time that more would take.")
    return said
