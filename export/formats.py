"""An export as a function: which format, what it takes, where it goes, and whether its byte limit is fair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf

from switch_tf.config import Dispatch
from switch_tf.errors import ExportError
from switch_tf.export.proof.gate import Proof
from switch_tf.export.proof.parity import Comparison, Door, Precision
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.runs.held_out import read_held_out
from switch_tf.text.byte_codes import changed_share

Format = Literal["saved_model", "tflite", "onnx"]
CHANGED_SHARE_BOUND = 0.01  # of texts that the bytes input may read otherwise than as a whole


@dataclass(frozen=True)
class Wish:
    """What is asked for beyond the format; None is the format's default."""

    output: Path | None = None  # RUN/export/...
    inputs: Door | None = None  # of ONNX: text
    batch: int | None = None  # any
    precision: Precision = "float32"
    allow_truncation: bool = False
    name: str = ""  # part of the default file name
    dispatch: Dispatch | None = None  # where it is not as in the run, another part
    limit: int | None = None  # bytes


def export_format(run: Run, proof: Proof, kind: Format, wish: Wish) -> tuple[Path, list[Comparison]]:
    """Write one artifact and say where it is and how each of its inputs compared.

    Raises:
        ParityError: it does not answer as the trained model does; nothing of it is left.
        ExportError: it cannot be made or run, or its bytes input would cut too many texts.
        DataError: a quantized model has to be measured on the run's labelled data, and that is not there.
        RunError: it cannot be written.
    """
    folder = run.path / "export"
    if kind != "onnx" or wish.inputs == "bytes":
        refuse_truncation(run, proof.model, wish.allow_truncation)
    if kind == "saved_model":
        from switch_tf.export.saved_model.build import export_saved_model

        return export_saved_model(run, proof, wish.output or folder / "saved_model")
    if kind == "tflite":
        from switch_tf.export.tflite_file.build import export_tflite

        output = wish.output or folder / default_name("tflite", "bytes", wish)
        path, comparison = export_tflite(run, proof, output, wish.batch, wish.precision, wish.limit)
        return path, [comparison]
    from switch_tf.export.onnx_file.build import export_onnx

    inputs = wish.inputs or "text"
    output = wish.output or folder / default_name("onnx", inputs, wish)
    path, comparison = export_onnx(run, proof, output, inputs, wish.batch, wish.precision, wish.limit)
    return path, [comparison]


def default_name(kind: Literal["tflite", "onnx"], inputs: Door, wish: Wish) -> str:
    """The file name of a kind of model, so that none replaces another.

    >>> default_name("onnx", "text", Wish()), default_name("onnx", "ids", Wish(batch=64, precision="int8"))
    ('model.onnx', 'model-ids-batch64-int8.onnx')
    """
    parts = ["model"]
    if inputs != {"tflite": "bytes", "onnx": "text"}[kind]:
        parts.append(inputs)
    if wish.batch is not None:
        parts.append(f"batch{wish.batch}")
    if wish.dispatch is not None:
        parts.append(wish.dispatch)
    if wish.name or wish.precision != "float32":
        parts.append(wish.name or wish.precision)
    return f"{'-'.join(parts)}.{kind}"


def changed_shares(run: Run, model: TextClassifier) -> dict[str, float]:
    """The shares of texts that the bytes input reads otherwise than as a whole, by split, as training measured them.

    A run that was trained before they were measured has that of its sample of held-out texts.
    """
    measured = read_metrics(run.path).get("changed_by_byte_length")
    if isinstance(measured, dict) and all(isinstance(share, float) for share in measured.values()):
        return measured

    def tokenize(texts: Sequence[bytes]) -> tf.Tensor:
        return model.tokenize(tf.constant(texts, tf.string))["ids"].numpy()

    return {"held-out sample": changed_share(run.config.text, tokenize, read_held_out(run))}


def refuse_truncation(run: Run, model: TextClassifier, allowed: bool) -> None:
    """
    Raises:
        ExportError: the byte limit changes over one text in a hundred, and that is not `allowed`.
    """
    shares = changed_shares(run, model)
    if allowed or max(shares.values()) <= CHANGED_SHARE_BOUND:
        return
    said = " and ".join(f"{share:.1%} of the {split}" for split, share in shares.items())
    raise ExportError(
        f"Cut at text.byte_length = {run.config.text.num_bytes} bytes, {said} texts are read otherwise than as a "
        f"whole. Expected at most {CHANGED_SHARE_BOUND:.0%}. Train with a larger text.byte_length, or take it as it is "
        "and allow the truncation.",
        argument="allow_truncation",
    )
