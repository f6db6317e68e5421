"""What an artifact of a fine-tuned run stores of its bytes front-end, read from its own files.

Answers cannot show what no text asks for: a score that is off by little, or what becomes of a rare character.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from switch_tf.artifacts.fine_tuned_folder import ONNX_FILE, TFLITE_FILE
from switch_tf.artifacts.onnx_graph import front_end, parse
from switch_tf.errors import ModelError
from switch_tf.export.onnx_file.stored import read_part
from switch_tf.export.proof.readback import Expected, Part, read_back
from switch_tf.export.saved_model.stored import read_bytes_parts
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.export.tflite_file.stored import read_parts
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces


def other_tables(folder: Path, numeric: NumericSentencePieces) -> tuple[list[str], int]:
    """Which tables of the front-end are not stored in a folder as they are, a line for each, and how many there are.

    Raises:
        ModelError: the folder holds no graph of ours.
    """
    tables = numeric.stored_arrays()
    parts = [replace(part, holds=frozenset({"bytes"}), folded=False) for part in _parts(folder)]
    return read_back(parts, Expected({}, {}, tables, {})), len(tables)


def _parts(folder: Path) -> Sequence[Part]:
    """What answers by itself to bytes; weights that stand in a file of their own are not read."""
    if (folder / ONNX_FILE).is_file():
        return [read_part(onnx.load_from_string(front_end(parse(folder / ONNX_FILE, str(folder)))), "bytes")]
    if (folder / TFLITE_FILE).is_file():
        model = flatbuffer.unpack((folder / TFLITE_FILE).read_bytes())
        reading = ("the signature bytes", "the signature tokenize")
        found = [part for part in read_parts(model) if part.where in reading]
        if len(found) != len(reading):
            raise ModelError(f"{folder} lacks a signature of those that take bytes. Export it again.")
        return found
    return [part for part in read_bytes_parts(folder, str(folder)) if "bytes" in part.holds]
