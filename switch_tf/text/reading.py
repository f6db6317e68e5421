"""Reads whole texts as tokens in Python, to count them: words as the front-ends read them, or pieces."""

from collections.abc import Callable, Sequence

from switch_tf.text.byte_codes import WHITESPACE, letters
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import TextSpec

Reader = Callable[[str], list[bytes]]


def token_reader(spec: TextSpec, vocabulary: Sequence[str]) -> Reader:
    """What gives the tokens of a whole text; a piece that is unknown is [UNK], a word that is unknown is itself.

    >>> token_reader(TextSpec(), [])("Don't  stop - now!")
    [b'dont', b'stop', b'now']
    >>> token_reader(TextSpec(tokenizer="wordpiece"), ["do", "##n", "'"])("Don't")
    [b'do', b'##n', b"'", b'[UNK]']
    """
    return _word_reader(spec) if spec.tokenizer == "words" else _piece_reader(PlainPieces(spec, vocabulary))


def _word_reader(spec: TextSpec) -> Reader:
    kept, lower = letters(spec.standardize), spec.standardize.startswith("lower")
    stripped = bytes(byte for byte in range(256) if byte not in kept and byte not in WHITESPACE)
    stripped = bytes(byte for byte in stripped if not (lower and 65 <= byte <= 90))
    folded = bytes(32 if byte == 0 else byte for byte in range(256))
    folded = folded.lower() if lower else folded  # bytes.lower() is ASCII only
    return lambda text: text.encode().translate(folded, delete=stripped).split()  # bytes.split: bytes 9-13 and 32


def _piece_reader(pieces: PlainPieces) -> Reader:
    return lambda text: [piece.encode() for piece, _ in pieces.read(text)]
