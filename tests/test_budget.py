"""Fitting a file into a budget: the least loss first, the words that stay, and a clear no."""

import json

import pytest
from conftest import ask

from switch_tf.errors import ExportError, UsageError
from switch_tf.export.budget import Fit, fit_size, measure_with, parse_size
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


class Sizes:
    """Builds nothing: a file has 1,000 bytes and some for each word, by precision."""

    def __init__(self):
        self.asked = []

    def __call__(self, model, precision):
        words = len(model.vocabulary)
        self.asked.append((precision, words))
        return 1000 + words * {"float32": 40, "float16": 20, "int8": 10}[precision]


@pytest.mark.parametrize(
    ("text", "size"), [("1M", 1_000_000), ("1.5M", 1_500_000), ("800K", 800_000), ("123", 123), ("1G", 10**9)]
)
def test_sizes_are_decimal(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1MB", "M", "1e6", "1m", "9" * 40])
def test_what_is_no_size_is_a_usage_error(text):
    with pytest.raises(UsageError, match="Expected a number of bytes such as"):
        parse_size(text)


def test_the_least_lossy_precision_that_fits_is_taken_with_all_words(run):
    words = len(run.vocabulary)
    for precision, per_word in (("float32", 40), ("float16", 20), ("int8", 10)):
        size = 1000 + per_word * words
        assert fit_size(run, Sizes(), size) == Fit(precision, words, size)
    assert fit_size(run, Sizes(), 10**6, precisions=("int8",)).precision == "int8"


def test_then_the_rarest_words_go_and_as_few_as_needed(run, monkeypatch):
    from switch_tf.export import budget as size

    monkeypatch.setattr(size, "_FEWEST_WORDS", 2)
    build = Sizes()
    fit = fit_size(run, build, 1000 + 10 * 17 + 5)
    assert fit == Fit("int8", 17, 1170) and len(build.asked) <= 6
    assert load_classifier(run, 17).vocabulary == run.vocabulary[:17]


def test_what_cannot_be_met_is_refused_with_the_figures(run):
    with pytest.raises(
        ExportError, match=r"1,000 bytes cannot be met: in int8 with \d+ words the file still has 1,\d+ "
    ):
        fit_size(run, Sizes(), 1000)


def test_a_real_build_is_measured(run):
    model = load_classifier(run)
    sizes = [measure_with(kind, run, "text", None)(model, "float32") for kind in ("tflite", "onnx")]
    assert all(10_000 < size < 300_000 for size in sizes)


def test_fewer_words_read_as_unknown_and_the_export_says_what_it_costs(trained_run, tmp_path, monkeypatch):
    from switch_tf.export import budget as size

    monkeypatch.setattr(size, "_FEWEST_WORDS", 2)
    run = open_run(trained_run)
    whole = measure_with("onnx", run, "text", None)(load_classifier(run), "int8")  # and a little room
    path = tmp_path / "a.onnx"
    words = ("export", trained_run, "--format", "onnx", "--quantize", "int8", "--output", path)
    answer = ask(*words, "--max-size", whole - 300, "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said["fit"]["words"] < said["fit"]["words_of_run"] == len(run.vocabulary)
    assert said["fit"]["precision"] == "int8" and 0 < said["fit"]["accuracy"] <= 1
    assert path.stat().st_size <= whole - 300
    verified = ask("verify", trained_run, path, "--texts", 20, "--json")
    assert verified.code == 0, verified.err
    answer = ask(*words, "--max-size", whole + 1000)
    assert f"In {whole + 1000}: int8, {len(run.vocabulary)} of {len(run.vocabulary)} words, accuracy " in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "saved_model", "--max-size", "1M"), "--max-size is for --format onnx or tflite"),
        (("--format", "tflite", "--max-size", "1X"), "Received --max-size 1X. Expected a number of bytes"),
    ],
)
def test_words_that_do_not_fit_end_with_2(trained_run, arguments, message):
    answer = ask("export", trained_run, *arguments)
    assert (answer.code, answer.out) == (2, "") and message in answer.err
