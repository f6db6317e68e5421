"""Fitting a file into a budget: the least loss first, the words that stay, and a clear no."""

import json

import pytest
from conftest import ask

from switch_tf.errors import ArgumentError, ExportError
from switch_tf.export.budget import Fit, fit_size
from switch_tf.export.format import FileFormat
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions, Precision, parse_size
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


WORDS = 48


class Sizes:
    """Builds nothing but zeros: a file has 1,000 bytes and some for each word, by precision."""

    def __init__(self):
        self.asked = []

    def __call__(self, words, precision):
        self.asked.append((precision, words))
        return bytes(1000 + (WORDS if words is None else words) * {"float32": 40, "float16": 20, "int8": 10}[precision])


@pytest.mark.parametrize(
    ("text", "size"), [("1M", 1_000_000), ("1.5M", 1_500_000), ("800K", 800_000), ("123", 123), ("1G", 10**9)]
)
def test_sizes_are_decimal(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1MB", "M", "1e6", "1m", "9" * 40])
def test_what_is_no_size_is_a_usage_error(text):
    with pytest.raises(ArgumentError, match="Expected a number of bytes such as"):
        parse_size(text)


def test_the_least_lossy_precision_that_fits_is_taken_with_all_words():
    sizes: tuple[tuple[Precision, int], ...] = (("float32", 40), ("float16", 20), ("int8", 10))
    for precision, per_word in sizes:
        size = 1000 + per_word * WORDS
        build = Sizes()
        assert fit_size(build, WORDS, size) == Fit(precision, WORDS, bytes(size))
        assert build.asked[-1] == (precision, None)  # what was measured is what is returned: nothing is built twice
        assert len(set(build.asked)) == len(build.asked)
    assert fit_size(Sizes(), WORDS, 10**6, precisions=("int8",)).precision == "int8"


def test_then_the_rarest_words_go_and_as_few_as_needed(run, monkeypatch):
    from switch_tf.export import budget as size

    monkeypatch.setattr(size, "_FEWEST_WORDS", 2)
    build = Sizes()
    fit = fit_size(build, WORDS, 1000 + 10 * 17 + 5)
    assert fit == Fit("int8", 17, bytes(1170)) and len(build.asked) <= 7
    assert load_classifier(run, 17).vocabulary == run.vocabulary[:17]


def test_sizes_that_grow_unevenly_are_met_too():
    """As the pairs of words do: those of frequent words are many."""
    asked = []

    def build(words, precision):
        asked.append(words)
        return bytes(int(100_000 * (1 - 0.998 ** (10_000 if words is None else words))))

    fit = fit_size(build, 10_000, 85_000, precisions=("int8",))
    most = max(words for words in range(1, 10_000) if 100_000 * (1 - 0.998**words) < 85_001)
    assert most == 947
    assert 0.99 * most <= fit.words <= most and len(asked) <= 14


def test_what_cannot_be_met_is_refused_with_the_figures():
    with pytest.raises(
        ExportError, match=r"1,000 bytes cannot be met: in int8 with 48 words the file still has 1,480 bytes"
    ):
        fit_size(Sizes(), WORDS, 1000)


def build(kind, run, **options):
    made = FORMATS[kind]
    assert isinstance(made, FileFormat)
    return made.build(run, load_classifier(run), ExportOptions(kind, **options))


@pytest.mark.slow
def test_a_real_build_is_measured(run):
    assert all(10_000 < len(build(kind, run)) < 300_000 for kind in ("tflite", "onnx"))


@pytest.mark.slow
def test_fewer_words_read_as_unknown_and_the_export_says_what_it_costs(trained_run, tmp_path, monkeypatch):
    from switch_tf.export import budget as size

    monkeypatch.setattr(size, "_FEWEST_WORDS", 2)
    run = open_run(trained_run)
    whole = len(build("onnx", run, precision="int8"))
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
        (
            ("--format", "saved_model", "--max-size", "1M"),
            "leave it out. On the command line: --max-size.",
        ),
        (("--format", "tflite", "--max-size", "1X"), "Received the size '1X'. Expected a number of bytes"),
    ],
)
def test_words_that_do_not_fit_end_with_2(trained_run, arguments, message):
    answer = ask("export", trained_run, *arguments)
    assert (answer.code, answer.out) == (2, "") and message in answer.err
