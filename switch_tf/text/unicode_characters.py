"""What `text.lowercase` = "unicode" makes of every character: the definition of its words, in plain Python.

A text is decoded, U+FFFD for every byte that is not UTF-8. Then, by the tables of Unicode 15.1 that
`tools/character_tables.py` wrote:

1.  Each character becomes what NFKC_Casefold makes of it, decomposed: capitals become small, "ß" ss, the ligature "ﬁ"
    f and i, letters of full width the usual ones, "é" e and an accent; soft hyphens, joiners and variation selectors
    vanish. White space becomes a space. Punctuation vanishes: the categories P and `string.punctuation`.
2.  With `text.strip_accents` the marks vanish whose combining class is 200 or more: accents of Latin, Greek and
    Cyrillic letters, but no vowels or tones of Asian scripts.
3.  Marks behind one letter are put in canonical order, so that all spellings of a character are one.
4.  A word is a character that stands apart with the marks behind it, or a run of letters and marks. Apart stand
    symbols (the categories S: emoji, €) and the letters of scripts without spaces: Chinese characters, kana, Thai, Lao,
    Khmer and Burmese. All other characters are letters, digits among them.

So two texts have the same words where the Unicode Standard's toNFKC_Casefold gives the same, and a vocabulary writes
them composed (NFC).

>>> read_unicode_characters(strip_accents=False).words("ŒUVRE, don't! 好看 a🙂b".encode())
['œuvre', 'dont', '好', '看', 'a', '🙂', 'b']
>>> read_unicode_characters(strip_accents=True).words("École, 5 €".encode())
['ecole', '5', '€']

Source: The Unicode Standard, 3.11 (canonical order) and 3.13 (NFKC_Casefold); Annex 29, whose rules set scripts without
spaces apart character by character too.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from switch_tf.text.characters import (
    APART,
    ITSELF,
    LONGEST_WORD,
    MARK,
    NOTHING,
    REPLACEMENT,
    SPACE,
    Characters,
    read_arrays,
    read_characters,
)
from switch_tf.text.spec import TextSpec

_ACCENT = 200  # the least combining class of what `strip_accents` takes away
_REMEMBERED = 200_000  # words


@dataclass(frozen=True, eq=False)
class UnicodeCharacters(Characters):
    """The rule with or without accents.

    Attributes:
        classes: uint8 [code points], canonical combining classes.
    """

    classes: np.ndarray
    _word: re.Pattern[str] = field(init=False)
    _marks: re.Pattern[str] = field(init=False)
    _written: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        apart, mark, space = (_ranges(self.kinds == kind) for kind in (APART, MARK, SPACE))
        word = re.compile(f"[{apart}][{mark}]*|[^{apart}{space}]+")
        object.__setattr__(self, "_word", word)
        object.__setattr__(self, "_marks", re.compile(f"[{_ranges(self.classes > 0)}]{{2,}}"))
        object.__setattr__(self, "_written", {})

    def words(self, text: bytes, limit: int | None = None) -> list[str]:
        """As `Characters.words`, decomposed and in canonical order."""
        normal = self.normal(text, limit)
        if normal.isascii():
            return [word for word in normal.split(" ") if word]
        return self._word.findall(self._marks.sub(self._in_order, normal))

    def written(self, word: str) -> str:
        """A word composed, unless this Python composes to what is younger than the tables."""
        found = self._written.get(word)
        if found is None:
            if len(self._written) >= _REMEMBERED:
                self._written.clear()
            composed = unicodedata.normalize("NFC", word)
            found = self._written[word] = composed if self.words(composed.encode()) == [word] else word
        return found

    def unwritten(self, word: str) -> str:
        """Decomposed."""
        return self.words(word.encode())[0]

    def combining_class(self, character: str) -> int:
        return int(self.classes[ord(character)])

    def is_word(self, characters: str, behind: bool = False) -> bool:
        """Whether some text is read as the word, as a vocabulary writes it; no part of a word is one behind another."""
        if behind or any(ord(each) == REPLACEMENT or 0xD800 <= ord(each) < 0xE000 for each in characters):
            return False
        words = self.words(characters.encode())
        return len(words) == 1 and len(words[0]) <= LONGEST_WORD and self.written(words[0]) == characters

    def _in_order(self, marks: re.Match[str]) -> str:
        return "".join(sorted(marks[0], key=self.combining_class))  # a stable sort


def _ranges(chosen: np.ndarray) -> str:
    """What stands between brackets for the chosen code points: bool [code points]."""
    edges = np.flatnonzero(np.diff(chosen.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return "".join(f"\\U{start:08x}-\\U{end - 1:08x}" for start, end in edges.tolist())


@cache
def read_unicode_characters(*, strip_accents: bool) -> UnicodeCharacters:
    """The tables, which come with the package."""
    arrays = read_arrays("unicode")
    if strip_accents:
        arrays = _without_accents(arrays)
    return UnicodeCharacters(**arrays, counts_bytes=False)


def _without_accents(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    starts, sequences, becomes = arrays["sequence_starts"], arrays["sequences"], arrays["becomes"].copy()
    becomes[(becomes == ITSELF) & (arrays["classes"] >= _ACCENT)] = NOTHING
    kept = arrays["classes"][sequences] < _ACCENT  # [code points of all sequences]
    starts = np.cumsum([0, *kept])[starts].astype(np.int32)
    return arrays | {"becomes": becomes, "sequence_starts": starts, "sequences": sequences[kept]}


def characters_of(spec: TextSpec) -> Characters:
    """The rule by which a text becomes words that are read whole or in pieces."""
    if spec.tokenizer == "words":
        return read_unicode_characters(strip_accents=spec.strip_accents)
    lowercase, strip_accents = spec.folding
    return read_characters(spec.tokenizer_rules, lowercase=lowercase, strip_accents=strip_accents)
