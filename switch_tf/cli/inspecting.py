"""`switch-tf experts` and `switch-tf tokenize`: what a trained model has learned, and what it reads, to be read."""

from pathlib import Path

import click

from switch_tf.cli.shared import as_json, console, echo, echo_json

_NOT_KNOWN = "?"  # which word or piece an id stands for
_SHOWN = 8  # words of an expert in the table


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--block", type=click.IntRange(min=0), metavar="N", help="Only the Switch layer of this block.")
@click.option("--expert", type=click.IntRange(min=0), metavar="N", help="Only this expert: all its words, one a line.")
@as_json
def experts(run: Path, block: int | None, expert: int | None, as_json: bool) -> None:
    """List which words each expert of RUN takes, the most frequent first.

    RUN was trained with model.router = "token": there, a word's expert depends on nothing but the word, and the list is
    exact. It shows each expert's first words; with --expert or --json, all of them.
    """
    from rich.table import Table

    from switch_tf.measuring.word_experts import words_of_experts
    from switch_tf.reporting.tables import print_table
    from switch_tf.runs.folder import open_run

    found = words_of_experts(open_run(run), block, expert)
    if as_json:
        echo_json({"experts": [each.as_dict() for each in found]})
        return
    if expert is not None:
        for each in found:
            for word in each.words:
                echo(word)
        return
    table = Table()
    for name in ("block", "expert", "words", "mean gate"):
        table.add_column(name, justify="right")
    for name in ("most frequent", "surest"):
        table.add_column(name, overflow="fold")
    for each in found:
        gate = f"{each.gates.mean():.3f}" if each.words else ""
        frequent = " ".join(each.words[:_SHOWN]) + " and every unknown word" * each.unknown
        surest = " ".join(each.surest()[:_SHOWN])
        table.add_row(str(each.block), str(each.expert), f"{len(each.words):,}", gate, frequent, surest)
    print_table(console(stderr=False), table)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@as_json
def tokenize(model: Path, texts: tuple[str, ...], as_json: bool) -> None:
    """Show the tokens that MODEL reads each TEXT as: ids and, beside them, the words or pieces of words.

    MODEL is a run folder, a SavedModel folder, a .tflite file or an .onnx file, and its own text front-end answers. A
    piece that is written with ## stands behind another of its word; [UNK] is a word or piece that the model does not
    know. What stands behind the last token that the model reads is not shown. Of a file that has been moved away from
    its run the ids alone are known.

    \b
    Example:
      switch-tf tokenize runs/reviews "An unwatchable film"
    """
    from switch_tf.artifacts.base import as_text
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.artifacts.tokens import read_tokens

    given = [as_text(text) for text in texts]
    for text, tokens in zip(given, read_tokens(load_predictor(model), model, given), strict=True):
        if as_json:
            echo_json({"text": text, "tokens": [token.as_dict() for token in tokens]})
        else:
            echo("  ".join(f"{_NOT_KNOWN if token is None else token} {number}" for number, token in tokens))
