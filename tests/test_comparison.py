"""A finished training beside what it has to be measured against: which models, on which texts, and what is said."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Quiet, ask, tiny_arguments, tiny_config
from rich.console import Console
from test_composed import COMPOSED

from switch_tf.data.examples import join, read_examples
from switch_tf.data.request import DataRequest
from switch_tf.measuring.baseline import linear_baseline, majority_baseline
from switch_tf.measuring.fusion import softmax
from switch_tf.models.text_classifier import load_classifier
from switch_tf.reporting.comparison import heading, print_figures, remarks
from switch_tf.runs.folder import Run, open_run, read_metrics
from switch_tf.training.comparison import path_logits
from switch_tf.training.encoding import encode
from switch_tf.training.session import prepare, train

BRIEF = {"n", "accuracy", "macro_f1", "log_loss", "calibration_error"}


def models(run: Run, split: str) -> dict[str, Any]:
    comparison = read_metrics(run.path)["comparison"]
    assert (comparison["split"], comparison["by"]) == (split, "accuracy")
    return comparison["models"]


@pytest.fixture(scope="module")
def fused(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both paths and the dense twin, with a test split."""
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    config = tiny_config(*COMPOSED, "train.epochs=2", "train.twin=true")
    progress = Quiet()
    run = train(request, config, tmp_path_factory.mktemp("runs") / "fused", progress)
    assert progress.stages == [
        "Fitting the wide path",
        "Training the dense twin",
        "Fitting TF-IDF + logistic regression, to compare",
    ]
    assert progress.epochs == [1, 2, 1, 2]
    return open_run(run.path)


def test_all_are_measured_on_the_test_texts_where_there_are_some(fused: Run) -> None:
    found = models(fused, "test")
    assert list(found) == ["majority", "linear", "wide", "deep", "model", "dense_twin"]
    assert {each["n"] for each in found.values()} == {40}
    assert {name: set(each) - BRIEF for name, each in found.items() if set(each) != BRIEF} == {
        "linear": {"fitted_on", "sampled"}
    }
    own = read_metrics(fused.path)["test"]
    assert found["model"] == {name: own[name] for name in found["model"]}


def test_baselines_learn_from_all_texts_but_those_of_the_test(fused: Run, data_folder: Path) -> None:
    training, test = (read_examples(data_folder / name) for name in ("made.tsv", "made-test.tsv"))
    found = models(fused, "test")
    assert found["linear"]["fitted_on"] == 120
    for name, baseline in (("majority", majority_baseline), ("linear", linear_baseline)):
        expected = baseline(training, test, fused.labels)
        assert found[name]["accuracy"] == expected["accuracy"]
        assert found[name]["log_loss"] == pytest.approx(expected["log_loss"], abs=1e-3)  # the order of rows differs


