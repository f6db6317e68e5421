# ruff: noqa: RUF001 - sentences of many scripts
"""Words by text.lowercase = "unicode": the definition, against hand-read texts and Python's own character database."""

import string
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text.characters import APART, LETTER, MARK, SPACE
from switch_tf.text.spec import TextSpec
from switch_tf.text.unicode_characters import characters_of, read_unicode_characters

RULE, BARE = read_unicode_characters(strip_accents=False), read_unicode_characters(strip_accents=True)
# Nothing that is younger than the Unicode 14.0 of Python 3.11, and no iota subscript, whose place among marks counts.
LETTERS = ["É", "é", "e\u0301", "ß", "ẞ", "ﬁ", "İ", "ǅ", "Å", "\u212b", "Σ", "ς", "ａ", "ｶﾞ", "が", "か\u3099", "x", "Ж"]
MARKED = [
    "a\u0316\u0301",
    "a\u0301\u0316",
    "q\u0323\u0307",
    "q\u0307\u0323",
    "\u0301",
    "\u0e31",
    "한",
    "\u1112\u1161",
    "क\u093c",
]
OTHERS = [
    "\u0958",
    "中",
    "ดี",
    "ไ",
    " ",
    "\u3000",
    "\xa0",
    "\0",
    "-",
    "—",
    "«",
    "。",
    "’",
    "€",
    "🙂",
    "½",
    "…",
    "\xad",
    "\u200d",
]
PARTS = st.sampled_from([*LETTERS, *MARKED, *OTHERS, "\ufeff", "7", "٣"])
TEXTS = st.lists(PARTS, max_size=20).map("".join)


def read(text: str) -> list[str]:
    return [RULE.written(word) for word in RULE.words(text.encode())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("École ÉCOLE école e\u0301cole", ["école"] * 4),
        ("МОСКВА Москва", ["москва"] * 2),
        ("Straße STRASSE ﬁn", ["strasse", "strasse", "fin"]),
        ("ΣΊΣΥΦΟΣ σίσυφος", ["σίσυφοσ"] * 2),
        ("Ｆｕｌｌ ｗｉｄｔｈ　①", ["full", "width", "1"]),
        ("don’t, don't — (good)", ["dont", "dont", "good"]),
        ("a\u00a0b\u2003c\u3000d\u0085e\u2028f\0g", list("abcdefg")),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("我喜欢film。很好", ["我", "喜", "欢", "film", "很", "好"]),
        ("ガ ｶﾞ カ\u3099", ["ガ"] * 3),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("한국어 \u1112\u1161\u11ab", ["한국어", "한"]),
        ("so good🙂🙂!", ["so", "good", "🙂", "🙂"]),
        ("❤️ 👍🏽", ["❤", "👍", "🏽"]),
        ("5€ x²", ["5", "€", "x2"]),
        ("हिन्दी", ["हिन्दी"]),
        ("中\u0301a \u0301b", ["中\u0301", "a", "\u0301b"]),
        ("", []),
        ("… !? -- ", []),
    ],
)
def test_how_texts_are_read(text: str, words: list[str]) -> None:
    assert read(text) == words


def test_accents_are_stripped_where_that_is_asked_and_vowels_never_are() -> None:
    assert BARE.words("École Ёлка й ὰ q\u0323\u0307 İ".encode()) == ["ecole", "елка", "и", "α", "q", "i"]
    assert BARE.words("ดี हिन्दी が".encode()) == RULE.words("ดี हिन्दी が".encode())


def test_marks_are_put_in_order() -> None:
    assert RULE.words("a\u0301\u0316".encode()) == RULE.words("a\u0316\u0301".encode()) == ["a\u0316\u0301"]
    assert RULE.words("a\u0301.\u0316".encode()) == ["a\u0316\u0301"]  # nothing is left between them
    assert RULE.words("a\u0301 \u0316".encode()) == ["a\u0301", "\u0316"]
    assert RULE.words("a\u0301\u0300".encode()) == ["a\u0301\u0300"]  # of one class: as they were


def test_what_is_not_utf8_is_a_letter_that_no_word_has() -> None:
    assert RULE.words(b"caf\xe9 \xe4\xb8 a") == ["caf\ufffd", "\ufffd\ufffd", "a"]
    assert not RULE.is_word("caf\ufffd")


def test_which_words_a_vocabulary_may_have() -> None:
    known = ["école", "中", "dont", "🙂", "ดี", "x" * 100, "\u0301b"]
    assert all(map(RULE.is_word, known))
    assert not any(map(RULE.is_word, ["École", "e\u0301cole", "don't", "中文", "a b", "", "ß", "\ud800", "x" * 101]))
    assert not RULE.is_word("a", behind=True)
    assert [RULE.unwritten(word) for word in ("école", "한")] == ["e\u0301cole", "\u1112\u1161\u11ab"]


def test_the_settings_choose_the_rule() -> None:
    assert characters_of(TextSpec(lowercase="unicode")) is RULE
    assert characters_of(TextSpec(lowercase="unicode", strip_accents=True)) is BARE


@settings(deadline=None)
@given(TEXTS)
def test_all_spellings_of_a_text_are_read_alike(text: str) -> None:
    words = RULE.words(text.encode())
    assert all(words)
    for form in ("NFC", "NFD"):
        assert RULE.words(unicodedata.normalize(form, text).encode()) == words
    assert RULE.words(" ".join(map(RULE.written, words)).encode()) == words
    assert all(map(RULE.is_word, map(RULE.written, words)))


@settings(deadline=None)
@given(st.text(max_size=40))
def test_words_stay_when_read_again(text: str) -> None:
    words = RULE.words(text.encode())
    assert RULE.words(" ".join(map(RULE.written, words)).encode()) == words


def test_composing_is_undone_where_this_python_knows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(unicodedata, "normalize", lambda form, text: text.replace("qz", "\U0010fffd"))
        assert RULE.written("qz") == "qz"
    RULE._written.clear()


def outcome_in_python(character: str) -> str:
    """What the rule says, of a character that is neither white space nor ignored."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character.casefold()).casefold())
    return "".join(each for each in unicodedata.normalize("NFD", folded) if not is_punctuation(each))


def is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in string.punctuation


def kinds_in_python(character: str) -> set[int]:
    """The kinds that it may have by its category alone."""
    category = unicodedata.category(character)
    if category in ("Lo", "Lm", "Nl"):
        return {LETTER, APART}
    return {{"M": MARK, "S": APART, "Z": SPACE}.get(category[0], LETTER)}


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
def test_characters_are_those_of_python(step: int) -> None:
    """Those that this Python knows: others may become something in its later versions."""
    ignored = 0
    for code in (*range(0x300), *range(0x300, 0x110000, step)):
        character = chr(code)
        if unicodedata.category(character) in ("Cn", "Cs") or code == 0xFFFD:
            continue
        outcome = RULE.text_of(code)
        assert RULE.classes[code] == unicodedata.combining(character)
        assert all(RULE.kinds[ord(each)] in kinds_in_python(each) for each in outcome), hex(code)
        if code == 0 or (character.isspace() and not 0x1C <= code < 0x20):
            assert outcome == " ", hex(code)
        elif outcome or is_punctuation(character):
            assert outcome == outcome_in_python(character), hex(code)
        else:
            ignored += 1
    assert ignored <= 430  # soft hyphens, joiners, variation selectors, tags and the like
