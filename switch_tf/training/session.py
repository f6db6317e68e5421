"""From labelled texts to a run folder: read, split, adapt the vocabulary, fit, measure, write it all down."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch_tf import files
from switch_tf.config import Config, config_from_dict, without_threshold
from switch_tf.data.examples import Examples, encode_labels, join
from switch_tf.data.request import DataRequest, request_of
from switch_tf.data.survey import survey
from switch_tf.errors import ConfigError, RunError
from switch_tf.locks import locked
from switch_tf.measuring.scores import evaluate, score
from switch_tf.reporting.history import write_history
from switch_tf.reporting.summary import write_summary
from switch_tf.runs import folder as run
from switch_tf.runs.folder import Run, unfinished
from switch_tf.settings import read_toml
from switch_tf.text.byte_codes import changed_share
from switch_tf.timing import timed
from switch_tf.training.encoding import TEXT_BATCH, choose_vocabulary, encode_to_ask
from switch_tf.training.paths import Fitted, Teaching, fit_deep, with_wide_path
from switch_tf.training.prepared import (
    NOTHING,
    Prepared,
    check_folders,
    describe_data,
    find_unfinished,
    keep_sample,
    prepare_examples,
    refuse_lost,
    refuse_other_data,
)
from switch_tf.training.threshold import choose_threshold
from switch_tf.training.workers import ALONE, Workers

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier
    from switch_tf.training.loop import Progress
    from switch_tf.training.team import Team


def train(
    request: DataRequest,
    config: Config,
    output: Path,
    progress: "Progress",
    resume: bool = False,
    in_memory: Mapping[str, Examples] = NOTHING,
    prepared: Prepared | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    tune: "Callable[[Prepared, Config], tuple[Config, dict[str, Any]]] | None" = None,
    teaching: Teaching | None = None,
    workers: Workers = ALONE,
) -> Run:
    """Train a classifier and leave it in the folder `output`, which must not exist yet.

    Args:
        resume: go on where a training into `output` was cut off; `request` and `config` must be the same.
        in_memory: the examples of `request.data` or `request.test` (under "data" or "test") where the caller holds
            them and these are only descriptions.
        prepared: the same data, where `prepare` has read and split it already by the same settings.
        tell: told before the first step what `switch_tf.data.survey.survey` says of the data.
        tune: finds better settings than `config` on the data, as `switch_tf.training.autotune.tuner` makes it; the
            record that it returns beside them is kept in data.json, as "autotune".
        teaching: a teacher that the deep path learns from too.
        workers: who trains; this is their chief.

    Raises:
        DataError: the data cannot be used.
        RunError: the folder exists, holds an unfinished training, holds none to resume, or another process is training
            into it; there is not enough memory; or another worker is gone.
        ConfigError: the reject label is a class; or `train.reject` cannot be reached, which leaves an unfinished
            training to go on from, with another `train.reject` if need be.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    folder, request = unfinished(output), request.resolved()
    with locked(output, "trained"):
        check_folders(output, folder, resume)
        files.remove_parts(output.parent, folder.name)
        with timed(f"Reading and splitting {request.data}"):
            prepared = prepare(request, config, in_memory) if prepared is None else prepared
            description = describe_data(request, prepared, in_memory)
        if teaching is not None:
            description["distilled"] = teaching.description
        if tune is not None:
            config, description["autotune"] = tune(prepared, config)
        from switch_tf.training.team import formed  # which loads TensorFlow: data that cannot be used is told sooner

        team = formed(workers, config)  # before TensorFlow is at work
        vocabulary = _check_same(folder, config, description) if resume else None
        if vocabulary is None:
            vocabulary = _start(folder, config, prepared, description)
        else:
            description["survey"] = _survey(config, prepared, vocabulary, request.label_column)
            files.remove_parts(folder)
            # Of a training cut off at its very end, the manifest is that of the settings again: the rest comes again.
            # The settings may want another reject threshold now.
            run.write_settings(folder, config, prepared.labels, vocabulary, description)
        if tell is not None:
            tell(description["survey"])
        going = Run(folder, config, prepared.labels, vocabulary, description)
        return _train(going, prepared, progress, output, started, None if resume else cpu_started, teaching, team)


