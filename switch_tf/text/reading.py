"""Reads whole texts as tokens in Python, to count them: words as the front-ends read them, or pieces."""

from collections.abc import Callable, Sequence

from switch_tf.text.byte_codes import WHITESPACE, letters
from switch_tf.text.normalization import read_normalization
from switch_tf.text.plain import plain_subwords
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.spec import TextSpec
from switch_tf.text.unicode_characters import characters_of

Reader = Callable[[str], list[bytes]]


def words_of_characters(spec: TextSpec) -> Callable[[str], list[str]]:
    """What reads a text as words of characters, which its tokens are or will be pieces of; not for words of bytes.

    >>> words_of_characters(TextSpec(tokenizer="unigram"))("An  ÉTÉ")
    ['an', 'été']
    """
    if spec.tokenizer == "unigram":
        rules = read_normalization(spec.normalization)
        return lambda text: [word for word in rules.apply(text.encode()).split(" ") if word]
    characters = characters_of(spec)
    return lambda text: characters.words(text.encode())


def token_reader(spec: TextSpec, vocabulary: Sequence[str]) -> Reader:
    """What gives the tokens of a whole text; a piece that is unknown is [UNK], a word that is unknown is itself.

    >>> token_reader(TextSpec(), [])("Don't  stop - now!")
    [b'dont', b'stop', b'now']
    >>> b" ".join(token_reader(TextSpec(lowercase="unicode"), [])("ÉCLAIR, 好好!")).decode()
    'éclair 好 好'
    >>> token_reader(TextSpec(tokenizer="wordpiece"), ["do", "##n", "'"])("Don't")
    [b'do', b'##n', b"'", b'[UNK]']
    """
    if spec.tokenizer == "words":
        return _word_reader(spec) if spec.by_bytes else _unicode_reader(spec)
    return _piece_reader(plain_subwords(spec, vocabulary))


def _word_reader(spec: TextSpec) -> Reader:
    kept, lower = letters(spec.standardize), spec.standardize.startswith("lower")
    stripped = bytes(byte for byte in range(256) if byte not in kept and byte not in WHITESPACE)
    stripped = bytes(byte for byte in stripped if not (lower and 65 <= byte <= 90))
    folded = bytes(32 if byte == 0 else byte for byte in range(256))
    folded = folded.lower() if lower else folded  # bytes.lower() is ASCII only
    return lambda text: text.encode().translate(folded, delete=stripped).split()  # bytes.split: bytes 9-13 and 32


def _unicode_reader(spec: TextSpec) -> Reader:
    characters = characters_of(spec)
    return lambda text: [characters.written(word).encode() for word in characters.words(text.encode())]


def _piece_reader(pieces: PlainSubwords) -> Reader:
    return lambda text: [piece.encode() for piece, _ in pieces.read(text)]
