"""The texts that compare_tokenizers.py asks: those of files, others that are made up to break tokenizers, broken UTF-8.

>>> list(made_up(["film"], 2)) == list(made_up(["film"], 2))
True
"""

import ast
import gzip
import lzma
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEED = 0
_BLOCKS = [(0x01, 0x250), (0x300, 0x370), (0x370, 0x700), (0x900, 0xE80), (0x1000, 0x1200), (0x1E00, 0x2800)]
_BLOCKS += [(0x3000, 0x3400), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x1D400, 0x1D800)]
_BLOCKS += [(0x1F300, 0x1FA00), (0xE0000, 0xE0200), (0x01, 0xD800), (0xE000, 0x110000)]
_SPECIAL = ["\u1100\u1161\u11a8", "\uac00\u11a8", "e\u0301\u0301", "\ufdfa", "\u00bd", "\u2581", "\ufffd", "\uff21"]
_SPECIAL += ["\uff8a\uff9f", "\u0301", "\u0130", "\u00df", "\u1e9b\u0323", "[UNK]", "##ing", "\u3099", "\u200d"]
_SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r", "\u00a0", "\u3000", "\u2028", "\u200b", "\x85", "\x1c", ""]
_REPEATED = "!?.,;:'\"-_()[]{}@#$%^&*+=~`<>/\\|aeos\u00e9\u4e2d\u0e01\uac00"
# Limits of the references: words of 100 letters, in characters or in bytes; texts of N bytes, and what grows.
_LIMITS = ["", " ", "\0", "a\0b", "[CLS] [SEP]", *("a" * size for size in (99, 100, 101, 511, 512, 513))]
_LIMITS += ["\u00e9" * 50, "\u00e9" * 51, "\u4e2d" * 170, "\u4e2d" * 171, "\u00bd" * 100, "\ufdfa" * 170, "!" * 600]
_QUOTED = re.compile(r'^(?:msgstr(?:\[\d\])? )?(".+")$')


class Text(NamedTuple):
    """A text that is asked, and whether it is UTF-8."""

    content: bytes
    valid: bool


def read_lines(path: Path) -> Iterator[str]:
    """The texts of a file, one a line, that are not empty.

    Of a .tsv what stands behind the first tab, below the header; of a .po its messages. Each may be a .gz or .xz.
    """
    open_text: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with open_text(path, "rt", encoding="utf-8") as stream:
        lines = (line.rstrip("\n") for line in stream)
        if ".tsv" in path.suffixes:
            next(lines, None)
            lines = (line.partition("\t")[2] for line in lines)
        elif ".po" in path.suffixes:
            lines = (ast.literal_eval(found[1]) for found in map(_QUOTED.match, lines) if found)
        yield from (line for line in lines if line.strip())


def spread_over(lines: Sequence[str], count: int) -> Sequence[str]:
    """So many of the lines at most, at equal distances.

    >>> spread_over("abcdefg", 3)
    'ace'
    """
    return lines[:: max(1, len(lines) // count)][:count]


def made_up(words: Sequence[str], count: int) -> Iterator[str]:
    """The limits, then mixtures of words in other cases, parts of them, special characters and any others."""
    draw = np.random.default_rng(SEED)

    def pick(choices: Sequence[Any]) -> Any:
        return choices[int(draw.integers(len(choices)))]

    def part() -> str:
        kind, word = draw.random(), str(pick(words))
        if kind < 0.4:
            return str(pick([word, word.upper(), word.title()]))
        if kind < 0.55:
            return word + str(pick(words)) * int(draw.integers(1, 4))
        if kind < 0.65:
            return word[: len(word) // 2] + str(pick([*_SPECIAL, "!", "x"])) + word[len(word) // 2 :]
        if kind < 0.75:
            return str(pick(_REPEATED)) * int(draw.integers(1, pick([4, 40, 120])))
        if kind < 0.85:
            return str(pick(_SPECIAL)) * int(draw.integers(1, 4))
        return "".join(chr(int(draw.integers(*pick(_BLOCKS)))) for _ in range(int(draw.integers(1, 6))))

    yield from _LIMITS[:count]
    for _ in range(count - len(_LIMITS)):
        yield "".join(part() + str(pick(_SPACES)) for _ in range(int(draw.integers(1, 40))))


def broken(text: bytes, draw: np.random.Generator) -> bytes:
    """With one to three bytes put in from 0x80 on."""
    place = int(draw.integers(0, min(len(text), 400) + 1))
    return text[:place] + bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8)) + text[place:]


def with_put_in(text: str, put_in: Sequence[str], draw: np.random.Generator) -> str:
    """A text with one to four of `put_in` anywhere in it."""
    for _ in range(int(draw.integers(1, 5))):
        place = int(draw.integers(0, len(text) + 1))
        text = text[:place] + put_in[int(draw.integers(len(put_in)))] + text[place:]
    return text


def asked_texts(lines: Sequence[str], count: int, put_in: Sequence[str] = ()) -> list[Text]:
    """The lines, `count` made of their words, and a third of all once more as other than UTF-8, in any order.

    So the first so many are a sample of all. NUL, which is white space here alone, is left to other tests. A fifth has
    some of `put_in`, if there is any.
    """
    words = sorted({word for line in spread_over(lines, 20_000) for word in line.split()})
    draw = np.random.default_rng(SEED)
    strings = [*lines, *made_up(words, count)]
    if put_in:
        strings[::5] = [with_put_in(text, put_in, draw) for text in strings[::5]]
    every = [text.replace("\0", " ").encode("utf-8", "ignore") for text in strings]
    texts = [Text(text, True) for text in dict.fromkeys(every)]
    texts += [Text(broken(text.content, draw), False) for text in texts[::3]]
    texts = [Text(text.content, _is_utf8(text.content)) for text in texts]
    return [texts[place] for place in draw.permutation(len(texts))]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
