"""`switch-tf train TEXTS --from-hf DIR --objective span`: a checkpoint goes on learning from plain texts."""

from pathlib import Path
from typing import Any

import click

from switch_tf.cli.shared import assigned, command_line, console, echo_json, is_given, refuse_others
from switch_tf.errors import UsageError

_TAKEN = ("data", "output", "from_hf", "objective", "assignments", "epochs", "seed", "text_column", "as_json")


def span_command(ctx: click.Context, as_json: bool, options: dict[str, Any]) -> None:
    """Train as the words of `train` say.

    Raises:
        UsageError: there is no checkpoint to train, an option is given that has no meaning here, or a setting is not in
            the table span.
    """
    if options["from_hf"] is None:
        raise UsageError("Received --objective span without --from-hf DIR. Expected a checkpoint to go on from.")
    if is_given(ctx, "resume"):
        raise UsageError(
            "Received --resume with --objective span. Such a training that is cut off leaves nothing: start it again."
        )
    refuse_others(ctx, _TAKEN, "--objective span")
    from switch_tf.data.examples import read_texts
    from switch_tf.runs.folder import fresh_name
    from switch_tf.training.span_settings import SpanSettings
    from switch_tf.training.span_training import train_on_spans

    values = assigned(options["assignments"], "span", SpanSettings.__dataclass_fields__)
    shorthands = {name: options[name] for name in ("epochs", "seed") if options[name] is not None}
    settings, data = SpanSettings(**values | shorthands), options["data"]
    output: Path = options["output"] or fresh_name(data)
    terminal = console()

    def tell(line: str) -> None:
        terminal.print(line, highlight=False, soft_wrap=True)

    tell(f"Training on {data}; the checkpoint will be in {output}")
    texts = read_texts(data, options["text_column"], split="train")
    found = train_on_spans(texts, data, options["from_hf"], settings, output, tell)
    if as_json:
        echo_json({"checkpoint": str(output), **found})
        return
    before, after = found["validation_loss_before"], found["validation_loss"]
    tell(f"Validation: {before:.4f} nats for each id before, {after:.4f} after epoch {found['best_epoch']}")
    if after >= before:
        tell("It has learned nothing that helps on other texts: train longer, or at another span.learning_rate")
    tell(f"Next: {command_line('train', 'LABELLED', '--from-hf', output)}")