def test_paths_alone_are_those_of_the_finished_model(fused: Run, data_folder: Path) -> None:
    prepared = prepare(DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv")), fused.config)
    model = load_classifier(fused)
    assert prepared.test is not None
    test = encode(prepared.test, fused.labels, model.text)
    wide, deep = path_logits(fused, test)
    scales = read_metrics(fused.path)["fusion"]
    joined = softmax(scales["wide_scale"] * wide + scales["deep_scale"] * deep)
    np.testing.assert_allclose(joined, model.probabilities(prepared.test.texts.to_pylist()), atol=1e-6)
    for name, logits in (("wide", wide), ("deep", deep)):
        assert models(fused, "test")[name]["accuracy"] == np.mean(logits.argmax(axis=1) == test.labels)


def test_nothing_is_left_of_the_twin_and_the_model_is_that_of_a_training_without(
    fused: Run, data_folder: Path, tmp_path: Path
) -> None:
    assert not (fused.path / "twin").exists()
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    plain = train(request, tiny_config(*COMPOSED, "train.epochs=2"), tmp_path / "plain", Quiet())
    assert (plain.path / "weights.safetensors").read_bytes() == (fused.path / "weights.safetensors").read_bytes()
    assert list(models(plain, "test")) == ["majority", "linear", "wide", "deep", "model"]


def test_without_test_texts_validation_counts_and_baselines_learn_from_training_alone(
    data_folder: Path, tmp_path: Path
) -> None:
    arguments = tiny_arguments("train.epochs=1")
    command = ["train", data_folder / "made.tsv", "--output", tmp_path / "run", *arguments, "--twin", "--json"]
    answer = ask(*command)
    assert answer.code == 0, answer.err
    comparison = json.loads(answer.out)["comparison"]
    assert comparison["split"] == "validation"
    assert list(comparison["models"]) == ["majority", "linear", "model", "dense_twin"]
    assert (comparison["models"]["linear"]["fitted_on"], comparison["models"]["model"]["n"]) == (108, 12)
    summary = (tmp_path / "run" / "summary.md").read_text()
    assert "On the same 12 validation texts" in summary and "| TF-IDF + logistic regression | 12 |" in summary


def test_the_baseline_can_be_left_out(data_folder: Path, tmp_path: Path) -> None:
    arguments = tiny_arguments("train.epochs=1", "train.baseline=false")
    answer = ask("train", data_folder / "made.tsv", "--output", tmp_path / "run", *arguments)
    assert answer.code == 0, answer.err
    assert list(models(open_run(tmp_path / "run"), "validation")) == ["model"]
    assert "TF-IDF" not in answer.err and "the model" in answer.err


def test_joined_examples_keep_their_order(data_folder: Path) -> None:
    first, second = (read_examples(data_folder / name) for name in ("made.tsv", "made-test.tsv"))
    both = join(first, second)
    assert both.texts.to_pylist() == first.texts.to_pylist() + second.texts.to_pylist()
    assert both.labels.to_pylist() == first.labels.to_pylist() + second.labels.to_pylist()


def compared(model: float, linear: float, majority: float = 0.5, sampled: bool = False) -> dict[str, Any]:
    def figures(accuracy: float) -> dict[str, Any]:
        return {"n": 400, "accuracy": accuracy, "macro_f1": 0.4, "log_loss": 0.3, "calibration_error": 0.02}

    of_linear = figures(linear) | {"fitted_on": 1234, "sampled": sampled}
    return {
        "split": "test",
        "by": "accuracy",
        "models": {"majority": figures(majority), "linear": of_linear, "model": figures(model)},
    }


@pytest.mark.parametrize(
    ("model", "linear", "majority", "said"),
    [
        (0.81, 0.80, 0.5, []),
        (
            0.774,
            0.80,
            0.5,
            [
                "Warning: the model is no better than TF-IDF + logistic regression: an accuracy of 0.7740 on these "
                "texts, against 0.8000. Prefer that one, unless other data says otherwise."
            ],
        ),
        (
            0.8,
            0.7,
            0.8,
            [
                "Warning: the model is no better than the majority class: an accuracy of 0.8000 on these texts, "
                "against 0.8000. Prefer that one, unless other data says otherwise."
            ],
        ),
    ],
)
def test_a_model_that_does_not_win_is_told_in_words(
    model: float, linear: float, majority: float, said: list[str]
) -> None:
    assert remarks(compared(model, linear, majority)) == said


def test_where_macro_f1_was_wanted_it_decides() -> None:
    comparison = compared(0.7, 0.8) | {"by": "macro_f1"}
    comparison["models"]["model"]["macro_f1"] = 0.41
    assert remarks(comparison) == []
    comparison["models"]["model"]["macro_f1"] = 0.39
    assert remarks(comparison) == [
        "Warning: the model is no better than TF-IDF + logistic regression: a macro-F1 of 0.3900 on these texts, "
        "against 0.4000. Prefer that one, unless other data says otherwise."
    ]


def test_a_sample_is_told_in_words() -> None:
    assert remarks(compared(0.9, 0.8, sampled=True)) == [
        "TF-IDF + logistic regression learnt from a sample of 1,234 texts, for the time that more would take."
    ]


def test_the_heading_says_how_sure_an_accuracy_is() -> None:
    assert heading(compared(0.8, 0.7)) == "On the same 400 test texts (standard error of an accuracy 0.0200)"


def test_figures_fit_a_terminal_without_cutting_a_name() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, markup=False, emoji=False, force_terminal=True, color_system=None)
    own = compared(0.9, 0.8)["models"]["model"]
    print_figures(console, "runs/x", {"test": own, "comparison": compared(0.7, 0.8)})
    lines = written.getvalue().splitlines()
    tables = [line for line in lines if line.startswith("│")]
    assert any(line.startswith("│ TF-IDF + logistic regression │   0.8000 │") for line in tables)
    assert max(map(len, tables)) <= 80
    assert any(line.startswith("Warning: the model is no better") for line in lines)


def test_a_run_of_before_has_its_own_figures_alone() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80)
    print_figures(console, "runs/x", {"validation": compared(0.9, 0.8)["models"]["model"]})
    assert "validation" in written.getvalue() and "On the same" not in written.getvalue()
