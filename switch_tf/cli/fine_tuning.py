"""`switch-tf train DATA --from-hf DIR`: a classifier from the encoder of a Hugging Face checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import command_line, console, echo, echo_json, is_given
from switch_tf.errors import UsageError

if TYPE_CHECKING:
    from switch_tf.runs.fine_tuned import FineTuneSettings

_TABLE = "fine_tune"
_TAKEN = ("data", "test", "output", "from_hf", "assignments", "epochs", "seed", "as_json")
_READING = ("text_column", "label_column", "no_header", "skip_bad")
_ANYWHERE = ("quiet", "verbose")


def fine_tune_command(ctx: click.Context, as_json: bool, options: dict[str, Any]) -> None:
    """Fine-tune as the words of `train` say.

    Raises:
        UsageError: an option is given that has no meaning here, or a setting is not in the table fine_tune.
    """
    for parameter in ctx.command.params:
        name = parameter.name
        if name is not None and name not in (*_TAKEN, *_READING, *_ANYWHERE) and is_given(ctx, name):
            raise UsageError(f"Received {parameter.opts[0]} with --from-hf, where it has no meaning: leave it out.")
    settings = _settings(options)
    from switch_tf.data.request import DataRequest
    from switch_tf.reporting.tables import metrics_table, print_table
    from switch_tf.runs.folder import fresh_name
    from switch_tf.training.fine_tuning import fine_tune

    request = DataRequest(**{name: options[name] for name in ("data", "test", *_READING)})
    output: Path = options["output"] or fresh_name(request.data)
    terminal = console()
    terminal.print(f"Training on {request.data}; the run will be in {output}", highlight=False, soft_wrap=True)
    metrics = fine_tune(
        request.resolved(),
        options["from_hf"],
        settings,
        output,
        lambda line: terminal.print(line, highlight=False, soft_wrap=True),
    )
    if as_json:
        echo_json({"run": str(output), **metrics})
        return
    print_table(
        terminal,
        metrics_table(str(output), [(name, metrics[name]) for name in ("validation", "test") if name in metrics]),
    )
    following = command_line("predict", output, "Your text here.")
    terminal.print(f"Next: {following}", highlight=False, soft_wrap=True)


def export_command(ctx: click.Context, run: Path, as_json: bool) -> None:
    """`switch-tf export RUN` of a fine-tuned run.

    Raises:
        UsageError: an option is given that has no meaning here.
    """
    for parameter in ctx.command.params:
        name = parameter.name
        if name is not None and name not in ("run", "format", "output", "as_json", *_ANYWHERE) and is_given(ctx, name):
            raise UsageError(
                f"Received {parameter.opts[0]} with a fine-tuned run, where it has no meaning: leave it out."
            )
    from switch_tf.export.fine_tuned import export_fine_tuned

    with console().status("Loading the model", spinner="line") as status:
        exported = export_fine_tuned(run, ctx.params["format"], ctx.params["output"], status.update)
    if as_json:
        echo_json({"ok": True, "artifacts": [compared.as_dict() for _, compared in exported]})
        return
    for path, compared in exported:
        echo(
            f"{compared.texts} texts: probabilities within {compared.max_abs_diff:.1e}, {compared.labels_equal} labels "
            f"equal, alone within {compared.alone_max_abs_diff:.1e}; the gate took {compared.seconds:.1f} s"
        )
        echo(f"Wrote {path}")


def _settings(options: dict[str, Any]) -> "FineTuneSettings":
    """From `--set fine_tune.KEY=VALUE`, --epochs and --seed."""
    from switch_tf.runs.fine_tuned import FineTuneSettings
    from switch_tf.settings import parse_assignment

    values = {name: options[name] for name in ("epochs", "seed") if options[name] is not None}
    known = FineTuneSettings.__dataclass_fields__
    for assignment in options["assignments"]:
        ((table, given),) = parse_assignment(assignment).items()
        (key,) = given
        if table != _TABLE or key not in known:
            expected = ", ".join(f"{_TABLE}.{name}" for name in known)
            raise UsageError(f"Received --set {assignment} with --from-hf. Expected some of {expected}.")
        values |= given
    return FineTuneSettings(**values)
