"""What surrounds a command: signals, closed and full streams, terminals that are not UTF-8."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import tiny_arguments

from switch_tf import files
from switch_tf.cli import process

COMMAND = [sys.executable, "-m", "switch_tf"]
NAMES = ["schön", "日本"]  # the first is in latin-1, the second in no code page of the west


def run(words: list[object], encoding: str | None = None, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = os.environ | ({"PYTHONIOENCODING": encoding} if encoding else {})
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        env=environment | options.pop("env", {}),
        check=False,
        **options,
    )


def shell(words: list[object], redirection: str) -> "subprocess.CompletedProcess[bytes]":
    line = f"{shlex.join([*COMMAND, *map(str, words)])} {redirection}"
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=False)


@pytest.fixture(scope="module")
def named_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose labels are `NAMES`."""
    import shutil

    from switch_tf.runs.folder import write_manifest

    copy = Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("named") / "run"))
    files.write_json(copy / "labels.json", NAMES)
    write_manifest(copy)
    return copy


class TestTerminals:
    """Finished work is shown whatever the terminal's encoding."""

    @pytest.mark.parametrize(
        ("encoding", "expected"),
        [
            ("utf-8", {"schön", "日本"}),
            ("latin-1", {"schön", "\\u65e5\\u672c"}),
            ("ascii", {"sch\\xf6n", "\\u65e5\\u672c"}),
            ("cp1252", {"schön", "\\u65e5\\u672c"}),
            ("cp437", {"schön", "\\u65e5\\u672c"}),
        ],
    )
    def test_names_that_it_lacks_are_escaped(self, encoding: str, expected: set[str], named_run: Path) -> None:
        done = run(["predict", named_run, "lovely film", "dull plot"], encoding)
        assert done.returncode == 0, done.stderr
        shown = done.stdout.decode(encoding)
        assert all(name in shown for name in expected)

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
    def test_json_is_utf8_in_any(self, encoding: str, named_run: Path) -> None:
        done = run(["predict", named_run, "lovely film", "--json"], encoding)
        assert list(json.loads(done.stdout.decode("utf-8"))["probabilities"]) == NAMES

    @pytest.mark.parametrize(
        ("encoding", "environment"),
        [("latin-1", {}), ("ascii", {}), (None, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})],
    )
    def test_tables_fall_back_to_ascii(
        self, encoding: str | None, environment: dict[str, str], named_run: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "data.csv"
        data.write_text("text,label\nlovely film,schön\ndull plot,日本\n", "utf-8")
        done = run(["evaluate", named_run, data], encoding, env=environment)
        assert done.returncode == 0, done.stderr
        shown = done.stdout.decode(encoding or "ascii")
        assert "| macro-F1 |" in shown and "+--" in shown and "\\u65e5\\u672c" in shown

    def test_a_training_ends_well(self, data_folder: Path, tmp_path: Path) -> None:
        words = ["train", data_folder / "made.tsv", "--output", tmp_path / "naïve日本", "--epochs", "1"]
        done = run([*words, *tiny_arguments()], "ascii")
        assert done.returncode == 0, done.stderr
        assert b"na\\xefve\\u65e5\\u672c" in done.stderr and b"| validation |" in done.stderr
        assert (tmp_path / "naïve日本" / "manifest.json").exists()

    @pytest.mark.parametrize(("encoding", "signs"), [("utf-8", ["✓", "✗"]), ("ascii", ["ok", "failed"])])
    def test_marks_of_a_comparison_become_words(self, encoding: str, signs: list[str]) -> None:
        code = """
from switch_tf.cli.process import prepare_streams
from switch_tf.cli.shared import console
from switch_tf.export.proof.parity import Comparison
from switch_tf.reporting.tables import parity_table
prepare_streams()
figures = ("text", 1, "float32", 1, 1, 0.0, 1, 0, 0.0)
both = [Comparison("a.onnx", *figures, []), Comparison("b.onnx", *figures, ["other token ids"])]
console(stderr=False).print(parity_table(both))
"""
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
        *_, marks, _ = done.stdout.decode(encoding).splitlines()
        assert marks.replace("│", " ").replace("|", " ").split() == signs


class TestStreams:
    def test_a_closed_stdout_ends_with_1_before_anything_is_done(self, trained_run: Path) -> None:
        done = shell(["predict", trained_run, "lovely film"], ">&-")
        assert done.returncode == 1
        assert done.stderr == b"Error: Input or output: Stdout is closed. Expected a place for the answer.\n"

    def test_a_closed_stdin_ends_with_1(self, trained_run: Path) -> None:
        done = shell(["predict", trained_run, "--input", "-"], "<&-")
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.endswith(b"Error: Stdin is closed. Expected texts there, one a line.\n")

    def test_a_closed_stderr_changes_nothing(self, trained_run: Path) -> None:
        done = shell(["predict", trained_run, "lovely film", "--json"], "2>&-")
        assert done.returncode == 0
        assert json.loads(done.stdout)["label"] in ("bad", "good")

    @pytest.mark.parametrize(
        "words", [["predict", "RUN", "a"], ["predict", "RUN", "a", "--json"], ["--help"], ["--version"]]
    )
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    def test_a_full_disk_behind_stdout_ends_with_1(self, words: list[str], trained_run: Path) -> None:
        done = shell([trained_run if word == "RUN" else word for word in words], ">/dev/full")
        assert done.returncode == 1
        assert done.stderr.endswith(b"No space left on device.\n") and b"Traceback" not in done.stderr


# A command that says when it has begun, and then works for long; what it wrote goes when it ends.
WORKING = """
import sys, time
from pathlib import Path
from switch_tf import files
from switch_tf.artifacts import opening
def work(*_, **__):
    with files.new_folder(Path(sys.argv[1])):
        print("working", flush=True)
        {work}
opening.load_predictor = work
from switch_tf.cli import main
main(["predict", "none", "a"])
"""
# Whoever runs the tests may have signals ignored, as nohup and a shell's background do, and children inherit that.
ATTENTIVE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
SLEEP = "time.sleep(600)"
# What TensorFlow's C++ makes of an interruption inside a callback.
WRAP = """
        try:
            time.sleep(600)
        except BaseException:
            pass
        raise RuntimeError("pybind11::error_already_set: MISMATCH of exception types")
"""


class TestSignals:
    @pytest.mark.parametrize("work", [SLEEP, WRAP], ids=["raised", "made an error by C++"])
    @pytest.mark.parametrize(
        ("number", "code", "word"),
        [
            (signal.SIGINT, 130, b"Error: Interrupted."),
            (signal.SIGTERM, 143, b"Error: Ended by SIGTERM."),
            (signal.SIGHUP, 129, b"Error: Ended by SIGHUP."),
        ],
    )
    def test_they_clean_up_and_are_told(self, number: int, code: int, word: bytes, work: str, tmp_path: Path) -> None:
        command = [sys.executable, "-c", ATTENTIVE + WORKING.format(work=work), str(tmp_path / "folder")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"working\n"
            child.send_signal(number)
            _, said = child.communicate()
        assert (child.returncode, said.strip()) == (code, word)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_ignored_stays_ignored(self, tmp_path: Path) -> None:
        code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + WORKING.format(work="time.sleep(0.5)")
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "folder")], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"working\n"
            child.send_signal(signal.SIGHUP)
            child.communicate()
        assert child.returncode != 129
        assert (tmp_path / "folder").exists()

    def test_handlers_are_as_before_behind_it(self) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with process.stopping_on_signals():
            assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
        assert {number: signal.getsignal(number) for number in before} == before

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_one_that_comes_during_an_import_waits_for_its_end(self, number: int, code: int, tmp_path: Path) -> None:
        """An exception that passed through TensorFlow's libraries while they load would abort the process."""
        (tmp_path / "slowly.py").write_text(
            "import time\nprint('working', flush=True)\ntime.sleep(0.5)\nprint('loaded', flush=True)"
        )
        program = ATTENTIVE + WORKING.format(work="import slowly; time.sleep(600)")
        command = [sys.executable, "-c", program, str(tmp_path / "folder")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            assert [child.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
            child.send_signal(number)
            out, _ = child.communicate()
        assert (child.returncode, out) == (code, b"loaded\n")
        assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["slowly.py"]

    def test_one_that_waited_to_the_end_is_not_lost(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "stopper.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)")
        monkeypatch.syspath_prepend(tmp_path)
        before = sys.getprofile()
        with pytest.raises(process.Stopped) as stopped, process.stopping_on_signals():
            __import__("stopper")
        assert stopped.value.number == signal.SIGTERM and sys.getprofile() is before

    def test_one_that_comes_while_tensorflow_calls_python_waits_for_its_end(self) -> None:
        import tensorflow as tf

        seen: list[str] = []

        def traced(x: Any) -> Any:
            signal.raise_signal(signal.SIGTERM)
            seen.append("still here")
            return x + 1

        with pytest.raises(process.Stopped), process.stopping_on_signals():
            tf.function(traced)(tf.constant(1))
            seen.append("too late")
        assert seen == ["still here"]

    def test_one_that_comes_again_does_not_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "in_libraries", lambda frame: True)
        with pytest.raises(process.Stopped), process.stopping_on_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it waited")

    @pytest.mark.parametrize("verb", ["train", "export", "predict", "verify"])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.slow
    def test_one_that_comes_while_the_libraries_load_ends_the_command(
        self,
        verb: str,
        number: int,
        code: int,
        data_folder: Path,
        trained_run: Path,
        exported_saved_model: Any,
        tmp_path: Path,
    ) -> None:
        """Where C++ calls Python while it is loaded: at the first frame that an import of TensorFlow leads to."""
        words = {
            "train": [data_folder / "made.tsv", "--output", tmp_path / "run", *tiny_arguments()],
            "export": [trained_run, "--format", "onnx", "--output", tmp_path / "a.onnx"],
            "predict": [trained_run, "a text"],
            "verify": [trained_run, exported_saved_model[0]],
        }[verb]
        program = """
import os, sys
def hook(event, arguments, seen=set()):
    if event == "import" and arguments[0] in ("tensorflow.python._pywrap_tensorflow_internal", "h5py.defs"):
        os.kill(os.getpid(), NUMBER)
sys.addaudithook(hook)
from switch_tf.cli import main
main()
"""
        command = [sys.executable, "-c", ATTENTIVE + program.replace("NUMBER", str(int(number))), verb]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (code, b""), done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith(b"Error: ") and b"Traceback" not in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_an_error_without_a_signal_stays_what_it_is(self) -> None:
        with pytest.raises(ValueError, match="mine"), process.stopping_on_signals():
            raise ValueError("mine")
        assert process.interruption(ValueError()) is None

    def test_what_click_made_of_an_interruption_is_found(self) -> None:
        abort = click.Abort()
        abort.__cause__ = process.Stopped(signal.SIGTERM)
        found = process.interruption(abort)
        assert found is abort.__cause__
        found.args = ("More.",)
        assert process.last_words(found) == ("Ended by SIGTERM. More.", 143)
        assert process.last_words(KeyboardInterrupt()) == ("Interrupted.", 130)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_an_interrupted_training_says_how_it_goes_on(
        self, number: int, code: int, data_folder: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "my run"
        words = [
            "train",
            data_folder / "made.tsv",
            "--output",
            output,
            *tiny_arguments("train.epochs=5000", "train.patience=5000"),
        ]
        command = [sys.executable, "-c", f"{ATTENTIVE}from switch_tf.cli import main\nmain()", *map(str, words)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            while not child.stderr.readline().strip().startswith("2/5000 "):
                assert child.poll() is None
            child.send_signal(number)
            said = child.stderr.read()
        assert child.returncode == code
        assert said.strip().endswith(
            f"What is done so far is kept: `switch-tf train --output '{output}' --resume` goes on."
        )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["my run.unfinished"]
        assert not any(path.name.startswith(".") for path in (tmp_path / "my run.unfinished").iterdir())
