"""What the arguments of a call in Python mean: data, settings, a search, the folder of a run, and what tells of it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch_tf.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console

    from switch_tf.config import Config
    from switch_tf.data.examples import Examples, ExampleStream
    from switch_tf.data.request import DataRequest
    from switch_tf.runs.folder import Run
    from switch_tf.runs.opening import Trained
    from switch_tf.training.auto import Settled
    from switch_tf.training.autotune import Autotune
    from switch_tf.training.launching import Voice
    from switch_tf.training.progress import TrainingProgress
    from switch_tf.training.workers import Workers

StrPath = str | os.PathLike[str]


def in_memory(given: Mapping[str, Any], text_column: str, label_column: str) -> dict[str, "Examples"]:
    """The examples of what is no path, by argument."""
    from switch_tf.data.in_memory import examples_in_memory

    columns = {"text_column": text_column, "label_column": label_column}
    return {
        name: examples_in_memory(value, **columns, argument=name)
        for name, value in given.items()
        if not is_path(value) and not (name == "test" and value is None)
    }


def examples_of(data: Any, text_column: str, label_column: str) -> "Examples | ExampleStream":
    from switch_tf.data.examples import ExampleStream
    from switch_tf.data.in_memory import examples_in_memory

    columns: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
    if is_path(data):
        return ExampleStream(os.fspath(data), split="test", **columns)
    return examples_in_memory(data, **columns)


def texts_of(texts: Any) -> list[str]:
    """Texts without labels that a call is given."""
    from switch_tf.data.in_memory import texts_in_memory

    return texts_in_memory(texts)


def measured_on(run: "Trained", data: Any) -> "str | Examples | None":
    """Data of a run that the caller holds or says the place of."""
    return labelled(run, data, "measured_on")


def labelled(run: "Trained", data: Any, argument: str) -> "str | Examples | None":
    """The same, as the argument of that name."""
    from switch_tf.data.in_memory import examples_in_memory

    if data is None or is_path(data):
        return None if data is None else os.fspath(data)
    columns = {name: run.data.get(name, name.removesuffix("_column")) for name in ("text_column", "label_column")}
    return examples_in_memory(data, **columns, argument=argument)


def is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def name_of(value: Any) -> str:
    from switch_tf.data.in_memory import describe

    return os.fspath(value) if is_path(value) else describe(value)


def request_of(data: Any, test: Any, text_column: str, label_column: str) -> "DataRequest":
    """What a call reads, paths by their names and tables by what they are."""
    from switch_tf.data.request import DataRequest

    tested = None if test is None else name_of(test)
    return DataRequest(name_of(data), tested, text_column, label_column)


def run_folder(output: StrPath | None, data: str | None, resume: bool) -> Path:
    """Where the run will be; `data` is the path it is named after where there is one."""
    from switch_tf.runs.folder import RUNS, UNFINISHED, free_name, fresh_name, newest_run

    if output is not None:
        return Path(output)
    if resume:
        folder = newest_run(unfinished=True)
        return folder.with_name(folder.name.removesuffix(UNFINISHED))
    return free_name(RUNS / "run") if data is None else fresh_name(data)


def named(
    preset: str | None, config: "Config | Mapping[str, Any] | StrPath | None", settings: dict[str, Any]
) -> "tuple[str | None, Config]":
    """The preset that a call starts from, and its settings without those that the data decides.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, or out of range.
    """
    from switch_tf.config import config_from_call

    if preset is None and config is None:
        preset = "auto"
    return preset, config_from_call(preset, config, settings)


def settle(
    request: "DataRequest",
    held: "Mapping[str, Examples]",
    config: "Config | Mapping[str, Any] | StrPath | None",
    settings: dict[str, Any],
) -> "Settled":
    """All settings of a call by the preset auto: those chosen from the size of the data, and those it names."""
    from switch_tf.config import asked_for, config_from_call
    from switch_tf.training.auto import settle as settle_by

    def with_choices(chosen: Mapping[str, Mapping[str, Any]]) -> "Config":
        return config_from_call("auto", config, settings, chosen)

    return settle_by(request.resolved(), with_choices, asked_for(config, settings), held)


def search_of(
    minutes: float | None,
    max_size: int | str | None,
    resume: bool,
    preset: str | None,
    config: "Config | Mapping[str, Any] | StrPath | None",
    settings: dict[str, Any],
) -> "Autotune | None":
    """The search that a call asks for.

    Args:
        preset: that it begins with the settings of.

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
    limit = None if max_size is None else parse_size(max_size)
    return Autotune(minutes, limit, asked_for(config, settings), preset == "auto")


def tuner_of(wanted: "Autotune | None", progress: "TrainingProgress") -> Any:
    """What `switch_tf.training.session.train` tunes with; None for no search."""
    if wanted is None:
        return None
    from switch_tf.training.autotune import tuner

    return tuner(wanted, progress)


def refuse_with_checkpoint(**given: object) -> None:
    """
    Raises:
        ArgumentError: an argument is given that has no meaning where a checkpoint is fine-tuned.
    """
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(f"Received {name} with from_hf, where it has no meaning: leave it out.", name)


