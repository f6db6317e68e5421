"""How long a whole model takes from raw text to probabilities, beside what a user would pick instead.

    python tools/bench_raw_text.py RUN TRAIN.tsv TEST.tsv [--also RUN2 TRAIN2.tsv TEST2.tsv]
    python tools/bench_raw_text.py                           a model of the built-in reviews, trained for it

Ours are the SavedModel, the ONNX and the LiteRT file of RUN, made here; the others are fitted on the same TRAIN:
scikit-learn's TF-IDF with logistic regression in Python and, where the Python of --python has them, the same pipeline
converted by skl2onnx and fastText. All answer the same texts of TEST, on one thread.

Times are CPU seconds, so that other programs on the machine do not count: with one thread they are what a caller waits
for on a free machine. Contenders take turns in every round; figures are medians over rounds, and ratios are medians of
ratios within a round.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

BATCHES = (1, 256)
PEER = "scikit-learn"  # what ratios are taken to
Ask = Callable[[list[str]], Any]
Seconds = Callable[[int], list[float]]  # by batch size, the CPU seconds of each batch

# Answers batch sizes on stdin by lists of seconds; {texts, train, labels} come as the first line.
_OTHERS = """
import json, sys, tempfile, time
import numpy as np
given = json.loads(sys.stdin.readline())
asks = {}
try:
    import fasttext
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for label, text in zip(given["labels"], given["train"]):
            file.write("__label__" + label.replace(" ", "_") + " " + " ".join(text.lower().split()) + "\\n")
        file.flush()
        model = fasttext.train_supervised(file.name, thread=1, verbose=0)
    def ask_fasttext(texts):
        return model.f.multilinePredict([" ".join(t.lower().split()) + "\\n" for t in texts], -1, 0.0, "strict")
    asks["fastText"] = ask_fasttext
except ImportError:
    pass
try:
    import onnx
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    fitted.fit(given["train"], given["labels"])
    content = to_onnx(fitted, initial_types=[("text", StringTensorType([None, 1]))], options={"zipmap": False})
    for node in content.graph.node:
        if node.op_type == "StringNormalizer":  # its default locale is not on every machine
            kept = [each for each in node.attribute if each.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("locale", "C")])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])
    asks["skl2onnx"] = lambda texts: session.run(None, {"text": np.array(texts, object)[:, None]})
except ImportError:
    pass
print(json.dumps(list(asks)), flush=True)
for line in sys.stdin:
    name, size = json.loads(line)
    seconds = []
    for start in range(0, len(given["texts"]), size):
        batch = given["texts"][start : start + size]
        begin = time.process_time()
        asks[name](batch)
        seconds.append(time.process_time() - begin)
    print(json.dumps(seconds), flush=True)
"""


_START_UP = "Start-up and memory"
_PREDICT = """
import sys
from switch_tf.cli import main
try:
    main(["--quiet", "predict", sys.argv[1], "a fine film"])
