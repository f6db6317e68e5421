"""What a user's terminal shows of a command: its own lines and none of the libraries', each time in a new process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_run, tiny_arguments

# What only some commands need: Keras 3, the metrics' and the plots' libraries, the exporters'.
HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "onnx", "tf2onnx")


def switch_tf(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command in a process whose user has set nothing for TensorFlow but `settings`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-m", "switch_tf", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment | settings)


def loaded_after(*commands: list[object]) -> list[tuple[int, str, list[str]]]:
    """Exit code, stderr and which of `HEAVY` are loaded after each command, all in one process."""
    code = f"""
import contextlib, io, json, sys
from switch_tf.cli import main
for words in {[list(map(str, words)) for words in commands]!r}:
    said = io.StringIO()
    out = io.TextIOWrapper(io.BytesIO())
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            main(words)
    except SystemExit as stop:
        print(json.dumps([stop.code or 0, said.getvalue(), [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    answers = [(code, said, loaded) for code, said, loaded in map(json.loads, done.stdout.splitlines())]
    assert len(answers) == len(commands)
    return answers


class TestRefusals:
    def test_come_before_tensorflow_is_loaded(self, trained_run: Path, data_folder: Path, tmp_path: Path) -> None:
        data, test, taken = data_folder / "made.tsv", data_folder / "made-test.tsv", tmp_path / "taken"
        taken.write_text("")
        cases: list[tuple[list[object], str]] = [
            (["train", "none.csv"], "There is no none.csv."),
            (["train", taken], "taken is empty."),
            (["train", data, "--label-column", "stars"], "there is no column 'stars'"),
            (["train", data, "--test", "none.csv"], "There is no none.csv."),
            (["train", data, "--set", "train.epochs=0"], "train.epochs"),
            (["train", data, "--config", "none.toml"], "There is no settings file none.toml."),
            (["train", data, "--output", trained_run], "already exists"),
            (["train", "--resume", "--output", tmp_path / "none"], "There is nothing to resume"),
            (["evaluate", "none", test], "none does not exist."),
            (["evaluate", trained_run, "none.csv"], "There is no none.csv."),
            (["evaluate", trained_run, test, "--text-column", "words"], "there is no column 'words'"),
            (["predict", "none", "a"], "none does not exist."),
            (["predict", tmp_path / "none.onnx", "a"], "none.onnx does not exist."),
            (["predict", taken, "a"], "is not a model."),
            (["predict", trained_run, "a", "--threads", 2], "is no .onnx or .tflite file"),
            (["predict", trained_run, "--input", "none.csv"], "There is no file none.csv."),
            (["predict", trained_run, "--input", test, "--text-column", "words"], "there is no column 'words'"),
            (["export", "none", "--format", "onnx"], "There is no run folder none."),
            (["export", trained_run, "--format", "onnx", "--output", "a.bin"], "ends in .onnx"),
            (["export", trained_run, "--format", "tflite", "--max-size", "much"], "Received the size 'much'."),
            (["export", trained_run, "--format", "saved_model", "--output", taken], "which is a file"),
            (["export", trained_run, "--format", "saved_model", "--batch", 2], "leave it out"),
            (["verify", "none"], "There is no run folder none."),
            (["verify", trained_run, "none.onnx"], "There is no none.onnx."),
            (["verify", trained_run, "--data", "none.csv"], "There is no file none.csv."),
        ]
        for (words, message), (code, said, loaded) in zip(cases, loaded_after(*(c for c, _ in cases)), strict=True):
            assert (code in (1, 2), message in said, loaded) == (True, True, []), (words, code, said, loaded)


class TestPredict:
    def test_a_run_answers_without_a_stray_line(self, trained_run: Path) -> None:
        done = switch_tf("predict", trained_run, "a lovely film")
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_run_loads_no_keras_3_and_nothing_that_it_does_not_use(self, trained_run: Path) -> None:
        assert loaded_after(["predict", trained_run, "a"]) == [(0, "", ["tensorflow"])]

    def test_verbose_says_what_takes_how_long_and_shows_tensorflows_log(self, trained_run: Path) -> None:
        done = switch_tf("--verbose", "predict", trained_run, "a lovely film")
        assert done.returncode == 0
        for what in ("Loading TensorFlow", f"Loading {trained_run}"):
            assert re.search(rf"^\[ *\d+\.\d\d s\] {re.escape(what)}: \d+\.\d\d s$", done.stderr, re.MULTILINE), what
        assert "port.cc" in done.stderr or "cpu_feature_guard.cc" in done.stderr

    def test_the_users_level_of_the_log_wins_over_verbose(self, trained_run: Path) -> None:
        done = switch_tf("--verbose", "predict", trained_run, "a lovely film", TF_CPP_MIN_LOG_LEVEL="3")
        assert done.returncode == 0
        assert all(line.startswith("[") for line in done.stderr.splitlines())


@pytest.fixture(scope="module")
def run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with an artifact of each format, made by a command that is looked at itself."""
    run = copy_run(trained_run, tmp_path_factory.mktemp("quiet") / "run")
    done = switch_tf("export", run, "--format", "all")
    assert (done.returncode, done.stderr) == (0, "")
    return run


@pytest.mark.slow
class TestAllArtifacts:
    def test_each_answers_without_a_stray_line_and_loads_nothing_that_it_does_not_use(self, run: Path) -> None:
        artifacts = [run / "export" / name for name in ("model.onnx", "model.tflite", "saved_model")]
        answers = loaded_after(*(["predict", artifact, "a"] for artifact in artifacts))
        onnx = "ONNX Runtime, CPUExecutionProvider\n"
        assert answers == [(0, onnx, []), (0, "LiteRT\n", []), (0, "", ["tensorflow"])]
        assert switch_tf("predict", artifacts[1], "a").stderr == "LiteRT\n"

    def test_verifying_all_says_only_what_it_does(self, run: Path) -> None:
        done = switch_tf("verify", run, "--texts", 100)
        assert done.returncode == 0
        assert all(line.startswith(("Loading the trained", "Comparing ")) for line in done.stderr.splitlines())
        assert switch_tf("verify", run, "--texts", 100, "--quiet").stderr == ""


@pytest.mark.slow
def test_training_shows_its_own_lines_alone(data_folder: Path, tmp_path: Path) -> None:
    words = ["train", data_folder / "made.tsv", "--output", tmp_path / "run", "--epochs", 2, *tiny_arguments()]
    done = switch_tf(*words)
    assert done.returncode == 0
    first, *others, last = done.stderr.splitlines()
    assert first == f"Training on {data_folder / 'made.tsv'}; the run will be in {tmp_path / 'run'}"
    begins = [line.split()[0] for line in others if line.strip()]
    table = begins.index("epoch")
    assert begins[table - 1 : table + 3] == ["training", "epoch", "1/2", "2/2"]
    assert last == f"Next: switch-tf predict {tmp_path / 'run'} 'Your text here.'"
    assert not re.search("WARNING|INFO|retracing|absl", done.stderr)
    words[3] = tmp_path / "again"
    again = switch_tf(*words, "--quiet", "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout)["run"] == str(tmp_path / "again")


@pytest.mark.parametrize(
    "module", ["switch_tf.training.session", "switch_tf.training.loop", "switch_tf.export.session"]
)
def test_training_and_exporting_import_nothing_before_they_use_it(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = ["tensorflow"] if module.endswith("loop") else []
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")
