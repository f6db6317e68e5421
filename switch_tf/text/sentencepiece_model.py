"""Unigram SentencePiece models, read and applied without any other package: text to ids and back.

A model file holds pieces with scores and a table of normalisation rules. The text is normalised, every space becomes
the mark U+2581, and the text is cut into the pieces whose scores add up highest (Kudo 2018, arXiv 1804.10959, section
3.2).
T5's vocabulary has sentinels behind the pieces: `<extra_id_0>` is the last id, `<extra_id_1>` the one before it.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from switch_tf import files
from switch_tf.errors import ModelError

SENTINELS = 100  # of T5
_LIMIT = 64 * 2**20  # bytes: far above a million pieces
_MARK = "\u2581"
_UNIGRAM = 1
_SPACES = (3, 4, 5)  # fields: a mark before the first word, several spaces are one, spaces become marks
_NORMAL, _UNKNOWN, _CONTROL, _UNUSED = 1, 2, 3, 5  # types of pieces
_UNKNOWN_PENALTY = np.float32(10.0)  # an unknown character scores this much less than the worst piece
_SENTINEL = re.compile(r"<extra_id_(\d{1,4})>")


class SentencePieces:
    """The tokenizer of a T5 model.

    Attributes:
        size: ids in use, sentinels included.
        content: of the file.
        end_id: what `encode` puts behind every text.
    """

    def __init__(self, path: Path, end_id: int, sentinels: int = SENTINELS):
        """Read the model file.

        Args:
            path: of the file.
            end_id: what `encode` puts behind every text.
            sentinels: how many there are behind the pieces.

        Raises:
            ModelError: it is missing or damaged, or of a kind that is not unigram.
        """
        self._path = path
        try:
            content = files.read_bytes(path, _LIMIT)
            self._read(content)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error}. Expected a SentencePiece model.") from error
        except (ValueError, IndexError, struct.error) as error:
            raise ModelError(f"{path} is damaged ({error}). Expected a SentencePiece model: fetch it anew.") from error
        self.content, self.end_id = content, end_id
        self._sentinels = sentinels
        self.size = len(self._pieces) + sentinels

    @property
    def sentinels(self) -> list[int]:
        """The ids of <extra_id_0>, <extra_id_1> and so on."""
        return [self.size - 1 - number for number in range(self._sentinels)]

    def encode(self, text: str) -> list[int]:
        """The ids of a text, the end's last. Sentinels are recognised; the words `</s>` and `<pad>` are text."""
        ids: list[int] = []
        start = 0
        for found in _SENTINEL.finditer(text):
            number = int(found[1])
            if number < self._sentinels and str(number) == found[1]:
                ids += [*self._encode(text[start : found.start()]), self.size - 1 - number]
                start = found.end()
        return [*ids, *self._encode(text[start:]), self.end_id]

    def decode(self, ids: list[int]) -> str:
        """The text of ids, up to the end's; sentinels are written out, padding is not."""
        written = []
        for each in ids:
            if each == self.end_id:
                break
            if 0 <= each < len(self._pieces):
                written.append(self._shown[each])
            elif each < self.size:
                written.append(f" <extra_id_{self.size - 1 - each}> ")
        return " ".join("".join(written).replace(_MARK, " ").split())

    def _read(self, content: bytes) -> None:
        pieces: list[tuple[str, np.float32, int]] = []
        charsmap = b""
        for number, value in _fields(content):
            if number == 1:
                pieces.append(_piece(_bytes(value)))
            elif number == 2:
                self._check_kind(dict(_fields(_bytes(value))))
            elif number == 3:
                rules = dict(_fields(_bytes(value)))
                charsmap = _bytes(rules.get(2, b""))
                if any(rules.get(key, 1) != 1 for key in _SPACES):
                    raise ModelError(f"{self._path} keeps spaces in a way of its own, which is not supported.")
        unknown = [number for number, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN]
        if len(unknown) != 1:
            raise ValueError(f"it has {len(unknown)} pieces for unknown characters")
        other = next((text for text, _, kind in pieces if kind not in (_NORMAL, _UNKNOWN, _CONTROL, _UNUSED)), None)
        if other is not None:
            raise ModelError(
                f"{self._path} has the piece {other!r} of a kind that is not supported (bytes or own ones)."
            )
        self._unknown = unknown[0]
        self._pieces = {text: (number, score) for number, (text, score, _) in enumerate(pieces)}
        if len(self._pieces) != len(pieces):
            raise ValueError("it has a piece twice")
        self._shown = ["" if kind == _CONTROL else text for text, _, kind in pieces]
        self._usable = {text: self._pieces[text] for text, _, kind in pieces if kind == _NORMAL}
        if not self._usable:
            raise ValueError("it has no pieces")
        self._longest = max(map(len, self._usable))
        self._unknown_score = min(score for _, score in self._usable.values()) - _UNKNOWN_PENALTY
        self._rules = Normalization(charsmap)

    def _check_kind(self, training: "dict[int, bytes | int]") -> None:
        if training.get(3, _UNIGRAM) != _UNIGRAM:
            raise ModelError(f"{self._path} is no unigram model, such as T5 has. No other kind is supported.")
        if training.get(24, 0):
            raise ModelError(f"{self._path} marks spaces behind words, which is not supported.")

    def _encode(self, text: str) -> list[int]:
        words = self._rules.apply(text).split(" ")
        marked = "".join(f"{_MARK}{word}" for word in words if word)
        ids: list[int] = []
        for piece in self._cut(marked):
            if piece != self._unknown or ids[-1:] != [piece]:  # several unknown characters in a row are one
                ids.append(piece)
        return ids

    def _cut(self, text: str) -> list[int]:
        """The ids of the pieces whose scores add up highest, in float32 from the left as SentencePiece adds them."""
        zero = np.float32(0.0)
        best: list[tuple[np.float32, int, int] | None] = [None] * (len(text) + 1)  # score, start and id of the last
        for start in range(len(text)):
            entry = best[start]
            before = zero if entry is None else entry[0]
            for end, number, score in self._from(text, start):
                total, known = before + score, best[end]
                if known is None or total > known[0]:
                    best[end] = (total, start, number)
        ids, end = [], len(text)
        while end:
            entry = best[end]
            assert entry is not None  # every character is a piece or unknown
            ids.append(entry[2])
            end = entry[1]
        return ids[::-1]

    def _from(self, text: str, start: int) -> Iterator[tuple[int, int, np.float32]]:
        """Every piece that stands at a place: where it ends, its id and its score."""
        single = False
        for end in range(start + 1, min(len(text), start + self._longest) + 1):
            found = self._usable.get(text[start:end])
            if found is not None:
                single |= end == start + 1
                yield end, *found
        if not single:
            yield start + 1, self._unknown, self._unknown_score


