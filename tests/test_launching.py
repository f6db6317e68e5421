"""Processes that train together: one that is killed ends the others, and they go on from their last checkpoint."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Quiet, made_up_rows, tiny_config, write_tsv

from switch_tf import files
from switch_tf.data.in_memory import examples_in_memory
from switch_tf.data.request import DataRequest
from switch_tf.errors import ArgumentError, DataError, RunError
from switch_tf.runs.folder import open_run
from switch_tf.training import launching
from switch_tf.training.launching import Voice, launch
from switch_tf.training.loop import CHECKPOINT
from switch_tf.training.session import train
from switch_tf.training.together import train_together
from switch_tf.training.workers import Workers

PROCESSES = Workers(2, place="processes")


def child(code: str) -> Any:
    """A process that stands for a worker."""
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(error: str, message: str) -> str:
    return f"import sys; print({json.dumps({'error': error, 'message': message, 'argument': None})!r}); sys.exit(1)"


def refused(tmp_path: Path, *codes: str) -> Exception:
    """What the parent raises of workers that run this code, once all have ended."""
    with (tmp_path / "log").open("w+b") as log:
        log.write("first\nKilled by hand: ü\n".encode())
        workers = [launching._Worker(index, child(code), log) for index, code in enumerate(codes)]
        for worker in workers:
            worker.process.wait()
        try:
            launching._refuse_failed(workers, tmp_path / "run")
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            return error
        finally:
            for worker in workers:
                launching._end(worker.process)
    raise AssertionError("nothing was raised")


class TestBlame:
    LOST = said("LostWorkerError", "worker 1 is gone")
    KILLED = "import os; os.kill(os.getpid(), 9)"

    def test_the_signal_explains_the_others(self, tmp_path: Path) -> None:
        error = refused(tmp_path, self.LOST, self.KILLED, said("DataError", "no text"))
        assert isinstance(error, RunError) and str(error).startswith("Worker 1 of 3 that train ")
        assert "/run was ended by SIGKILL. The others were ended too. Nothing was kept: train again." in str(error)
        (tmp_path / "run.unfinished").mkdir()
        error = refused(tmp_path, self.KILLED, "pass")
        assert "Worker 0 of 2" in str(error) and "Resume to go on from the last checkpoint." in str(error)
        assert error.argument == "resume"  # type: ignore[attr-defined]

    def test_an_error_of_its_own_comes_before_one_of_the_loss(self, tmp_path: Path) -> None:
        error = refused(tmp_path, self.LOST, said("DataError", "row 3 has no text"))
        assert (type(error), str(error)) == (DataError, "row 3 has no text")
        assert str(refused(tmp_path, "pass", self.LOST)) == "worker 1 is gone"

    def test_one_that_cannot_say_is_quoted(self, tmp_path: Path) -> None:
        error = refused(tmp_path, "raise SystemExit(7)", "pass")
        assert "Worker 0 of 2" in str(error) and "ended with exit code 7: Killed by hand: ü." in str(error)
        for lie in ("print('{'); raise SystemExit(1)", said("SystemExit", "x"), said("Path", "x"), "print(1); exit(2)"):
            assert "ended with exit code" in str(refused(tmp_path, lie))


class TestRefused:
    def test_what_processes_cannot_do(self, tmp_path: Path) -> None:
        request, output, config = DataRequest("d.tsv"), tmp_path / "run", tiny_config()
        held = {"data": examples_in_memory((["a", "b"], ["c", "d"]), text_column="text", label_column="label")}
        with pytest.raises(RunError, match=r"^Received data in memory for 2 processes.*Write it to a file"):
            train_together(request, config, output, Quiet(), PROCESSES, in_memory=held)
        with pytest.raises(ArgumentError, match=r"^Received autotune with 2 workers"):
            train_together(request, config, output, Quiet(), PROCESSES, tune=print)
        output.mkdir()
        with pytest.raises(RunError, match="already exists"):
            train_together(request, config, output, Quiet(), PROCESSES)


def kill_one(processes: list[Any], checkpoint: Path, ended: list[float]) -> None:
    """Kill the second worker once there is a checkpoint."""
    until = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGKILL)
    ended.append(time.monotonic())


@pytest.mark.slow
def test_a_killed_worker_ends_all_and_they_go_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_tsv(tmp_path / "texts.tsv", made_up_rows(300))
    changes = ("train.baseline=false", "train.checkpoint_steps=2", "train.epochs=2", "model.router_jitter=0.1")
    letters = ("model.context=mean", "wide.enabled=true", "text.unknown_words=letters")  # no pair has a vector
    config, output, request = (
        tiny_config(*changes, *letters, "model.token_dropout=0.2"),
        tmp_path / "two",
        DataRequest(str(table)),
    )
    processes: list[Any] = []
    popen = subprocess.Popen

    def started(*arguments: Any, **named: Any) -> Any:
        processes.append(popen(*arguments, **named))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", started)
    checkpoint, ended = tmp_path / "two.unfinished" / CHECKPOINT, list[float]()
    killer = threading.Thread(target=kill_one, args=(processes, checkpoint, ended))
    killer.start()
    with pytest.raises(RunError, match=r"^Worker 1 of 2 that train .*two was ended by SIGKILL.*Resume to go on"):
        launch(request, config, output, 2, False, Voice(quiet=True))
    assert time.monotonic() - ended[0] < 60 and all(each.poll() is not None for each in processes)
    killer.join()
    assert not output.exists()

    launch(request, config, output, 2, True, Voice(quiet=True))
    alone = train(request.resolved(), config, tmp_path / "one", Quiet())
    weights = [files.read_tensors(run.path / "weights.safetensors")[0] for run in (alone, open_run(output))]
    assert weights[0].keys() == weights[1].keys()
    assert max(np.abs(weights[0][name] - weights[1][name]).max() for name in weights[0]) < 1e-4
    assert [each.poll() for each in processes[2:]] == [0, 0]


@pytest.mark.slow
def test_what_a_worker_refuses_the_parent_says(tmp_path: Path) -> None:
    table, output = write_tsv(tmp_path / "texts.tsv", [("a text", "one"), ("another", "one")]), tmp_path / "run"
    job = launching._job(DataRequest(str(table)), tiny_config(), output, False, Voice(quiet=True))
    with launching._started(0, launching.free_ports(2), job) as worker:
        worker.process.wait()
        with pytest.raises(DataError, match="label"):
            launching._refuse_failed([worker], output)
    assert list(tmp_path.iterdir()) == [table]
