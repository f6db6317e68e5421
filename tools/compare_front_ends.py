"""The table of docs/tokenizers.md: what each way to read texts reaches, on texts as they are and with typos.

\b
    python tools/compare_front_ends.py trec=DATA/trec snips=DATA/snips --write docs/tokenizers.md
    python tools/compare_front_ends.py trec=DATA/trec --front-end "without accents=text.lowercase=unicode,\\
    text.strip_accents=true"

A set is the name of a built-in one, or NAME=FOLDER with train.tsv.xz and test.tsv.xz in it (label, text). Nothing but
the front-end differs between the trainings of a set. Test texts are answered as they are, and once more with a typo in
a part of their words of four letters and more, the same for all front-ends. What was measured is kept in the results
and not measured again, so that the table can grow by sets and by front-ends.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from quality import files_of, fill, train
from unknown_words import misspell, texts_of

from switch_tf.files import write_bytes

FRONT_ENDS: dict[str, tuple[str, ...]] = {  # by what the table calls them: settings over the recipe's
    "words": (),
    '`lowercase = "unicode"`': ("text.lowercase=unicode",),
    "wordpiece": ("text.tokenizer=wordpiece",),
    "unigram": ("text.tokenizer=unigram",),
}
_SEED = 0
_BATCH = 256
Figures = dict[str, Any]


@click.command(help=__doc__)
@click.argument("sets", nargs=-1, required=True, metavar="NAME[=FOLDER]...")
@click.option("--front-end", "chosen", multiple=True, metavar="NAME=SETTING,...", help="These alone, not all four.")
@click.option("--typos", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of words with one.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("front_ends.json"), show_default=True)
@click.option("--write", "page", type=click.Path(path_type=Path, exists=True), help="A page with the table's marker.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of `switch-tf train`, for all.")
def main(
    sets: tuple[str, ...],
    chosen: tuple[str, ...],
    typos: float,
    results: Path,
    page: Path | None,
    settings: tuple[str, ...],
) -> None:
    front_ends = dict(map(read_front_end, chosen)) or FRONT_ENDS
    measured: dict[str, dict[str, Figures]] = json.loads(results.read_text()) if results.exists() else {}
    for name, _, folder in (each.partition("=") for each in sets):
        of_set = measured.setdefault(name, {})
        for front_end, own in front_ends.items():
            asked: Figures = {"settings": [*settings, *own], "typos": typos}
            if asked.items() <= of_set.get(front_end, {}).items():
                continue
            click.echo(f"{name}, {front_end}", err=True)
            of_set[front_end] = asked | measure(name, Path(folder) if folder else None, asked["settings"], typos)
            write_bytes(results, (json.dumps(measured, indent=1) + "\n").encode())
    if page is not None:
        write_bytes(page, fill(page.read_text("utf-8"), {"front-ends": table(measured)}).encode())
    click.echo(table(measured))


def read_front_end(given: str) -> tuple[str, tuple[str, ...]]:
    """A name and its settings: those behind it, or those that it has in the table.

    >>> read_front_end("plain=text.lowercase=unicode,text.strip_accents=true")
    ('plain', ('text.lowercase=unicode', 'text.strip_accents=true'))
    >>> read_front_end("words")
    ('words', ())
    """
    name, separator, settings = given.partition("=")
    if not separator and name not in FRONT_ENDS:
        raise click.UsageError(f"--front-end {given}: expected NAME=SETTING,..., or one of {', '.join(FRONT_ENDS)}.")
    return name, tuple(settings.split(",")) if separator else FRONT_ENDS[name]


def measure(name: str, folder: Path | None, settings: Sequence[str], typos: float) -> Figures:
    """Figures of one training: accuracies, tokens that are unknown, and how many texts were asked."""
    from switch_tf.artifacts.opening import load_predictor
    from switch_tf.data.examples import encode_labels, read_examples

    data, test = files_of(name, folder)
    examples = read_examples(str(data if test is None else test), split="test")
    texts, draw = texts_of(examples), np.random.default_rng(_SEED)
    misspelt = [misspell(text, typos, draw) for text in texts]
    temporary = Path(tempfile.mkdtemp())
    try:
        metrics = train(name, folder, temporary / "run", _SEED, settings)
        model = load_predictor(temporary / "run")
        expected = encode_labels(examples, list(model.labels))
        figures: Figures = {"test_texts": len(texts), "cpu_seconds": metrics["training"]["cpu_seconds"]}
        for kind, asked in (("clean", texts), ("misspelt", misspelt)):
            parts = [asked[start : start + _BATCH] for start in range(0, len(asked), _BATCH)]
            answers = np.concatenate([model.probabilities(part) for part in parts])  # [texts, classes]
            ids = np.concatenate([model.tokenize(part) for part in parts])  # [texts, length]
            figures[kind] = {
                "accuracy": float((answers.argmax(axis=1) == expected).mean()),
                "unknown": float((ids == 1).sum() / (ids > 0).sum()),
            }
    finally:
        shutil.rmtree(temporary)
    return figures


def table(measured: dict[str, dict[str, Figures]]) -> str:
    """Accuracies and their standard errors, by set and front-end."""
    names = list(dict.fromkeys([*FRONT_ENDS, *(name for of_set in measured.values() for name in of_set)]))
    lines = [f"| set | test texts | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for name, of_set in measured.items():
        for kind, called in (("clean", "as they are"), ("misspelt", "with typos")):
            cells = [cell(of_set[each], kind) if each in of_set else "not run" for each in names]
            lines.append(f"| {name} | {called} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figures: Figures, kind: str) -> str:
    """An accuracy and the standard error that so many texts give it.

    >>> cell({"test_texts": 500, "clean": {"accuracy": 0.9}}, "clean")
    '0.900 ± 0.013'
    """
    accuracy = figures[kind]["accuracy"]
    return f"{accuracy:.3f} ± {(accuracy * (1 - accuracy) / figures['test_texts']) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
