"""The compile checks run as a person would run them, and each says so when its control does not fail."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "compile_checks.py"


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("xla", ["ids", "bytes", "training step"]),
        ("static", ["ids", "bytes", "control: boolean_mask", "bounded shape"]),
        ("onnx", ["gather", "einsum", "control: the same at opset 20", "Equal 19"]),
    ],
)
def test_a_check_passes_on_a_run_and_shows_its_control(trained_run: Path, check: str, expected: list[str]) -> None:
    finished = subprocess.run([sys.executable, TOOL, check, trained_run], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert all(word in finished.stdout for word in expected) and "✗" not in finished.stdout


def test_signs_of_dynamic_shapes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOL.parent)
    from compile_checks import _dynamic

    assert list(_dynamic("%a = f32[8,2]{1,0} add(f32[8,2] %b)")) == []
    assert list(_dynamic("%a = s32[<=128]{0}")) == ["bounded shape"]
    assert list(_dynamic("%a = s32[5] set-dimension-size(%b)")) == ["set-dimension-size"]
    assert list(_dynamic("%a = f32[?,4]")) == ["?"]


def test_a_row_that_does_not_hold_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOL.parent)
    from compile_checks import _finish

    for ok, code in ((True, 0), (False, 1)):
        with pytest.raises(SystemExit) as stopped:
            _finish("title", ("what", ""), [("one", True), ("two", ok)])
        assert stopped.value.code == code
