"""Parts answered by a pool of processes, one thread each, which only compute: a killed one has nothing half written.

The parent reads and writes, and holds no more parts than there are processes, and one. What a process died of is not
known here; its part is given to another, and after the third death the job ends and says which rows it was about.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from switch_tf.errors import ModelError, RunError
from switch_tf.serving.answering import Beside, answer_batches
from switch_tf.serving.model_digest import digest_of
from switch_tf.serving.part_files import encode
from switch_tf.serving.parts import Part

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor
    from switch_tf.artifacts.providers import Provider

_DEATHS = 3  # of processes that had the same part, until it is given up
_ONE_THREAD = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@dataclass(frozen=True)
class Work:
    """What each process is to do with a part.

    Attributes:
        model: the path of what answers.
        digest: of what is there, which must be so when a process opens it.
        threads: of one operator, for a file; None leaves it to the runtime.
        provider: of ONNX Runtime.
        texts: the columns of texts.
        added: the columns to add.
        format: of the files of answers.
        json: columns that hold JSON.
    """

    model: Path
    digest: str
    threads: int | None
    provider: "Provider"
    texts: tuple[str, ...]
    added: Beside
    format: str
    json: frozenset[str]


def cores() -> int:
    """How many processes can run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def answer_parts(
    parts: Iterator[Part], work: Work, workers: int, tell: Callable[[str], None]
) -> Iterator[tuple[Part, bytes]]:
    """Every part with the content of its file, as they get done; when the caller stops asking, the processes end.

    Raises:
        RunError: three processes in a row died of a part.
        ModelError: the model fails, or is no longer what it was.
    """
    deaths: Counter[int] = Counter()
    lost: list[Part] = []
    while True:
        pool = _Pool(work, workers)
        try:
            yield from pool.answers(lost, parts)
            return
        except BrokenProcessPool as error:
            lost = pool.unfinished()
            deaths.update(part.number for part in lost)
            if max(deaths.values(), default=_DEATHS) >= _DEATHS:
                raise RunError(_gave_up(lost)) from error
            tell(f"A process died; {len(lost)} part(s) are answered again.")
        finally:
            pool.end()


def _gave_up(parts: list[Part]) -> str:
    where = ", ".join(
        f"rows {part.first:,} to {part.first + part.rows.num_rows - 1:,} of {part.source}" for part in parts
    )
    remedy = "If memory is short, have fewer workers, or fewer rows a part; what is done stays, and is not done again"
    return f"Processes died {_DEATHS} times that were given {where or 'nothing yet'}. {remedy}."


class _Pool:
    """Processes until the first of them dies."""

    def __init__(self, work: Work, workers: int):
        context = multiprocessing.get_context("spawn")  # a fork would take the parent's threads and locks with it
        alive, self._alive = context.Pipe(duplex=False)  # ends when the parent does, however it ends
        self._workers = workers
        self._executor = ProcessPoolExecutor(workers, context, _begin, (work, alive))
        self._unfinished: dict[int, Part] = {}
        self._numbers: dict[Future[bytes], int] = {}

    def answers(self, first: list[Part], then: Iterator[Part]) -> Iterator[tuple[Part, bytes]]:
        for part in first:
            self._give(part)
        while True:
            for part in islice(then, max(self._workers + 1 - len(self._unfinished), 0)):
                self._give(part)
            if not self._unfinished:
                return
            done, _ = wait(self._numbers, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda each: self._numbers[each]):
                content = future.result()
                yield self._unfinished.pop(self._numbers.pop(future)), content

    def unfinished(self) -> list[Part]:
        """The parts that were given and are not back."""
        return [self._unfinished[number] for number in sorted(self._unfinished)]

    def end(self) -> None:
        self._alive.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _give(self, part: Part) -> None:
        self._unfinished[part.number] = part  # first: where a process has just died, nothing can be submitted
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.rows.schema) as writer:
            writer.write_table(part.rows)
        self._numbers[self._executor.submit(_answer, sink.getvalue().to_pybytes())] = part.number


_work: Work


def _begin(work: Work, alive: Any) -> None:
    """Prepare a process; what may fail comes with its first part, which can tell."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    pa.set_cpu_count(1)
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()


def _end_with_parent(alive: Any) -> None:
    alive.poll(None)
    os._exit(1)


@cache
def _model() -> "Predictor":
    from switch_tf.artifacts.opening import load_predictor

    model = load_predictor(_work.model, _work.threads, _work.provider, tell=lambda message: None)
    if digest_of(_work.model) != _work.digest:
        raise ModelError(f"{_work.model} was changed while it answered. Begin again, into another folder.")
    return model


def _answer(content: bytes) -> bytes:
    with pa.ipc.open_stream(content) as reader:
        answered = list(answer_batches(reader, _model(), _work.texts, _work.added))
    return encode(pa.Table.from_batches(answered), _work.format, _work.json)
