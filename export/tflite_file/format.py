"""TFLite as a format: one file for LiteRT."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from switch_tf.artifacts.seal import TFLITE
from switch_tf.export.format import FileFormat
from switch_tf.export.options import Door, ExportOptions

if TYPE_CHECKING:
    from switch_tf.export.proof.runner import Runner
    from switch_tf.models.text_classifier import TextClassifier
    from switch_tf.runs.folder import Run


class TFLiteFormat(FileFormat):
    """Builtin operators only; takes bytes, and ids by a signature of their own."""

    name = "tflite"
    title = "a .tflite file"
    suffix = ".tflite"
    seal = TFLITE
    inputs: tuple[Door, ...] = ("bytes",)

    def build(self, run: "Run", model: "TextClassifier", options: ExportOptions) -> bytes:
        from switch_tf.export.tflite_file import build

        return build.build_tflite(run, model, options.batch, options.precision or "float32", options.max_loss)

    def runner(self, content: bytes, path: str, reference: "TextClassifier") -> "Runner":
        from switch_tf.export.tflite_file.runner import TFLiteRunner

        del reference
        return TFLiteRunner(content, path)

    def describe(self, content: bytes, model: "TextClassifier") -> Mapping[str, Any]:
        from switch_tf.export.tflite_file.build import describe

        return describe(content, model)

    def facts(self, content: bytes) -> Mapping[str, str]:
        from switch_tf.export.tflite_file.flatbuffer import read_facts

        return read_facts(content)
