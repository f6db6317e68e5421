"""What a format is: how it is built, what it takes, where its artifacts are found, and who asks them.

A new format is a folder with a subclass in it and a line in `switch_tf.export.formats`; export, verify, the budget of
bytes and the help read it from there. Heavy imports stand inside the methods, so that the registry costs nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from switch_tf.artifacts.seal import check_file
from switch_tf.errors import ArgumentError, ModelError
from switch_tf.export.options import Door, ExportOptions

if TYPE_CHECKING:
    from switch_tf.export.proof.gate import Proof
    from switch_tf.export.proof.parity import Comparison
    from switch_tf.export.proof.runner import Runner
    from switch_tf.models.text_classifier import TextClassifier
    from switch_tf.runs.folder import Run

_SIZE_LIMIT = 2**31  # bytes: what a file of any format can hold


class Shrunk(NamedTuple):
    """How many words of the run's vocabulary an artifact knows, and the points of accuracy that it was allowed to lose;
    None where it was not told."""

    words: int
    max_loss: float | None


class Format(ABC):
    """One kind of artifact.

    Attributes:
        name: of the format, as users say it.
        title: what it is, in a few words.
        inputs: what an artifact may take, the default first.
        options: names of the `ExportOptions` that mean something to it, besides those that all formats take.
    """

    name: str
    title: str
    inputs: tuple[Door, ...]
    options: frozenset[str] = frozenset()

    @abstractmethod
    def output(self, run: "Run", options: ExportOptions) -> Path:
        """Where an artifact goes unless told otherwise."""

    @abstractmethod
    def export(
        self, run: "Run", proof: "Proof", output: Path, options: ExportOptions, content: bytes | None = None
    ) -> tuple[Path, list["Comparison"]]:
        """Write one artifact and say where it is and how each of its inputs compared.

        `content` is what was built already.

        Raises:
            ParityError: it does not answer as the trained model does; nothing of it is left.
            ExportError: it cannot be made or run.
            RunError: it cannot be written.
        """

    @abstractmethod
    def recognizes(self, path: Path) -> bool:
        """Whether an artifact of this format may stand at `path`."""

    @abstractmethod
    def find(self, folder: Path) -> list[Path]:
        """The artifacts of this format in the folder RUN/export; of versions, the newest."""

    @abstractmethod
    def open_runners(self, path: Path, reference: "TextClassifier") -> list["Runner"]:
        """What asks the artifact at `path`, one for each kind of input that is compared on its own.

        Raises:
            ModelError: it is no artifact of this format, or one of another run.
        """

    def inputs_of(self, run: "Run", options: ExportOptions) -> Door:
        """What an artifact of a run takes: what is asked for, or else the default.

        Raises:
            ArgumentError: none of this format can.
        """
        del run
        return options.inputs or self.inputs[0]

    def reads_bytes(self, run: "Run", options: ExportOptions) -> bool:
        """Whether what is asked for has a bytes input, which cuts long texts."""
        return self.inputs_of(run, options) == "bytes"

    def shrunk(self, path: Path, whole: int) -> "Shrunk":
        """What an artifact says it may lack: nothing, unless it says otherwise; `whole` is the run's words."""
        del path
        return Shrunk(whole, None)

    def check_output(self, path: Path) -> None:
        """
        Raises:
            ArgumentError: an artifact of this format cannot have that name.
        """
        del path


class FileFormat(Format):
    """A format whose artifacts are one file each, with a manifest, labels and a page of caller lines beside it.

    Attributes:
        suffix: of its files, with the dot.
        seal: what stands before the digits of the checksum that they end in.
    """

    suffix: str
    seal: bytes
    options = frozenset({"batch", "precision", "max_size", "max_loss"})

    @abstractmethod
    def build(self, run: "Run", model: "TextClassifier", options: ExportOptions) -> bytes:
        """The file in memory; `model` is the trained model of `run` as the file shall have it.

        Raises:
            ExportError: an operator has no counterpart, or the converter fails.
        """

    @abstractmethod
    def runner(self, content: bytes, path: str, reference: "TextClassifier") -> "Runner":
        """What asks a file in memory, which messages call `path`.

        Raises:
            ModelError: it is no file of ours, or one of another run.
        """

    @abstractmethod
    def describe(self, content: bytes, model: "TextClassifier") -> Mapping[str, Any]:
        """Signature and operators, for the manifest."""

    @abstractmethod
    def facts(self, content: bytes) -> Mapping[str, str]:
        """What a file says about itself.

        Raises:
            ValueError: it is no file of this format.
        """

    def output(self, run: "Run", options: ExportOptions) -> Path:
        default = self.inputs_of(run, replace(options, inputs=None))
        name = options.file_name(self.suffix, self.inputs_of(run, options), default)
        return run.path / "export" / name

    def check_output(self, path: Path) -> None:
        if path.suffix != self.suffix:
            raise ArgumentError(
                f"Received the output {path}. Expected a file name that ends in {self.suffix}.", "output"
            )

    def export(
        self, run: "Run", proof: "Proof", output: Path, options: ExportOptions, content: bytes | None = None
    ) -> tuple[Path, list["Comparison"]]:
        from switch_tf.export.caller_page import refuse_foreign_page, write_caller_page
        from switch_tf.export.manifest import refuse_size, write_file
        from switch_tf.export.proof.gate import refusing_failures

        refuse_foreign_page(output)
        if content is None:
            content = self.build(run, proof.exported, options)
        refuse_size(len(content), options.limit, output)
        with refusing_failures(str(output)):
            runner = self.runner(content, str(output), proof.model)
        comparison = proof.check(runner)
        described = self.describe(content, proof.exported)
        write_file(output, content, proof.exported, comparison, described)
        write_caller_page(output, proof.exported, described)
        return output, [comparison]

    def recognizes(self, path: Path) -> bool:
        return path.suffix == self.suffix and path.is_file()

    def find(self, folder: Path) -> list[Path]:
        return sorted(folder.glob(f"*{self.suffix}"))

    def open_runners(self, path: Path, reference: "TextClassifier") -> list["Runner"]:
        _ = check_file(path, self.seal, str(path))  # beside its content, the manifest that stands beside it
        return [self.runner(_read(path), str(path), reference)]

    def shrunk(self, path: Path, whole: int) -> "Shrunk":
        """
        Raises:
            ModelError: the file says what cannot be.
        """
        import json

        try:
            facts = self.facts(_read(path))
            words = json.loads(facts.get("text", "{}")).get("words", whole)
            max_loss = json.loads(facts.get("max_loss", "null"))
        except (ValueError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read as a model of ours: {error}. Export it again.") from error
        if not isinstance(words, int) or not 0 < words <= whole:
            raise ModelError(f"{path} is not of this run: it has {words} words. Expected 1 to {whole}.")
        if max_loss is not None and not (isinstance(max_loss, int | float) and 0 <= max_loss <= 100):
            raise ModelError(f"{path}: its metadata say max_loss = {max_loss!r}. Expected 0 to 100. Export it again.")
        return Shrunk(words, max_loss)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise ModelError(f"{path} has {path.stat().st_size} bytes. Expected at most {_SIZE_LIMIT}.")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}. Export it again.") from error
