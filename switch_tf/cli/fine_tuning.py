"""`switch-tf train DATA --from-hf DIR`: a classifier from the encoder of a Hugging Face checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.process import naming_the_way_on
from switch_tf.cli.shared import assigned, command_line, console, echo_json, is_given, refuse_others
from switch_tf.errors import UsageError

if TYPE_CHECKING:
    from switch_tf.data.request import DataRequest
    from switch_tf.runs.fine_tuned import FineTuneSettings

_TABLE = "fine_tune"
_THRESHOLD = ("reject", "reject_label")
_TAKEN = ("data", "test", "output", "from_hf", "assignments", "epochs", "seed", "resume", "as_json", *_THRESHOLD)
_READING = ("text_column", "label_column", "no_header", "skip_bad")


def fine_tune_command(ctx: click.Context, as_json: bool, resume: bool, options: dict[str, Any]) -> None:
    """Fine-tune as the words of `train` say.

    Raises:
        UsageError: an option is given that has no meaning here, a setting is not in the table fine_tune, or what is
            resumed was started otherwise.
    """
    refuse_others(ctx, (*_TAKEN, *_READING), "--from-hf")
    from switch_tf.reporting.rejection import rejection_remarks, rejection_table
    from switch_tf.reporting.tables import metrics_table, print_table
    from switch_tf.training.fine_tuning import fine_tune

    request, checkpoint, settings, output = _resumed(ctx, options) if resume else _requested(options)
    terminal = console()
    terminal.print(f"Training on {request.data}; the run will be in {output}", highlight=False, soft_wrap=True)

    def tell(line: str) -> None:
        terminal.print(line, highlight=False, soft_wrap=True)

    with naming_the_way_on(output):
        metrics = fine_tune(request, checkpoint, settings, output, tell, resume)
    if as_json:
        echo_json({"run": str(output), **metrics})
        return
    splits = [(name, metrics[name]) for name in ("validation", "test") if name in metrics]
    print_table(terminal, metrics_table(str(output), splits))
    if settings.reject is not None:
        print_table(terminal, rejection_table(splits))
        for remark in rejection_remarks(metrics["validation"]["rejection"]):
            tell(remark)
    following = command_line("predict", output, "Your text here.")
    terminal.print(f"Next: {following}", highlight=False, soft_wrap=True)


def _requested(options: dict[str, Any]) -> tuple["DataRequest", Path, "FineTuneSettings", Path]:
    """Data, checkpoint, settings and folder from the words of the command."""
    from switch_tf.data.request import DataRequest
    from switch_tf.runs.folder import fresh_name

    settings = _settings(options)
    request = DataRequest(**{name: options[name] for name in ("data", "test", *_READING)}).resolved()
    return request, options["from_hf"], settings, options["output"] or fresh_name(request.data)


def _resumed(ctx: click.Context, options: dict[str, Any]) -> tuple["DataRequest", Path, "FineTuneSettings", Path]:
    """The same from an unfinished folder, which knows them; what the command says besides must not contradict it."""
    from switch_tf.training.fine_tuning import read_unfinished_fine_tuning

    request, checkpoint, settings, output = read_unfinished_fine_tuning(options["output"])
    threshold = {name: options[name] for name in _THRESHOLD if is_given(ctx, name)}
    if threshold:  # the one thing that may be another: it is chosen when all else is done
        settings = replace(settings, **threshold)
    given = [name for name in options if name not in ("output", *_THRESHOLD) and is_given(ctx, name)]
    if given:
        from_hf = options["from_hf"] or checkpoint
        asked = _requested(options | {"from_hf": from_hf, "output": output})
        same = replace(asked[2], reject=settings.reject, reject_label=settings.reject_label) == settings
        if asked[0] != request.resolved() or from_hf.absolute() != checkpoint or not same:
            raise UsageError(
                f"{output} was started with other data or settings than {', '.join(given)} say. "
                "Resume with the same words, or with --output alone."
            )
    return request, checkpoint, settings, output


def _settings(options: dict[str, Any]) -> "FineTuneSettings":
    """From `--set fine_tune.KEY=VALUE` and its shorthands."""
    from switch_tf.runs.fine_tuned import FineTuneSettings

    values = assigned(options["assignments"], _TABLE, FineTuneSettings.__dataclass_fields__)
    shorthands = {name: options[name] for name in ("epochs", "seed", *_THRESHOLD) if options[name] is not None}
    return FineTuneSettings(**values | shorthands)
