"""The examples under examples/device, run as a newcomer would: Python, a page in a headless Chromium, and C++.

Each is compared with LiteRT in Python, asked through the `bytes` signature. Kotlin and Swift are not compiled here.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import JAVASCRIPT, Quiet, tiny_config

from switch_tf.data.request import DataRequest
from switch_tf.export.options import Precision
from switch_tf.export.proof.corpus import adversarial_texts
from switch_tf.export.tflite_file import flatbuffer as tflite_file
from switch_tf.export.tflite_file.build import build_tflite
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run
from switch_tf.runs.held_out import read_held_out
from switch_tf.text.byte_codes import pack
from switch_tf.training.session import train

pytestmark = pytest.mark.slow

KIT = Path(__file__).parents[1] / "examples" / "device"
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", (KIT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
# What random texts might lack. The model reads 256 bytes; some of these are cut.
TEXTS = [
    "lovely film",
    "",
    " \n\t",
    "!?",
    "lovely\r\n\r\nwarm\ttoo\u2028plot",
    "lovely 🙂 awful 👩‍👩‍👧‍👦🇩🇪 👍🏽film",
    "Ça m'a plu, naïve, SCHÖN schön sch\u0308on",
    "lovely\u00a0film\u00a0",
    "\ufefflovely",
    "中文 日本語 العربية हिन्दी",
    "lovely " * 100,
    "awful" + " " * 251 + "lovely",
    "awful" + " " * 244 + "lovelyé film",  # what is left of é makes "lovely" another word
    "🙂" * 100,
]
WITH_NUL = ["awful\0lovely lovely", "\0", "lovely\0"]  # no argument of a program can hold one
ASK_AND_EXIT = 120  # seconds
# Wasm sums in another order than x86-64. Integers do not mind, but a sum that is rounded to the next of 255 steps makes
# a difference of its own: 2.6e-5 at most in 1,756 texts and a model of 10,000 words.
BOUNDS = {"float32": 1e-5, "int8": 1e-3}


@pytest.fixture(scope="module")
def run(data_folder, tmp_path_factory):
    """A run whose experts and words are large enough for the converter to store them in int8."""
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    config = tiny_config("model.d_model=32", "model.d_ff=64", "train.epochs=2")
    return open_run(train(request, config, tmp_path_factory.mktemp("kit") / "run", Quiet()).path)


@pytest.fixture(scope="module")
def models(run, tmp_path_factory):
    """Folders by (precision, batch), each with a model.tflite and the labels that were packed behind it."""
    classifier = load_classifier(run)
    folders = {}
    wanted: list[tuple[Precision, int | None]] = [("float32", 1), ("int8", 1), ("float32", None), ("float32", 4)]
    for precision, batch in wanted:
        folder = folders[precision, batch] = tmp_path_factory.mktemp(f"{precision}-{batch}")
        (folder / "model.tflite").write_bytes(build_tflite(run, classifier, batch, precision))
        with zipfile.ZipFile(folder / "model.tflite") as archive:
            archive.extractall(folder, ["labels.json", "labels.txt"])
    return folders


@pytest.fixture(scope="module")
def texts(run):
    texts = [*TEXTS, *read_held_out(run), *adversarial_texts(run.config.text, run.vocabulary, 150, seed=7)]
    assert len(texts) > 160 and max(len(text.encode()) for text in texts) >= 10_000
    return texts


@pytest.fixture(scope="module")
def classify(compiler, tmp_path_factory):
    """The C++ example, built by the page's own commands against the library in the Python package."""
    program = tmp_path_factory.mktemp("cpp") / "classify"
    (build,) = (block for block in COMMANDS if "g++" in block)
    lines = [line for line in build.splitlines() if line.startswith(("litert=", "g++"))]
    assert len(lines) == 2
    strict = (
        "\n".join(lines).replace("g++", f"{compiler} -Wall -Wextra -Werror").replace("-o classify", f"-o {program}")
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    finished = subprocess.run(
        ["bash", "-ec", strict], cwd=KIT / "cpp", env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return program


def test_the_int8_file_does_hold_int8(models):
    int8, float32 = (models[precision, 1] / "model.tflite" for precision in ("int8", "float32"))
    types = {tensor.type for graph in tflite_file.unpack(int8.read_bytes()).subgraphs for tensor in graph.tensors}
    assert 9 in types  # the schema's number for it
    assert int8.stat().st_size < float32.stat().st_size


@pytest.mark.parametrize("made", [("float32", 1), ("float32", None), ("int8", 1)])
def test_without_signatures_output_0_is_probabilities_and_1_is_the_label(models, made):
    details = Interpreter(model_path=str(models[made] / "model.tflite")).get_output_details()
    assert [(each["dtype"], len(each["shape"])) for each in details] == [(np.float32, 2), (np.int32, 1)]


@pytest.mark.parametrize("made", [("float32", 1), ("float32", None), ("int8", 1)])
def test_the_python_example_answers_without_tensorflow_and_our_package(models, texts, made):
    finished = ask_python(models[made] / "model.tflite", [*texts, *WITH_NUL])
    assert finished.returncode == 0, finished.stderr
    assert_equal(rows(finished.stdout), in_python(models[made], [*texts, *WITH_NUL]), bound=1e-6)


def test_the_python_example_says_what_is_wrong(models, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(b"no model")
    for model, message in (
        (models["float32", 4] / "model.tflite", "takes 4 texts at a time. Export it without --batch"),
        (tmp_path / "none.tflite", "No such file"),
        (bare, "not a zip file"),
    ):
        finished = ask_python(model, ["lovely"])
        assert finished.returncode == 1 and "Traceback" not in finished.stderr
        assert re.search(f"classify.py: .*{message}", finished.stderr)
    assert "python classify.py MODEL TEXT..." in ask_python(bare, []).stderr


@pytest.mark.parametrize("made", [("float32", 1), ("float32", None), ("int8", 1)])
def test_the_cpp_example_answers_as_python(models, texts, classify, made):
    texts = [text for text in texts if "\0" not in text]
    assert len(texts) > 100
    finished = ask_cpp(classify, models[made] / "model.tflite", models[made] / "labels.txt", *texts)
    assert finished.returncode == 0, finished.stderr
    assert_equal(rows(finished.stdout), in_python(models[made], texts), bound=BOUNDS[made[0]])


def test_the_cpp_example_says_what_is_wrong(models, classify, tmp_path):
    folder, other, text = models["float32", 1], tmp_path / "labels.txt", tmp_path / "text.tflite"
    other.write_text("one\ntwo\nthree\n")
    text.write_text("no model")
    for arguments, code, message in (
        ([], 2, "Usage: .* MODEL LABELS TEXT"),
        ([folder / "none.tflite", folder / "labels.txt", "a"], 1, "Loading .*none.tflite fails"),
        ([text, folder / "labels.txt", "a"], 1, "Loading .*text.tflite fails"),
        ([folder / "model.tflite", tmp_path / "none", "a"], 1, "none cannot be read"),
        ([folder / "model.tflite", other, "a"], 1, "labels are of another model"),
        ([models["float32", 4] / "model.tflite", folder / "labels.txt", "a"], 1, "The batch is not 1. Export without"),
    ):
        finished = ask_cpp(classify, *arguments)
        assert finished.returncode == code and re.search(message, finished.stderr), finished.stderr
        assert finished.stdout == ""


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_page_answers_as_python(models, texts, node, chromium, precision):
    folder, texts = models[precision, 1], [*texts, *WITH_NUL]
    result = ask_page(node, chromium, folder, texts)
    labels, probabilities = in_python(folder, texts)
    answers = [answer["label"] for answer in result["answers"]], [each["probabilities"] for each in result["answers"]]
    assert_equal(answers, (labels, probabilities), bound=BOUNDS[precision])
    assert result["shown"] == f"{labels[0]} ({probabilities[0].max():.3f})"


def test_the_page_says_what_is_wrong(models, node, chromium, tmp_path):
    shown = ask_page(node, chromium, models["float32", None], ["lovely"])["error"]
    assert shown == "model.tflite has another batch than 1. Export it with --batch 1."
    assert ask_page(node, chromium, tmp_path, ["lovely"])["error"].endswith("cannot be fetched: 404 Not Found")


def in_python(folder, texts):
    """Labels, and probabilities [texts, classes], from the interpreter itself."""
    signature = Interpreter(model_path=str(folder / "model.tflite")).get_signature_runner("bytes")
    width = signature.get_input_details()["bytes"]["shape"][1]
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    answers = [signature(bytes=pack([text], width)) for text in texts]
    return [names[answer["label"][0]] for answer in answers], np.concatenate(
        [each["probabilities"] for each in answers]
    )


def ask_python(model, texts):
    """The example in a process that finds neither TensorFlow nor this package; NULs in `texts` arrive whole."""
    program = (
        "import json, runpy, sys\n"
        "for name in ('tensorflow', 'tf_keras', 'switch_tf'): sys.modules[name] = None\n"
        "sys.argv = json.load(sys.stdin)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    arguments = [str(KIT / "python" / "classify.py"), str(model), *texts]
    return subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", program],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def ask_cpp(program, *arguments):
    return subprocess.run(
        [program, *arguments], capture_output=True, encoding="utf-8", check=False, timeout=ASK_AND_EXIT
    )


def ask_page(node, chromium, folder, texts):
    """What litert.mjs prints."""
    finished = subprocess.run(
        [node, JAVASCRIPT / "litert.mjs", chromium, folder, KIT / "browser"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        timeout=ASK_AND_EXIT,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def rows(printed):
    """Labels and probabilities from lines of both, with tabs between."""
    fields = [line.split("\t") for line in printed.splitlines()]
    return [label for label, *_ in fields], [[float(number) for number in numbers] for _, *numbers in fields]


def assert_equal(received, expected, bound):
    """Probabilities within the bound, and all labels equal where the bound cannot change them."""
    (labels, probabilities), (expected_labels, expected_probabilities) = received, expected
    np.testing.assert_allclose(probabilities, expected_probabilities, rtol=0, atol=bound)
    ordered = np.sort(expected_probabilities, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 2 * bound
    assert clear.mean() > 0.9 and set(expected_labels) == {"bad", "good"}
    assert [label for label, sure in zip(labels, clear, strict=True) if sure] == [
        label for label, sure in zip(expected_labels, clear, strict=True) if sure
    ]
