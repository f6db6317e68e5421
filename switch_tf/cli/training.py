"""`switch-tf train`: data, settings and folder from the words of the command."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.process import ends_search, naming_the_way_on
from switch_tf.cli.shared import (
    as_json,
    command_line,
    console,
    echo_json,
    is_given,
    is_quiet,
    label_column,
    no_header,
    skip_bad,
    text_column,
)
from switch_tf.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from switch_tf.training.progress import TrainingProgress


_THRESHOLD = ("reject", "reject_label")
_REQUEST = ("data", "test", "text_column", "label_column", "no_header", "skip_bad")


class _TrainCommand(click.Command):
    """`train --help` also lists every setting with its default and its reason."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from switch_tf.config import describe_settings
        from switch_tf.presets import PRESETS

        with formatter.section("Settings, for --config (TOML tables) and --set"):
            rows = [
                (f"{key}={'(unset)' if default is None else json.dumps(default)}", why)
                for key, default, why in describe_settings()
            ]
            formatter.write_dl(rows, col_max=44)
        with formatter.section("Presets differ from these by"):
            changes = {
                name: [
                    f"{table}.{key}={json.dumps(value)}"
                    for table, keys in tables.items()
                    for key, value in keys.items()
                ]
                for name, tables in PRESETS.items()
            }
            formatter.write_dl([(name, ", ".join(each) or "nothing") for name, each in changes.items()])


