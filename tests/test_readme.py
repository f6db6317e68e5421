"""README is what a newcomer pastes: commands and examples run here, but the two set-up lines, which `.ci/run` runs."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import JAVASCRIPT, said_without

from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.artifacts.tflite_file import TFLitePredictor

pytestmark = pytest.mark.slow

README = Path(__file__).parents[1] / "README.md"
CI = README.parent / ".ci" / "run"


def blocks_of(page):
    """(language, content) of each block of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


BLOCKS = blocks_of(README)
PYTHON_PAGE = "".join(
    block for language, block in blocks_of(README.parent / "docs" / "python.md") if language == "python"
)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
SET_UP = [line for line in COMMANDS if "-m venv" in line]
USE = [line for line in COMMANDS if line not in SET_UP]
(TFLITE_EXAMPLE,) = (block for language, block in BLOCKS if "model.tflite" in block and language == "python")
ONNX_EXAMPLES = {language: block for language, block in BLOCKS if "model.onnx" in block and language != "sh"}
TEXT = "Raw text, any length."  # what the examples ask


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained_run):
    """Where a reader stands who has run the quickstart and has a file of texts."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(trained_run, folder / "runs" / "quickstart")
    with (folder / "my_texts.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["review", "stars"])
        for i in range(40):
            writer.writerow([f"bad number {i}", "1"] if i % 2 else [f"good number {i}", "5"])
    return folder


@pytest.fixture(scope="module")
def with_packages(folder, node):
    """`folder` after `npm install`."""
    (folder / "node_modules").symlink_to(JAVASCRIPT / "node_modules")


def test_the_set_up_commands_are_two_lines_that_make_their_own_environment():
    assert len(SET_UP) == 2
    for line in SET_UP:
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    assert SET_UP[0].endswith("switch-tf quickstart") and SET_UP[1].endswith("pytest")


def test_ci_runs_both_set_up_commands_and_skips_no_test():
    script = CI.read_text(encoding="utf-8")
    assert "\nexport CI=true\n" in script
    for heading in ("Try it", "Work on it"):
        assert f"readme_command '{heading}'" in script
        assert f"\n## {heading}\n" in README.read_text(encoding="utf-8")


def test_every_command_runs_in_the_order_of_the_page(folder):
    assert len(USE) >= 6
    for line in USE:
        finished = subprocess.run(
            ["bash", "-c", runnable(line)], cwd=folder, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, f"{line}\n{finished.stderr}"
        if "--json" in line:
            assert finished.stdout.startswith('{"label": ')


def test_the_first_command_needs_a_table_alone(folder, tmp_path):
    (tmp_path / "my_texts.csv").write_text(
        (folder / "my_texts.csv").read_text(encoding="utf-8").replace("review,stars", "text,label"), encoding="utf-8"
    )
    (command, *_) = [block.removeprefix("$ ").strip() for language, block in BLOCKS if language == "console"]
    finished = subprocess.run(
        ["bash", "-c", runnable(command)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in tmp_path.glob("runs/*/export/*.onnx")] == ["model.onnx"]


def test_the_json_shown_is_an_answer_of_predict():
    (shown,) = [json.loads(block) for language, block in BLOCKS if language == "json"]
    assert list(shown) == ["label", "score", "probabilities"]
    assert shown["score"] == shown["probabilities"][shown["label"]] == max(shown["probabilities"].values())
    assert sum(shown["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_the_lines_for_tf_serving_are_those_of_the_page_that_the_export_wrote(folder):
    (block,) = [block for language, block in BLOCKS if language == "console" and "docker" in block]
    start, ask, answer = block.splitlines()
    matched = re.fullmatch(r"\$ cd (\S+) && docker compose up --detach", start)
    assert matched, start
    served = folder / matched[1]
    assert (served / "docker-compose.yml").is_file()
    page = (served / "README.md").read_text(encoding="utf-8").splitlines()
    assert ask.removeprefix("$ ") in page
    written = json.loads(page[page.index(ask.removeprefix("$ ")) + 4])
    assert json.loads(answer).keys() == written.keys()
    assert json.loads(answer)["predictions"][0].keys() == written["predictions"][0].keys()


@pytest.mark.parametrize("example", [block for language, block in BLOCKS if language == "python"])
def test_the_python_examples_run_on_what_the_commands_made(folder, example):
    finished = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "probabilities" not in finished.stdout and "[" in finished.stdout


def test_the_python_page_runs_from_top_to_bottom_and_prints_what_it_says(folder):
    finished = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", PYTHON_PAGE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    said = re.findall(r"print\(error\)  # (.*?)(?: \.\.\.)?$", PYTHON_PAGE, re.MULTILINE)
    assert len(said) == 2
    for message in said:
        assert message in finished.stdout
    assert (folder / "runs" / "first" / "export" / "model-int8.onnx").is_file()
    assert len(re.findall(r"^ +3/3 ", finished.stderr, re.MULTILINE)) == 1


def test_the_onnx_examples_ask_the_same_in_five_lines():
    assert list(ONNX_EXAMPLES) == ["python", "js", "html"]
    for example in ONNX_EXAMPLES.values():
        lines = re.sub("<script type=.importmap.*?</script>|<.*?>", "", example, flags=re.DOTALL).split("\n")
        assert len(list(filter(str.strip, lines))) == 5
        assert f'["{TEXT}"]' in example and '"runs/mine/export/model.onnx"' in example


def test_the_node_example_answers_as_python(folder, with_packages, node):
    command, example = [node, "--input-type=module"], ONNX_EXAMPLES["js"]
    finished = subprocess.run(command, input=example, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    shown = re.fullmatch(r"\[ '(.*)' \] Float32Array\(2\) \[(.*)\]", finished.stdout.strip())
    assert shown, finished.stdout
    assert_is_the_answer(folder, *shown.groups())


def test_the_page_shows_pythons_answer_and_fetches_the_wasm_runtime_alone(folder, with_packages, node, chromium):
    (folder / "page.html").write_text(ONNX_EXAMPLES["html"], encoding="utf-8")
    command = [node, JAVASCRIPT / "show.mjs", chromium, folder, "page.html"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    shown = json.loads(finished.stdout)
    assert_is_the_answer(folder, *shown["text"].split())
    runtime = "/node_modules/onnxruntime-web/dist/ort"
    fetched = {"/runs/mine/export/model.onnx", f"{runtime}.wasm.bundle.min.mjs", f"{runtime}-wasm-simd-threaded.wasm"}
    assert set(shown["fetched"]) - {"/favicon.ico"} == fetched


def test_the_tflite_example_is_five_lines_and_needs_numpy_and_litert_alone(folder):
    lines = [line for line in TFLITE_EXAMPLE.splitlines() if line and not re.match("import|from", line)]
    assert len(lines) == 5 and f'"{TEXT}"' in TFLITE_EXAMPLE
    said = said_without(["tensorflow", "tf_keras", "switch_tf", "onnxruntime"], TFLITE_EXAMPLE, "-I", folder=folder)
    shown = re.fullmatch(r"\[(\d)\] \[\[(.*)\]\]", said)
    assert shown, said
    predictor = TFLitePredictor(folder / "runs" / "mine" / "export" / "model.tflite")
    label, probabilities = predictor.labels[int(shown[1])], ",".join(shown[2].split())
    assert_is_the_answer(folder, label, probabilities, predictor)


def assert_is_the_answer(folder, label, probabilities, predictor=None):
    """`probabilities` are numbers with commas between."""
    predictor = predictor or OnnxPredictor(folder / "runs" / "mine" / "export" / "model.onnx")
    (expected,) = predictor.probabilities([TEXT])
    assert label == predictor.labels[expected.argmax()]
    assert [float(number) for number in probabilities.split(",")] == pytest.approx(expected.tolist(), abs=1e-5)


def runnable(line: str) -> str:
    """The line with `switch-tf` as the one of this environment, wherever the shell would look; no long search."""
    program = f"{shlex.quote(sys.executable)} -c 'from switch_tf.cli import main; main()'"
    line = re.sub(r"--autotune \d+", "--autotune 0.4", line)
    return re.sub(r"(^|\| |&& )switch-tf", lambda match: match[1] + program, line)
