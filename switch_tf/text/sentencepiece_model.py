"""Unigram SentencePiece models, read and applied without any other package: text to ids and back.

A model file holds pieces with scores and a table of normalisation rules. The text is normalised, every space becomes
the mark U+2581, and the text is cut into the pieces whose scores add up highest (Kudo 2018, arXiv 1804.10959, section
3.2).
T5's vocabulary has sentinels behind the pieces: `<extra_id_0>` is the last id, `<extra_id_1>` the one before it.

NUL is white space (docs/decisions/0005), and each byte that is not UTF-8 is a U+FFFD that no rule replaces.
"""

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from switch_tf import files
from switch_tf.errors import ModelError
from switch_tf.text.normalization import BAD_BYTE, REPLACEMENT, decode
from switch_tf.text.sentencepiece_file import CONTROL, LARGEST, MARK, NORMAL, UNKNOWN, marked, read_model

SENTINELS = 100  # of T5
_UNKNOWN_PENALTY = np.float32(10.0)  # an unknown character scores this much less than the worst piece
SENTINEL = "<extra_id_"  # before the number and a >
_SENTINEL = re.compile(rf"{SENTINEL}(\d{{1,4}})>")


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
            content = files.read_bytes(path, LARGEST)
            self._read(content)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error}. Expected a SentencePiece model.") from error
        except (ValueError, IndexError, struct.error) as error:
            raise ModelError(f"{path} is damaged ({error}). Expected a SentencePiece model: fetch it anew.") from error
        self.content, self.end_id = content, end_id
        self._sentinels = sentinels
        self.size = self._count + sentinels

    @property
    def sentinels(self) -> list[int]:
        """The ids of <extra_id_0>, <extra_id_1> and so on."""
        return [self.size - 1 - number for number in range(self._sentinels)]

    def encode(self, text: str | bytes, limit: int | None = None) -> list[int]:
        """The ids of a text, the end's last. Sentinels are recognised; the words `</s>` and `<pad>` are text.

        Args:
            text: a string, in which half a surrogate pair is read as U+FFFD, or its UTF-8.
            limit: of characters that are read once they are normal, white space included, a sentinel with the space
                behind it as two; all unless given.
        """
        ids: list[int] = []
        left = sys.maxsize if limit is None else limit
        for part, sentinel in self._parts(_as_string(text)):
            normal = self._rules.apply(part)[:left]
            ids += self._encode(normal)
            left -= len(normal)
            if sentinel is not None and left > 0:
                ids.append(sentinel)
                left = max(0, left - 2)
        return [*ids, self.end_id]

    def decode(self, ids: list[int]) -> str:
        """The text of ids, up to the end's; sentinels are written out, padding is not."""
        written = []
        for each in ids:
            if each == self.end_id:
                break
            if 0 <= each < self._count:
                written.append(self._shown[each])
            elif each < self.size:
                written.append(f" <extra_id_{self.size - 1 - each}> ")
        return " ".join("".join(written).replace(MARK, " ").split())

    def _read(self, content: bytes) -> None:
        model = read_model(content)
        if model.problem is not None:
            raise ModelError(f"{self._path} {model.problem}.")
        self._unknown = next(number for number, piece in enumerate(model.pieces) if piece.kind == UNKNOWN)
        self._count = len(model.pieces)
        self._shown = ["" if kind == CONTROL else text for text, _, kind in model.pieces]
        self._usable = {
            text: (number, np.float32(score))
            for number, (text, score, kind) in enumerate(model.pieces)
            if kind == NORMAL
        }
        if not self._usable:
            raise ValueError("it has no pieces")
        self._longest = max(map(len, self._usable))
        self._unknown_score = min(score for _, score in self._usable.values()) - _UNKNOWN_PENALTY
        self._rules = Normalization(model.charsmap)

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """What stands before each sentinel, and its id; behind the last one, None."""
        start = 0
        for found in _SENTINEL.finditer(text):
            number = int(found[1])
            if number < self._sentinels and str(number) == found[1]:
                yield text[start : found.start()], self.size - 1 - number
                start = found.end()
        yield text[start:], None

    def _encode(self, normal: str) -> list[int]:
        ids: list[int] = []
        for piece in self._cut(marked(normal)):
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


def _as_string(text: str | bytes) -> str:
    """A text that UTF-8 holds, without NUL; `BAD_BYTE` stands for each byte that is not UTF-8."""
    if isinstance(text, bytes):
        return decode(text).replace("\0", " ")
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", " ")


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
        """The text with every rule applied, from the left; a byte that is not UTF-8 becomes U+FFFD."""
        return REPLACEMENT.join(map(self._apply, text.split(chr(BAD_BYTE))))

    def _apply(self, text: str) -> str:
        given = text.encode()
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
