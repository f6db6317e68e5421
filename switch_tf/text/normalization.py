"""Makes texts normal as SentencePiece does, by tables that `tools/normalization_tables.py` read out of its models.

A rule replaces one character, or several one behind another, by others: compatibility characters by what they stand
for, a letter and its accents by one character (NFKC), and more by the name of the rules. From the left, at each place
the longest rule counts. `nmt_` cleans white space and control characters besides, `_cf` folds cases.

NUL is white space here, and each byte that is not UTF-8 becomes U+FFFD, which no rule replaces.

>>> read_normalization("nmt_nfkc_cf").apply("\\uff26ilm\\te\\u0301té ①".encode())
'film été 1'
"""

import codecs
import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from switch_tf.text.spec import Normalization

BAD_BYTE = 0xDFFF  # stands for a byte that is not UTF-8: half of a surrogate pair, which UTF-8 cannot hold
REPLACEMENT = "\ufffd"
IDENTITY = "identity"
_TABLE = Path(__file__).parent / "character_tables" / "normalization.npz"
_EACH_BYTE = "switch_tf.each_bad_byte"


def _mark_each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return chr(BAD_BYTE) * (error.end - error.start), error.end


codecs.register_error(_EACH_BYTE, _mark_each_byte)


def decode(text: bytes) -> str:
    """A text in UTF-8 as a string, `BAD_BYTE` for each byte that is not UTF-8."""
    return text.decode("utf-8", _EACH_BYTE)


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of one name.

    Attributes:
        single: what single characters become; others stay as they are.
        several: int32 [rules, longest], the code points that a rule replaces together, zeros behind them.
        becomes: what each of these rules writes.
    """

    single: dict[str, str]
    several: np.ndarray
    becomes: list[str]

    @cached_property
    def further(self) -> frozenset[str]:
        """The characters that a rule of several replaces behind others."""
        return frozenset(map(chr, np.unique(self.several[:, 1:]).tolist())) - {"\0"}

    def apply(self, text: bytes) -> str:
        """The normal text of a text in UTF-8."""
        read = decode(text)
        return read.translate(self._table) if self.further.isdisjoint(read) else self._replace(read)

    def _replace(self, text: str) -> str:
        written, start = [], 0
        while start < len(text):
            end = start + 1
            while end < len(text) and text[end] in self.further:
                end += 1
            end = min(end, start + self.several.shape[1])
            while end > start + 1 and text[start:end] not in self._joined:
                end -= 1
            found = text[start:end]
            written.append(found.translate(self._table) if end == start + 1 else self._joined[found])
            start = end
        return "".join(written)

    @cached_property
    def _table(self) -> dict[int, str]:
        return {**{ord(key): value for key, value in self.single.items()}, 0: " ", BAD_BYTE: REPLACEMENT}

    @property
    def joined(self) -> list[str]:
        """What rules of several characters replace."""
        return list(self._joined)

    @cached_property
    def _joined(self) -> dict[str, str]:
        keys = np.ascontiguousarray(self.several, "<u4").tobytes().decode("utf-32-le")
        width = self.several.shape[1]
        return {keys[width * row : width * (row + 1)].rstrip("\0"): written for row, written in enumerate(self.becomes)}


@cache
def read_normalization(name: Normalization) -> Rules:
    """The rules of a name, which come with the package."""
    if name == IDENTITY:
        return Rules({}, np.zeros([0, 2], np.int32), [])
    with np.load(_TABLE, allow_pickle=False) as table:
        owned = table["owners"] >> table["names"].tolist().index(name) & 1 == 1
        keys = np.cumsum(table["keys"].T, axis=0, dtype=np.int32)[owned]
        numbers = np.cumsum(table["outputs"])[owned]
        ends = np.cumsum(table["lengths"], dtype=np.int64)
        written = "".join(map(chr, np.cumsum(table["texts"]).tolist()))
    outputs = [
        written[end - size : end] for end, size in zip(ends.tolist(), np.diff(ends, prepend=0).tolist(), strict=True)
    ]
    becomes = [outputs[number] for number in numbers.tolist()]
    alone = int((keys[:, 1] == 0).sum())  # shorter keys stand first
    single = {chr(key): output for key, output in zip(keys[:alone, 0].tolist(), becomes[:alone], strict=True)}
    return Rules(single, keys[alone:], becomes[alone:])


def name_of(charsmap: bytes) -> str | None:
    """The name of the rules that a model file holds, None of those of no known release."""
    return digests().get(hashlib.sha256(charsmap).hexdigest()) if charsmap else IDENTITY


@cache
def digests() -> dict[str, str]:
    """The names of the rules by the SHA-256 of what a model file holds of them."""
    with np.load(_TABLE, allow_pickle=False) as table:
        return dict(zip(table["digests"].tolist(), table["names"].tolist(), strict=True))