def fine_tune(
    data: Any,
    test: Any,
    output: StrPath | None,
    checkpoint: Path,
    columns: dict[str, str],
    resume: bool,
    verbose: int,
    settings: dict[str, Any],
) -> Path:
    """The folder of a classifier that was fine-tuned from a checkpoint.

    Raises:
        ArgumentError: a setting is unknown or out of range.
    """
    from switch_tf.runs.fine_tuned import FineTuneSettings
    from switch_tf.training.fine_tuning import fine_tune as fine_tune_run
    from switch_tf.training.fine_tuning import read_unfinished_fine_tuning

    unknown = sorted(set(settings) - set(FineTuneSettings.__dataclass_fields__))
    if unknown:
        known = ", ".join(FineTuneSettings.__dataclass_fields__)
        raise ArgumentError(f"Received {unknown[0]} with from_hf. Expected some of {known}.", unknown[0])
    wanted = FineTuneSettings(**settings)
    held = in_memory({"data": data, "test": test}, **columns)
    request = request_of(data, test, **columns)
    path = run_folder(output, None if "data" in held else request.data, resume)
    if resume and not settings:
        _, _, wanted, path = read_unfinished_fine_tuning(path, has_data=True)
    fine_tune_run(request, checkpoint, wanted, path, teller(verbose), resume, held)
    return path


@contextmanager
def progress_on_stderr(verbose: int, silent: bool = False) -> Iterator[tuple["Console", "TrainingProgress"]]:
    """What tells on stderr how the training goes, or nothing of it."""
    console = _console(verbose)
    from switch_tf.training.progress import TrainingProgress

    with TrainingProgress(console, silent) as progress:
        yield console, progress


def workers_of(count: int | None, config: "Config", resume: bool = False) -> "Workers":
    """Those that are to train, where so many are asked for.

    Raises:
        RunError: there is no such number of workers here.
        ConfigError: settings are not for several.
    """
    from switch_tf.training.workers import choose_workers

    return choose_workers(count, os.environ, config, resume)


def voice_of(verbose: int) -> "Voice":
    """How processes that train together tell on stderr how the training goes."""
    from switch_tf.training.launching import Voice

    return Voice(quiet=not verbose, terminal=None if verbose == 1 else False)


def _console(verbose: int) -> "Console":
    from rich.console import Console

    if verbose not in (0, 1, 2):
        expected = "0 (silent), 1 (progress) or 2 (a line for each epoch)"
        raise ArgumentError(f"Received verbose={verbose!r}. Expected {expected}.", argument="verbose")
    # A silent console must not be a terminal either: a live bar would swallow what others print meanwhile.
    terminal = None if verbose == 1 else False
    return Console(stderr=True, quiet=not verbose, markup=False, emoji=False, force_terminal=terminal)


def teller(verbose: int) -> Callable[[str], None]:
    console = _console(verbose)
    return lambda message: console.print(message, highlight=False, soft_wrap=True)


def report(console: "Console", run: "Run") -> None:
    from switch_tf.reporting.comparison import print_figures
    from switch_tf.runs.folder import read_metrics

    print_figures(console, str(run.path), read_metrics(run.path))


def prune(
    trained: "Trained",
    data: Any,
    test: Any,
    output: StrPath | None,
    columns: dict[str, str],
    choices: Mapping[str, Any],
    verbose: int,
) -> Path:
    """Prune a run as a call asks for it; where the pruned one is.

    Args:
        choices: the fields of a `switch_tf.training.pruning.Pruning`.
    """
    from switch_tf.reporting.pruning import print_pruning
    from switch_tf.training.pruning import Pruning
    from switch_tf.training.pruning import prune as prune_run

    run, wanted = _from_scratch(trained, "pruned"), Pruning(**choices)
    path = _beside(run, output, "pruned")
    held = in_memory({"data": data, "test": test}, **columns)
    with progress_on_stderr(verbose) as (console, progress):
        print_pruning(console, prune_run(run, request_of(data, test, **columns), wanted, path, progress, held))
    return path


def distill(
    trained: "Trained",
    output: StrPath | None,
    unlabelled: Any,
    choices: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    data: Any,
    test: Any,
    resume: bool,
    verbose: int,
) -> Path:
    """Distil a student of a run as a call asks for it; where the student is.

    Args:
        choices: fields of a `switch_tf.training.distilling.Distillation`.
        settings: of the student, where they are others than the run's.
    """
    from switch_tf.reporting.distillation import print_distillation
    from switch_tf.training.distilling import Distillation, student_config
    from switch_tf.training.distilling import distill as distill_run

    run = _from_scratch(trained, "distilled")
    wanted = Distillation(unlabelled=[] if unlabelled is None else texts_of(unlabelled), **choices)
    path, config = _beside(run, output, "student"), student_config(run, settings)
    where = labelled(run, data, "data"), labelled(run, test, "test")
    with progress_on_stderr(verbose) as (console, progress):
        print_distillation(console, distill_run(run, wanted, config, path, progress, *where, resume))
    return path


def _beside(run: "Run", output: StrPath | None, ending: str) -> Path:
    from switch_tf.runs.folder import free_name

    return free_name(run.path.with_name(f"{run.path.name}-{ending}")) if output is None else Path(output)


def _from_scratch(trained: "Trained", verb: str) -> "Run":
    """
    Raises:
        RunError: the run was fine-tuned from a checkpoint.
    """
    from switch_tf.runs.opening import refuse_fine_tuned

    return refuse_fine_tuned(trained, verb)
