"""The commands around artifacts: `export` writes and proves them, `verify` proves them again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switch_tf.cli.shared import as_json, console, echo, echo_json, is_given, note, text_column
from switch_tf.errors import UsageError
from switch_tf.export.formats import ALL, FORMATS

if TYPE_CHECKING:
    from switch_tf.export.exported import Exported
    from switch_tf.export.options import ExportOptions
    from switch_tf.export.proof.parity import Comparison
    from switch_tf.runs.opening import Trained


_ABREAST = 4  # artifacts in a table that a terminal of 80 columns can show


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--format", type=click.Choice([*FORMATS, ALL]), required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="[default: RUN/export/saved_model, a folder of versions; RUN/export/model.tflite, model-ids-int8.onnx, ...]",
)
@click.option(
    "--inputs",
    type=click.Choice(["text", "ids", "bytes"]),
    help="What goes in. [ONNX: text; bytes with text.lowercase=unicode or text.unknown_words=letters and where tokens "
    "are pieces of words; of fine-tuned runs, in all formats: bytes]",
)
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
    "--max-loss",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Of accuracy, that a smaller file may lose. [default: 1 by --quantize, 2 where words are left out]",
)
@click.option(
    "--data",
    "measured_on",
    metavar="DATA",
    help="Where the run's test data (else its training data) is now, to quantize.",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=1, max=65_536),
    metavar="N",
    help="Texts that TF Serving answers together at most, for its configuration. [default: 64]",
)
@click.option("--allow-truncation", is_flag=True, help="Even where over 1% of texts are too long for the bytes input.")
@click.option(
    "--task",
    type=click.Choice(["classify", "seq2seq"]),
    default="classify",
    show_default=True,
    help="seq2seq: RUN is a Switch-Transformers checkpoint of Hugging Face's, to write texts.",
)
@click.option("--length", type=int, metavar="N", help="With seq2seq, ids that a text has at most. [default: 128]")
@click.option("--max-new-tokens", type=int, metavar="N", help="With seq2seq, ids that are written. [default: 64]")
@as_json
@click.pass_context
def export(ctx: click.Context, /, run: Path | None, as_json: bool, task: str, **options: Any) -> None:
    """Turn RUN (default: the newest under ./runs) into a model that needs none of this package.

    The result is loaded by its own runtime, every signature is asked some hundred texts, hostile ones included, in
    batches of 1, 7 and 64, every front-end every word of the vocabulary, and compared with the trained model; its
    weights, tables and labels are read back. If anything is off, the exit code is 3 and nothing is left behind.
    Exporting a SavedModel again makes the next version and leaves the earlier ones alone; a file is replaced. Beside
    the versions stands what TF Serving is started with, and how to ask it.

    ONNX takes strings, TFLite takes UTF-8 bytes, a SavedModel both. Beside a file stand its labels and a page of lines
    that ask it. For a GPU, take ONNX with `--inputs ids` and a fixed `--batch`; for LiteRT.js, TFLite with `--batch 1`.

    A quantized model may lose one point of accuracy on the run's test data, which is read again from where it was.
    --max-size tries float32, float16 and int8, and then leaves out the rarest words, for two points at most; it says
    what that costs. --max-loss sets another limit.

    Of a run that was fine-tuned from a checkpoint each artifact is a folder, RUN/export/onnx, which takes bytes, with
    the checkpoint's tokenizer in the graph, or ids of pieces of words; `predict` and `evaluate` take such a folder.

    With `--task seq2seq` the result is a folder that writes texts from ids, greedily: a SavedModel or TFLite file with
    the signature `generate`, or the ONNX files that optimum's ORTModelForSeq2SeqLM loads. It is held to writing, id by
    id, what the model writes for 32 prompts.
    """
    if task == "seq2seq":
        from switch_tf.cli.generating import export_generator

        export_generator(ctx, run, as_json)
        return
    for name in ("length", "max_new_tokens"):
        if options.pop(name) is not None:
            raise UsageError(f"Received --{name.replace('_', '-')} with the task classify. It is for seq2seq.")
    _refuse_checkpoint(run)
    from switch_tf.export.formats import check_options
    from switch_tf.export.options import ExportOptions
    from switch_tf.runs.fine_tuned import is_fine_tuned
    from switch_tf.runs.folder import newest_run
    from switch_tf.runs.opening import open_trained

    if options["precision"] == "none":
        options["precision"] = "float32"
    asked = ExportOptions(**options)
    run = run or newest_run()
    if not is_fine_tuned(run):  # what means something to those, they say themselves
        check_options(asked)
    opened = open_trained(run)

    from switch_tf.export.session import export_run

    with console().status("Loading the trained model", spinner="line") as status:
        exported = export_run(opened, asked, status.update)
    if as_json:
        artifacts = [each.as_dict() for each in exported.comparisons]
        echo_json({"ok": True, "artifacts": artifacts} | ({"fit": exported.fit} if exported.fit else {}))
        return
    _print_parity(exported.comparisons)
    for line in _remarks(exported, opened, asked):
        echo(line)


def _refuse_checkpoint(run: Path | None) -> None:
    """What writes texts is exported by another task."""
    from switch_tf.artifacts.fine_tuned_folder import is_artifact
    from switch_tf.models.huggingface import is_huggingface
    from switch_tf.runs.fine_tuned import is_fine_tuned

    if run is not None and is_huggingface(run) and not (is_fine_tuned(run) or is_artifact(run)):
        raise UsageError(
            f"{run} is a Switch-Transformers checkpoint, which writes texts. Export it with --task seq2seq."
        )


def _remarks(exported: "Exported", run: "Trained", asked: "ExportOptions") -> Iterator[str]:
    """What else there is to say of an export: what fitting it cost, what a bytes input changes, where it is."""
    from switch_tf.runs.folder import Run
    from switch_tf.text.spec import TextSpec

    if cost := exported.fit:
        yield (
            f"In {asked.max_size}: {cost['precision']}, {cost['words']:,} of {cost['words_of_run']:,} words, accuracy "
            f"{cost['accuracy']:.4f} where the trained model has {cost['accuracy_with_all_words']:.4f}"
        )
    unvisited = {expert for each in exported.comparisons for expert in each.experts_unvisited}
    if unvisited:
        tried = (
            "word nor any pair tried, and so only read back" if isinstance(run, Run) else "row or text that was tried"
        )
        yield f"Reached by no {tried}: {'; '.join(sorted(unvisited))}"
    yield f"The gate took {sum(each.seconds for each in exported.comparisons):.1f} s"
    if exported.changed:
        shares = ", ".join(f"{share:.2%} of {name}" for name, share in exported.changed.items())
        text = run.config.text if isinstance(run, Run) else TextSpec(sequence_length=run.settings.length)
        words = f"other {'words' if isinstance(run, Run) else 'ids'} among the first {text.sequence_length}"
        yield f"Cut at {text.num_bytes} bytes, {words} than in the whole text: {shares}"
    if left := exported.dropped_words:
        words, them = ("1 word", "it") if left == 1 else (f"{left:,} words", "them")
        yield f"{words} of the vocabulary can stand in no text; the bytes input leaves {them} out"
    for path in exported.paths:
        yield f"Wrote {path}"


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
@click.pass_context
def verify(
    ctx: click.Context,
    /,
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
    hostile ones in batches of 1, 7 and 64, and every word of the vocabulary. Token ids and labels must be equal,
    probabilities within 1e-5, no answer may depend on its batch, and what is stored must be what the run has. A smaller
    one must read the same tokens, and may lose what `export` allowed it of accuracy on the run's test data. If one is
    out of bounds, the exit code is 3; the artifacts stay where they are.
    """
    from switch_tf.data.examples import read_texts
    from switch_tf.runs.opening import open_trained

    if data is None and is_given(ctx, "text_column"):
        raise UsageError("Received --text-column without --data: it is for tables. Leave it out.")
    opened = open_trained(run)
    held_out = None if data is None else list(read_texts(data, text_column))

    from switch_tf.export.proof.verify import refuse_differences
    from switch_tf.export.session import verify_run

    comparisons = verify_run(opened, artifacts, texts, seed, held_out, measured_on, note)
    if as_json:
        ok = all(each.ok for each in comparisons)
        echo_json({"ok": ok, "artifacts": [each.as_dict() for each in comparisons]})
    else:
        _print_parity(comparisons)
    refuse_differences(comparisons)


def _print_parity(comparisons: "Sequence[Comparison]") -> None:
    from switch_tf.reporting.tables import parity_table

    for start in range(0, len(comparisons), _ABREAST):
        console(stderr=False).print(parity_table(comparisons[start : start + _ABREAST]))
