"""Kills trainings and exports at seeded moments, and sees what is left: the old, the new, or a training to go on with.

    python tools/kill_check.py [--points 100] [--seed 0] [--only train,onnx,tflite,saved_model]

Each point is a process that SIGKILL, SIGTERM or SIGINT ends, half of them at a random time and half at a random one of
the moments that matter, when a file is opened, renamed or removed at the place that is written. After each:

- what has its final name is whole: a run that opens with every checksum right, an artifact that answers;
- an earlier artifact is still there, or its successor is; its manifest is its own, or there is none;
- behind SIGTERM and SIGINT nothing temporary is left, and the exit code says 143 or 130.

In the end each command runs through undisturbed: nothing temporary is left by it or by those before it, and the
training, which was resumed from kill to kill, has the weights of one that nobody disturbed. TensorFlow is imported
once: points are forks of this process, which runs none of it itself. Exits with 1 if anything was otherwise.
"""

import argparse
import collections
import functools
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHARES = {"train": 40, "onnx": 30, "tflite": 20, "saved_model": 10}  # of a hundred points
_MOMENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")  # Python's audit events
_SETTINGS = ("vocabulary_size=50", "sequence_length=12"), ("d_model=8", "d_ff=16", "num_heads=2", "num_experts=2")
_WORDS = ("lovely", "great", "dull", "awful", "film", "plot", "the", "cast", "story", "warm", "cold")


class Point(NamedTuple):
    """When a process gets which signal: after so many seconds, or at so many moments."""

    number: int
    seconds: float | None
    moment: int | None


