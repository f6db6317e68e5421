"""The summary of a run on a page: RUN/summary.md."""

from typing import Any

from switch_tf import files
from switch_tf.config import ModelConfig
from switch_tf.expert_map import stored_experts
from switch_tf.reporting.comparison import heading, remarks
from switch_tf.reporting.comparison import rows as comparison_rows
from switch_tf.runs.folder import Run


def write_summary(run: Run, metrics: dict[str, Any]) -> None:
    """RUN/summary.md: what was trained on what, and how good it came out."""
    data, training, model = run.data, metrics["training"], run.config.model
    tokens = "words" if run.config.text.tokenizer == "words" else "pieces of words"
    experts = _experts(model)
    splits: dict[str, Any] = {name: metrics[name] for name in ("validation", "test") if name in metrics}
    rows = [_row(name, each["n"], each, ("accuracy", "macro_f1", "log_loss")) for name, each in splits.items()]
    labels = [
        _row(label, each["support"], each, ("precision", "recall", "f1"))
        for label, each in splits[list(splits)[-1]]["per_label"].items()
    ]
    lines = [
        f"# {data['data']}: {len(run.labels)} labels",
        "",
        f"A Switch classifier: {model.num_blocks} block(s) of width {model.d_model}, {experts}, "
        f"{len(run.vocabulary)} {tokens}, {run.config.text.sequence_length} tokens a text, "
        f"{training['parameters']:,} parameters.",
        "",
        _origin(data, training),
        "",
        "| split | texts | accuracy | macro-F1 | log loss |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *_rejection(splits),
        *_comparison(metrics),
        "| label | texts | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *labels,
        "",
        "![loss, accuracy and dropped tokens by epoch](history.png)",
    ]
    files.write_text(run.path / "summary.md", "\n".join(lines) + "\n")


def _experts(model: ModelConfig) -> str:
    if not model.num_experts:
        return "no experts (dense twin)"
    if model.expert_map is None:
        return f"{model.num_experts} experts"
    left = ", ".join(str(stored_experts(each)) for each in model.expert_map)
    return f"{left} of {model.num_experts} experts"


def _origin(data: dict[str, Any], training: dict[str, Any]) -> str:
    """How the weights came about."""
    if "pruned" in data:
        return f"{data['pruned']['from']} without some of its experts; metrics.json has what that changed."
    return (
        f"Trained on {data['training_examples']:,} texts in {training['seconds']:.0f} s "
        f"({training['tokens_per_second']:,} tokens/s); "
        f"epoch {training['best_epoch']} of {training['epochs']} was best on validation."
    )


def _rejection(splits: dict[str, Any]) -> list[str]:
    """What the reject threshold does, if there is one."""
    figures = {name: each["rejection"] for name, each in splits.items() if "rejection" in each}
    if not figures:
        return []
    first = next(iter(figures.values()))
    label = first["label"].replace("`", "'")
    return [
        f"Below a probability of {first['threshold']:.4f} a text is answered `{label}`:",
        "",
        "| split | texts | coverage | precision among answered |",
        "|---|---|---|---|",
        *(
            f"| {name} | {each['n']:,} | {each['coverage']:.4f} | "
            + ("" if each["precision"] is None else f"{each['precision']:.4f}")
            + " |"
            for name, each in figures.items()
        ),
        "",
    ]


def _comparison(metrics: dict[str, Any]) -> list[str]:
    """The model beside others, and a warning if there is reason for one."""
    comparison = metrics.get("comparison")
    if comparison is None:
        return []
    keys = ("accuracy", "macro_f1", "log_loss", "calibration_error")
    return [
        f"{heading(comparison)}:",
        "",
        "| | texts | accuracy | macro-F1 | log loss | calibration error |",
        "|---|---|---|---|---|---|",
        *(_row(name, each["n"], each, keys) for name, each in comparison_rows(comparison)),
        "",
        *(line for remark in remarks(comparison) for line in (remark, "")),
    ]


def _row(name: str, count: int, figures: dict[str, float], keys: tuple[str, ...]) -> str:
    name = name.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    cells = [name, f"{count:,}", *(f"{figures[key]:.4f}" for key in keys)]
    return f"| {' | '.join(cells)} |"
