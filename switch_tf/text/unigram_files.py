"""SentencePiece models of others, whose pieces are taken, and the run's own, which the library reads as the run does.

What a file asks for beyond unigram is refused by name.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

from switch_tf.errors import ConfigError, DataError
from switch_tf.files import read_bytes
from switch_tf.text.normalization import name_of
from switch_tf.text.sentencepiece_file import LARGEST, NORMAL, UNKNOWN, ModelFile, Piece, read_model, write_model
from switch_tf.text.spec import TextSpec
from switch_tf.text.unigram_learning import charsmap_of_library
from switch_tf.text.unigram_table import UnigramTable, entry, piece_of, score_of


def read_unigram(spec: TextSpec) -> list[str]:
    """The pieces of `spec.vocabulary_file` with their scores, in the order of the file, without its control symbols.

    Raises:
        ConfigError: it cannot be read, has other contents, or asks for what the tokenizer does not do.
    """
    path = Path(spec.vocabulary_file or "")
    try:
        vocabulary = _entries(_read(path), spec)
        UnigramTable(spec, vocabulary)
    except (OSError, ValueError, DataError) as error:
        said = str(error).removesuffix(".")
        raise ConfigError(f"text.vocabulary_file = {str(path)!r}: {said}.", "settings") from error
    return vocabulary


def own_model(spec: TextSpec, vocabulary: Sequence[str]) -> bytes | None:
    """The content of a model file with a run's own pieces, whose ids are those of the run less 1.

    Its rules of normalisation are those of `spec.vocabulary_file`, or of the library, which has learnt the pieces. None
    where that is of another release, which has other rules by the same name.
    """
    charsmap = _read(Path(spec.vocabulary_file)).charsmap if spec.vocabulary_file else charsmap_of_library(spec)
    if name_of(charsmap) != spec.normalization:
        return None
    pieces = [Piece(piece_of(each), score_of(each)) for each in vocabulary]
    return write_model([Piece("<unk>", 0.0, UNKNOWN), *pieces], charsmap, spec.normalization.split("/")[0])


def _read(path: Path) -> ModelFile:
    try:
        return read_model(read_bytes(path, LARGEST))
    except (ValueError, IndexError, struct.error) as error:
        raise ValueError(f"it is damaged, or no SentencePiece model ({error})") from error


def _entries(model: ModelFile, spec: TextSpec) -> list[str]:
    """Raises:
    ValueError: the model is another tokenizer than the settings say, and how it differs.
    """
    if model.problem is not None:
        raise ValueError(f"it {model.problem}")
    name = name_of(model.charsmap)
    if name is None:
        raise ValueError(
            f"it has rules of normalisation, named {model.normalization!r}, that are of no release of SentencePiece "
            "that is known. Expected those of a name that text.normalization has"
        )
    if name != spec.normalization:
        raise ValueError(f"it has other rules of normalisation. Set text.normalization = {name!r}")
    pieces = [piece for piece in model.pieces if piece.kind == NORMAL]
    broken = next((piece.text for piece in pieces if "\n" in piece.text), None)
    if broken is not None:
        raise ValueError(f"it has the piece {broken!r}, which goes over a line. Expected none with a line feed")
    return [entry(piece.text, piece.score) for piece in pieces]
