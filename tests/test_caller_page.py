"""What stands beside an exported file: labels, and a page whose lines are run as they are."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import JAVASCRIPT

from switch_tf.errors import RunError
from switch_tf.export import caller_page
from switch_tf.export.caller_page import TEXT, labels_path, page_path, refuse_foreign_page
from switch_tf.export.format import FileFormat
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions
from switch_tf.export.session import find_artifacts
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow

CASES = {
    "text": ("onnx", ExportOptions("onnx")),
    "bytes": ("onnx", ExportOptions("onnx", inputs="bytes", batch=2)),
    "ids": ("onnx", ExportOptions("onnx", inputs="ids", batch=3)),
    "tflite": ("tflite", ExportOptions("tflite")),
    "tflite-batch1": ("tflite", ExportOptions("tflite", batch=1)),
}


@pytest.fixture(scope="module")
def exported(trained_run, trained_proof, tmp_path_factory) -> dict[str, Path]:
    """By case, a file that was exported into a folder of its own."""
    paths = {}
    for case, (name, options) in CASES.items():
        output = tmp_path_factory.mktemp(case) / f"it's-{case}.{name}"  # a name that has to be quoted
        paths[case], _ = FORMATS[name].export(open_run(trained_run), trained_proof, output, options)
    return paths


def block(path: Path, language: str) -> str:
    """The one block of code in that language on the page of an artifact."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", page_path(path).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_lines_of_python_answer_as_the_trained_model(exported, trained_proof, case):
    finished = subprocess.run(
        [sys.executable, "-I", "-c", block(exported[case], "python")],
        cwd=exported[case].parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    shown = re.fullmatch(r"(\w+) \[(.*)\]\n", finished.stdout)
    assert shown, finished.stdout
    (expected,) = trained_proof.model.probabilities([TEXT])
    assert [float(number) for number in shown[2].split()] == pytest.approx(expected.tolist(), abs=1e-5)
    assert shown[1] == ["bad", "good"][expected.argmax()]
    said = re.search(r"answers\s\"(\w+)\"\swith\s(\d\.\d+)\.", page_path(exported[case]).read_text("utf-8"))
    assert said and said[1] == shown[1] and float(said[2]) == pytest.approx(expected.max(), abs=1e-4)


def test_the_lines_of_javascript_answer_as_the_trained_model(exported, trained_proof, node):
    path = exported["text"]
    (path.parent / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    command = [node, "--input-type=module"]
    finished = subprocess.run(
        command, input=block(path, "js"), cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    shown = re.fullmatch(r"(\w+) Float32Array\(2\) \[(.*)\]", finished.stdout.strip())
    assert shown, finished.stdout
    (expected,) = trained_proof.model.probabilities([TEXT])
    assert [float(number) for number in shown[2].split(",")] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_lines_of_a_web_page_answer_as_the_trained_model(exported, trained_proof, node, chromium):
    path = exported["tflite-batch1"]
    (path.parent / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    (path.parent / "wasm").symlink_to(JAVASCRIPT / "node_modules" / "@litertjs" / "core" / "wasm")
    (path.parent / "page.html").write_text(_PAGE.replace("LINES", block(path, "js")), encoding="utf-8")
    command = [node, JAVASCRIPT / "show.mjs", chromium, path.parent, "page.html"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    label, probabilities = json.loads(finished.stdout)["text"].split()
    (expected,) = trained_proof.model.probabilities([TEXT])
    assert label == ["bad", "good"][expected.argmax()]
    assert [float(number) for number in probabilities.split(",")] == pytest.approx(expected.tolist(), abs=1e-5)


# What the lines print is shown; the paths are those of npm.
_PAGE = """<!doctype html><meta charset="utf-8">
<script type="importmap">
  { "imports": { "@litertjs/core": "./node_modules/@litertjs/core/dist/index.js",
                 "@litertjs/wasm-utils": "./node_modules/@litertjs/wasm-utils/dist/index.js" } }
</script>
<body><script>console.log = (...shown) => document.body.append(shown.join(" "));</script>
<script type="module">
LINES
</script>
"""


def test_of_many_labels_the_page_shows_some():
    caller = caller_page._Caller("model.onnx", "text", None, 0, [])
    shapes = {"inputs": {"text": {"type": "string", "shape": ["batch"]}}, "outputs": {}}
    page = caller_page._head(caller, [f"label{number}" for number in range(25)], {"": shapes}, None)
    assert "order of the 25 labels, which `model.onnx.labels.json` holds (here the first 20):" in page.replace(
        "\n", " "
    )
    assert '"label19"]' in page and "label20" not in page


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("text", "| `text`: string [batch] | `label`: string [batch], `probabilities`: float32 [batch, 2] |"),
        ("text", "The batch is any number of texts from 1 on."),
        ("bytes", "The batch is exactly 2."),
        ("bytes", "256 bytes in all"),
        ("ids", "`ids` takes 12 token ids a text"),
        ("tflite", "| tokenize | `bytes`: uint8 [batch, 256] | `ids`: int32 [batch, 12] |"),
        ("tflite", "`label` is an index into the labels"),
        ("tflite-batch1", "new Tensor(row, [1, 256])"),
    ],
)
def test_the_page_says_what_the_file_takes_and_answers(exported, case, said):
    page = page_path(exported[case]).read_text("utf-8")
    assert said in page.replace("\n", " ")
    assert max(map(len, page.splitlines())) <= 130


def test_labels_stand_beside_the_file_as_the_run_has_them(exported, trained_run):
    for path in exported.values():
        assert json.loads(labels_path(path).read_text("utf-8")) == open_run(trained_run).labels == ["bad", "good"]


def test_what_stands_beside_a_file_is_no_artifact(exported):
    run = SimpleNamespace(path=exported["text"].parent.parent)
    assert find_artifacts(run) == []  # type: ignore[arg-type]
    for path in exported.values():
        assert all(not each.recognizes(page_path(path)) for each in FORMATS.values())
        assert all(not each.recognizes(labels_path(path)) for each in FORMATS.values())
        assert FORMATS[path.suffix[1:]].find(path.parent) == [path]


def test_every_format_of_files_has_lines_of_its_own():
    assert {each.suffix for each in FORMATS.values() if isinstance(each, FileFormat)} == set(caller_page._LINES)


@pytest.mark.parametrize("name", ["model.onnx.README.md", "model.onnx.labels.json"])
def test_a_file_of_the_users_own_is_not_replaced(trained_run, trained_proof, tmp_path, name):
    (tmp_path / name).write_text("[]")
    with pytest.raises(RunError, match=rf"{name} was not written by an export"):
        FORMATS["onnx"].export(open_run(trained_run), trained_proof, tmp_path / "model.onnx", ExportOptions("onnx"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "[]")]


def test_what_an_export_wrote_is_replaced(exported):
    path = exported["text"]
    labels_path(path).unlink()
    refuse_foreign_page(path)
    labels_path(path).write_text('["bad", "good"]')
    refuse_foreign_page(path)
