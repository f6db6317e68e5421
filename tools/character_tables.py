"""Writes switch_tf/text/character_tables/: what each rule of tokenizing makes of every character.

    python tools/character_tables.py [RULES ...]

    bert        tensorflow_text.FastBertTokenizer(lower_case_nfd_strip_accents=True): needs tensorflow-text
    bert_cased  the same with lower_case_nfd_strip_accents=False
    hf_bert     tokenizers.normalizers.BertNormalizer(lowercase=True, strip_accents=True) and
                tokenizers.pre_tokenizers.BertPreTokenizer: needs tokenizers
    hf_bert_accents, hf_bert_cased, hf_bert_cased_stripped
                the same with strip_accents=False, with lowercase=False too, and with lowercase=False alone
    unicode     words by text.lowercase = "unicode": the character database of Python 3.13, which has Unicode 15.1

The library that a rule is named after is asked about every code point by itself, so that none has to be installed
later. NUL is white space under each rule (docs/decisions/0005-nul-is-whitespace.md). The tables are those of the
Unicode version of the library; docs/tokenizers.md names the releases.
"""

import string
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "switch_tf" / "text" / "character_tables"
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
ITSELF, NOTHING, FIRST_SEQUENCE = 0, 1, 2
LETTER, APART, SPACE, MARK = 0, 1, 2, 3
UNICODE = "15.1.0"
_PROBE = "a"  # two of them around a character show whether it joins, splits or stands apart
_WHITE_SPACE = "\0\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# Default_Ignorable_Code_Point, which the database of Python leaves out.
_IGNORED = (
    (0xAD, 0xAE), (0x34F, 0x350), (0x61C, 0x61D), (0x115F, 0x1161), (0x17B4, 0x17B6), (0x180B, 0x1810),
    (0x200B, 0x2010), (0x202A, 0x202F), (0x2060, 0x2070), (0x3164, 0x3165), (0xFE00, 0xFE10), (0xFEFF, 0xFF00),
    (0xFFA0, 0xFFA1), (0xFFF0, 0xFFF9), (0x1BCA0, 0x1BCA4), (0x1D173, 0x1D17B), (0xE0000, 0xE1000),
)  # fmt: skip
_WITHOUT_SPACES = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")  # begins of names


Asked = tuple[list[str], Callable[[list[str]], list[int]]]


def bert(*, cased: bool) -> Asked:
    """What every code point becomes, and what asks the kinds of characters."""
    import tensorflow as tf
    import tensorflow_text

    normalizer = tensorflow_text.FastBertNormalizer(lower_case_nfd_strip_accents=not cased)
    written = [text.decode() for text in normalizer.normalize([chr(code) for code in CODE_POINTS]).numpy()]
    tokenizer = tensorflow_text.FastWordpieceTokenizer(
        vocab=[_PROBE, f"##{_PROBE}", "[UNK]"], token_out_type=tf.string, support_detokenization=False
    )
    kinds = {(b"a", b"[UNK]", b"a"): APART, (b"a", b"a"): SPACE, (b"[UNK]",): LETTER, (b"a", b"##a", b"##a"): LETTER}

    def kinds_of(characters: list[str]) -> list[int]:
        read = tokenizer.tokenize([_PROBE + each + _PROBE for each in characters]).to_list()
        return [kinds[tuple(pieces)] for pieces in read]

    return written, kinds_of


def hf_bert(*, lowercase: bool, strip_accents: bool) -> Asked:
    """The same for the other rule; characters that its normalizer puts spaces around stand apart."""
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    splitter = pre_tokenizers.BertPreTokenizer()
    written = [normalizer.normalize_str(chr(code)) for code in CODE_POINTS]
    spaced = [len(each) > 2 and each[0] == each[-1] == " " for each in written]
    alone = {each[1] for each, has_spaces in zip(written, spaced, strict=True) if has_spaces}
    written = [each[1:-1] if has_spaces else each for each, has_spaces in zip(written, spaced, strict=True)]

    def kind_of(character: str) -> int:
        read = [word for word, _ in splitter.pre_tokenize_str(_PROBE + character + _PROBE)]
        return APART if character in alone or len(read) == 3 else SPACE if len(read) == 2 else LETTER

    return written, lambda characters: [kind_of(each) for each in characters]


def unicode() -> Asked:
    """The same for words: NFKC_Casefold, decomposed, without punctuation."""
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"This Python has Unicode {unicodedata.unidata_version}. Expected {UNICODE}: run Python 3.13.")
    ignored = {chr(code) for start, end in _IGNORED for code in range(start, end)}
    written = [_folded(chr(code), ignored) for code in CODE_POINTS]
    return written, lambda characters: [_kind(each) for each in characters]


def _folded(character: str, ignored: set[str]) -> str:
    """The Unicode Standard, 5.18 and chapter 3, R5: NFKC and case folding until neither changes anything."""
    if character in _WHITE_SPACE:
        return " "
    before, after = "", unicodedata.normalize("NFD", character)
    while before != after:
        before, after = after, unicodedata.normalize("NFKC", after.casefold())
        after = "".join(each for each in after if each not in ignored)
    return "".join(each for each in unicodedata.normalize("NFD", after) if not _is_punctuation(each))


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if character == " ":
        return SPACE
    if category.startswith("M"):
        return MARK
    alone = category.startswith("L") or category == "Nl"
    alone = alone and unicodedata.name(character, "").startswith(_WITHOUT_SPACES)
    symbol = category.startswith("S") and character != "\ufffd"  # which stands for a byte that is not UTF-8
    return APART if alone or symbol else LETTER


def tables(written: list[str], kinds_of: Callable[[list[str]], list[int]]) -> dict[str, np.ndarray]:
    """As `switch_tf.text.characters` reads them."""
    written = [" ", *written[1:]]  # NUL
    sequences: dict[str, int] = {}
    becomes = np.zeros(0x110000, np.int32)
    for code, each in zip(CODE_POINTS, written, strict=True):
        if each != chr(code):
            becomes[code] = NOTHING if not each else FIRST_SEQUENCE + sequences.setdefault(each, len(sequences))
    characters = sorted(set("".join(written)))
    kinds = np.zeros(0x110000, np.uint8)
    kinds[[ord(each) for each in characters]] = kinds_of(characters)
    return {
        "becomes": becomes,
        "sequence_starts": np.cumsum([0, *map(len, sequences)]).astype(np.int32),
        "sequences": np.array([ord(each) for each in "".join(sequences)], np.int32),
        "kinds": kinds,
    }


def combining_classes() -> np.ndarray:
    """The canonical combining class of every code point: uint8 [code points]."""
    return np.array([unicodedata.combining(chr(code)) for code in range(0x110000)], np.uint8)


RULES: dict[str, Callable[[], Asked]] = {
    "bert": partial(bert, cased=False),
    "bert_cased": partial(bert, cased=True),
    "hf_bert": partial(hf_bert, lowercase=True, strip_accents=True),
    "hf_bert_accents": partial(hf_bert, lowercase=True, strip_accents=False),
    "hf_bert_cased": partial(hf_bert, lowercase=False, strip_accents=False),
    "hf_bert_cased_stripped": partial(hf_bert, lowercase=False, strip_accents=True),
    "unicode": unicode,
}


if __name__ == "__main__":
    for rules in sys.argv[1:] or RULES:
        path = FOLDER / f"{rules}.npz"
        arrays = tables(*RULES[rules]())
        if rules == "unicode":
            arrays["classes"] = combining_classes()
        np.savez_compressed(path, allow_pickle=False, **arrays)
        print(f"{path}: {path.stat().st_size:,} bytes")
