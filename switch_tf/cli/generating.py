"""`switch-tf generate`: texts written by an encoder-decoder."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from switch_tf.cli.shared import as_json, console, echo, echo_json, is_given, note
from switch_tf.errors import DataError, ModelError, UsageError

_ANYWHERE = ("run", "task", "as_json", "quiet", "verbose", None)
_AT_ONCE = 64  # texts read before the first is answered


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--input", "source", metavar="FILE|-", help="Read texts from a file, or from stdin with -.")
@click.option("--max-new-tokens", type=int, default=20, show_default=True, metavar="N", help="Pieces that are written.")
@click.option("--num-beams", type=int, default=1, show_default=True, metavar="N", help="Texts that are kept at once.")
@click.option("--length-penalty", type=float, metavar="X", help="Of beams: above 0 favours longer texts. [default: 1]")
@click.option("--do-sample", is_flag=True, help="Draw each piece instead of taking the most probable.")
@click.option("--temperature", type=float, metavar="T", help="Of drawing: below 1 sticks to the probable. [default: 1]")
@click.option("--top-k", type=int, metavar="K", help="Draw from the K most probable pieces; 0: all. [default: 50]")
@click.option("--top-p", type=float, metavar="P", help="Draw from the pieces that make up P. [default: 1]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of drawing.")
@as_json
def generate(model: Path, texts: tuple[str, ...], source: str | None, as_json: bool, **settings: Any) -> None:
    """Have MODEL, a Switch-Transformers checkpoint of Hugging Face's, write a text for each TEXT.

    MODEL is a folder with config.json, the weights (safetensors or pytorch_model.bin, in one file or several) and
    spiece.model, as google/switch-base-8 has them. `<extra_id_0>`, `<extra_id_1>` and so on are places to fill.

    What is written for a text depends on it, the options and the seed alone. A TEXT that begins with - goes behind --.
    """
    from switch_tf.models.huggingface import CONFIG, is_huggingface

    if bool(texts) == bool(source):
        received = "both texts and --input" if texts else "neither a text nor --input"
        raise UsageError(f"Received {received}. Expected one of the two: `switch-tf generate --help`.")
    if not is_huggingface(model):
        raise ModelError(f"{model} does not write texts. Expected a folder whose {CONFIG} is of a Switch-Transformer.")
    lines = _texts(texts, source)
    from switch_tf.artifacts.generator import TextGenerator, generation_settings
    from switch_tf.timing import timed

    asked = {name: value for name, value in settings.items() if value is not None}
    generation_settings({name: value for name, value in asked.items() if name != "seed"})  # refuses before it loads
    with timed(f"Loading {model}"):
        generator = TextGenerator(model)
    note(repr(generator))
    while chunk := list(islice(lines, _AT_ONCE)):
        for text, written in zip(chunk, generator.generate(chunk, **asked), strict=True):
            if as_json:
                echo_json({"text": text, "generated": written})
            else:
                echo(written)


def export_generator(ctx: click.Context, checkpoint: Path | None, as_json: bool) -> None:
    """`switch-tf export CHECKPOINT --task seq2seq`.

    Raises:
        UsageError: no checkpoint is named, or an option is given that has no meaning here.
    """
    from switch_tf.export.seq2seq.options import Seq2SeqOptions
    from switch_tf.models.huggingface import CONFIG, is_huggingface

    taken = ("format", "output", "length", "max_new_tokens")
    for parameter in ctx.command.params:
        if parameter.name not in (*taken, *_ANYWHERE) and is_given(ctx, parameter.name):
            raise UsageError(f"Received {parameter.opts[0]} with the task seq2seq. It is for classify: leave it out.")
    if checkpoint is None:
        raise UsageError("Received no checkpoint. Expected its folder before --task seq2seq.")
    asked = Seq2SeqOptions(**{name: ctx.params[name] for name in taken if ctx.params[name] is not None})
    if not is_huggingface(checkpoint):
        raise ModelError(f"{checkpoint} writes no texts. Expected a folder whose {CONFIG} is of a Switch-Transformer.")
    from switch_tf.export.seq2seq.session import export_seq2seq

    with console().status("Loading the model", spinner="line") as status:
        exported = export_seq2seq(checkpoint, asked, status.update)
    if as_json:
        echo_json({"ok": True, "artifacts": [compared.as_dict() for _, compared in exported]})
        return
    for path, compared in exported:
        logits = "" if compared.max_abs_diff is None else f", logits within {compared.max_abs_diff:.1e}"
        echo(
            f"{compared.equal} of {compared.prompts} prompts equal in all of {compared.ids:,} ids{logits}; "
            f"{compared.near_ties} apart by near-ties; the gate took {compared.seconds:.1f} s"
        )
        echo(f"Wrote {path}")


def _texts(texts: tuple[str, ...], source: str | None) -> Iterator[str]:
    """What to write for. A line that is no text ends the command, after the answers to those before it."""
    from switch_tf.data.streams import check_line, open_lines

    lines = open_lines(source) if source is not None else (check_line(i, text) for i, text in enumerate(texts, 1))
    for line in lines:
        if line.error:
            raise DataError(f"Line {line.number}: {line.error}")
        yield line.text
