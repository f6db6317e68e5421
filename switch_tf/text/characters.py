"""What a rule of tokenizing makes of every character: tables that `tools/character_tables.py` asked the libraries for.

Bytes become code points, U+FFFD for every byte that is not UTF-8. Each code point becomes none, one or several
characters: white space of any kind becomes a space, and unless a rule is cased, accents vanish and capitals become
small. Each of these is a letter, which joins its neighbours, or stands apart as a word of its own (punctuation, Chinese
characters), or is white space.

>>> read_characters("bert").words("Ça va, 中文?".encode())
['ca', 'va', ',', '中', '文', '?']
>>> read_characters("bert", lowercase=False, strip_accents=False).words("Ça va, 中文?".encode())
['Ça', 'va', ',', '中', '文', '?']
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from switch_tf.text.spec import Rules

LETTER, APART, SPACE, MARK = 0, 1, 2, 3  # kinds of characters; marks are told from letters by some rules alone
REPLACEMENT = 0xFFFD  # stands for a byte that is not UTF-8
LONGEST_WORD = 100  # in bytes or characters, as the rules count; longer ones are unknown
ITSELF, NOTHING, _FIRST_SEQUENCE = 0, 1, 2  # outcomes of a code point
_COUNTS_BYTES = {"bert": True, "hf_bert": False}
_FOLDING = {  # names of tables by whether they lower-case and strip accents, behind those of the rules
    (True, True): "",
    (True, False): "_accents",
    (False, False): "_cased",
    (False, True): "_cased_stripped",
}
_EACH_BYTE = "switch_tf.each_byte"


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """Python's own "replace" writes one character for several bytes, where a graph sees them one by one."""
    assert isinstance(error, UnicodeDecodeError)
    return chr(REPLACEMENT) * (error.end - error.start), error.end


codecs.register_error(_EACH_BYTE, _replace_each_byte)


@dataclass(frozen=True, eq=False)
class Characters:
    """One rule.

    Attributes:
        becomes: int32 [code points]: 0 stays as it is, 1 vanishes, 2 and on is a sequence, counted from 2.
        sequence_starts: int32 [sequences + 1], where each sequence begins.
        sequences: int32, the code points of all sequences, one behind the other.
        kinds: uint8 [code points], of those that some code point becomes.
        counts_bytes: whether the length of a word is that of its UTF-8.
    """

    becomes: np.ndarray
    sequence_starts: np.ndarray
    sequences: np.ndarray
    kinds: np.ndarray
    counts_bytes: bool
    _normal: "_Table" = field(init=False)
    _spaced: "_Table" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normal", _Table(self.text_of))
        object.__setattr__(self, "_spaced", _Table(lambda code: (chr(code), f" {chr(code)} ", " ")[self.kinds[code]]))

    def words(self, text: bytes, limit: int | None = None) -> list[str]:
        """The words of a text, in its order.

        Args:
            limit: of characters that are read once they are normal, white space included; all unless given.
        """
        return [word for word in self.normal(text, limit).translate(self._spaced).split(" ") if word]

    def normal(self, text: bytes, limit: int | None = None) -> str:
        """The characters that a text becomes."""
        return text.decode("utf-8", _EACH_BYTE).translate(self._normal)[:limit]

    def written(self, word: str) -> str:
        """A word, or piece of one, as a vocabulary writes it."""
        return word

    def unwritten(self, word: str) -> str:
        """The characters that a word of a vocabulary is read as, for which `is_word` holds."""
        return word

    def combining_class(self, character: str) -> int:
        """By which marks behind a letter are put in order; 0 where they stay in the order of the text."""
        del character
        return 0

    def outcome(self, code: int) -> tuple[int, ...]:
        """The code points of the characters that a code point becomes."""
        number = int(self.becomes[code])
        if number == ITSELF:
            return (code,)
        if number == NOTHING:
            return ()
        start, end = self.sequence_starts[number - _FIRST_SEQUENCE : number - _FIRST_SEQUENCE + 2]
        return tuple(self.sequences[start:end].tolist())

    def text_of(self, code: int) -> str:
        """The same as a text."""
        return "".join(map(chr, self.outcome(code)))

    def size(self, character: str) -> int:
        """What a character adds to the length of its word."""
        return len(character.encode()) if self.counts_bytes else 1

    def is_too_long(self, word: str) -> bool:
        return len(word) > LONGEST_WORD or sum(map(self.size, word)) > LONGEST_WORD

    def is_word(self, characters: str, behind: bool = False) -> bool:
        """Whether some text is read as the one word of these characters, or, if `behind`, as one that ends in them."""
        codes = [ord(each) for each in characters]
        kinds = self.kinds[codes].tolist()
        return (
            len(codes) > 0
            and not self.becomes[codes].any()
            and not any(code == REPLACEMENT or 0xD800 <= code < 0xE000 for code in codes)  # no text's in UTF-8
            and (not any(kinds) or (kinds == [APART] and not behind))
            and not self.is_too_long(characters)
        )


class _Table(dict[int, str]):
    """For `str.translate`: what is asked for once is remembered."""

    def __init__(self, make: Callable[[int], str]):
        super().__init__()
        self._make = make

    def __missing__(self, code: int) -> str:
        self[code] = made = self._make(code)
        return made


@cache
def read_characters(rules: Rules, *, lowercase: bool = True, strip_accents: bool = True) -> Characters:
    """The tables of a rule, which come with the package; those of "bert" do both of what is asked, or neither."""
    arrays = read_arrays(rules + _FOLDING[lowercase, strip_accents])
    return Characters(**arrays, counts_bytes=_COUNTS_BYTES[rules])


def read_arrays(name: str) -> dict[str, np.ndarray]:
    """Tables that come with the package."""
    with np.load(Path(__file__).parent / "character_tables" / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)
