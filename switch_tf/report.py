"""Figures as a person reads them: the summary of a run, tables on the terminal, and the linear baseline beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from switch_tf import files
from switch_tf.data import Examples, encode_labels
from switch_tf.evaluate import score
from switch_tf.run import Run


def write_summary(run: Run, metrics: dict[str, Any]) -> None:
    """RUN/summary.md: what was trained on what, and how good it came out."""
    data, training, model = run.data, metrics["training"], run.config.model
    experts = f"{model.num_experts} experts" if model.num_experts else "no experts (dense twin)"
    splits = {name: metrics[name] for name in ("validation", "test") if name in metrics}
    rows = [_row(name, each["n"], each, ("accuracy", "macro_f1", "log_loss")) for name, each in splits.items()]
    labels = [
        _row(label, each["support"], each, ("precision", "recall", "f1"))
        for label, each in splits[list(splits)[-1]]["per_label"].items()
    ]
    lines = [
        f"# {data['data']}: {len(run.labels)} labels",
        "",
        f"A Switch classifier: {model.num_blocks} block(s) of width {model.d_model}, {experts}, "
        f"{len(run.vocabulary)} words, {run.config.text.sequence_length} tokens a text, "
        f"{training['parameters']:,} parameters.",
        "",
        f"Trained on {data['training_examples']:,} texts in {training['seconds']:.0f} s "
        f"({training['tokens_per_second']:,} tokens/s); "
        f"epoch {training['best_epoch']} of {training['epochs']} was best on validation.",
        "",
        "| split | texts | accuracy | macro-F1 | log loss |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "| label | texts | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *labels,
        "",
        "![loss, accuracy and dropped tokens by epoch](history.png)",
    ]
    files.write_text(run.path / "summary.md", "\n".join(lines) + "\n")


def _row(name: str, count: int, figures: dict[str, float], keys: tuple[str, ...]) -> str:
    name = name.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    cells = [name, f"{count:,}", *(f"{figures[key]:.4f}" for key in keys)]
    return f"| {' | '.join(cells)} |"


def metrics_table(title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Accuracy, macro-F1 and log loss, a row for each model or split."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("texts", "accuracy", "macro-F1", "log loss"):
        table.add_column(column, justify="right")
    for name, figures in rows:
        numbers = [f"{figures[key]:.4f}" for key in ("accuracy", "macro_f1", "log_loss")]
        table.add_row(name, f"{figures['n']:,}", *numbers)
    return table


def parity_table(comparisons: Sequence[Any]) -> Table:
    """Artifacts beside the trained model, a column for each `switch_tf.export.parity.Comparison`.

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
    add("max |dp|", lambda each: f"{each.max_abs_diff:.1e}")
    add("labels equal", lambda each: f"{each.labels_equal:,}")
    add("routing ties", lambda each: f"{each.routing_ties:,}")
    add("batch invariance", lambda each: f"{each.batch_invariance:.1e}")
    if any(each.accuracy is not None for each in comparisons):
        add("accuracy", lambda each: _figure(each.accuracy))
        add("trained model's", lambda each: _figure(each.accuracy_of_trained_model))
    add("", lambda each: "✓" if each.ok else "✗")
    return table


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


def label_table(figures: dict[str, Any]) -> Table:
    """Precision, recall and F1 of each label."""
    table = Table()
    table.add_column("label")
    for column in ("precision", "recall", "F1", "texts"):
        table.add_column(column, justify="right")
    for label, each in figures["per_label"].items():
        table.add_row(label, *(f"{each[key]:.4f}" for key in ("precision", "recall", "f1")), f"{each['support']:,}")
    return table


def linear_baseline(training: Examples, test: Examples, labels: list[str]) -> dict[str, Any]:
    """TF-IDF over words and word pairs with logistic regression: what any text model has to be measured against.

    Returns the figures of `switch_tf.evaluate.score` on `test`. Both sets must fit in memory as Python strings.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # Words of one letter count: "a", "i" and digits tell something in short reviews.
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    model = make_pipeline(features, LogisticRegression(C=10.0, max_iter=1000))
    model.fit(training.texts.to_pylist(), encode_labels(training, labels))
    probabilities = np.zeros([len(test), len(labels)])
    probabilities[:, model.classes_] = model.predict_proba(test.texts.to_pylist())  # none for labels not trained on
    return score(probabilities, encode_labels(test, labels), labels)
