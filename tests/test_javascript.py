"""The ONNX file answers in JavaScript as in Python: in Node, and in a page of a real headless Chromium."""

import json
import re
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import JAVASCRIPT, export_file

from switch_tf.export.proof.corpus import adversarial_texts
from switch_tf.export.proof.gate import Proof
from switch_tf.runs.folder import open_run
from switch_tf.runs.held_out import read_held_out

pytestmark = pytest.mark.slow

# Kinds of text that random ones might lack.
TEXTS = [
    "",
    " ",
    "!?",
    "\n",
    "lovely\nfilm\r\n\r\nwarm\ttoo\u2028plot",
    "lovely 🙂 awful 👩‍👩‍👧‍👦🇩🇪 👍🏽film",
    "Ça m'a plu, naïve, SCHÖN schön sch\u0308on",
    "lovely\u00a0film\u00a0",
    "\ufefflovely",
    "中文 日本語 العربية हिन्दी",
    "awful\0lovely\0",
]
ASK_AND_EXIT = 120  # seconds


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The file, in a folder of its own, which the browser's server shows."""
    return export_file("onnx", run, Proof(run, texts=60), tmp_path_factory.mktemp("javascript") / "model.onnx")[0]


@pytest.fixture(scope="module")
def texts(run):
    """At least 300, all of them UTF-8."""
    texts = [*TEXTS, *read_held_out(run), *adversarial_texts(run.config.text, run.vocabulary, 300, seed=11)]
    assert len(texts) == len([text.encode() for text in texts]) > 300
    return texts


@pytest.fixture(scope="module", params=["Node", "Chromium"])
def runtime(request, exported, node):
    """A function that asks one of the two runtimes: from questions, and a model if not `exported`, to answers."""

    def ask(questions, model=exported):
        if request.param == "Node":
            command = [node, JAVASCRIPT / "node.mjs", model]
        else:
            command = [node, JAVASCRIPT / "browser.mjs", request.getfixturevalue("chromium"), model.parent]
        finished = subprocess.run(
            command, input=json.dumps(questions), capture_output=True, text=True, check=False, timeout=ASK_AND_EXIT
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    return ask


def test_labels_are_equal_and_probabilities_within_the_bound(runtime, exported, texts):
    expected_labels, expected = in_python(exported, texts)
    assert set(expected_labels) == {"bad", "good"}
    for labels, probabilities in in_javascript(runtime, texts, sizes=(1, 7, 64)):
        assert labels == expected_labels
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_hostile_texts_have_finite_answers_equal_to_pythons(runtime, exported):
    texts = [
        "x" * 2**20,
        "lovely " * 150_000,
        "é" * 2**19,
        "!" * 200_000,
        "a!" * 100_000,
        "",
        "!?",
        " \n\t",
        "\0" * 5000,
    ]
    ((labels, probabilities),) = in_javascript(runtime, texts, sizes=[1])
    expected_labels, expected = in_python(exported, texts)
    assert np.isfinite(probabilities).all() and labels == expected_labels
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_both_runtimes_cut_a_text_at_nul_so_callers_replace_it_by_a_space(runtime, exported):
    text = "awful\0lovely lovely"
    cut, first_word, replaced = (
        answer["probabilities"] for answer in runtime([strings(each) for each in (text, "awful", without_nul(text))])
    )
    assert cut == first_word
    assert replaced == pytest.approx(in_python(exported, [text])[1][0].tolist(), abs=1e-5)
    assert abs(replaced[0] - cut[0]) > 0.01  # the words behind NUL do matter


def test_a_wrong_input_is_an_error_after_which_the_session_goes_on(runtime, exported):
    string_expected, rank_expected = r"expected: \(tensor\(string\)\)", "Invalid rank for input: text .* Expected: 1"
    wrong = [
        ({"text": ["float32", [1, 2], [2]]}, string_expected),
        ({"text": ["int32", [1], [1]]}, string_expected),
        ({"text": ["string", ["lovely", "film"], [1, 2]]}, rank_expected),
        ({"text": ["string", ["lovely"], []]}, rank_expected),
        ({"text": ["string", [], [0]]}, "status code|OrtRun"),  # the batch is at least 1
        ({"text": ["string", ["lovely", 5], [2]]}, "must be a string|is not a string"),
        ({"words": ["string", ["lovely"], [1]]}, "input 'text' is missing"),
    ]
    expected = in_python(exported, ["lovely film"])[1][0].tolist()
    answers = runtime([question for each, _ in wrong for question in (each, strings("lovely film"))])
    for (question, message), refused, answered in zip(wrong, answers[::2], answers[1::2], strict=True):
        assert list(refused) == ["error"] and re.search(message, refused["error"]), question
        assert answered["probabilities"] == pytest.approx(expected, abs=1e-5), question


def test_labels_outside_ascii_arrive_whole(runtime, exported, tmp_path):
    model = onnx.load(exported)
    (names,) = (tensor for tensor in model.graph.initializer if tensor.name == "label_names")
    names.string_data[:] = [name.encode() for name in ("nicht schön", "好 🙂")]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    (answer,) = runtime([strings("awful dull", "lovely great")], path)
    assert answer["labels"] == in_python(path, ["awful dull", "lovely great"])[0] == ["nicht schön", "好 🙂"]


def strings(*texts):
    """The question that asks for the answers to `texts`."""
    return {"text": ["string", texts, [len(texts)]]}


def without_nul(text):
    return text.replace("\0", " ")


def in_javascript(runtime, texts, sizes):
    """For each batch size: labels, and probabilities [texts, classes]; NULs are replaced."""
    clean = [without_nul(text) for text in texts]
    starts = [(start, size) for size in sizes for start in range(0, len(clean), size)]
    answers = runtime([strings(*clean[start : start + size]) for start, size in starts])
    assert not [answer["error"] for answer in answers if "error" in answer]
    labels = [label for answer in answers for label in answer["labels"]]
    probabilities = np.concatenate([np.reshape(answer["probabilities"], answer["dims"]) for answer in answers])
    count = len(texts)
    return [(labels[at : at + count], probabilities[at : at + count]) for at in range(0, len(labels), count)]


def in_python(model, texts):
    """Labels, and probabilities [texts, classes], from ONNX Runtime in Python, NULs and all."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(["label", "probabilities"], {"text": np.array(texts, object)})
    return labels.tolist(), probabilities
