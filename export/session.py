"""An export from beginning to end: what is asked is checked, built, fitted into its bytes, proven and written."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from switch_tf.data.examples import Examples
from switch_tf.errors import ModelError
from switch_tf.export.budget import Fit, fit_cost, fit_size
from switch_tf.export.exported import Exported, Tell
from switch_tf.export.fine_tuned.session import export_fine_tuned, verify_fine_tuned
from switch_tf.export.format import FileFormat, Format
from switch_tf.export.formats import FORMATS, check_options, format_of
from switch_tf.export.options import ExportOptions, Precision
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.proof.parity import Comparison
from switch_tf.export.proof.verify import verify
from switch_tf.export.truncation import changed_shares, refuse_truncation
from switch_tf.locks import locked
from switch_tf.runs.fine_tuned import FineTunedRun
from switch_tf.runs.folder import Run
from switch_tf.runs.opening import Trained


def export_run(run: Trained, options: ExportOptions, tell: Tell = lambda message: None) -> Exported:
    """Turn a trained run into artifacts that need none of this package, each proven before it is kept.

    `tell` is called with a message before each long step.

    Raises:
        ArgumentError: the options do not fit together.
        ParityError: an artifact does not answer as the trained model does, or not at all; nothing of it is left.
        ExportError: one cannot be made or asked, would cut too many texts, or does not fit into its bytes.
        DataError: a quantized one has to be measured on the run's labelled data, and that is not there.
        RunError: one cannot be written.
    """
    if isinstance(run, FineTunedRun):
        return export_fine_tuned(run, options, tell)
    formats = check_options(options)
    tell("Loading the trained model")
    if options.dispatch == run.config.model.dispatch:
        options = replace(options, dispatch=None)
    outputs = [options.output or each.output(run, options) for each in formats]
    if any(each.reads_bytes(run, options) for each in formats):
        refuse_truncation(run, load_exported(run), options.allow_truncation)
    fit = None
    if options.max_size is not None:
        fit = _fit(run, formats[0], options, tell)
        options = replace(options, precision=fit.precision)
    words = None if fit is None else fit.words
    proof = Proof(
        run, measured_on=options.measured_on, words=words, dispatch=options.dispatch, max_loss=options.max_loss
    )
    exported = Exported([], [])
    for each, output in zip(formats, outputs, strict=True):
        tell(f"Asking the trained model, then the export: {each.name}")
        with locked(output, "exported to"):
            path, comparisons = each.export(run, proof, output, options, None if fit is None else fit.content)
        exported.paths.append(path)
        exported.comparisons.extend(comparisons)
    cost = None if fit is None else fit_cost(run, fit, exported.comparisons[0])
    if all(each.door != "bytes" for each in exported.comparisons):
        return replace(exported, fit=cost)
    changed = changed_shares(run, proof.model)
    return replace(exported, fit=cost, changed=changed, dropped_words=proof.exported.numeric_text.dropped_words)


def verify_run(
    run: Trained,
    artifacts: Sequence[Path] = (),
    texts: int = 2000,
    seed: int = 0,
    held_out: Sequence[str] | None = None,
    measured_on: str | Examples | None = None,
    tell: Tell = lambda message: None,
) -> list[Comparison]:
    """Compare artifacts (default: all under RUN/export) with the trained model, without judging them.

    The arguments are those of `switch_tf.export.proof.verify.verify`.

    Raises:
        DataError: the labelled data that quantized artifacts are measured on is not there.
        ModelError: there is nothing to compare, or something that is no artifact.
        ExportError: an artifact cannot be asked, for want of room or time.
    """
    if isinstance(run, FineTunedRun):
        return verify_fine_tuned(run, artifacts, texts, seed, held_out, measured_on, tell)
    found = list(artifacts) or find_artifacts(run)
    missing = [artifact for artifact in found if not artifact.exists()]
    if missing:
        raise ModelError(f"There is no {missing[0]}. Expected what an export of {run.path} wrote.")
    if not found:
        raise ModelError(f"{run.path / 'export'} holds no artifact. Export the run first.")
    return verify(run, [(path, format_of(path)) for path in found], texts, seed, held_out, measured_on, tell)


def find_artifacts(run: Run) -> list[Path]:
    """The newest version of the SavedModel and every file of ours under RUN/export."""
    return [path for each in FORMATS.values() for path in each.find(run.path / "export")]


def _fit(run: Run, format: Format, options: ExportOptions, tell: Tell) -> Fit:
    """The file of the least loss that has no more bytes than it may."""
    assert isinstance(format, FileFormat) and options.limit is not None  # as `check_options` makes sure
    wanted: dict[str, Any] = {} if options.precision is None else {"precisions": (options.precision,)}

    def build(words: int | None, precision: Precision) -> bytes:
        model = load_exported(run, words, options.dispatch)
        return format.build(run, model, replace(options, precision=precision))

    return fit_size(build, len(run.vocabulary), options.limit, tell=tell, **wanted)
