"""Workers on one machine: a process each, which TF_CONFIG tells where the others listen on the loopback interface.

The parent computes nothing. Where one process fails, it ends the others and says which one failed, and of what; where
the parent is gone, however it ended, the processes end by themselves.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from switch_tf import errors
from switch_tf.config import Config, config_to_dict
from switch_tf.data.request import DataRequest
from switch_tf.errors import RunError, SwitchTFError
from switch_tf.runs.folder import unfinished
from switch_tf.serving.pool import cores
from switch_tf.training.workers import TF_CONFIG, LostWorkerError, cluster_on_loopback

_GLANCE = 0.1  # seconds between looks at the processes
_CHILD = "switch_tf.training.worker_child"


class Voice(NamedTuple):
    """How the chief tells on stderr how training goes.

    Attributes:
        quiet: not at all.
        terminal: whether stderr counts as a terminal; None to look.
        survey: whether it tells what the data holds.
    """

    quiet: bool = False
    terminal: bool | None = None
    survey: bool = False


def launch(request: DataRequest, config: Config, output: Path, count: int, resume: bool, voice: Voice) -> None:
    """Train with so many processes, and leave the run folder `output`, as `switch_tf.training.session.train` does.

    Raises:
        RunError: a process was ended, or fails for no reason that it could name.
        SwitchTFError: what the first process to fail raised.
    """
    job, ports = _job(request, config, output, resume, voice), free_ports(count)
    with ExitStack() as processes:
        workers = [processes.enter_context(_started(index, ports, job)) for index in range(count)]
        while any(worker.process.poll() is None for worker in workers):
            _refuse_failed(workers, output)
            time.sleep(_GLANCE)
        _refuse_failed(workers, output)


def _job(request: DataRequest, config: Config, output: Path, resume: bool, voice: Voice) -> str:
    """What a process is told: a line of JSON."""
    told = {"request": asdict(request.resolved()), "config": config_to_dict(config), "output": str(output)}
    return json.dumps({**told, "resume": resume, "voice": voice._asdict()})


@dataclass(frozen=True)
class _Worker:
    index: int
    process: "subprocess.Popen[str]"
    log: IO[bytes] | None  # what it wrote on stderr; the chief's is ours

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def reason(self) -> SwitchTFError | None:
        """What it raised; None where it could not say."""
        assert self.process.stdout is not None
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(self.process.stdout.read())
            kind = {**vars(errors), "LostWorkerError": LostWorkerError}.get(said["error"])
            if isinstance(kind, type) and issubclass(kind, SwitchTFError):
                return kind(said["message"], said["argument"])
        return None

    def last_line(self) -> str:
        """Of what it wrote on stderr."""
        if self.log is None:
            return ""
        self.log.seek(max(self.log.seek(0, os.SEEK_END) - 4096, 0))
        lines = self.log.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""


@contextmanager
def _started(index: int, ports: list[int], job: str) -> Iterator[_Worker]:
    """A process that trains along, and has ended when the block has."""
    each = str(max(1, cores() // len(ports)))
    threads = {"TF_NUM_INTRAOP_THREADS": each, "TF_NUM_INTEROP_THREADS": each}
    path = {"PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path), "PYTHONSAFEPATH": "1"}
    environment = threads | dict(os.environ) | path | {TF_CONFIG: cluster_on_loopback(ports, index)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if index == 0 else log,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it has ended already, and tells by its exit code
                process.stdin.write(f"{job}\n")
                process.stdin.flush()  # and stays open: its end is ours
            yield _Worker(index, process, None if index == 0 else log)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()  # TensorFlow would take SIGTERM for a notice; what is half written is never taken for whole
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def _refuse_failed(workers: Sequence[_Worker], output: Path) -> None:
    """
    Raises:
        SwitchTFError: a process has failed; of several, one that did not fail because another had.
    """
    failed = [worker for worker in workers if worker.failed]
    if not failed:
        return
    reasons = [(worker, worker.reason()) for worker in failed]
    worker, reason = min(reasons, key=lambda each: _blame(*each))
    if reason is not None:
        raise reason
    code = worker.process.returncode
    ended = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}{worker.last_line()}"
    on = "Resume to go on from the last checkpoint" if unfinished(output).is_dir() else "Nothing was kept: train again"
    raise RunError(
        f"Worker {worker.index} of {len(workers)} that train {output} {ended}. The others were ended too. {on}.",
        argument="resume" if unfinished(output).is_dir() else None,
    )


def _blame(worker: _Worker, reason: SwitchTFError | None) -> int:
    """Low for what explains the others: a signal first, then an error of its own."""
    if worker.process.returncode < 0:
        return 0
    return 2 if isinstance(reason, LostWorkerError) else 1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"the signal {number}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    with ExitStack() as sockets:
        taken: list[Any] = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in taken]
