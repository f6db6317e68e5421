"""The commands around artifacts: `export` writes and proves them, `verify` proves them again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import as_json, console, echo_json, text_column
from switch_tf.errors import ParityError, UsageError

if TYPE_CHECKING:
    from switch_tf.export.proof.parity import Comparison


_ABREAST = 4  # artifacts in a table that a terminal of 80 columns can show


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--format", "kind", type=click.Choice(["saved_model", "tflite", "onnx", "all"]), required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="[default: RUN/export/saved_model, a folder of versions; RUN/export/model.tflite, model-ids-int8.onnx, ...]",
)
@click.option("--inputs", type=click.Choice(["text", "ids", "bytes"]), help="What ONNX takes. [default: text]")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="The one batch size of a file. [default: any]")
@click.option(
    "--quantize",
    "precision",
    type=click.Choice(["none", "float16", "int8"]),
    help="What large weights of a file are stored in: half or a quarter of the size. [default: none]",
)
@click.option(
    "--dispatch",
    type=click.Choice(["gather", "einsum"]),
    help="How tokens reach experts; einsum is for accelerators without gathers. [default: as trained]",
)
@click.option(
    "--max-size", metavar="BYTES", help="Fit a file into so many (800000, 800K, 1M = 1,000,000) at the least loss."
)
@click.option(
    "--data",
    "measured_on",
    metavar="DATA",
    help="Where the run's test data (else its training data) is now, to quantize.",
)
@click.option("--allow-truncation", is_flag=True, help="Even where over 1% of texts are too long for the bytes input.")
@as_json
def export(
    run: Path | None,
    kind: str,
    max_size: str | None,
    dispatch: Any,
    measured_on: str | None,
    allow_truncation: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn RUN (default: the newest under ./runs) into a model that needs none of this package.

    The result is loaded by its own runtime, every signature is asked some hundred texts, hostile ones included, in
    batches of 1, 7 and 64, and compared with the trained model. If any answer is off, the exit code is 3 and nothing is
    left behind. Exporting a SavedModel again makes the next version and leaves the earlier ones alone; a file is
    replaced. Beside the versions stands what TF Serving is started with, and how to ask it.

    ONNX takes strings, TFLite takes UTF-8 bytes, a SavedModel both. For a GPU, take ONNX with `--inputs ids` and a
    fixed `--batch`; for LiteRT.js, TFLite with `--batch 1`.

    A quantized model may lose one point of accuracy on the run's test data, which is read again from where it was.
    --max-size tries float32, float16 and int8, and then leaves out the rarest words; it says what that costs.
    """
    _check_export(kind, options | {"max_size": max_size})
    precision = options.pop("precision")

    from switch_tf.export.budget import Fit, fit_cost, fit_size, measure_with, parse_size
    from switch_tf.export.formats import Wish, changed_shares, export_format, refuse_truncation
    from switch_tf.export.proof.gate import Proof, load_exported
    from switch_tf.runs.folder import newest_run, open_run

    opened = open_run(run or newest_run())
    given = {name: value for name, value in options.items() if value is not None}
    fit = Fit({None: "float32", "none": "float32"}.get(precision, precision), len(opened.vocabulary), 0)
    kinds: list[Any] = ["saved_model", "tflite", "onnx"] if kind == "all" else [kind]
    limit: int | None = None
    with console().status("Asking the trained model, then the export") as status:
        if max_size is not None:
            build = measure_with(kinds[0], opened, options["inputs"] or "text", options["batch"])
            tried: Any = {} if precision is None else {"precisions": (fit.precision,)}
            limit = parse_size(max_size)
            if kinds[0] == "tflite" or options["inputs"] == "bytes":
                refuse_truncation(opened, load_exported(opened), allow_truncation)
            fit = fit_size(opened, build, limit, **tried, dispatch=dispatch, tell=status.update)
        if dispatch == opened.config.model.dispatch:
            dispatch = None
        wish = Wish(
            **given,
            precision=fit.precision,
            allow_truncation=allow_truncation,
            name=max_size or "",
            dispatch=dispatch,
            limit=limit,
        )
        proof = Proof(opened, measured_on=measured_on, words=fit.words, dispatch=dispatch)
        written = []
        for each in kinds:
            status.update(f"Asking the trained model, then the export: {each}")
            written.append(export_format(opened, proof, each, wish))
        comparisons = [comparison for _, each in written for comparison in each]
        cost = None if max_size is None else fit_cost(opened, proof, fit, comparisons[0])
    if as_json:
        echo_json({"ok": True, "artifacts": [each.as_dict() for each in comparisons]} | ({"fit": cost} if cost else {}))
        return
    _print_parity(comparisons)
    if cost:
        click.echo(
            f"In {max_size}: {cost['precision']}, {cost['words']:,} of {cost['words_of_run']:,} words, accuracy "
            f"{cost['accuracy']:.4f} where the trained model has {cost['accuracy_with_all_words']:.4f}"
        )
    if any(each.door == "bytes" for each in comparisons):
        shares = ", ".join(f"{share:.2%} of {name}" for name, share in changed_shares(opened, proof.model).items())
        click.echo(f"Read otherwise at {opened.config.text.num_bytes} bytes than as a whole: {shares}")
        left = proof.exported.numeric_text.dropped_words
        if left:
            words, them = ("1 word", "it") if left == 1 else (f"{left:,} words", "them")
            click.echo(f"{words} of the vocabulary can stand in no text; the bytes input leaves {them} out")
    for path, _ in written:
        click.echo(f"Wrote {path}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path), metavar="[ARTIFACT]...")
@click.option(
    "--data", metavar="DATA", help="Texts to ask instead of the run's own held-out ones: a table or `reviews`."
)
@click.option(
    "--texts",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    metavar="N",
    help="Hostile texts to make up.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="For making them.")
@click.option(
    "--measured-on",
    metavar="DATA",
    help="Where the run's test data (else its training data) is now, for quantized ones.",
)
@text_column
@as_json
def verify(
    run: Path,
    artifacts: tuple[Path, ...],
    data: str | None,
    texts: int,
    seed: int,
    measured_on: str | None,
    text_column: str,
    as_json: bool,
) -> None:
    """Compare exported models with the trained one of RUN: the long form of what `export` does.

    Each ARTIFACT (default: the newest SavedModel and all files under RUN/export) is asked the run's held-out texts and
    hostile ones in batches of 1, 7 and 64. Token ids and labels must be equal, probabilities within 1e-5, and no answer
    may depend on its batch. A quantized one must read the same tokens, and may lose one point of accuracy on the run's
    test data. If one is out of bounds, the exit code is 3; the artifacts stay where they are.
    """
    from switch_tf.data.examples import read_texts
    from switch_tf.export.proof.verify import verify as compare
    from switch_tf.runs.folder import open_run

    opened = open_run(run)
    held_out = None if data is None else list(read_texts(data, text_column))
    tell = lambda message: click.echo(message, err=True)  # noqa: E731
    comparisons = compare(opened, artifacts, texts, seed, held_out, measured_on, tell)
    if as_json:
        ok = all(each.ok for each in comparisons)
        echo_json({"ok": ok, "artifacts": [each.as_dict() for each in comparisons]})
    else:
        _print_parity(comparisons)
    problems = [f"{each.path}: {'; '.join(each.problems)}" for each in comparisons if not each.ok]
    if problems:
        raise ParityError(f"Not as the trained model answers: {' '.join(problems)}. Export again.")


def _check_export(kind: str, options: dict[str, Any]) -> None:
    """Refuse words that say nothing about the format."""
    files = ("onnx", "tflite")
    for name, formats in {"inputs": ("onnx",), "batch": files, "precision": files, "max_size": files}.items():
        if options[name] not in (None, "none") and kind not in formats:
            word = {"precision": "--quantize", "max_size": "--max-size"}.get(name, f"--{name}")
            raise UsageError(f"{word} is for --format {' or '.join(formats)}. Received --format {kind}: leave it out.")
    output: Path | None = options["output"]
    if output and kind == "all":
        raise UsageError("Received --output with --format all. Expected one format, or the default places.")
    if output and kind in files and output.suffix != f".{kind}":
        raise UsageError(f"Received --output {output}. Expected a file name that ends in .{kind}.")


def _print_parity(comparisons: "Sequence[Comparison]") -> None:
    from switch_tf.reporting.tables import parity_table

    for start in range(0, len(comparisons), _ABREAST):
        console(stderr=False).print(parity_table(comparisons[start : start + _ABREAST]))