def _train(
    going: Run,
    prepared: Prepared,
    progress: "Progress",
    output: Path,
    started: float,
    cpu_started: float | None,
    teaching: Teaching | None,
    team: "Team",
) -> Run:
    """Fit and measure, and give the folder its name."""
    import tensorflow as tf

    from switch_tf.training.loop import CHECKPOINT

    try:
        with team.naming_the_lost(output):
            fitted = fit_deep(going, prepared, progress, teaching, team)
        fitted = with_wide_path(going, fitted, progress)
        with timed("Choosing the reject threshold"):
            rejection = choose_threshold(going, prepared.validation, fitted.fusion)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        problem = f"The memory does not suffice to train with batches of {going.config.train.batch_size} texts"
        raise RunError(f"{problem}. Remove {going.path} and train again with a smaller train.batch_size.") from error
    going = replace(going, rejection=rejection)
    cpu_seconds = None if cpu_started is None else round(time.process_time() - cpu_started, 1)
    # A resumed training did not see its first part: it took no less than its epochs.
    seconds = max(time.perf_counter() - started, sum(row["seconds"] for row in fitted.history))
    with timed("Measuring the best epoch"):
        metrics = _measure(going, prepared, fitted, round(seconds, 1), cpu_seconds)
    with timed("Measuring what it is compared with"):
        metrics["comparison"] = _compare(going, prepared, fitted, metrics, progress)
    if teaching is not None:
        metrics["distillation"] = teaching.figures(going, metrics)
    files.write_json(going.path / run.METRICS, metrics)
    write_summary(going, metrics)
    run.write_manifest(going.path)
    files.move_folder(going.path, output)
    (output / CHECKPOINT).unlink()  # last: until the folder has its name, a training that is cut off needs it
    team.meet()
    return replace(going, path=output)


