"""What tests share: a made-up data set, tiny settings, one trained run, the command line, JavaScript and C++."""

import contextlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest

# Small enough to train in a second or two; large enough that tokens compete for experts.
TINY = (
    "text.vocabulary_size=50",
    "text.sequence_length=12",
    "model.d_model=8",
    "model.d_ff=16",
    "model.num_heads=2",
    "model.num_experts=2",
    "model.dropout=0.1",
    "model.token_dropout=0.0",
    "train.label_smoothing=0.0",
    "train.epochs=3",
    "train.batch_size=16",
    "train.learning_rate=0.01",
)
JAVASCRIPT = Path(__file__).parent / "js"
NEL_WORD = "na\u0085ive"  # holds U+0085, which `str.splitlines` takes for the end of a line
_PRAISE, _BLAME = ["lovely", "great", "warm", "witty"], ["dull", "awful", "cold", "slow"]
_FILLING = ["film", "plot", "the", "cast", "story", "schön", NEL_WORD]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what slow_tests.txt lists: tests that took over half a second when all were last timed."""
    listed = set((Path(__file__).parent / "slow_tests.txt").read_text(encoding="utf-8").split("\n"))
    for item in items:
        if item.nodeid.split("[")[0] in listed:
            item.add_marker(pytest.mark.slow)


class Answer(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


def made_up_rows(count: int, seed: int = 0, noise: float = 0.1) -> list[tuple[str, str]]:
    """(text, label) rows, no two texts alike, that say good or bad by one word; a share has the wrong label.

    Nearly all are about as long as the model reads, so that all batches have one shape and the step is traced once.
    """
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        good = number % 2 == 1
        words = [*random.choice(_FILLING, 9 if number % 20 else 1), random.choice(_PRAISE if good else _BLAME)]
        label = "good" if good != (random.random() < noise) else "bad"
        rows.append((" ".join([*random.permutation(words), f"number{seed}x{number}"]), label))
    return rows


def write_tsv(path: Path, rows: list[tuple[str, str]]) -> Path:
    """A table of text and label."""
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def write_set(folder: Path) -> Path:
    """A folder of a data set as the tools that measure take it, of made-up rows: train.tsv.xz and test.tsv.xz."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", made_up_rows(120)), ("test", made_up_rows(40, seed=1))):
        lines = ["label\ttext", *(f"{label}\t{text}" for text, label in rows)]
        (folder / f"{name}.tsv.xz").write_bytes(lzma.compress("\n".join(lines).encode() + b"\n"))
    return folder


def tiny_arguments(*changes: str) -> list[str]:
    """The words of the command line that ask for tiny settings."""
    return ["--preset", "tiny", *(word for assignment in (*TINY, *changes) for word in ("--set", assignment))]


def tiny_config(*changes: str) -> Any:
    """The same as a `Config`."""
    from switch_tf.config import load_config

    return load_config(assignments=[*TINY, *changes])


class Quiet:
    """A `switch_tf.training.loop.Progress` that remembers."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.rows: list[dict[str, Any]] = []
        self.best: list[bool] = []
        self.stages: list[str] = []

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        self.epochs.append(epoch)

    def step(self, totals: Any, seconds: float) -> None:
        assert seconds > 0 and totals.steps > 0

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
        self.rows.append(row)
        self.best.append(is_best)


def ask(*arguments: object) -> Answer:
    """Run the command line in this process."""
    from switch_tf.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    out.flush()
    code = stopped.value.code
    assert code is None or isinstance(code, int)
    assert isinstance(out.buffer, io.BytesIO)
    return Answer(code or 0, out.buffer.getvalue().decode(), err.getvalue())


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """made.tsv to train on and made-test.tsv to test on."""
    folder = tmp_path_factory.mktemp("data")
    write_tsv(folder / "made.tsv", made_up_rows(120, seed=0))
    write_tsv(folder / "made-test.tsv", made_up_rows(40, seed=1))
    return folder


@pytest.fixture(scope="session")
def trained_run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `TINY` settings on `data_folder`, trained once; tests that change it work on a copy."""
    from switch_tf.data.request import DataRequest
    from switch_tf.training.session import train

    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    return train(request, tiny_config(), tmp_path_factory.mktemp("runs") / "made", Quiet()).path


