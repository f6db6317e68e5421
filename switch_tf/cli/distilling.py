"""`switch-tf distill`: a dense student that learns from a run."""

import shlex
from pathlib import Path
from typing import Any

import click

from switch_tf.cli.process import naming_the_way_on
from switch_tf.cli.shared import as_json, command_line, console, echo_json, is_given, text_column
from switch_tf.errors import DataError, UsageError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="RUN", help="Run folder to make. [default: RUN-student]"
)
@click.option("--data", metavar="DATA", help="Where RUN's training data is now, if not where it was.")
@click.option("--test", metavar="DATA", help="Where RUN's test data is now, if not where it was.")
@click.option("--unlabelled", metavar="FILE", help="More texts, without labels, as of `predict --input`.")
@text_column
@click.option(
    "--teacher-share",
    type=float,
    default=0.25,
    show_default=True,
    metavar="SHARE",
    help="Of the teacher in what is learnt from a labelled text; the rest is the label's.",
)
@click.option(
    "--temperature", type=float, default=1.0, show_default=True, metavar="T", help="That softens what the teacher says."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting of the student.")
@click.option("--student-only", is_flag=True, help="Do not train the same student without the teacher beside.")
@click.option("--resume", is_flag=True, help="Go on where the same command was cut off.")
@as_json
@click.pass_context
def distill(
    ctx: click.Context,
    /,
    run: Path,
    output: Path | None,
    unlabelled: str | None,
    teacher_share: float,
    temperature: float,
    assignments: tuple[str, ...],
    student_only: bool,
    resume: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Train a dense student that learns from RUN's answers beside the labels of its data.

    The student has RUN's settings but no experts; --set model.d_model=16 makes it smaller, and --set
    wide.enabled=false --set model.pair_min_count=0 leaves the wide path out. It is a run like any. The loss of a
    labelled text is a quarter the teacher's and three quarters the label's (--teacher-share), as in section 4.2 of
    Switch Transformers; texts of --unlabelled have the teacher alone.

    It shows the student beside its teacher and the same student without a teacher, with sizes, and which share of the
    teacher's gain over the latter is kept.
    """
    from switch_tf.reporting.distillation import print_distillation
    from switch_tf.runs.folder import free_name
    from switch_tf.runs.opening import open_trained, refuse_fine_tuned
    from switch_tf.training.distilling import Distillation, student_config
    from switch_tf.training.distilling import distill as distill_run
    from switch_tf.training.progress import TrainingProgress

    if unlabelled is None and is_given(ctx, "text_column"):
        raise UsageError("Received --text-column without --unlabelled, which it is of. Leave it out.")
    if resume and output is None:
        raise UsageError("Received --resume without --output. Expected the folder of the student that was cut off.")
    teacher = refuse_fine_tuned(open_trained(run), "distilled")
    column = reading.pop("text_column") if is_given(ctx, "text_column") else None
    texts = [] if unlabelled is None else _texts(unlabelled, column)
    wanted = Distillation(teacher_share, temperature, texts, alone=not student_only)
    config = student_config(teacher, assignments)
    output = output or free_name(run.absolute().with_name(f"{run.absolute().name}-student"))
    terminal = console()
    way_on = f"the same command with --output {shlex.quote(str(output))} --resume"
    with naming_the_way_on(output, way_on), TrainingProgress(terminal) as progress:
        report = distill_run(teacher, wanted, config, output, progress, reading["data"], reading["test"], resume)
    if as_json:
        echo_json(report)
        return
    print_distillation(console(stderr=False), report)
    following = command_line("predict", output, "Your text here.")
    terminal.print(f"Next: {following}", highlight=False, soft_wrap=True)


def _texts(source: str, column: str | None) -> list[str]:
    """
    Raises:
        DataError: a row cannot be read; the message says which.
    """
    from switch_tf.data.streams import open_lines

    texts = []
    for line in open_lines(source, column):
        if line.error:
            raise DataError(f"{source}, line {line.number}: {line.error}")
        texts.append(line.text)
    return texts