@click.command(cls=_TrainCommand)
@click.argument("data", default="reviews")
@click.option("--test", metavar="DATA", help="Labelled texts to measure the finished model on.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="RUN", help="Run folder to make. [default: runs/...]"
)
@click.option("--preset", type=click.Choice(["auto", "tiny", "base", "large"]), default="auto", show_default=True)
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Settings in TOML.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated.")
@click.option("--epochs", type=int, help="Short for --set train.epochs=N.")
@click.option("--seed", type=int, help="Short for --set train.seed=N.")
@click.option("--twin", is_flag=True, help="Short for --set train.twin=true: the dense twin's figures beside.")
@click.option(
    "--autotune",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Search better settings on validation first; those given stay. Needs the extra `autotune`.",
)
@click.option(
    "--max-size",
    metavar="BYTES",
    help="With --autotune: only settings whose int8 TFLite file is as small as 800K or 1.5M.",
)
@click.option(
    "--reject",
    type=float,
    metavar="PRECISION",
    help="Answer texts that the model is unsure of by --reject-label, so that this share of the others is right "
    "(0.95). Short for --set train.reject=P.",
)
@click.option("--reject-label", metavar="NAME", help="What they are answered. [default: unknown]")
@text_column
@label_column
@no_header
@skip_bad
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train with N GPUs of this machine, N processes where it has none, or the cluster of TF_CONFIG.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was cut off (--output, or the newest).")
@click.option(
    "--from-hf",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Fine-tune the encoder of a Switch-Transformers checkpoint of Hugging Face's (--set fine_tune.KEY=VALUE).",
)
@click.option(
    "--objective",
    type=click.Choice(["classify", "span"]),
    default="classify",
    show_default=True,
    help="With --from-hf; span: go on with pre-training on plain texts (--set span.KEY=VALUE), into a new checkpoint.",
)
@as_json
@click.pass_context
def train(ctx: click.Context, /, resume: bool, as_json: bool, workers: int | None, **options: Any) -> None:
    """Train a classifier on DATA and leave it in a run folder.

    DATA is a csv, tsv, json, jsonl, parquet or xlsx file, a .txt file of fastText's lines (each plain or as .gz, .xz,
    .bz2, .zst, .zip), a folder with one folder of text files per class, or the built-in set `reviews`. What the data
    holds is told first. A part of it is split off for validation; the best epoch on that part is kept. Ctrl-C or a
    crash loses at most the epoch in progress: `switch-tf train --resume` goes on from there.

    It ends with what the model has to be measured against, on the same texts: the majority class, TF-IDF with logistic
    regression, each of its paths alone and, with --twin, its dense twin; and says so if the model is no better.

    --autotune begins with the settings that it would have without, so what it finds is no worse on validation. Ctrl-C
    ends the search and trains with the best settings so far. The test texts are not touched by it.

    With --workers N the batch of each step (train.batch_size, a multiple of N) is shared among N workers, and weights
    and figures are those of one worker up to rounding. Where TF_CONFIG names a cluster, run the same command on each of
    its machines; the data and the run folder have to be seen by all. If a worker dies, all end: start them again with
    --resume. Long epochs want --set train.checkpoint_steps=1000, so that less than an epoch is lost. With --set
    train.shard_experts=true each worker holds a share of the experts alone, and tokens travel to them.

    Other delimiters than csv's comma and tsv's tab are recognised where the header tells them (; | tab , and sep=).

    With --from-hf the encoder of a Switch-Transformers checkpoint becomes the classifier, in a folder that `evaluate`,
    `predict`, `export` and `verify` take. Its settings are fine_tune.length, pooling, epochs, batch_size,
    learning_rate, head_learning_rate, frozen_layers, weight_decay, validation_share, seed, calibrate, reject and
    reject_label.

    With --objective span besides, DATA is plain texts (a .txt file has one a line; a table, its text column; labels are
    not read), and the whole checkpoint learns them by span corruption: what comes out is a checkpoint of the same form,
    for --from-hf, `generate` and `export --task seq2seq`. Settings: span.length, rate, mean_span, epochs, batch_size,
    learning_rate, weight_decay, validation_share and seed.
    """
    if options.pop("objective") == "span":
        _refuse_workers(workers, "--objective span")
        from switch_tf.cli.span_training import span_command

        span_command(ctx, as_json, options)
        return
    if options["from_hf"] is not None or (resume and _resumes_fine_tuning(options["output"])):
        _refuse_workers(workers, "--from-hf")
        from switch_tf.cli.fine_tuning import fine_tune_command

        fine_tune_command(ctx, as_json, resume, options)
        return
    del options["from_hf"]
    from switch_tf.reporting.comparison import print_figures
    from switch_tf.reporting.data_survey import survey_lines
    from switch_tf.runs.folder import read_metrics
    from switch_tf.training.launching import Voice
    from switch_tf.training.progress import TrainingProgress
    from switch_tf.training.together import train_together
    from switch_tf.training.workers import choose_workers

    terminal = console()
    searching = {name: options.pop(name) for name in ("autotune", "max_size")}
    _check_search(searching, resume)
    request, config, output, prepared = _resumed(ctx, options) if resume else _requested(options)
    team = choose_workers(workers, os.environ, config, resume)
    terminal.print(f"Training on {request.data}; the run will be in {output}", highlight=False, soft_wrap=True)
    surveys: list[dict[str, Any]] = []

    def tell(report: dict[str, Any]) -> None:
        surveys.append(report)
        terminal.print("\n".join(survey_lines(report)), highlight=False, soft_wrap=True)

    with (
        naming_the_way_on(output, _way_on(output, team.count)),
        TrainingProgress(terminal, silent=team.place == "processes") as progress,
    ):
        tune = _tuner(searching, options, progress)
        voice = Voice(is_quiet(), survey=True)
        run = train_together(
            request, config, output, progress, team, resume, prepared=prepared, tell=tell, tune=tune, voice=voice
        )
    if run is None:
        terminal.print(f"Worker {team.index} is done; worker 0 finishes {output}.", highlight=False, soft_wrap=True)
        return
    metrics = read_metrics(run.path)
    _warn_of_labels(metrics, terminal)
    if as_json:
        told = {"survey": surveys[0] if surveys else run.data["survey"]}
        searched = {} if tune is None else {"autotune": run.data["autotune"]}
        echo_json({"run": str(run.path), **metrics} | told | searched)
        return
    print_figures(terminal, str(run.path), metrics)
    following = command_line("predict", run.path, "Your text here.")
    terminal.print(f"Next: {following}", highlight=False, soft_wrap=True)


def _way_on(output: Path, workers: int) -> str | None:
    """The command that goes on with so many workers; None for that of one."""
    if workers == 1:
        return None
    return f"`{command_line('train', '--output', output, '--resume', '--workers', workers)}`"


def _refuse_workers(workers: int | None, beside: str) -> None:
    """
    Raises:
        UsageError: several workers are asked for, for what one alone can do.
    """
    if workers is not None and workers > 1:
        raise UsageError(f"Received --workers {workers} with {beside}, which trains on one device: leave it out.")


def _resumes_fine_tuning(output: Path | None) -> bool:
    from switch_tf.training.fine_tuning import is_unfinished_fine_tuning

    return is_unfinished_fine_tuning(output)


