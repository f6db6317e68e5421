"""Arrays in, arrays out, through a program that runs by itself and sees a copy of a SavedModel and none of our code."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from switch_tf.errors import ExportError
from switch_tf.locks import scratch

SECONDS = 1800
PYTHON = sys.executable  # which has the TensorFlow that is asked


def ask_child(
    program: str, where: str, saved_model: Path, path: str, arrays: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """What the file `program` answers to arrays, or what makes one, none of which may hold objects.

    It is run as `python -I program SAVED_MODEL REQUEST.npz RESPONSE.npz`. Messages call the model `path`, and the
    program by the words of `where`: "in TensorFlow's C++ loader".

    Raises:
        ExportError: it fails, or takes over half an hour.
    """
    with scratch() as exchange, _refusing(exchange):
        copy, request, response = (Path(exchange, name) for name in ("copy", "request.npz", "response.npz"))
        shutil.copytree(saved_model, copy)
        with request.open("wb") as stream:
            np.savez(stream, **dict(arrays))
        # -I: neither the environment nor the current folder can lend it our code.
        command = [PYTHON, "-I", program, str(copy), str(request), str(response)]
        try:
            finished = subprocess.run(command, cwd=exchange, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            took = f"took over {SECONDS} s {where}, in a process of its own"
            raise ExportError(f"{path} {took}. Ask fewer texts, or on an idle machine.") from error
        if finished.returncode:
            lines = finished.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with {finished.returncode}"
            raise ExportError(f"{path} does not run {where}, in a process of its own: {reason}. Export it again.")
        with np.load(response, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


@contextmanager
def _refusing(exchange: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, BadZipFile) as error:  # the latter: a response that was cut off
        raise ExportError(f"{exchange.parent.parent} cannot be written: {error}. Make room there.") from error
