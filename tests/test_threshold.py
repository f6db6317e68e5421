"""A training that chooses a reject threshold: in the run folder, in words, and when it cannot be reached."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Quiet, ask, made_up_rows, tiny_arguments, tiny_config, write_tsv

from switch_tf.config import load_config
from switch_tf.data.examples import encode_labels
from switch_tf.data.request import DataRequest
from switch_tf.errors import ConfigError, RunError
from switch_tf.measuring.rejecting import choose_cut
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run
from switch_tf.runs.measured import read_measured
from switch_tf.runs.rejection import Rejection
from switch_tf.training.session import train
from switch_tf.training.threshold import refuse_reject_label

LABELS = ["bad", "good"]


def undecidable_rows(count: int = 60) -> list[tuple[str, str]]:
    """Texts that all read the same, but for a word that the vocabulary lacks, and half of them each label."""
    return [(f"the film number{number}", LABELS[number % 2]) for number in range(count)]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("good", "'good' is to be answered where the model is unsure, and 'good' is a label of x.tsv"),
        ("Good", "'Good' is to be answered where the model is unsure, and 'good' is a label of x.tsv"),
        ("g\u043e\u043ed", "and 'good' is a label of x.tsv. Expected another train.reject_label."),  # Cyrillic letters
        ("a\nb", "the labels have the name 'a\\nb', which is empty or holds a control character"),
        (" ", "which is empty or holds a control character"),
    ],
)
def test_a_reject_label_that_reads_as_a_class_is_refused(label: str, problem: str) -> None:
    config = load_config(assignments=["train.reject=0.9", f"train.reject_label={json.dumps(label)}"])
    with pytest.raises(ConfigError) as raised:
        refuse_reject_label(config.train, LABELS, "x.tsv")
    assert problem in str(raised.value) and raised.value.argument == "reject_label"


def test_the_usual_reject_label_is_refused_where_it_is_a_class() -> None:
    refuse_reject_label(load_config().train, ["bad", "unknown"], "x.tsv")  # no threshold is wanted
    with pytest.raises(ConfigError, match=r"'unknown' is a label of x\.tsv"):
        refuse_reject_label(load_config(assignments=["train.reject=0.9"]).train, ["bad", "unknown"], "x.tsv")


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_the_threshold_is_that_of_the_validation_texts(wide: bool, tmp_path: Path) -> None:
    data = write_tsv(tmp_path / "made.tsv", made_up_rows(240))
    settings = [f"wide.enabled={str(wide).lower()}", "train.validation_share=0.3", "train.epochs=5"]
    config = tiny_config("train.reject=0.88", *settings)
    path = train(DataRequest(str(data)), config, tmp_path / "run", Quiet()).path
    run, written = open_run(path), json.loads((path / "reject.json").read_text(encoding="utf-8"))
    assert json.loads((path / "data.json").read_text(encoding="utf-8"))["format"] == 4
    assert "reject.json" in json.loads((path / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert run.rejection == Rejection(written["threshold"], "unknown") and written["wanted_precision"] == 0.88
    figures = json.loads((path / "metrics.json").read_text(encoding="utf-8"))["validation"]["rejection"]
    measured = written["validation"]
    assert measured == {
        "texts": figures["n"],
        "answered": figures["answered"],
        "coverage": figures["coverage"],
        "precision": figures["precision"],
    }
    assert 0.0 < written["threshold"] < 1.0 and measured["precision"] >= 0.88
    assert measured["answered"] == round(measured["coverage"] * measured["texts"])
    if not wide:  # else the wide path has been fitted on these texts since
        validation = read_measured(run)
        probabilities = load_classifier(run).probabilities(validation.texts.to_pylist())
        cut = choose_cut(probabilities, encode_labels(validation, run.labels), 0.88)
        assert cut is not None and cut.threshold == written["threshold"]
        assert figures["answered"] == np.sum(probabilities.max(axis=1) >= np.float32(cut.threshold))


@pytest.mark.slow
def test_a_precision_that_is_not_reached_is_an_error_that_loses_nothing(tmp_path: Path) -> None:
    data = write_tsv(tmp_path / "made.tsv", undecidable_rows())
    words = ["train", data, "--output", tmp_path / "run", *tiny_arguments("train.baseline=false")]
    answer = ask(*words, "--reject", "0.9", "--reject-label", "neither")
    assert answer.code == 1
    assert (
        "train.reject = 0.9 is not reached on the 6 validation texts: at most 0.5000 is, by answering 6" in answer.err
    )
    assert "The training is kept: resume it with a lower train.reject. On the command line: --reject." in answer.err
    assert not (tmp_path / "run").exists()

    still = ask("train", "--output", tmp_path / "run", "--resume")
    assert still.code == 1 and "train.reject = 0.9 is not reached" in still.err
    answer = ask("train", "--output", tmp_path / "run", "--resume", "--reject", "0.5")
    assert answer.code == 0, answer.err
    assert "No text will be answered 'neither'" in " ".join(answer.err.split())
    assert "the threshold was chosen on 6 answered validation texts, too few" in " ".join(answer.err.split())
    run = open_run(tmp_path / "run")
    assert (run.rejection, run.config.train.reject) == (Rejection(0.0, "neither"), 0.5)
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 3  # no epoch was trained again


@pytest.mark.slow
def test_a_label_of_the_data_is_refused_before_anything_is_trained(data_folder: Path, tmp_path: Path) -> None:
    answer = ask(
        "train", data_folder / "made.tsv", "--output", tmp_path / "run", "--reject", 0.9, "--reject-label", "bad"
    )
    assert answer.code == 1 and "'bad' is a label of" in answer.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "is no threshold with a reject label"),
        ('{"threshold": 2.0, "label": "unknown"}', "has the threshold 2.0"),
        ('{"threshold": 0.5, "label": "bad"}', "have a name twice"),
        ("no json", "reject.json"),
    ],
)
def test_a_damaged_threshold_is_refused(content: str, problem: str, rejecting_run: Path, tmp_path: Path) -> None:
    from conftest import copy_run

    from switch_tf.runs.folder import write_manifest

    copy = copy_run(rejecting_run, tmp_path / "copy")
    (copy / "reject.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"reject\.json has \d+ bytes where its manifest says|is not as it was written"):
        open_run(copy)
    write_manifest(copy)
    with pytest.raises(RunError, match=problem):
        open_run(copy)
    (copy / "reject.json").unlink()
    with pytest.raises(RunError, match=r"reject\.json is missing"):
        open_run(copy)
