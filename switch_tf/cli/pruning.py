"""`switch-tf prune`: a run without the experts that its data has no use for."""

from pathlib import Path
from typing import Any

import click

from switch_tf.cli.shared import (
    as_json,
    command_line,
    console,
    echo_json,
    label_column,
    no_header,
    skip_bad,
    text_column,
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="DATA", help="Labelled texts that tell which experts are used.")
@click.option("--test", metavar="DATA", help="Labelled texts to measure on. [default: those of --data]")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="RUN", help="Run folder to make. [default: RUN-pruned]"
)
@click.option("--keep", type=int, metavar="N", help="Keep the N most used experts of each Switch layer.")
@click.option(
    "--threshold",
    type=float,
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Without --keep: let those go that take no more than this share of their layer's tokens.",
)
@click.option("--merge", is_flag=True, help="Merge each into the one most like it that stays, instead of dropping it.")
@click.option(
    "--epochs", type=int, default=0, show_default=True, metavar="N", help="Go on learning on DATA afterwards."
)
@text_column
@label_column
@no_header
@skip_bad
@as_json
def prune(
    run: Path,
    output: Path | None,
    keep: int | None,
    threshold: float,
    merge: bool,
    epochs: int,
    as_json: bool,
    **reading: Any,
) -> None:
    """Leave out experts of RUN that DATA has little use for, in a run folder of its own.

    Without an option those experts go that no token of DATA chooses, which changes no answer to DATA. RUN stays as it
    is. What is left has the slots that it had, and gates are what they were; tokens of an expert that is gone go to the
    best of the others. The pruned run is evaluated, asked and exported like any.

    It shows how much each expert is used, and accuracy and size before and after: on --test, or else on DATA, of which
    only the validation part counts after --epochs.
    """
    from switch_tf.data.request import DataRequest
    from switch_tf.reporting.pruning import print_pruning
    from switch_tf.runs.folder import free_name
    from switch_tf.runs.opening import open_trained, refuse_fine_tuned
    from switch_tf.training.progress import TrainingProgress
    from switch_tf.training.pruning import Pruning
    from switch_tf.training.pruning import prune as prune_run

    wanted = Pruning(keep, threshold, merge, epochs)
    opened = refuse_fine_tuned(open_trained(run), "pruned")
    output = output or free_name(run.absolute().with_name(f"{run.absolute().name}-pruned"))
    terminal = console()
    with TrainingProgress(terminal) as progress:
        report = prune_run(opened, DataRequest(**reading), wanted, output, progress)
    if as_json:
        echo_json(report)
        return
    print_pruning(console(stderr=False), report)
    following = command_line("export", output, "--format", "onnx")
    terminal.print(f"Next: {following}", highlight=False, soft_wrap=True)
