"""`switch-tf experts`: what a trained model has learned, to be read."""

from pathlib import Path

import click

from switch_tf.cli.shared import as_json, console, echo, echo_json

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