class Normalization:
    """The rules of a model file: the longest sequence of bytes that has one is replaced.

    They stand in a double-array trie whose units are 32-bit words: a label, whether a value follows, and how far away
    the unit's children are.
    """

    def __init__(self, content: bytes):
        """Read the rules; none at all leave a text as it is.

        Raises:
            ValueError: they are cut off.
        """
        self._units: tuple[int, ...] = ()
        self._replacements = b""
        if content:
            (size,) = struct.unpack_from("<I", content)
            if size % 4 or size + 4 > len(content):
                raise ValueError("its rules of normalisation are cut off")
            self._units = struct.unpack_from(f"<{size // 4}I", content, 4)
            self._replacements = content[4 + size :]

    def apply(self, text: str) -> str:
        """The text with every rule applied, from the left; half a surrogate pair becomes U+FFFD."""
        given = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
        written, start = bytearray(), 0
        while start < len(given):
            length, replacement = self._longest(given, start)
            if length:
                written += replacement
            else:
                length = _character_length(given[start])
                written += given[start : start + length]
            start += length
        return written.decode("utf-8", "replace")

    def _longest(self, given: bytes, start: int) -> tuple[int, bytes]:
        """How many bytes the longest rule at a place takes, 0 without one, and what it writes instead."""
        if not self._units:
            return 0, b""
        place, found, value = _children(self._units[0]), 0, 0
        for length, byte in enumerate(given[start:], 1):
            place ^= byte
            if place >= len(self._units):
                break
            unit = self._units[place]
            if unit & (1 << 31 | 0xFF) != byte:
                break
            place ^= _children(unit)
            if unit >> 8 & 1 and place < len(self._units):
                found, value = length, self._units[place] & 0x7FFFFFFF
        end = self._replacements.find(b"\0", value)
        return found, self._replacements[value : end if end >= 0 else None] if found else b""


def _children(unit: int) -> int:
    """What a place in the trie is combined with to get to its children."""
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def _character_length(first: int) -> int:
    """Bytes of the UTF-8 character that begins with this one."""
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _piece(content: bytes) -> tuple[str, np.float32, int]:
    """Text, score and type of a piece."""
    values = dict(_fields(content))
    score = values.get(2, 0)
    if not isinstance(score, int):
        raise ValueError("a score is no number")
    kind = values.get(3, _NORMAL)
    number = np.float32(struct.unpack("<f", struct.pack("<I", score))[0])
    if not np.isfinite(number) or not isinstance(kind, int):
        raise ValueError("a score is not finite")
    return _bytes(values.get(1, b"")).decode("utf-8"), number, kind


def _bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where bytes are expected")
    return value


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a protocol-buffers message."""
    place = 0
    while place < len(content):
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