class Bench:
    """A place to work in, and what came of every point."""

    def __init__(self, place: Path, seed: int):
        self.place, self.temporary = place, place / "tmp"
        self.temporary.mkdir()
        self.random = np.random.default_rng(seed)
        self.outcomes: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self.problems: list[str] = []
        self.earlier_litter: list[str] = []  # of the point before, which SIGKILL may have ended

    def run(self, arguments: list[str], point: Point | None = None) -> tuple[int, float, int]:
        """Exit code (negative: the signal that ended it), seconds, and how many moments there were."""
        counted = self.place / "moments"
        self.earlier_litter = self.litter()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._become(lambda: _command(arguments), counted, point)
        if point is not None and point.seconds is not None:
            time.sleep(point.seconds)
            os.kill(pid, point.number)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code, time.monotonic() - started, counted.stat().st_size if counted.exists() else 0

    def holds(self, check: Callable[[], Any]) -> bool:
        """Whether a check, made in a process of its own, raises nothing."""
        pid = os.fork()
        if pid == 0:
            self._become(check, None, None)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def litter(self) -> list[str]:
        """What is temporary under the place, and in the folder for temporary files."""
        hidden = [path for path in self.place.rglob(".*") if self.temporary not in path.parents]
        scratch = list(self.temporary.glob("switch-tf-*"))
        return sorted(str(path.relative_to(self.place)) for path in [*hidden, *scratch])

    def expect(self, what: str, holds: bool) -> None:
        """Note a problem unless it holds."""
        if not holds:
            self.problems.append(what)
            print(f"PROBLEM: {what}", flush=True)

    def draw(self, seconds: float, moments: int) -> Point:
        """A signal, and when."""
        number = int(self.random.choice(SIGNALS))
        if self.random.random() < 0.5:
            return Point(number, float(self.random.uniform(0, seconds)), None)
        return Point(number, None, int(self.random.integers(1, moments + 1)))

    def _become(self, work: Callable[[], Any], counted: Path | None, point: Point | None) -> None:
        """Turn this fork into the process that does the work, and never return."""
        code = 0
        try:
            tempfile.tempdir = str(self.temporary)
            log = os.open(self.place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if counted is not None:
                counted.unlink(missing_ok=True)
                _count_moments(str(self.place / "work"), counted, point)
            work()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:  # noqa: BLE001 - a traceback is what must not be
            traceback.print_exc()
            code = 99
        finally:
            sys.stdout.flush()
            os._exit(code)


def main() -> None:
    """Go through all commands and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SHARES))
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for module in ("cli", "export.session", "training.session", "artifacts.opening"):
        importlib.import_module(f"switch_tf.{module}")

    place = Path(tempfile.mkdtemp(prefix="kill-check-"))
    bench = Bench(place, options.seed)
    kinds = options.only.split(",")
    _prepare(bench)
    for kind in kinds:
        points = round(options.points * SHARES[kind] / sum(SHARES[each] for each in kinds))
        (check_train if kind == "train" else check_export)(bench, kind, points)
    for (kind, name, outcome), count in sorted(bench.outcomes.items()):
        print(f"{kind:12} {name:8} {outcome:28} {count:4}")
    print(f"{bench.outcomes.total()} points, {len(bench.problems)} problems")
    if bench.problems:
        sys.exit(f"What was done is in {place}, see the file log there.")
    shutil.rmtree(place)


def check_train(bench: Bench, kind: str, points: int) -> None:
    """Kill trainings, each of which goes on where the last was cut off."""
    from switch_tf.runs.folder import open_run
    from switch_tf.training.session import read_unfinished

    output = bench.place / "work" / "run"
    going = output.with_name("run.unfinished")
    fresh = ["train", str(bench.place / "made.tsv"), "--output", str(output), *_settings()]
    reference = (bench.place / "reference" / "weights.safetensors").read_bytes()
    _, seconds, moments = bench.run(fresh)
    for left in range(points, 0, -1):
        if output.exists():  # finished: the next begins anew
            shutil.rmtree(output)
        point = bench.draw(seconds, moments)
        code, _, _ = bench.run(["train", "--resume", "--output", str(output)] if going.exists() else fresh, point)
        whole = output.exists() and bench.holds(lambda: _is_checked(open_run(output)))
        resumable = going.exists() and bench.holds(lambda: read_unfinished(output))
        what = f"{kind}, {point}, {left} left, exit {code}"
        bench.expect(f"{what}: the run has its name and is not whole", whole or not output.exists())
        bench.expect(f"{what}: the training cannot go on", resumable or not going.exists())
        _after_signal(bench, what, point, code)
        outcome = "finished" if whole else "goes on" if resumable else "nothing there yet"
        bench.outcomes[kind, signal.Signals(point.number).name, outcome] += 1
    if output.exists():
        shutil.rmtree(output)
    code, _, _ = bench.run(["train", "--resume", "--output", str(output)] if going.exists() else fresh)
    bench.expect(f"{kind}: exit {code} of the last, undisturbed", code == 0)
    bench.expect(f"{kind}: other weights", (output / "weights.safetensors").read_bytes() == reference)
    bench.expect(f"{kind}: left are {bench.litter()}", bench.litter() == [])
    shutil.rmtree(bench.place / "work")


def check_export(bench: Bench, kind: str, points: int) -> None:
    """Kill exports to a place where an earlier one stands; every other one asks for another batch size."""
    output = bench.place / "work" / ("saved_model" if kind == "saved_model" else f"model.{kind}")
    asked = ["export", str(bench.place / "reference"), "--format", kind, "--output", str(output), "--allow-truncation"]
    variants = [[], []] if kind == "saved_model" else [["--batch", "2"], []]
    output.parent.mkdir()
    code, seconds, moments = bench.run(asked + variants[1])
    bench.expect(f"{kind}: exit {code} of the first, undisturbed", code == 0)
    earlier = _artifacts(output)
    for left in range(points, 0, -1):
        point = bench.draw(seconds, moments)
        code, _, _ = bench.run(asked + variants[left % 2], point)
        now = _artifacts(output)
        what = f"{kind}, {point}, {left} left, exit {code}"
        bench.expect(f"{what}: the earlier artifact is gone", bool(now) and set(earlier) <= set(now))
        bench.expect(f"{what}: one does not answer, or is not checked", bench.holds(functools.partial(_answer, now)))
        _after_signal(bench, what, point, code)
        outcome = "the next is there" if now != earlier else "the earlier is there"
        bench.outcomes[kind, signal.Signals(point.number).name, outcome] += 1
        earlier = now
    code, _, _ = bench.run(asked + variants[0])
    bench.expect(f"{kind}: exit {code} of the last, undisturbed", code == 0)
    bench.expect(f"{kind}: left are {bench.litter()}", bench.litter() == [])
    shutil.rmtree(bench.place / "work")


def _prepare(bench: Bench) -> None:
    rows = [(" ".join([*bench.random.choice(_WORDS, 9), f"w{number}"]), "ab"[number % 2]) for number in range(80)]
    (bench.place / "made.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    output = bench.place / "reference"
    code, _, _ = bench.run(["train", str(bench.place / "made.tsv"), "--output", str(output), *_settings()])
    if code:
        sys.exit(f"The first training fails: see {bench.place / 'log'}.")


def _settings() -> list[str]:
    keys = [f"text.{each}" for each in _SETTINGS[0]] + [f"model.{each}" for each in _SETTINGS[1]]
    keys += ["train.epochs=4", "train.patience=4", "train.batch_size=16"]
    return [word for key in keys for word in ("--set", key)]


def _command(arguments: list[str]) -> None:
    from switch_tf.cli import main as command_line

    command_line(arguments)


def _count_moments(place: str, counted: Path, point: Point | None) -> None:
    """Note every moment at `place` as a byte of a file, and end this process at that of the point."""
    file = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in _MOMENTS or not str(arguments[0]).startswith(place):
            return
        seen += 1
        os.write(file, b".")
        if point is not None and seen == point.moment:
            os.kill(os.getpid(), point.number)

    sys.addaudithook(hook)


def _after_signal(bench: Bench, what: str, point: Point, code: int) -> None:
    if point.number == signal.SIGKILL:
        bench.expect(f"{what}: an error", code in (0, -signal.SIGKILL))
        return
    bench.expect(f"{what}: another exit code", code in (0, 128 + point.number, -point.number))
    if code > 0:  # the process had begun to listen
        left = sorted(set(bench.litter()) - set(bench.earlier_litter))
        bench.expect(f"{what}: left are {left}", left == [])


def _is_checked(run: Any) -> None:
    assert run.checked


def _artifacts(output: Path) -> dict[Path, str]:
    """What stands at the place of an export, each with what tells it from its successor."""
    from switch_tf.checksums import describe

    if output.is_dir():
        return {path: "" for path in output.iterdir() if path.name.isdecimal()}
    return {output: describe(output)["sha256"]} if output.exists() else {}


def _answer(artifacts: dict[Path, str]) -> None:
    from switch_tf.artifacts.opening import load_predictor

    for path in artifacts:
        model = load_predictor(path)
        assert model.checked
        model.probabilities(["a lovely film", ""])


if __name__ == "__main__":
    main()