@pytest.fixture(scope="session")
def trained_proof(trained_run: Path) -> Any:
    """The trained model of `trained_run` and few texts to compare exports on."""
    from switch_tf.export.proof.gate import Proof
    from switch_tf.runs.folder import open_run

    return Proof(open_run(trained_run), texts=40)


@pytest.fixture(scope="session")
def exported_saved_model(trained_run: Path, trained_proof: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Version 1 of `trained_run` as a SavedModel, and how it compared; tests that change it work on a copy."""
    from switch_tf.export.saved_model.build import export_saved_model
    from switch_tf.runs.folder import open_run

    output = tmp_path_factory.mktemp("exports") / "saved_model"
    return export_saved_model(open_run(trained_run), trained_proof, output)


def export_file(name: str, run: Any, proof: Any, output: Path, **options: Any) -> Any:
    """Write a file of the format `name`; its path and how it compared."""
    from switch_tf.export.formats import FORMATS
    from switch_tf.export.options import ExportOptions

    path, (comparison,) = FORMATS[name].export(run, proof, output, ExportOptions(name, **options))
    return path, comparison


def sealed_onnx(model: Any) -> bytes:
    """A model that was changed, with the checksum that it would have if an export had written it so."""
    from switch_tf.artifacts.seal import ONNX, sealed

    kept = [each for each in model.metadata_props if each.key != "sha256"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return sealed(model.SerializeToString() + ONNX)


def tensor_sizes(path: Path) -> tuple[int, int]:
    """Bytes of the largest tensor of a TFLite file that follows from what goes in, and of the largest of all."""
    from switch_tf.artifacts.tflite_file import bytes_of, open_interpreter
    from switch_tf.artifacts.tflite_graph import fixed_tensors

    interpreter, follows, every = open_interpreter(model_path=str(path)), 0, 0
    for subgraph in range(interpreter.num_subgraphs()):
        fixed = fixed_tensors(path, subgraph)
        for tensor in interpreter.get_tensor_details(subgraph):
            every = max(every, bytes_of(tensor))
            follows = follows if tensor["index"] in fixed else max(follows, bytes_of(tensor))
    return follows, every


def said_without(packages: Sequence[str], program: str, *options: str, folder: Path | None = None) -> str:
    """What a program prints where none of some packages can be imported, asked with options of Python's in a folder."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({list(packages)}))\n"
    command = [sys.executable, *options, "-c", blocked + program]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def copy_run(run: Path, destination: Path) -> Path:
    """A copy of a run folder without what was exported from it."""
    return Path(shutil.copytree(run, destination, ignore=shutil.ignore_patterns("export")))


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of `trained_run` to damage."""
    return copy_run(trained_run, tmp_path / "copy")


@pytest.fixture(scope="session")
def rejecting_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trained_run` with a reject threshold that texts lie on both sides of; tests that change it work on a copy."""
    from switch_tf.runs.folder import write_manifest, write_rejection
    from switch_tf.runs.rejection import Rejection

    run = copy_run(trained_run, tmp_path_factory.mktemp("runs") / "rejecting")
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    (run / "data.json").write_text(json.dumps(data | {"format": 4}), encoding="utf-8")
    write_rejection(run, Rejection(0.5625, "unknown"), {})
    write_manifest(run)
    return run


class FineTuned(NamedTuple):
    """A classifier that was made of a checkpoint, trained once: what a test changes, it copies.

    Attributes:
        folder: with train.tsv, test.tsv, the checkpoint `plain` and the `run`.
        words: of the command that trained it, but for where to.
        answer: what that said.
    """

    folder: Path
    words: list[str]
    answer: Answer

    @property
    def run(self) -> Path:
        return self.folder / "run"


def checkpoint_copy(folder: Path, name: str = "plain") -> Path:
    """A checkpoint of Hugging Face's with its tokenizer, in `folder`."""
    fixtures = Path(__file__).parent / "data" / "huggingface"
    shutil.copytree(fixtures / name, folder / name)
    shutil.copy(fixtures / "spiece.model", folder / name)
    return folder / name


@pytest.fixture(scope="session")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    folder = tmp_path_factory.mktemp("fine_tuned")
    data = write_tsv(folder / "train.tsv", made_up_rows(520))
    test = write_tsv(folder / "test.tsv", made_up_rows(60, seed=1))
    settings = ("length=24", "epochs=2", "batch_size=16", "learning_rate=0.02", "head_learning_rate=0.05")
    assigned = [word for each in settings for word in ("--set", f"fine_tune.{each}")]
    words = ["train", str(data), "--test", str(test), "--from-hf", str(checkpoint_copy(folder)), *assigned]
    answer = ask(*words, "--output", folder / "run", "--json")
    assert answer.code == 0, answer.err
    return FineTuned(folder, words, answer)


@pytest.fixture(scope="session")
def exported(fine_tuned: FineTuned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with a reject threshold, and all that can be exported of it; tests do not change it."""
    import switch_tf
    from switch_tf.runs.fine_tuned import write_manifest
    from switch_tf.runs.folder import write_rejection
    from switch_tf.runs.rejection import Rejection

    run = Path(shutil.copytree(fine_tuned.run, tmp_path_factory.mktemp("exported") / "run"))
    write_rejection(run, Rejection(0.8125, "unknown"), {})
    write_manifest(run)
    answer = ask("export", run, "--format", "all", "--json")
    assert answer.code == 0, answer.err
    artifacts = json.loads(answer.out)["artifacts"]
    assert [(Path(each["path"]).name, each["door"]) for each in artifacts] == [
        *(("saved_model", door) for door in ("bytes", "text", "ids")),
        *(("tflite", door) for door in ("bytes", "ids")),
        ("onnx", "bytes"),
    ]
    for each in artifacts:
        assert each["texts"] == {"ids": 124, "bytes": 152, "text": 152}[each["door"]] == each["labels_equal"]
        assert each["words"] == each["words_equal"] == (397 if each["door"] == "bytes" else 0)
        assert each["max_abs_diff"] <= 1e-5 and each["batch_invariance"] <= 1e-6 and each["problems"] == []
        assert 0 < each["rejected"] < each["texts"]
    classifier = switch_tf.load(run)
    classifier.export("tflite", precision="int8", verbose=0)
    classifier.export("onnx", inputs="ids", batch=3, verbose=0)
    classifier.export("onnx", inputs="ids", precision="int8", max_loss=3, verbose=0)
    classifier.export("saved_model", inputs="text", verbose=0)
    return run


@pytest.fixture(scope="session")
def opened(exported: Path) -> tuple[Any, Any, Any]:
    """The run, its model, and a gate of few made-up texts."""
    from switch_tf.export.fine_tuned.proof import FineTunedProof
    from switch_tf.export.fine_tuned.session import _load
    from switch_tf.runs.fine_tuned import open_fine_tuned

    run = open_fine_tuned(exported)
    model = _load(run)
    return run, model, FineTunedProof(run, model, made_up=16)


@pytest.fixture
def unchecked_run(run_copy: Path) -> Path:
    """A copy of `trained_run` as the format before manifests had it: what is damaged in it, no checksum tells."""
    (run_copy / "manifest.json").unlink()
    data = json.loads((run_copy / "data.json").read_text(encoding="utf-8"))
    (run_copy / "data.json").write_text(json.dumps(data | {"format": 2}), encoding="utf-8")
    return run_copy


@pytest.fixture(scope="module")
def module_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `trained_run` for a module to export into."""
    return copy_run(trained_run, tmp_path_factory.mktemp("runs") / "made")


@pytest.fixture
def no_file_left(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Names under `tmp_path` that stand for something temporary; there must be none when the test ends."""

    def leftovers() -> list[str]:
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".*"))

    yield leftovers
    assert leftovers() == []


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with what tests/js needs installed as its lock says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _do_without("Node 20.11 or newer and npm")
    lock, installed = JAVASCRIPT / "package-lock.json", JAVASCRIPT / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        finished = subprocess.run(command, cwd=JAVASCRIPT, capture_output=True, text=True, check=False)
        if finished.returncode:
            _do_without(f"what `npm ci` installs in {JAVASCRIPT}, but it failed:\n{finished.stderr}")
    return node


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser that Playwright can drive."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or _do_without("chromium, chromium-browser or google-chrome on the path")


@pytest.fixture(scope="session")
def compiler() -> str:
    """A C++ compiler that the device kit names."""
    return shutil.which("g++") or _do_without("g++")


def _do_without(what: str) -> NoReturn:
    """Skip the test, or fail it in CI, where nothing may be left out."""
    reason = f"This test needs {what}."
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
