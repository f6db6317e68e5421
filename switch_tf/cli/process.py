"""The process around a command: signals that end it, streams that are closed, terminals that are not UTF-8."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # which end a process; SIGHUP is not on Windows
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
_LOADING = "<frozen importlib"  # begins the file name of the frames of an import
_LIBRARIES = ("tensorflow", "tf_keras", "onnx", "onnxruntime", "ai_edge_litert")
_PATIENCE = 30.0  # seconds that a signal waits for them
_received: list[int] = []


class Stopped(KeyboardInterrupt):
    """A signal ends the process; everything that cleans up behind Ctrl-C does so behind any of them."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise `Stopped` where a signal would end the process at once and leave what is half written.

    A signal that is ignored, as under nohup, stays so. One that comes while a module is loaded, or while TensorFlow or
    another runtime is at work, waits until that is done: an exception that passes through their C++ may abort the
    process. The same signal again does not wait.
    """
    _received.clear()
    earlier = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        earlier = {number: signal.getsignal(number) for number in numbers}
        earlier = {number: handler for number, handler in earlier.items() if handler in _DEFAULTS}
    stopping = _Stopping()
    for number in earlier:
        signal.signal(number, stopping.stop)
    try:
        yield
        if _received:  # while what was done last was imported
            raise Stopped(_received[-1])
    except Exception as error:
        stopped = interruption(error)
        if stopped is None:
            raise
        raise stopped from None
    finally:
        stopping.forget()
        for number, handler in earlier.items():
            signal.signal(number, handler)


class _Stopping:
    """What a signal does: it ends the process, now or once what the libraries are at is done.

    Where it waits it looks at every return of a function, which is slow, and done for that moment alone.
    """

    def __init__(self) -> None:
        self._number = 0
        self._until = 0.0
        self._profile: Any = None  # what looked at functions before

    def stop(self, number: int, frame: FrameType | None) -> None:
        again = number in _received  # whoever asks twice does not want to wait
        _received.append(number)
        if again or not in_libraries(frame):
            self.forget()
            raise Stopped(number)
        self._number, self._until, self._profile = number, time.monotonic() + _PATIENCE, sys.getprofile()
        sys.setprofile(self._look)

    def forget(self) -> None:
        """No more waiting."""
        if self._number:
            sys.setprofile(self._profile)
            self._number = 0

    def _look(self, frame: FrameType, event: str, _argument: object) -> None:
        if event not in ("return", "c_return", "c_exception"):
            return
        if not in_libraries(frame.f_back if event == "return" else frame) or time.monotonic() > self._until:
            number = self._number
            self.forget()
            raise Stopped(number)


def in_libraries(frame: FrameType | None) -> bool:
    """Whether the frame, or one that called it, imports a module or belongs to a library that calls Python from C++."""
    found = (getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES)
    begins = (_LOADING, *(f"{os.path.dirname(file)}{os.sep}" for file in found if file))  # noqa: PTH120 (a string)
    while frame is not None:
        if frame.f_code.co_filename.startswith(begins):
            return True
        frame = frame.f_back
    return False


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption behind an error: itself, or what became an error in TensorFlow's C++; None if there is none."""
    import click

    cause = error.__cause__ if isinstance(error, click.Abort) else error  # click turns every one into Abort
    if isinstance(cause, KeyboardInterrupt):
        return cause
    return Stopped(_received[-1]) if _received else None


@contextmanager
def naming_the_way_on(output: Path, way_on: str | None = None) -> Iterator[None]:
    """Whoever interrupts a training into `output` reads how it goes on: by `train --resume` unless said otherwise."""
    from switch_tf.runs.folder import unfinished

    try:
        yield
    except BaseException as error:
        stop = interruption(error)
        if stop is None or not unfinished(output).is_dir():
            raise
        way_on = way_on or f"`switch-tf train --output {shlex.quote(str(output))} --resume`"
        stop.args = (f"What is done so far is kept: {way_on} goes on.",)
        raise stop from None


def ends_search(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, which a search takes as the wish to go on to the training; it is forgotten then."""
    stop = interruption(error)
    if stop is None or getattr(stop, "number", signal.SIGINT) != signal.SIGINT:
        return False
    _received.clear()
    return True


def last_words(stopped: BaseException) -> tuple[str, int]:
    """What to say of an interruption, and the exit code that shells give a program which a signal ended."""
    number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
    name = "Interrupted." if number == signal.SIGINT else f"Ended by {signal.Signals(number).name}."
    return " ".join([name, *map(str, stopped.args)]), 128 + number


def prepare_streams() -> None:
    """Have a terminal that is not UTF-8 show what it lacks as an escape, and no file take the place of a closed stream.

    Raises:
        OSError: stdout is closed, so that nobody would see the answer.
    """
    for descriptor in (0, 1, 2):  # a closed one is what the next file to be opened would get
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is None:
        raise OSError("Stdout is closed. Expected a place for the answer")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # what a caller put there may lack it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Let what is still buffered for stdout go nowhere, so that Python does not stumble over it when it ends."""
    with suppress(OSError, ValueError, AttributeError):  # no descriptor, closed, none
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
