"""What each of the 256 bytes does to the words of a text, and how much of a text the bytes input reads.

Words are byte-exact, so one table of 256 codes says all there is to say about standardizing and splitting:

    0         stripped: the byte vanishes and its neighbours meet ("don't" is read as "dont")
    1         whitespace: it ends a word
    2, 3...   a letter: any other byte; when lower-casing, a capital has the code of its small letter

The bytes input takes a text as a row of N bytes, N = `spec.num_bytes`: the text's first N bytes, then zeros. That is
all a caller has to do, in any language and for either truncation policy; `pack` does it in NumPy. The ids are then
those of `kept_bytes(spec, text)`, for every text.
"""

import string
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from switch_tf.text.given import check_texts

if TYPE_CHECKING:  # it stands on pydantic, which takes a fifth of the start of `predict`
    from switch_tf.text.spec import Standardize, TextSpec

STRIPPED = 0
SPACE = 1
FIRST_LETTER = 2
WHITESPACE = b"\t\n\v\f\r \0"

_CAPITALS, _SMALL = string.ascii_uppercase.encode(), string.ascii_lowercase.encode()
_BATCH = 256  # texts tokenized at a time


def letters(standardize: "Standardize") -> bytes:
    """The bytes that standardized words are made of, in rising order.

    >>> letters("lower_and_strip_punctuation")[26:62]
    b'0123456789abcdefghijklmnopqrstuvwxyz'
    """
    vanish = set(WHITESPACE)
    if standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        vanish |= set(string.punctuation.encode())
    if standardize in ("lower", "lower_and_strip_punctuation"):
        vanish |= set(_CAPITALS)
    return bytes(byte for byte in range(256) if byte not in vanish)


def byte_codes(standardize: "Standardize") -> np.ndarray:
    """The code of every byte, int32 [256]; letters are numbered without gaps.

    >>> byte_codes("lower_and_strip_punctuation")[list(b"a' Ab")].tolist()
    [38, 0, 1, 38, 39]
    """
    known = letters(standardize)
    codes = np.full(256, STRIPPED, np.int32)
    codes[list(WHITESPACE)] = SPACE
    codes[list(known)] = np.arange(FIRST_LETTER, FIRST_LETTER + len(known))
    if standardize in ("lower", "lower_and_strip_punctuation"):
        codes[list(_CAPITALS)] = codes[list(_SMALL)]
    return codes


def is_reachable(spec: "TextSpec", word: bytes) -> bool:
    """Whether the bytes input can read `word` in any text; if not, its id goes unused there.

    >>> from switch_tf.text.spec import TextSpec
    >>> spec = TextSpec(byte_length=5)
    >>> [is_reachable(spec, word) for word in (b"hello", b"Hello", b"don't", b"a b", b"goodbye")]
    [True, False, False, False, False]
    """
    longest = spec.num_bytes - (spec.truncation == "drop")
    return 0 < len(word) <= longest and not word.translate(None, letters(spec.standardize))


def pack(texts: Sequence[str | bytes], byte_length: int) -> np.ndarray:
    """Texts as rows for the bytes input: uint8 [texts, byte_length].

    >>> pack(["one", b"three"], byte_length=4).tolist()
    [[111, 110, 101, 0], [116, 104, 114, 101]]
    """
    rows = np.zeros([len(texts), byte_length], np.uint8)
    for number, text in enumerate(texts):
        start = _encode(text)[:byte_length]
        rows[number, : len(start)] = np.frombuffer(start, np.uint8)
    return rows


def kept_bytes(spec: "TextSpec", text: str | bytes) -> bytes:
    """What `spec.truncation` leaves of a text: its ids from the bytes input are those of the Keras front-end for this.

    "prefix" keeps the first N bytes, so texts of at most N bytes stay whole. "drop" reads a word only if whitespace
    follows it within the N bytes, the zeros behind a text included. A row that is full to its last byte cannot say
    whether the text goes on, so texts of fewer than N bytes stay whole, and one of exactly N that does not end in
    whitespace loses its last word.

    >>> from switch_tf.text.spec import TextSpec
    >>> kept_bytes(TextSpec(byte_length=9), "a fine film"), kept_bytes(TextSpec(byte_length=8), "a fine, b")
    (b'a fine fi', b'a fine, ')
    >>> [kept_bytes(TextSpec(byte_length=9, truncation="drop"), text) for text in ("a fine film", "a fine. b", "a. b")]
    [b'a fine ', b'a fine. ', b'a. b']
    """
    start = _encode(text)[: spec.num_bytes]
    if spec.truncation == "prefix" or len(start) < spec.num_bytes:
        return start
    return start[: max(start.rfind(space) for space in WHITESPACE) + 1]


def changed_share(
    spec: "TextSpec", tokenize: Callable[[list[bytes]], np.ndarray], texts: Sequence[str | bytes]
) -> float:
    """The share of `texts` whose ids are not the same when only N bytes are read, 0.0 when there are no texts.

    Words behind the first `spec.sequence_length` have no id, so a text may well be longer than N and not change.

    Args:
        tokenize: the Keras front-end, texts [n] -> ids [n, sequence_length].
    """
    encoded = [_encode(text) for text in texts]
    cut = [(text, kept) for text in encoded if (kept := kept_bytes(spec, text)) != text]
    changed = 0
    for start in range(0, len(cut), _BATCH):
        batch = cut[start : start + _BATCH]
        before, after = tokenize([text for text, _ in batch]), tokenize([kept for _, kept in batch])
        changed += int((before != after).any(axis=1).sum())
    return changed / len(encoded) if encoded else 0.0


def _encode(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    return check_texts([text])[0].encode()  # type: ignore[union-attr]  # refused unless it is a string
