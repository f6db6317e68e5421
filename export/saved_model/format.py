"""SavedModel as a format: a folder of numbered versions."""

from pathlib import Path
from typing import TYPE_CHECKING

from switch_tf.errors import ArgumentError
from switch_tf.export.format import Format
from switch_tf.export.options import Door, ExportOptions

if TYPE_CHECKING:
    from switch_tf.export.proof.gate import Proof
    from switch_tf.export.proof.parity import Comparison
    from switch_tf.export.proof.runner import Runner
    from switch_tf.models.text_classifier import TextClassifier
    from switch_tf.runs.folder import Run


class SavedModelFormat(Format):
    """For TensorFlow and TF Serving; one artifact takes strings, ids and bytes."""

    name = "saved_model"
    title = "a SavedModel folder"
    inputs: tuple[Door, ...] = ("text", "ids", "bytes")
    options = frozenset({"max_batch_size"})

    def output(self, run: "Run", options: ExportOptions) -> Path:
        del options
        return run.path / "export" / "saved_model"

    def check_output(self, path: Path) -> None:
        if path.is_file():
            problem = f"Received the output {path}, which is a file"
            raise ArgumentError(f"{problem}. Expected a folder for the versions of the model.", argument="output")

    def export(
        self, run: "Run", proof: "Proof", output: Path, options: ExportOptions, content: bytes | None = None
    ) -> tuple[Path, list["Comparison"]]:
        from switch_tf.export.saved_model.build import export_saved_model
        from switch_tf.export.saved_model.warmup import LARGEST_BATCH

        del content
        return export_saved_model(run, proof, output, options.max_batch_size or LARGEST_BATCH)

    def reads_bytes(self, run: "Run", options: ExportOptions) -> bool:
        del run, options
        return True

    def recognizes(self, path: Path) -> bool:
        from switch_tf.artifacts.saved_model import newest_version

        return newest_version(path) is not None

    def find(self, folder: Path) -> list[Path]:
        from switch_tf.artifacts.saved_model import saved_model_versions

        versions = saved_model_versions(folder / "saved_model")
        return [folder / "saved_model" / str(version) for version in versions[-1:]]

    def open_runners(self, path: Path, reference: "TextClassifier") -> list["Runner"]:
        from switch_tf.artifacts.saved_model import check_folder, newest_version
        from switch_tf.export.proof.coverage import vocabulary_texts
        from switch_tf.export.saved_model.runner import SavedModelRunner

        folder = newest_version(path) or path
        _ = check_folder(folder)
        words = vocabulary_texts(reference.spec, reference.vocabulary)
        runner = SavedModelRunner(folder, str(folder), reference.spec.num_bytes, words.alone + words.together)
        return [runner, runner.bytes_runner()]
