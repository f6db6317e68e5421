"""The lines of a training: what they say, and that they fit a terminal of 80 columns."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from switch_tf import timing
from switch_tf.serving import progress as scoring
from switch_tf.training import progress as module
from switch_tf.training.progress import TrainingProgress
from switch_tf.training.steps import Totals

ROW = {
    "loss": 0.70791,
    "accuracy": 0.58083,
    "validation_loss": 0.53918,
    "validation_accuracy": 0.74324,
    "experts_in_use": 3,
    "dropped_share": 0.0123,
    "seconds": 29.4,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved by hand."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def console(terminal: bool, width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, _environ={})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def totals(steps: int, experts: int = 4) -> Totals:
    """200 tokens a step, evenly over the experts; 2 of 4 answers right, at a loss of 0.9."""
    layers = 1 if experts else 0
    load, dropped = np.full([layers, experts], 50.0 * steps), np.full([layers], 4.0 * steps)
    entropy = np.full([layers], 1.25 * 200.0 * steps)
    return Totals(steps, 4.0 * steps, 3.6 * steps, 2.0 * steps, 200.0 * steps, load, dropped, entropy)


def train(to: Console, clock: list[float], seconds: float, experts: int = 4, epochs: int = 2) -> None:
    """Epochs of 10 steps, each of which takes so long; the first one 30 seconds more, for tracing."""
    with TrainingProgress(to) as progress:
        clock[0] += 30.0
        for epoch in range(1, epochs + 1):
            progress.start_epoch(epoch, epochs, 10)
            for step in range(1, 11):
                clock[0] += seconds
                progress.step(totals(step, experts), step * seconds)
            progress.end_epoch(ROW, is_best=epoch == 1)


def test_a_log_has_a_line_now_and_then_and_a_table_of_epochs(clock: list[float]) -> None:
    to = console(terminal=False)
    train(to, clock, seconds=7.0)  # so a line is due every third step
    assert written(to) == (
        "epoch 1/2   15%  1:59 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "epoch 1/2   30%  1:38 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "epoch 1/2   45%  1:17 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "               training        validation\n"
        "epoch    loss  accuracy    loss  accuracy  experts  dropped  seconds\n"
        "  1/2  0.7079    0.5808  0.5392    0.7432      3/4     1.2%       29  best\n"
        "epoch 2/2   65%  0:49 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "epoch 2/2   80%  0:28 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "epoch 2/2   95%  0:07 left  loss 0.9000  accuracy 0.5000  experts 4/4\n"
        "  2/2  0.7079    0.5808  0.5392    0.7432      3/4     1.2%       29\n"
    )


def test_a_model_without_experts_has_no_figures_of_routing(clock: list[float]) -> None:
    to = console(terminal=False)
    train(to, clock, seconds=0.1, experts=0, epochs=1)
    assert written(to) == (
        "               training        validation\n"
        "epoch    loss  accuracy    loss  accuracy  seconds\n"
        "  1/1  0.7079    0.5808  0.5392    0.7432       29  best\n"
    )


def line_on_a_terminal(to: Console, clock: list[float], epoch: int, epochs: int, step: int) -> str:
    """The live line after the first step of an epoch and some later one."""
    progress = TrainingProgress(to)
    progress.start_epoch(epoch, epochs, 10)
    progress.step(totals(1), 1.0)
    clock[0] += 60.0 * (step - 1)
    progress.step(totals(step), float(step))
    with to.capture() as captured:
        to.print(progress.bars.get_renderable(), end="")
    return captured.get().rstrip("\n")


def test_a_terminal_has_one_line_of_the_whole_training(clock: list[float]) -> None:
    line = line_on_a_terminal(console(terminal=True), clock, epoch=2, epochs=4, step=6)
    assert line == "epoch 2/4 ━━━━╸         40%  24:00 left  loss 0.9000  accuracy 0.5000"
    wide = line_on_a_terminal(console(terminal=True, width=120), clock, epoch=2, epochs=4, step=6)
    assert wide == f"{line}  experts 4/4  dropped 2.0%  200 tokens/s"
    wider = line_on_a_terminal(console(terminal=True, width=150), clock, epoch=2, epochs=4, step=6)
    assert wider == f"{wide}  busiest 25%  entropy 1.25"


def test_steps_that_are_traced_first_do_not_count_for_the_time_left(clock: list[float]) -> None:
    to = console(terminal=False)
    progress = TrainingProgress(to)
    progress.start_epoch(1, 1, 100)
    for step in range(1, 11):
        clock[0] += 50.0 if step in (1, 2, 5) else 1.0
        progress.step(totals(step), 1.0)
    last = written(to).splitlines()[-1]
    assert last == "epoch 1/1    5%  1:35 left  loss 0.9000  accuracy 0.5000  experts 4/4"  # of 50, 1, 1, 50 s
    clock[0] += 21.0
    progress.step(totals(11), 1.0)
    last = written(to).splitlines()[-1]
    assert last == "epoch 1/1   11%  1:29 left  loss 0.9000  accuracy 0.5000  experts 4/4"


@pytest.mark.parametrize("width", [80, 60, 40])
def test_nothing_wraps_however_many_epochs_there_are(width: int, clock: list[float]) -> None:
    line = line_on_a_terminal(console(True, width), clock, epoch=1000, epochs=9999, step=10)
    assert "\n" not in line and len(line) <= width
    assert line.startswith("epoch 1000/9999 ━") and "10%" in line


def test_the_table_of_epochs_fits_80_columns_with_thousands_of_epochs_and_experts(clock: list[float]) -> None:
    to = console(terminal=False)
    progress = TrainingProgress(to)
    progress.start_epoch(1000, 1000, 10)
    progress.step(totals(1, experts=512), 1.0)
    row: dict[str, Any] = ROW | {"experts_in_use": 512, "dropped_share": 1.0, "seconds": 86_400.0}
    progress.end_epoch(row, is_best=True)
    lines = written(to).splitlines()
    assert lines[-1] == "1000/1000  0.7079    0.5808  0.5392    0.7432  512/512   100.0%    86400  best"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (7.0, "0:07"), (59.6, "1:00"), (750.0, "12:30"), (3600.0, "1:00:00")]
)
def test_the_time_left_is_read_as_a_clock(seconds: float, shown: str) -> None:
    assert timing.clock(seconds) == shown


def test_a_stage_is_a_line_and_a_training_after_it_has_a_header_and_a_time_of_its_own(clock: list[float]) -> None:
    to = console(terminal=False)
    with TrainingProgress(to) as progress:
        for experts, seconds in ((4, 1.0), (0, 25.0)):
            progress.stage(f"With {experts} experts")
            progress.start_epoch(1, 1, 3)
            for step in range(1, 4):
                clock[0] += seconds
                progress.step(totals(step, experts), step * seconds)
            progress.end_epoch(ROW, is_best=True)
    assert written(to) == (
        "With 4 experts\n"
        "               training        validation\n"
        "epoch    loss  accuracy    loss  accuracy  experts  dropped  seconds\n"
        "  1/1  0.7079    0.5808  0.5392    0.7432      3/4     1.2%       29  best\n"
        "With 0 experts\n"
        "epoch 1/1   33%  loss 0.9000  accuracy 0.5000  8 tokens/s\n"
        "epoch 1/1   67%  0:25 left  loss 0.9000  accuracy 0.5000  8 tokens/s\n"
        "epoch 1/1  100%  0:00 left  loss 0.9000  accuracy 0.5000  8 tokens/s\n"
        "               training        validation\n"
        "epoch    loss  accuracy    loss  accuracy  seconds\n"
        "  1/1  0.7079    0.5808  0.5392    0.7432       29  best\n"
    )


class TestScoring:
    def test_a_log_has_a_line_now_and_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now, to = [100.0], console(terminal=False)
        monkeypatch.setattr(scoring, "time", SimpleNamespace(monotonic=lambda: now[0]))
        with scoring.ScoringProgress(to) as progress:
            progress.begin(2)
            progress.part(500, 0.25, is_new=False)
            now[0] += 30.0
            progress.part(500, 0.25, is_new=True)
            now[0] += 5.0
            progress.part(500, 0.25, is_new=True)
        assert written(to).split("\n") == ["Answering with 2 processes", " 50%  1,000 rows  1:00 left  17 rows/s", ""]
        assert progress.line() == " 75%  1,500 rows  0:18 left  29 rows/s"

    def test_a_terminal_of_80_columns_has_room_for_billions_of_rows(self) -> None:
        to = console(terminal=True)
        with scoring.ScoringProgress(to) as progress:
            progress.part(10_000_000_000, 1e-6, is_new=False)
            progress.begin(1)
            progress.part(10**9, 1e-9, is_new=True)
            progress.started -= 360_000
            assert len(progress.line()) < 80
