"""TensorFlow's start is quiet, and what is wrong is not: in processes of their own, with a TensorFlow made up."""

import subprocess
import sys
from pathlib import Path

import pytest

NOTES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795693155.940719   10566 port.cc:153] oneDNN custom operations are on.\n"
    "W0000 00:00:1795693155.940719   10566 made_up.cc:1] A warning.\n"
    "E0000 00:00:1795693155.940719   10566 cuda_dnn.cc:12] Unable to register cuDNN factory.\n"
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
)
FATAL = "F0000 00:00:1795693155.940719   10566 cpu_feature_guard.cc:9] compiled to use AVX instructions\n"


def imported(tmp_path: Path, body: str, *settings: str, program: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a program that imports ours and then a TensorFlow of these lines."""
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, {NOTES.encode()!r})\n{body}\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import switch_tf, tensorflow\n{program}"
    words = ["env", "-u", "TF_CPP_MIN_LOG_LEVEL", "-u", "TF_USE_LEGACY_KERAS", *settings, sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class TestStart:
    def test_notes_are_left_out_and_all_else_is_passed_on(self, tmp_path: Path) -> None:
        body = f"os.write(2, {f'something else{chr(10)}{FATAL}'.encode()!r})"
        after = "import os; os.write(2, b'I0000 00:00:1.5 1 a.cc:1] later\\n')"
        later = "I0000 00:00:1.5 1 a.cc:1] later\n"
        assert imported(tmp_path, body, program=after) == (0, "", f"something else\n{FATAL}{later}")

    @pytest.mark.parametrize(
        ("level", "shown"), [("3", []), ("2", [3]), ("1", [2, 3]), ("0", [0, 1, 2, 3, 4]), ("all", [0, 1, 2, 3, 4])]
    )
    def test_the_users_level_wins(self, level: str, shown: list[int], tmp_path: Path) -> None:
        lines = NOTES.splitlines(keepends=True)
        expected = "".join(lines[number] for number in shown)
        assert imported(tmp_path, "", f"TF_CPP_MIN_LOG_LEVEL={level}") == (0, "", expected)

    def test_an_import_that_fails_shows_everything(self, tmp_path: Path) -> None:
        code, _, err = imported(tmp_path, "raise ImportError('no such library')")
        assert code == 1
        assert err.startswith(NOTES) and err.endswith("ImportError: no such library\n")

    def test_a_process_that_is_aborted_shows_everything(self, tmp_path: Path) -> None:
        code, _, err = imported(tmp_path, f"os.write(2, {FATAL.encode()!r}); os.abort()")
        assert code < 0
        assert err.startswith(NOTES + FATAL)

    def test_a_process_without_standard_error_imports_it_too(self, tmp_path: Path) -> None:
        (tmp_path / "tensorflow.py").write_text("there = True")
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import switch_tf, tensorflow; print('done')"
        words = ["bash", "-c", '"$0" -c "$1" 2>&-', sys.executable, code]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "done\n"


class TestVariables:
    PROGRAM = "import os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'], os.environ['TF_USE_LEGACY_KERAS'])"

    def test_they_are_set_before_tensorflow_is_imported(self, tmp_path: Path) -> None:
        assert imported(tmp_path, self.PROGRAM)[:2] == (0, "3 1\n")

    def test_what_the_user_set_is_left(self, tmp_path: Path) -> None:
        settings = ["TF_CPP_MIN_LOG_LEVEL=1", "TF_USE_LEGACY_KERAS=0"]
        assert imported(tmp_path, self.PROGRAM, *settings)[:2] == (0, "1 0\n")

    def test_nothing_is_set_where_tensorflow_came_first(self, tmp_path: Path) -> None:
        (tmp_path / "tensorflow.py").write_text("")
        code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
import tensorflow, switch_tf
print([name for name in os.environ if name.startswith("TF_")], [type(each).__name__ for each in sys.meta_path][0])
"""
        words = ["env", "-i", sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "TF_CPP_MIN_LOG_LEVEL" not in done.stdout and "_TensorFlowFinder" not in done.stdout

    def test_the_package_alone_loads_little(self) -> None:
        code = "import sys, switch_tf; print(sorted({'tensorflow', 'numpy', 'ctypes', 'logging'} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