def _check_search(searching: dict[str, Any], resume: bool) -> None:
    """
    Raises:
        UsageError: the words of a search do not fit together.
        RunError: what searches is not installed.
    """
    if searching["max_size"] is not None and searching["autotune"] is None:
        remedy = "To fit a finished model into so many bytes: switch-tf export RUN --format tflite --max-size BYTES."
        raise UsageError(f"Received --max-size without --autotune MINUTES. Expected both. {remedy}")
    if searching["autotune"] is None:
        return
    if resume:
        raise UsageError("Received --autotune with --resume. A search is over when training begins: leave it out.")
    from switch_tf.training.autotune import require_optuna

    require_optuna()


def _tuner(searching: dict[str, Any], options: dict[str, Any], progress: "TrainingProgress") -> Any:
    """The search that the command asks for; None if it asks for none."""
    if searching["autotune"] is None:
        return None
    from switch_tf.config import asked_for
    from switch_tf.export.options import parse_size
    from switch_tf.training.autotune import Autotune, tuner

    limit = None if searching["max_size"] is None else parse_size(searching["max_size"])
    given = asked_for(options["file"], None, _assignments(options))
    return tuner(Autotune(searching["autotune"], limit, given, options["preset"] == "auto", ends_search), progress)


def _assignments(options: dict[str, Any]) -> list[str]:
    """What --set and its shorthands say."""
    shorthands = [f"train.{key}={options[key]}" for key in ("epochs", "seed", "reject") if options[key] is not None]
    shorthands += ["train.twin=true"] if options["twin"] else []
    if options["reject_label"] is not None:
        shorthands.append(f"train.reject_label={json.dumps(options['reject_label'], ensure_ascii=False)}")
    return [*options["assignments"], *shorthands]


def _warn_of_labels(metrics: dict[str, Any], terminal: "Console") -> None:
    """Say which labels the finished model does not know how to answer."""
    from switch_tf.reporting.data_survey import warning_lines

    never = metrics.get("never_right", [])
    if never:
        shown = ", ".join(repr(label) for label in never[:5]) + (", ..." if len(never) > 5 else "")
        said = f"no validation text of {len(never):,} of the labels was answered right ({shown}). Try"
        remedy = "--set train.class_weights=balanced --set train.select_by=macro_f1, or more examples of them."
        terminal.print("\n".join(warning_lines(f"{said} {remedy}")), highlight=False, soft_wrap=True)


def _requested(options: dict[str, Any], kept: Any = None) -> tuple[Any, Any, Path, Any]:
    """Data, settings and folder from the words of the command, and the data itself where it had to be prepared.

    Args:
        kept: settings and a vocabulary that they chose for the data.
    """
    from switch_tf.config import load_config
    from switch_tf.data.request import DataRequest
    from switch_tf.runs.folder import fresh_name
    from switch_tf.training.auto import auto_config
    from switch_tf.training.prepared import refuse_finished

    assignments = _assignments(options)
    request, prepared = DataRequest(**{name: options[name] for name in _REQUEST}).resolved(), None
    output = options["output"] or fresh_name(request.data)
    if options["preset"] == "auto":
        if kept is None:
            refuse_finished(output)  # before a vocabulary is learnt
        config, choices, prepared = auto_config(request, options["file"], assignments, kept)
        for key, value, why in choices:
            console().print(f"  {key} = {value}: {why}", highlight=False, markup=False, soft_wrap=True)
    else:
        config = load_config(options["preset"], options["file"], assignments)
    return request, config, output, prepared


def _resumed(ctx: click.Context, options: dict[str, Any]) -> tuple[Any, Any, Path, Any]:
    """The same from an unfinished folder, which knows them; what the command says besides must not contradict it."""
    from switch_tf.config import config_from_call, without_threshold
    from switch_tf.runs.folder import VOCABULARY, read_vocabulary, unfinished
    from switch_tf.training.session import read_unfinished

    given = [name for name in options if name != "output" and is_given(ctx, name)]
    request, config, output = read_unfinished(options["output"])
    prepared = None
    threshold = {name: options[name] for name in _THRESHOLD if name in given}
    if threshold:  # the one thing that may be another: it is chosen when all else is done
        config = config_from_call(None, config, threshold)
    if set(given) - set(_THRESHOLD):
        vocabulary = read_vocabulary(unfinished(output) / VOCABULARY)
        asked, asked_config, _, prepared = _requested(options, (config, vocabulary))
        if (asked, without_threshold(asked_config)) != (request.resolved(), without_threshold(config)):
            raise UsageError(
                f"{output} was started with other data or settings than {', '.join(given)} say. "
                "Resume with the same words, or with --output alone."
            )
    return request, config, output, prepared
