"""SentencePiece's model file, a message of protocol buffers: what stands in it, read and written without its library.

>>> written = write_model([Piece("<unk>", 0.0, UNKNOWN), Piece("a", -1.5)], charsmap=b"", normalization="identity")
>>> model = read_model(written)
>>> [(piece.text, float(piece.score)) for piece in model.pieces], model.problem
([('<unk>', 0.0), ('a', -1.5)], None)
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

MARK = "\u2581"  # stands for a space in pieces
LARGEST = 64 * 2**20  # bytes: far above a million pieces
_MOST_FIELDS = 2**20  # of a message, which has one for each piece
NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5  # types of pieces
_KINDS = {4: "a symbol that users defined", 6: "a single byte (byte_fallback)"}
_MODELS = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}
_UNIGRAM = 1
# Fields of the messages that are read.
_PIECES, _TRAINING, _NORMALIZER = 1, 2, 3  # of the model
_MODEL_TYPE, _VOCABULARY_SIZE, _SUFFIX, _BYTE_FALLBACK = 3, 4, 24, 35  # of the training
_NAME, _CHARSMAP, _SPACES = 1, 2, (3, 4, 5)  # of the normalizer; a mark in front, several are one, spaces become marks

Field = bytes | int


class Piece(NamedTuple):
    """One piece of a model."""

    text: str
    score: float | np.float32
    kind: int = NORMAL


class ModelFile(NamedTuple):
    """What stands in a file.

    Attributes:
        pieces: in the order of their ids.
        charsmap: the rules of normalisation as the file holds them; none leave texts as they are.
        normalization: their name.
        problem: what of the file this package does not do, or None.
    """

    pieces: list[Piece]
    charsmap: bytes
    normalization: str
    problem: str | None


def read_model(content: bytes) -> ModelFile:
    """What stands in the content of a file.

    Raises:
        ValueError, IndexError, struct.error: it is damaged, or no such file.
    """
    pieces: list[Piece] = []
    training: dict[int, Field] = {}
    normalizer: dict[int, Field] = {}
    for number, value in _fields(content):
        if number == _PIECES:
            pieces.append(_piece(_bytes(value)))
        elif number == _TRAINING:
            training |= dict(_fields(_bytes(value)))  # what stands in several parts is one
        elif number == _NORMALIZER:
            normalizer |= dict(_fields(_bytes(value)))
    unknown = sum(piece.kind == UNKNOWN for piece in pieces)
    if unknown != 1:
        raise ValueError(f"it has {unknown} pieces for unknown characters")
    if len({piece.text for piece in pieces}) != len(pieces):
        raise ValueError("it has a piece twice")
    name = _bytes(normalizer.get(_NAME, b"")).decode("utf-8")
    charsmap = _bytes(normalizer.get(_CHARSMAP, b""))
    return ModelFile(pieces, charsmap, name, _problem(pieces, training, normalizer))


def _problem(pieces: list[Piece], training: Mapping[int, Field], normalizer: Mapping[int, Field]) -> str | None:
    kind = training.get(_MODEL_TYPE, _UNIGRAM)
    if kind != _UNIGRAM:
        return f"is no unigram model, such as T5 has, but {_MODELS.get(int(kind), kind)}. No other kind is supported"
    if training.get(_SUFFIX, 0):
        return "marks spaces behind words, which is not supported"
    if training.get(_BYTE_FALLBACK, 0):
        return "reads unknown characters as bytes (byte_fallback), which is not supported"
    if any(normalizer.get(key, 1) != 1 for key in _SPACES):
        return "keeps spaces in a way of its own, which is not supported"
    other = next((piece for piece in pieces if piece.kind not in (NORMAL, UNKNOWN, CONTROL, UNUSED)), None)
    if other is not None:
        return f"has the piece {other.text!r} of a kind that is not supported: {_KINDS.get(other.kind, other.kind)}"
    return None


def write_model(pieces: Iterable[Piece], charsmap: bytes, normalization: str) -> bytes:
    """The content of a file that SentencePiece's library reads."""
    written = [_message(_PIECES, _of_piece(each)) for each in pieces]
    training = _number(_MODEL_TYPE, _UNIGRAM) + _number(_VOCABULARY_SIZE, len(written))
    normalizer = _message(_NAME, normalization.encode()) + _message(_CHARSMAP, charsmap)
    return b"".join([*written, _message(_TRAINING, training), _message(_NORMALIZER, normalizer)])


def _of_piece(piece: Piece) -> bytes:
    score = bytes([2 << 3 | 5]) + struct.pack("<f", piece.score)
    return _message(1, piece.text.encode()) + score + _number(3, piece.kind)


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _as_varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _as_varint(value)


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _piece(content: bytes) -> Piece:
    values = dict(_fields(content))
    score = values.get(2, 0)
    if not isinstance(score, int):
        raise ValueError("a score is no number")
    kind = values.get(3, NORMAL)
    number = np.float32(struct.unpack("<f", struct.pack("<I", score))[0])
    if not np.isfinite(number) or not isinstance(kind, int):
        raise ValueError("a score is not finite")
    return Piece(_bytes(values.get(1, b"")).decode("utf-8"), number, kind)


def _bytes(value: Field) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where bytes are expected")
    return value


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a protocol-buffers message."""
    place, left = 0, _MOST_FIELDS
    while place < len(content):
        left -= 1
        if left < 0:
            raise ValueError(f"it has more than {_MOST_FIELDS:,} fields")
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, place = _varint(content, place)
        elif not size:
            raise ValueError(f"it has a field of the unknown kind {kind}")
        if place + size > len(content):
            raise ValueError("it is cut off")
        chunk = content[place : place + size]
        yield number, chunk if kind == 2 else int.from_bytes(chunk, "little")
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")


def marked(normal: str) -> str:
    """A normal text as pieces are looked for in it: a mark before each word, none behind the last.

    >>> marked(" a  film ")
    '▁a▁film'
    """
    return "".join(f"{MARK}{word}" for word in normal.split(" ") if word).rstrip(MARK)
