"""Arrays in, arrays out, through a program that runs by itself and sees a copy of a SavedModel and none of our code."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from switch_tf.errors import ExportError, ModelError
from switch_tf.locks import scratch

SECONDS = 1800
PYTHON = sys.executable  # which has the TensorFlow that is asked
_AT_FAULT = 3  # what a program ends with where the SavedModel is to blame
_CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")  # what a graph may do to the runtime that runs it

Arrays = dict[str, np.ndarray]


@contextmanager
def started_child(
    program: str, where: str, saved_model: Path, path: str, arrays: Mapping[str, Any]
) -> Iterator[Callable[[], Arrays]]:
    """Start the file `program`, and give what waits for its answer; the process ends with the block in any case.

    It is run as `python -I program SAVED_MODEL REQUEST.npz RESPONSE.npz` on `arrays`, or what makes one, none of which
    may hold objects. Messages call the model `path`, and the program by the words of `where`: "in TensorFlow's C++
    loader".

    Raises:
        ModelError: the SavedModel does not load or run there; by what waits.
        ExportError: the program fails otherwise, or takes over half an hour; by what waits.
    """
    with scratch() as exchange, _refusing(exchange):
        copy, request, response, said = (exchange / each for each in ("copy", "request.npz", "response.npz", "said"))
        shutil.copytree(saved_model, copy)
        with request.open("wb") as stream:
            np.savez(stream, **dict(arrays))
        # -I: neither the environment nor the current folder can lend it our code.
        command = [PYTHON, "-I", program, str(copy), str(request), str(response)]
        with said.open("wb") as stream:
            process = subprocess.Popen(command, cwd=exchange, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)

        def answer() -> Arrays:
            with _refusing(exchange):
                _wait(process, said, where, path)
                with np.load(response, allow_pickle=False) as stored:
                    return {name: stored[name] for name in stored.files}

        try:
            yield answer
        finally:
            process.kill()  # nothing, where it has ended
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", said: Path, where: str, path: str) -> None:
    try:
        code = process.wait(SECONDS)
    except subprocess.TimeoutExpired as error:
        took = f"took over {SECONDS} s {where}, in a process of its own"
        raise ExportError(f"{path} {took}. Ask fewer texts, or on an idle machine.") from error
    if code:
        lines = said.read_bytes().decode("utf-8", "replace").strip().splitlines()
        crashed = code < 0 and signal.Signals(-code).name in _CRASHES
        reason = lines[-1] if lines and not crashed else f"it ended with {code}"
        kind = ModelError if crashed or code == _AT_FAULT else ExportError
        raise kind(f"{path} does not run {where}, in a process of its own: {reason}. Export it again.")


@contextmanager
def _refusing(exchange: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, BadZipFile) as error:  # the latter: a response that was cut off
        raise ExportError(f"{exchange.parent.parent} cannot be written: {error}. Make room there.") from error