finally:
    import re, time
    print(1000 * time.process_time(), re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


class Row(NamedTuple):
    """One figure: CPU milliseconds a text, and how many times scikit-learn's that is."""

    run: str
    contender: str
    batch: int
    milliseconds: float
    ratio: float


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.argument("train", default="reviews")
@click.argument("test", default="reviews")
@click.option("--texts", "count", default=512, show_default=True, help="How many texts of TEST.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--also", nargs=3, multiple=True, metavar="RUN TRAIN TEST", help="Another run, and its texts.")
@click.option(
    "--before",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of earlier model.onnx and model.tflite; once for each run, in their order.",
)
@click.option("--python", help="Another Python, to measure skl2onnx and fastText where it has them.")
@click.option("--quick", is_flag=True, help="A round of few texts, and training cut short: to see that it runs.")
@click.option("--json", "as_json", is_flag=True)
def main(
    run: Path | None,
    train: str,
    test: str,
    count: int,
    rounds: int,
    also: tuple[tuple[str, str, str], ...],
    before: tuple[Path, ...],
    python: str | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Time RUN from raw text in batches of 1 and 256; without RUN, a model of the built-in reviews, trained for it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if quick:
        count, rounds = 16, 1
    with tempfile.TemporaryDirectory() as folder:
        run = run or trained_on_reviews(Path(folder), quick)
        rows, started = [], []
        runs = [(run, train, test), *((Path(one), own_train, own_test) for one, own_train, own_test in also)]
        for (path, own_train, own_test), earlier in zip_longest(runs, before[: len(runs)]):
            rows += measure(path, own_train, own_test, count, rounds, earlier, python)
            started += start_up(path)
    if as_json:
        click.echo(json.dumps(page_rows(rows) + started))
        return
    for name in dict.fromkeys(row.run for row in rows):
        Console().print(_shown(name, [row for row in rows if row.run == name]))
    for each in started:
        click.echo(f"{each['what']}: {each.get('milliseconds', each.get('megabytes'))}")


def trained_on_reviews(folder: Path, quick: bool) -> Path:
    """A run on the built-in reviews in `folder`, cut short if `quick`."""
    import switch_tf

    shorter: dict[str, Any] = {"epochs": 1} if quick else {}
    return switch_tf.train("reviews", output=folder / "reviews", verbose=0, **shorter).path


def _shown(run: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{run}: CPU ms a text, one thread (times {PEER}'s)", title_justify="left")
    table.add_column("")
    for size in BATCHES:
        table.add_column(f"batch {size}", justify="right")
    for name in dict.fromkeys(row.contender for row in rows):
        table.add_row(name, *(f"{row.milliseconds:.3f} ({row.ratio:.2f}x)" for row in rows if row.contender == name))
    return table


def page_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What docs/performance.md shows of the figures: ours beside scikit-learn, and beside our earlier files."""
    found = {(row.run, row.contender, row.batch): row for row in rows}
    made = []
    for own in rows:
        if " before" in own.contender or own.contender == PEER:
            continue
        others = {"scikit-learn in Python": (own.ratio, found[own.run, PEER, own.batch])}
        if earlier := found.get((own.run, f"{own.contender} before", own.batch)):
            others["the file before"] = (round(own.ratio / earlier.ratio, 3), earlier)
        for peer, (ratio, theirs) in others.items():
            made.append(
                {
                    "section": "From raw text",
                    "what": f"{own.run}: {own.contender}, batch {own.batch}",
                    "ratio_to": peer,
                    "ratio": ratio,
                    "milliseconds": own.milliseconds,
                    "peer_milliseconds": theirs.milliseconds,
                }
            )
    return made


def start_up(path: Path) -> list[dict[str, Any]]:
    """CPU milliseconds and peak megabytes of `switch-tf predict FILE TEXT`, the least of five processes."""
    from switch_tf.export.formats import FORMATS
    from switch_tf.export.options import ExportOptions
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.runs.folder import open_run

    run = open_run(path)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("onnx", "tflite"):
            form: Any = FORMATS[name]
            file = Path(folder, f"model.{name}")
            file.write_bytes(form.build(run, load_classifier(run), ExportOptions(name)))
            told = [_first_answer(file) for _ in range(5)]
            what = f"`predict` with {path.name}'s .{name} file of {file.stat().st_size / 1e6:.1f} MB: "
            least = [round(min(figures), 1) for figures in zip(*told, strict=True)]
            rows.append({"section": _START_UP, "what": f"{what}processor time", "milliseconds": least[0]})
            rows.append({"section": _START_UP, "what": f"{what}peak memory", "megabytes": least[1]})
    return rows


def _first_answer(file: Path) -> tuple[float, float]:
    words = [sys.executable, "-c", _PREDICT, str(file)]
    finished = subprocess.run(words, capture_output=True, text=True, check=True)
    milliseconds, kilobytes = map(float, finished.stdout.split()[-2:])
    return milliseconds, kilobytes / 1024


def measure(
    run: Path,
    train: str,
    test: str,
    count: int = 512,
    rounds: int = 7,
    before: Path | None = None,
    python: str | None = None,
) -> list[Row]:
    """A row for each contender and batch size, contenders in the order of their turns.

    Args:
        run: a run folder.
        train: labelled texts for the peers.
        test: texts to answer.
        count: how many of them, drawn from a fixed seed.
        before: a folder of earlier files, to compare with.
        python: an interpreter with skl2onnx or fastText.
    """
    from switch_tf.data.examples import read_examples, read_texts

    examples = read_examples(train)
    everything = list(read_texts(test))
    texts = [everything[index] for index in np.random.default_rng(0).permutation(len(everything))[:count]]
    labelled = examples.texts.to_pylist(), examples.labels.to_pylist()
    asks: dict[str, Ask] = {
        **_ours(run),
        **({} if before is None else _files(before, " before")),
        PEER: _peer(*labelled),
    }
    contenders: dict[str, Seconds] = {name: _timer(ask, texts) for name, ask in asks.items()}
    if python is None:
        return _rows(run.name, _time(contenders, rounds), len(texts))
    with subprocess.Popen([python, "-c", _OTHERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        contenders |= _others(child, texts, *labelled)
        rows = _rows(run.name, _time(contenders, rounds), len(texts))
        assert child.stdin is not None
        child.stdin.close()
    return rows


def _ours(path: Path) -> dict[str, Ask]:
    """The SavedModel and the two files of a run, as `export` builds them; the gate is not what is timed."""
    import tensorflow as tf

    from switch_tf.export.formats import FORMATS
    from switch_tf.export.options import ExportOptions
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.runs.folder import open_run

    run = open_run(path)
    model = load_classifier(run)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("onnx", "tflite"):
            form: Any = FORMATS[name]
            Path(folder, f"model.{name}").write_bytes(form.build(run, model, ExportOptions(name)))
        module = tf.Module()  # without Keras' objects, as an export has it
        module.text, module.weights = model.text, model.classifier.variables
        signature = {"serving_default": model.classify_text}
        tf.saved_model.save(module, str(Path(folder, "saved_model")), signatures=signature)
        serve = tf.saved_model.load(str(Path(folder, "saved_model"))).signatures["serving_default"]
        return {
            **_files(Path(folder)),
            "SavedModel": lambda texts: serve(text=tf.constant(texts, tf.string))["probabilities"].numpy(),
        }


def _files(folder: Path, suffix: str = "") -> dict[str, Ask]:
    """The files of a folder in their runtimes, without our classes around them."""
    import onnxruntime

    from switch_tf.artifacts.tflite_file import open_interpreter

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    content = (folder / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    content = (folder / "model.tflite").read_bytes()
    runner = open_interpreter(model_content=content, num_threads=1).get_signature_runner("bytes")
    width = int(runner.get_input_details()["bytes"]["shape"][1])

    def ask_litert(texts: list[str]) -> Any:
        rows = np.array([[text.encode()[:width]] for text in texts], f"S{width}").view(np.uint8)
        return runner(bytes=rows)["probabilities"]

    return {
        f"ONNX{suffix}": lambda texts: session.run(["probabilities"], {"text": np.array(texts, object)})[0],
        f"LiteRT{suffix}": ask_litert,
    }


def _peer(texts: list[str], labels: list[str]) -> Ask:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)).fit(texts, labels)
    return lambda texts: fitted.predict_proba(texts)


def _others(child: subprocess.Popen[str], texts: list[str], train: list[str], labels: list[str]) -> dict[str, Seconds]:
    """What another Python has; it answers how long it took."""

    def ask(question: Any) -> Any:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    names = ask({"texts": texts, "train": train, "labels": labels})
    return {name: lambda size, name=name: ask([name, size]) for name in names}  # type: ignore[misc]


def _timer(ask: Ask, texts: list[str]) -> Seconds:
    def seconds(size: int) -> list[float]:
        taken = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            begin = time.process_time()
            ask(batch)
            taken.append(time.process_time() - begin)
        return taken

    return seconds


def _time(contenders: Mapping[str, Seconds], rounds: int) -> dict[int, dict[str, np.ndarray]]:
    """By batch size and name, the seconds of a batch in each round, float [rounds]: the median of its batches."""
    figures: dict[int, dict[str, np.ndarray]] = {}
    for size in BATCHES:
        received: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(rounds + 1):
            for name, seconds in contenders.items():
                middle = float(np.median(seconds(size)))
                if number:  # the first round warms up
                    received[name].append(middle)
        figures[size] = {name: np.array(each) for name, each in received.items()}
    return figures


def _rows(run: str, figures: Mapping[int, Mapping[str, np.ndarray]], texts: int) -> list[Row]:
    names: Sequence[str] = list(next(iter(figures.values())))
    return [
        Row(
            run,
            name,
            size,
            round(1000 * float(np.median(figures[size][name])) / min(size, texts), 4),
            round(float(np.median(figures[size][name] / figures[size][PEER])), 3),
        )
        for name in names
        for size in figures
    ]


if __name__ == "__main__":
    sys.exit(main())
