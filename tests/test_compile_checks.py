"""The compile checks run as a person would run them, and each says so when its control does not fail."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parent.parent / "tools" / "compile_checks.py"


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("xla", ["ids", "bytes", "training step"]),
        ("static", ["ids", "bytes", "control: boolean_mask", "dynamic dimension"]),
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

    fixed = "%c = stablehlo.constant dense<20> : tensor<i32>\n%1 = stablehlo.set_dimension_size %0, %c, dim = 2"
    assert list(_dynamic("%1 = stablehlo.add %0, %0 : tensor<8x2xf32>\n" + fixed)) == []
    assert list(_dynamic("%1 = stablehlo.reshape %0 : tensor<8x?xf32>")) == ["dynamic dimension"]
    assert "bounded dimension" in list(_dynamic("tensor<?xi32, #stablehlo.bounds<512>>"))
    assert list(_dynamic("stablehlo.custom_call @f(%0)")) == ["custom call"]
    for name in ("while", "case", "if"):
        assert list(_dynamic(f"%1 = stablehlo.{name}(%0)")) == ["control flow"]
    assert list(_dynamic(fixed.replace("constant", "add"))) == ["dimension of a size to compute"]


def test_a_row_that_does_not_hold_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOL.parent)
    from compile_checks import _finish

    for ok, code in ((True, 0), (False, 1)):
        with pytest.raises(SystemExit) as stopped:
            _finish("title", ("what", ""), [("one", True), ("two", ok)])
        assert stopped.value.code == code
