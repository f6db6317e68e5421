"""ONNX as a format: one file for ONNX Runtime."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from switch_tf.artifacts.seal import ONNX, sealed
from switch_tf.errors import ArgumentError
from switch_tf.export.format import FileFormat
from switch_tf.export.options import Door, ExportOptions

if TYPE_CHECKING:
    from switch_tf.export.proof.runner import Runner
    from switch_tf.models.text_classifier import TextClassifier
    from switch_tf.runs.folder import Run


class OnnxFormat(FileFormat):
    """Standard operators only; takes strings, ids or bytes."""

    name = "onnx"
    title = "an .onnx file"
    suffix = ".onnx"
    seal = ONNX
    inputs: tuple[Door, ...] = ("text", "ids", "bytes")
    options = FileFormat.options | {"inputs"}

    def inputs_of(self, run: "Run", options: ExportOptions) -> Door:
        """Strings, or bytes where characters or letters are read: no operators of ONNX take those from strings."""
        text = run.config.text
        if text.by_strings:
            return super().inputs_of(run, options)
        if options.inputs == "text":
            name = "tokenizer"
            if text.tokenizer == "words":
                name = "unknown_words" if text.spells else "lowercase"
            problem = f"ONNX takes no strings with text.{name} = {getattr(text, name)!r}"
            raise ArgumentError(f"{problem}. Expected inputs bytes, which it has by default, or ids.", "inputs")
        return options.inputs or "bytes"

    def build(self, run: "Run", model: "TextClassifier", options: ExportOptions) -> bytes:
        from switch_tf.export.onnx_file import build

        precision = options.precision or "float32"
        inputs = self.inputs_of(run, options)
        built = build.build_onnx(run, model, inputs, options.batch, precision, options.max_loss)
        return sealed(built.SerializeToString() + ONNX)

    def runner(self, content: bytes, path: str, reference: "TextClassifier") -> "Runner":
        from switch_tf.export.onnx_file.runner import OnnxRunner

        del reference
        return OnnxRunner(content, path)

    def describe(self, content: bytes, model: "TextClassifier") -> Mapping[str, Any]:
        from switch_tf.export.onnx_file.build import describe

        del model
        return describe(content)

    def facts(self, content: bytes) -> Mapping[str, str]:
        from switch_tf.export.onnx_file.runner import read_facts

        return read_facts(content)
