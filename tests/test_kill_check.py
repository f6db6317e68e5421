"""The check that kills must itself notice what a kill may leave behind."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import kill_check


@pytest.fixture
def bench(tmp_path: Path) -> kill_check.Bench:
    return kill_check.Bench(tmp_path, seed=0)


def write_slowly(place: Path) -> Any:
    """A command that opens a file at the place of work, twice, and leaves what is hidden if it is killed between."""

    def command(arguments: list[str]) -> None:
        del arguments
        (place / "work").mkdir(exist_ok=True)
        hidden = place / "work" / ".a.12345678.part"
        hidden.write_text("half")
        (place / "work" / "a").write_text("whole")
        hidden.unlink()

    return command


@pytest.mark.parametrize(("moment", "litter"), [(1, []), (3, ["work/.a.12345678.part"]), (99, [])])
def test_a_process_is_killed_at_the_moment_that_was_drawn(
    moment: int, litter: list[str], bench: kill_check.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_check, "_command", write_slowly(bench.place))
    code, seconds, moments = bench.run([], kill_check.Point(signal.SIGKILL, None, moment))
    assert (code, bench.litter()) == (0 if moment == 99 else -signal.SIGKILL, litter)
    assert seconds > 0 and moments == min(moment, 4)


def test_a_traceback_and_what_is_left_are_problems(
    bench: kill_check.Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(arguments: list[str]) -> None:
        (bench.place / ".left").touch()
        raise ValueError("a traceback")

    monkeypatch.setattr(kill_check, "_command", fails)
    point = kill_check.Point(signal.SIGTERM, None, 99)
    code, _, _ = bench.run([], point)
    kill_check._after_signal(bench, "here", point, code)
    assert code == 99 and bench.problems == ["here: another exit code", "here: left are ['.left']"]
    assert "PROBLEM: here: another exit code" in capsys.readouterr().out
    assert not bench.holds(lambda: kill_check._answer({bench.place / "none": ""}))


@pytest.mark.parametrize(
    ("number", "code", "problems"),
    [
        (signal.SIGTERM, 143, 0),
        (signal.SIGINT, 130, 0),
        (signal.SIGTERM, -signal.SIGTERM, 0),
        (signal.SIGTERM, -signal.SIGABRT, 1),
        (signal.SIGINT, 143, 1),
        (signal.SIGKILL, -signal.SIGKILL, 0),
        (signal.SIGKILL, 1, 1),
    ],
)
def test_which_exit_codes_a_signal_may_end_with(
    number: signal.Signals, code: int, problems: int, bench: kill_check.Bench
) -> None:
    kill_check._after_signal(bench, "here", kill_check.Point(number, 0.1, None), code)
    assert len(bench.problems) == problems


def test_the_same_seed_draws_the_same_points(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        bench = kill_check.Bench(tmp_path / name, seed=4)
        drawn.append([bench.draw(10.0, 20) for _ in range(60)])
    assert drawn[0] == drawn[1] and {point.number for point in drawn[0]} == set(kill_check.SIGNALS)
    assert all((point.seconds is None) != (point.moment is None) for point in drawn[0])


@pytest.mark.slow
def test_a_few_points_of_each_kind_find_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a process of its own, as points are forks, which must not hold TensorFlow's threads."""
    import subprocess

    tool = Path(kill_check.__file__)
    command = [sys.executable, str(tool), "--points", "4", "--only", "train,onnx", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "4 points, 0 problems"
