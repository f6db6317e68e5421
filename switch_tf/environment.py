"""What TensorFlow is told before it loads, and what of its start a user gets to see. `switch_tf` prepares it first.

TensorFlow raises what goes wrong as Python errors; what its own log adds on a machine without a GPU is an error that
is none (`failed call to cuInit`). So the log is off but for what ends the process. Its level does not reach the lines
that the libraries write while they are being loaded, before they read it; those are held back here. Whoever wants
to see the log sets TF_CPP_MIN_LOG_LEVEL (0 shows all of it), which is left as the user set it.
"""

import importlib.abc
import importlib.machinery
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import BinaryIO

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 0 shows all, 1 hides notes, 2 also warnings, 3 also errors
LEGACY_KERAS = "TF_USE_LEGACY_KERAS"
_DEFAULTS = {
    LOG_LEVEL: "3",
    LEGACY_KERAS: "1",  # the models are tf-keras models: without it TensorFlow loads Keras 3 too, which takes a second
}
_HEADER = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
# TensorFlow's lines, "I0000 00:00:1700000000.000000    1234 port.cc:153] ...", and LiteRT's, "INFO: Created ...".
_LOG_LINE = re.compile(rb"(?:([IWE])\d{4} [\d:.]+\s+\d+ [^ :]+:\d+\] |(I)NFO: )")

_set_here: set[str] = set()


def prepare() -> None:
    """Set what TensorFlow reads when it is imported, where the user has not, and let it be imported without a word.

    Where TensorFlow is there already this comes too late, and leaves everything as it is.
    """
    if "tensorflow" in sys.modules or any(isinstance(finder, _TensorFlowFinder) for finder in sys.meta_path):
        return
    for name, value in _DEFAULTS.items():
        if name not in os.environ:
            os.environ[name] = value
            _set_here.add(name)
    sys.meta_path.insert(0, _TensorFlowFinder())


def show_log() -> None:
    """Have TensorFlow write its whole log from its import on, unless the user has set a level."""
    if LOG_LEVEL in _set_here:
        os.environ[LOG_LEVEL] = "0"


@contextmanager
def start_notes_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; at the end, pass on all but log lines under the level.

    Everything is passed on, and at once, if the body raises or the process is aborted, as TensorFlow's libraries abort
    it on a processor that they were not made for. Level 0 holds nothing back.
    """
    import tempfile

    level = _log_level()
    try:
        saved = os.dup(2) if level else None
        held = None if saved is None else tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
    except OSError:  # there is no standard error, or no place for a file: nothing needs to be held back, or can be
        saved = held = None
    if saved is None or held is None:
        yield
        return

    def restore(keep: Callable[[bytes], bool]) -> None:
        os.dup2(saved, 2)
        _pass_on(held, keep)

    os.dup2(held.fileno(), 2)
    try:
        with _on_abort(lambda: restore(lambda line: True)):
            yield
    except BaseException:
        restore(lambda line: True)
        raise
    else:
        restore(lambda line: not _is_note(line, level))
    finally:
        held.close()
        os.close(saved)


class _TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where the others find it, and has it loaded within `start_notes_held_back`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                from switch_tf.timing import timed

                with timed("Loading TensorFlow"), start_notes_held_back():
                    load(module)

            setattr(spec.loader, "exec_module", load_quietly)  # noqa: B010 (mypy would not have a method set)
        return spec


def _log_level() -> int:
    text = os.environ.get(LOG_LEVEL, "")
    return int(text) if text.isdecimal() else 0  # as TensorFlow reads it


def _is_note(line: bytes, level: int) -> bool:
    matched = _LOG_LINE.match(line)
    return line.strip() == _HEADER or (matched is not None and (matched[1] or matched[2]) in b"IWE"[:level])


def _pass_on(held: BinaryIO, keep: Callable[[bytes], bool]) -> None:
    held.seek(0)
    for line in held:
        if keep(line):
            os.write(2, line)


@contextmanager
def _on_abort(report: Callable[[], None]) -> Iterator[None]:
    """Call `report` if the C function `abort` ends the process, which no `except` or handler of Python's sees."""
    if os.name != "posix":
        yield
        return
    import ctypes
    import signal

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: report())
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = set_handler(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGABRT, before)