def read_unfinished(output: Path | None, has_data: bool = False) -> tuple[DataRequest, Config, Path]:
    """What the training into `output` (default: the newest unfinished under ./runs) was started with, and `output`.

    Raises:
        RunError: there is none, its files are damaged, or its data was in memory and the caller does not have it.
    """
    folder, output = find_unfinished(output)
    data = files.read_json(folder / run.DATA)
    try:
        if not has_data and "in_memory" in data:
            refuse_lost(folder, data["in_memory"], output)
        return request_of(data), config_from_dict(read_toml(folder / run.CONFIG), str(folder / run.CONFIG)), output
    except (KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{folder} cannot be resumed: {error}. Remove it and train again.") from error


def prepare(request: DataRequest, config: Config, in_memory: Mapping[str, Examples] = NOTHING) -> Prepared:
    """Read and split the examples, as `switch_tf.training.prepared.prepare_examples` has it."""
    return prepare_examples(request, config.train, in_memory)


def _start(folder: Path, config: Config, prepared: Prepared, description: dict[str, Any]) -> list[str]:
    """Make the folder of a new training, and the vocabulary that it keeps."""
    from switch_tf.text.front_ends import tokenizer_file

    with timed("Choosing the vocabulary"):
        vocabulary = choose_vocabulary(config, prepared)
    with timed("Looking over the data"):
        description["survey"] = _survey(config, prepared, vocabulary, description["label_column"])
    with files.new_folder(folder) as new:
        run.write_settings(new, config, prepared.labels, vocabulary, description)
        tokenizer = tokenizer_file(config.text, vocabulary)
        if tokenizer is not None:
            files.write_bytes(new / run.TOKENIZER, tokenizer)
    return vocabulary


def _survey(config: Config, prepared: Prepared, vocabulary: list[str], label_column: str) -> dict[str, Any]:
    parts = {"training": prepared.training} | prepared.held_out
    return survey(parts, prepared.labels, config.text, vocabulary, label_column)


def _check_same(folder: Path, config: Config, description: dict[str, Any]) -> list[str]:
    """The vocabulary of an unfinished training, if it was started with the same settings and data.

    What is known of it besides, how its settings were found, joins the description.
    """
    kept = config_from_dict(read_toml(folder / run.CONFIG), str(folder / run.CONFIG))
    if without_threshold(kept) != without_threshold(config):
        raise RunError(f"{folder} was started with other settings. Resume without settings: they are kept there.")
    run.check_manifest(folder, run.SETTINGS)
    started_with = files.read_json(folder / run.DATA)
    if started_with.get("distilled") != description.get("distilled"):
        other = "by a teacher, or by another one: resume it by the same distillation"
        raise RunError(f"{folder} was started {other}, or remove it first.", "resume")
    refuse_other_data(folder, started_with, description)
    if "autotune" in started_with:  # the search is not made again
        description["autotune"] = started_with["autotune"]
    return run.read_vocabulary(folder / run.VOCABULARY)


def _measure(
    finished: Run, prepared: Prepared, fitted: Fitted, seconds: float, cpu_seconds: float | None
) -> dict[str, Any]:
    """The figures of the best weights as they will be used; also writes plots and the sample of held-out texts."""
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.training.loop import best_epoch

    history, fusion = fitted.history, fitted.fusion
    classifier = load_classifier(finished)
    held_out = prepared.held_out
    metrics: dict[str, Any] = {
        name: evaluate(classifier, examples)
        for name, examples in held_out.items()
        if name != "validation" or fusion is None
    }
    if fusion is not None:  # the wide path has been refitted on the validation texts: what counts is before that
        expected = encode_labels(prepared.validation, finished.labels)
        validation = score(fusion.validation, expected, finished.labels, finished.rejection)
        metrics = {"validation": validation, **metrics}
        metrics["fusion"] = fusion.figures
    metrics["changed_by_byte_length"] = {
        name: _changed_by_byte_length(classifier, examples)
        for name, examples in {"training": prepared.training, **held_out}.items()
    }
    metrics["never_right"] = [
        label for label, each in metrics["validation"]["per_label"].items() if each["support"] and not each["recall"]
    ]
    metrics["training"] = {
        "epochs": len(history),
        "best_epoch": history[best_epoch(history, finished.config.train.select_by)]["epoch"],
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "tokens_per_second": round(sum(row["tokens_per_second"] for row in history) / len(history)),
        "parameters": int(classifier.classifier.count_params()),
    }
    metrics["versions"] = {name: version(name) for name in ("switch-tf", "tensorflow", "tf-keras", "numpy")}
    metrics["versions"]["python"] = platform.python_version()
    write_history(finished.path, history)
    keep_sample(finished.path, prepared)
    return metrics


def _compare(
    finished: Run, prepared: Prepared, fitted: Fitted, metrics: dict[str, Any], progress: "Progress"
) -> dict[str, Any]:
    """The model beside others on the test split, or else on validation: {"split", "by", "models": {name: figures}}.

    `by` is the figure that says which one is better. What is measured on test texts may learn from those of validation,
    as the model does, if only to choose by them.
    """
    from switch_tf.text.front_ends import reading_front_end
    from switch_tf.training.comparison import Splits, compare, compare_baselines

    split, test, learnt = "validation", None, prepared.training
    if prepared.test is not None:
        split, learnt = "test", join(prepared.training, prepared.validation)
        front_end = reading_front_end(finished.config.text, finished.vocabulary)
        test = encode_to_ask(prepared.test, finished.labels, front_end)
    splits = Splits(fitted.training, fitted.validation, test)
    models = compare(finished, splits, metrics[split], fitted.fusion, progress)
    if finished.config.train.baseline:
        measured = prepared.validation if prepared.test is None else prepared.test
        models = compare_baselines(learnt, measured, finished.labels, progress) | models
    by = "macro_f1" if finished.config.train.select_by == "macro_f1" else "accuracy"
    return {"split": split, "by": by, "models": models}


def _changed_by_byte_length(classifier: "TextClassifier", examples: Examples) -> float:
    """The share of texts that the bytes input reads otherwise than as a whole."""
    shares = [
        changed_share(classifier.spec, classifier.whole_ids, texts.tolist()) * len(texts)
        for texts in examples.text_batches(TEXT_BATCH)
    ]
    return float(sum(shares) / len(examples))
