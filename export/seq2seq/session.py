"""A checkpoint of Hugging Face's to artifacts that write texts, each proven before it gets its name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from switch_tf import checksums, files
from switch_tf.errors import RunError
from switch_tf.export.seq2seq.options import ONNX, SAVED_MODEL, Seq2SeqOptions

if TYPE_CHECKING:
    from switch_tf.export.seq2seq.gate import GenerationComparison, GenerationProof
    from switch_tf.export.seq2seq.runners import Writer
    from switch_tf.models.seq2seq import Seq2Seq

MANIFEST = "manifest.json"
# What other programs, and the tokenizer, find beside the weights.
_COPIED = ("config.json", "generation_config.json", "spiece.model", "tokenizer_config.json", "tokenizer.json")


def export_seq2seq(
    checkpoint: Path, options: Seq2SeqOptions, tell: Callable[[str], None] = lambda _: None
) -> "list[tuple[Path, GenerationComparison]]":
    """Write the artifacts that are asked for: each is a folder, with the checkpoint's settings and tokenizer.

    Args:
        checkpoint: the folder that `save_pretrained` wrote.
        options: the rest.
        tell: gets a line about each step.

    Returns:
        The path of each, and how it compared with the model.

    Raises:
        ModelError: the checkpoint is damaged or not supported.
        ParityError: an artifact does not write what the model writes; nothing of it is left.
        ExportError: it cannot be made.
        RunError: its name is taken, or it cannot be written.
    """
    destinations = {name: options.output or checkpoint / "export" / name for name in options.formats}
    for destination in destinations.values():
        if destination.exists():
            raise RunError(f"{destination} already exists. Choose another name, or remove it first.")
    tell("Loading the model")
    from switch_tf.export.seq2seq.gate import GenerationProof
    from switch_tf.models.seq2seq import load_seq2seq

    model = load_seq2seq(checkpoint)
    tell("Writing with the model, to compare")
    proof = GenerationProof(model, options.length, options.max_new_tokens)
    exported = []
    for name, destination in destinations.items():
        tell(f"Writing {destination}")
        with files.parents(destination), files.new_folder(destination) as folder, files.refusing(destination):
            compared = _write(name, model, folder, destination, options, proof)
            _describe(checkpoint, folder, options, compared)
        exported.append((destination, compared))
    return exported


def _write(
    name: str, model: "Seq2Seq", folder: Path, destination: Path, options: Seq2SeqOptions, proof: "GenerationProof"
) -> "GenerationComparison":
    from switch_tf.export.seq2seq import graphs, onnx_files, runners

    writer: Writer
    if name == ONNX:
        onnx_files.write_onnx(model, folder, options.length)
        merged = f"{onnx_files.MERGED} of {destination}"
        proof.check(runners.OnnxWriter(folder, model.settings, options.max_new_tokens, merged=True), merged)
        writer = runners.OnnxWriter(folder, model.settings, options.max_new_tokens)
    elif name == SAVED_MODEL:
        graphs.write_saved_model(model, folder, options.length, options.max_new_tokens)
        writer = runners.SavedModelWriter(folder)
    else:
        graphs.write_tflite(model, folder, options.length, options.max_new_tokens)
        writer = runners.TFLiteWriter(folder)
    return proof.check(writer, str(destination))


def _describe(checkpoint: Path, folder: Path, options: Seq2SeqOptions, compared: "GenerationComparison") -> None:
    """The checkpoint's own small files, and a manifest of all that stands in the folder."""
    for name in _COPIED:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    written = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    files.write_json(
        folder / MANIFEST,
        {
            "length": options.length,
            "max_new_tokens": options.max_new_tokens,
            "comparison": compared.as_dict(),
            "files": {name: checksums.describe(file) for name, file in written.items()},
        },
    )
