"""The package in Python: `train` or `load` a classifier, then ask, measure and export it.

Everything is checked before TensorFlow loads, and TensorFlow loads only where it is needed: an .onnx or .tflite file
answers without it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from switch_tf.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from switch_tf.artifacts.base import Predictor
    from switch_tf.artifacts.providers import Provider
    from switch_tf.config import Config, Dispatch
    from switch_tf.data.examples import Examples
    from switch_tf.export.options import Door, Precision
    from switch_tf.export.proof.parity import Comparison
    from switch_tf.runs.folder import Run
    from switch_tf.training.autotune import Autotune
    from switch_tf.training.progress import TrainingProgress

StrPath = str | os.PathLike[str]


def train(
    data: Any,
    test: Any = None,
    output: StrPath | None = None,
    *,
    preset: str | None = None,
    config: "Config | Mapping[str, Any] | StrPath | None" = None,
    text_column: str = "text",
    label_column: str = "label",
    resume: bool = False,
    autotune: float | None = None,
    max_size: int | str | None = None,
    verbose: int = 1,
    **settings: Any,
) -> "Classifier":
    """Train a classifier and leave it in a run folder.

    Args:
        data: labelled texts: the path of a csv, tsv, jsonl or parquet file or of a folder of class folders, the
            embedded set "reviews", a table (pandas, polars, pyarrow, a split of a Hugging Face data set, anything with
            Arrow's C stream), or a pair (texts, labels) of lists, NumPy arrays or Series.
        test: the same, to measure the finished model on; an embedded set brings its own.
        output: the run folder to make, which must not exist; None is a new one under ./runs.
        preset: "auto", which chooses from the size of the data, "tiny", "base" or "large". Unless given, it is "auto"
            where `config` is not given either.
        config: a `Config`, a dictionary of tables such as {"model": {"num_experts": 8}}, or the path of a TOML file.
        text_column: of tables.
        label_column: of tables.
        resume: go on where a training into `output` (None: the newest unfinished one) was cut off, on the same data;
            without settings it goes on with those it was started with.
        autotune: minutes to search better settings on validation before the training, beginning with those that the
            call would have without; those that `config` or `settings` name stay, of a whole `Config` all may change.
            Ctrl-C ends the search and trains with the best so far. Needs the extra `autotune`.
        max_size: with `autotune`, bytes that the exported model may have as an int8 TFLite file, such as "800K".
        verbose: 0 is silent; 1 shows progress on stderr; 2 shows a line for each epoch alone, without a bar.
        **settings: single settings by name, such as epochs=5, num_experts=8; they override `config`, which overrides
            the preset.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, or out of range.
        DataError: the data cannot be used; the message names the row.
        RunError: the folder is in the way, there is nothing to resume, or nothing to search with or within the limits.
        ArgumentError: `max_size` without `autotune`, or `autotune` with `resume`.
    """
    from switch_tf.data.request import DataRequest
    from switch_tf.training.session import read_unfinished
    from switch_tf.training.session import train as train_run

    wanted = _search(autotune, max_size, resume, config, settings)
    held = _in_memory({"data": data, "test": test}, text_column, label_column)
    columns = {"text_column": text_column, "label_column": label_column}
    settled = _settled(data, held, columns, preset, config, settings, resume)
    with _progress(verbose) as (console, progress):
        names: dict[str, Any] = {
            name: _name(value) for name, value in (("data", data), ("test", test)) if value is not None
        }
        request = DataRequest(**names, **columns)
        path = _run_folder(output, None if "data" in held else request.data, resume)
        if resume and preset is None and config is None and not settings:
            _, settled, path = read_unfinished(path, has_data=True)
        console.print(f"Training on {request.data}; the run will be in {path}", highlight=False)
        tune = None if wanted is None else _tuner(wanted, progress)
        run = train_run(request, settled, path, progress, resume, held, tune=tune)
        _report(console, run)
    return load(run.path)


def _settled(
    data: Any,
    held: "Mapping[str, Examples]",
    columns: dict[str, str],
    preset: str | None,
    config: "Config | Mapping[str, Any] | StrPath | None",
    settings: dict[str, Any],
    resume: bool,
) -> "Config":
    """All settings of a call: those of its preset, those chosen from the size of the data, and those it names."""
    from switch_tf.config import config_from_call

    if preset is None and config is None:
        preset = "auto"
    settled = config_from_call(preset, config, settings)  # before long data is read
    if preset != "auto" or resume:
        return settled
    from switch_tf.training.auto import choose, examples_of, measure, tables_of

    choices = choose(measure(examples_of(held, data, **columns)))
    return config_from_call(preset, config, settings, tables_of(choices))


def _search(
    minutes: float | None,
    max_size: int | str | None,
    resume: bool,
    config: "Config | Mapping[str, Any] | StrPath | None",
    settings: dict[str, Any],
) -> "Autotune | None":
    """The search that a call asks for.

    Raises:
        ArgumentError: it cannot be.
        RunError: what searches is not installed.
    """
    if minutes is None:
        if max_size is not None:
            raise ArgumentError("Received max_size without autotune. Expected the minutes to search in.", "autotune")
        return None
    if resume:
        raise ArgumentError("Received autotune with resume. A search is over when training begins.", "autotune")
    if not 0 < minutes < float("inf"):
        raise ArgumentError(f"Received autotune={minutes!r}. Expected minutes, above 0.", argument="autotune")
    from switch_tf.config import asked_for
    from switch_tf.export.options import parse_size
    from switch_tf.training.autotune import Autotune, require_optuna

    require_optuna()
    return Autotune(minutes, None if max_size is None else parse_size(max_size), asked_for(config, settings))


def _tuner(wanted: "Autotune", progress: "TrainingProgress") -> Any:
    from switch_tf.training.autotune import tuner

    return tuner(wanted, progress)


def load(path: StrPath, threads: int | None = None, provider: "Provider" = "auto") -> "Classifier":
    """The model at `path`: a run folder, a SavedModel (or the folder of its versions), an .onnx or a .tflite file.

    Args:
        path: of the folder or file.
        threads: what one operator of an .onnx or .tflite file may use; None leaves it to the runtime.
        provider: what ONNX Runtime answers with: "cpu", "cuda", or "auto", which is CUDA for a file that takes ids
            where the installed build has it, and the CPU for all others. A warning says if "auto" tried in vain.

    Raises:
        ArgumentError: `threads` or `provider` for another kind of model, or no such provider is installed.
        RunError: a run folder is unfinished or damaged.
        ModelError: there is no model, or one that is not ours.
    """
    from switch_tf.artifacts.opening import load_predictor

    return Classifier(Path(path), load_predictor(Path(path), threads, provider))


class Classifier:
    """A model that takes raw text; `train` and `load` make one.

    Attributes:
        path: where it was loaded from.
    """

    def __init__(self, path: Path, model: "Predictor"):
        self.path = path
        self._model = model

    def __repr__(self) -> str:
        return f"<Classifier {str(self.path)!r}: labels {self.labels}, {self._model.runtime}>"

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self._model.labels)

    def predict(self, texts: Any) -> "np.ndarray":
        """The most probable label of each text, str [n] in an array of objects.

        Args:
            texts: a list, an array, a Series or any other iterable of str, or of bytes in UTF-8.

        Raises:
            ArgumentError: `texts` is a single text, a table, or no such thing at all.
            DataError: a value is no text; the message names its position, counted from 0.
        """
        import numpy as np

        return np.array(self.labels, dtype=object)[self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Any) -> "np.ndarray":
        """The probability of each label, float32 [n, classes] in the order of `labels`; `texts` as for `predict`."""
        from switch_tf.data.in_memory import texts_in_memory

        return self._model.probabilities(texts_in_memory(texts))

    def tokenize(self, texts: Any) -> "np.ndarray":
        """Token ids, int32 [n, length]: 0 is padding, 1 an unknown word; `texts` as for `predict`.

        Raises:
            ModelError: this kind of artifact does not give its ids away.
        """
        from switch_tf.data.in_memory import texts_in_memory

        return self._model.tokenize(texts_in_memory(texts))

    def evaluate(self, data: Any, *, text_column: str = "text", label_column: str = "label") -> dict[str, Any]:
        """Figures on labelled data, as `train` takes it; of a path with a test part, that is read.

        Returns:
            n, accuracy, macro_f1, log_loss (nats), and per_label: precision, recall, f1 and support of each.

        Raises:
            DataError: the data cannot be used, or has a label that the model does not know.
        """
        from switch_tf.measuring.scores import evaluate

        return evaluate(self._model, _examples(data, text_column, label_column))

    @overload
    def export(  # type: ignore[overload-overlap]  # "all" is a str as well, for which the answer is one path
        self, format: Literal["all"], *, allow_truncation: bool = False, verbose: int = 1
    ) -> list[Path]: ...

    @overload
    def export(
        self,
        format: str,
        output: StrPath | None = None,
        *,
        inputs: "Door | None" = None,
        batch: int | None = None,
        precision: "Precision | None" = None,
        dispatch: "Dispatch | None" = None,
        max_size: int | str | None = None,
        max_loss: float | None = None,
        measured_on: Any = None,
        allow_truncation: bool = False,
        max_batch_size: int | None = None,
        verbose: int = 1,
    ) -> Path: ...

    def export(
        self,
        format: str,
        output: StrPath | None = None,
        *,
        inputs: "Door | None" = None,
        batch: int | None = None,
        precision: "Precision | None" = None,
        dispatch: "Dispatch | None" = None,
        max_size: int | str | None = None,
        max_loss: float | None = None,
        measured_on: Any = None,
        allow_truncation: bool = False,
        max_batch_size: int | None = None,
        verbose: int = 1,
    ) -> Path | list[Path]:
        """Turn the run into a model that needs none of this package, proven to answer as this one does.

        Args:
            format: "saved_model", "tflite" or "onnx"; "all" is each of them, and returns their paths in a list.
            output: where to; None is under RUN/export.
            inputs: what an ONNX file takes: "text" (the default), "ids" or "bytes".
            batch: the one batch size of a file; any unless given.
            precision: that large weights of a file are stored in: "float32" (the default), "float16" or "int8".
            dispatch: how tokens reach experts: "gather" or "einsum"; None is as trained.
            max_size: bytes that a file may have, as a number or as "800K" or "1.5M".
            max_loss: points of accuracy that a smaller file may lose; 1 by rounding alone and 2 with words left out,
                unless given.
            measured_on: for a smaller precision, the run's test data, or else its training data, as `train` takes it,
                where it is not where it was or was given in memory.
            allow_truncation: even where over 1% of texts are too long for the bytes input.
            max_batch_size: texts that TF Serving answers together at most, for a SavedModel; 64 unless given.
            verbose: 0 is silent; 1 names each step on stderr.

        Raises:
            ModelError: this is no run but an export already.
            ArgumentError: the options do not fit together.
            ParityError: the export does not answer as this model does; nothing of it is left.
            ExportError, DataError, RunError: as `switch_tf.export.session.export_run` says.
        """
        run = self._run("exported")
        from switch_tf.export.formats import ALL, check_options
        from switch_tf.export.options import ExportOptions

        options = ExportOptions(
            format,
            None if output is None else Path(output),
            inputs,
            batch,
            precision,
            dispatch,
            max_size,
            max_loss,
            _measured_on(run, measured_on),
            allow_truncation,
            max_batch_size,
        )
        check_options(options)
        from switch_tf.export.session import export_run

        exported = export_run(run, options, _teller(verbose))
        return exported.paths if format == ALL else exported.paths[0]

    def verify(
        self,
        *artifacts: StrPath,
        texts: int = 2000,
        seed: int = 0,
        held_out: Any = None,
        measured_on: Any = None,
        verbose: int = 1,
    ) -> "list[Comparison]":
        """Compare exports of this run with it, at length.

        Args:
            *artifacts: paths; none is all that stand under RUN/export.
            texts: hostile texts to make up from `seed`, beside the held-out ones.
            seed: for making them.
            held_out: texts, as for `predict`, instead of the sample that the run carries.
            measured_on: as for `export`.
            verbose: the same.

        Returns:
            For each input of each artifact: `path`, `texts`, `max_abs_diff` and other figures.

        Raises:
            ParityError: one does not answer as this model does.
            ModelError: this is no run, or there is nothing to compare with it.
            ExportError, DataError: as `switch_tf.export.session.verify_run` says.
        """
        run = self._run("compared with its exports")
        from switch_tf.data.in_memory import texts_in_memory
        from switch_tf.export.proof.verify import refuse_differences
        from switch_tf.export.session import verify_run

        own = None if held_out is None else texts_in_memory(held_out)
        paths = [Path(path) for path in artifacts]
        comparisons = verify_run(run, paths, texts, seed, own, _measured_on(run, measured_on), _teller(verbose))
        refuse_differences(comparisons)
        return comparisons

    def _run(self, verb: str) -> "Run":
        from switch_tf.runs.folder import Run

        run = getattr(self._model, "run", None)
        if not isinstance(run, Run):
            raise ModelError(f"{self.path} is an export already: only a run folder can be {verb}. Load that one.")
        return run


def _in_memory(given: Mapping[str, Any], text_column: str, label_column: str) -> dict[str, "Examples"]:
    """The examples of what is no path, by argument."""
    from switch_tf.data.in_memory import examples_in_memory

    columns = {"text_column": text_column, "label_column": label_column}
    return {
        name: examples_in_memory(value, **columns, argument=name)
        for name, value in given.items()
        if not _is_path(value) and not (name == "test" and value is None)
    }


def _examples(data: Any, text_column: str, label_column: str) -> "Examples":
    from switch_tf.data.examples import read_examples
    from switch_tf.data.in_memory import examples_in_memory

    columns: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
    if _is_path(data):
        return read_examples(os.fspath(data), split="test", **columns)
    return examples_in_memory(data, **columns)


def _measured_on(run: "Run", data: Any) -> "str | Examples | None":
    from switch_tf.data.in_memory import examples_in_memory

    if data is None or _is_path(data):
        return None if data is None else os.fspath(data)
    columns = {name: run.data.get(name, name.removesuffix("_column")) for name in ("text_column", "label_column")}
    return examples_in_memory(data, **columns, argument="measured_on")


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _name(value: Any) -> str:
    from switch_tf.data.in_memory import describe

    return os.fspath(value) if _is_path(value) else describe(value)


def _run_folder(output: StrPath | None, data: str | None, resume: bool) -> Path:
    """Where the run will be; `data` is the path it is named after where there is one."""
    from switch_tf.runs.folder import RUNS, UNFINISHED, free_name, fresh_name, newest_run

    if output is not None:
        return Path(output)
    if resume:
        folder = newest_run(unfinished=True)
        return folder.with_name(folder.name.removesuffix(UNFINISHED))
    return free_name(RUNS / "run") if data is None else fresh_name(data)


@contextmanager
def _progress(verbose: int) -> Iterator[tuple["Console", "TrainingProgress"]]:
    """What tells on stderr how the training goes."""
    console = _console(verbose)
    from switch_tf.training.progress import TrainingProgress

    with TrainingProgress(console) as progress:
        yield console, progress


def _console(verbose: int) -> "Console":
    from rich.console import Console

    if verbose not in (0, 1, 2):
        expected = "0 (silent), 1 (progress) or 2 (a line for each epoch)"
        raise ArgumentError(f"Received verbose={verbose!r}. Expected {expected}.", argument="verbose")
    # A silent console must not be a terminal either: a live bar would swallow what others print meanwhile.
    terminal = None if verbose == 1 else False
    return Console(stderr=True, quiet=not verbose, markup=False, emoji=False, force_terminal=terminal)


def _teller(verbose: int) -> Callable[[str], None]:
    console = _console(verbose)
    return lambda message: console.print(message, highlight=False, soft_wrap=True)


def _report(console: "Console", run: "Run") -> None:
    from switch_tf.reporting.comparison import print_figures
    from switch_tf.runs.folder import read_metrics

    print_figures(console, str(run.path), read_metrics(run.path))
