"""The adversarial corpus is what the gate's worth rests on: it must hold the cases it names, and be repeatable."""

import unicodedata

import pytest

from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.text.byte_codes import kept_bytes
from switch_tf.text.spec import TextSpec

SPEC = TextSpec(sequence_length=10, byte_length=256)
WORDS = ["film", "fine", "dull"]
TEXTS = adversarial_texts(SPEC, WORDS, count=400, seed=3)


def test_the_same_arguments_give_the_same_texts_and_another_seed_gives_others():
    assert adversarial_texts(SPEC, WORDS, count=400, seed=3) == TEXTS
    assert adversarial_texts(SPEC, WORDS, count=400, seed=4) != TEXTS
    assert len(TEXTS) == 400
    assert adversarial_texts(SPEC, WORDS, count=3, seed=0) == TEXTS[:3]


def test_all_texts_are_valid_utf8():
    for text in TEXTS:
        text.encode("utf-8")


def test_the_limits_of_the_specification_are_met_exactly_and_missed_by_one():
    sizes = {len(text.encode()) for text in TEXTS}
    assert {255, 256, 257} <= sizes
    counts = {len(text.split()) for text in TEXTS if set(text.split()) == {"film"}}
    assert {9, 10, 11} <= counts
    assert max(sizes) >= 10_000


@pytest.mark.parametrize(
    ("truncation", "read"),
    [
        ("prefix", {255: [b"film"], 256: [b"film"], 257: [b"fil"]}),
        ("drop", {255: [b"film"], 256: [], 257: []}),
    ],
)
def test_known_words_end_at_the_last_byte_and_around_it(truncation, read):
    """What a bytes input reads of them tells it from one that reads a byte less or more, or that cuts otherwise."""
    spec = TextSpec(sequence_length=10, byte_length=256, truncation=truncation)
    texts = {text.encode() for text in adversarial_texts(spec, WORDS, count=400, seed=3)}
    for end, words in read.items():
        for start in (b" " * (end - 4), b"!" * (end - 5) + b" "):
            assert {start + b"film", start + b"film ", start + b"films x"} <= texts
        assert kept_bytes(spec, b" " * (end - 4) + b"film").split() == words


def test_known_words_stand_at_the_last_position_and_behind_it():
    for word in ("film", "fine"):
        for places in ([*["z"] * 9, word], [*["z"] * 10, word], [*["z"] * 9, word, "dull"]):
            assert " ".join(places) in TEXTS


def test_it_holds_what_breaks_tokenizers():
    everything = "".join(TEXTS)
    assert "" in TEXTS
    for character in "\0\t\n\v\f\r\u00a0\u0085\u2028\u3000":
        assert character in everything, f"{character!r} is missing"
    assert any(unicodedata.combining(character) for character in everything)
    assert any(text and not any(c.isalnum() for c in text) and text.strip() for text in TEXTS), "punctuation alone"
    assert any(len(word) > 64 for text in TEXTS for word in text.split())
    assert "FILM" in everything and "Film" in everything


@pytest.mark.parametrize(
    "piece",
    [
        "\N{SLIGHTLY SMILING FACE}",
        "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}",  # joined by zero-width joiners
        "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}",
        "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}",
        "\N{HEAVY BLACK HEART}\ufe0f",  # with a variation selector
        "\N{WAVING BLACK FLAG}\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # spelled in tags
        *"\u0130\u00df\u017f\u03a9\ufb01\u0416\u1e9e\u00b5\u212a\u212b",  # lower case is longer, another or two
        *("\u4e2d\u6587", "\u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4", "\u05e2\u05d1\u05e8\u05d9\u05ea"),
        *("\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        *("e\u0301", "a\u0300\u0316", "n\u0303", "o\u0308\u0304"),
        *"\u00a0\u0085\u2028\u3000\u200b\ufeff\x1c\x1f\x7f",
        *("\r\n", "  ", " \t\n "),
    ],
)
def test_it_holds_each_kind_of_character(piece):
    assert piece in "".join(TEXTS)


def test_a_character_is_cut_at_its_last_byte():
    """Where zeros are missing behind a row, what follows may complete it."""
    assert f"{' ' * 253}x\N{CHARACTER TIE}" in TEXTS


def test_every_kind_of_what_is_not_utf8_stands_within_a_word():
    texts = invalid_utf8_texts(["a", "film"], count=16, seed=0)
    assert texts[:9] == [
        b"fi\xc0\xa0lm",
        b"fi\xe0\x82\xa0lm",
        b"fi\xf0\x80\x82\xa0lm",
        b"fi\xed\xa0\x80lm",
        b"fi\xf4\x90\x80\x80lm",
        b"fi\xe2\x80\xc0lm",
        b"fi\xf0\x9f\x98\xc0lm",
        b"fi\xf3\xa0\x80\xe0lm",
        b"fi\x80lm",
    ]
    assert invalid_utf8_texts(["a", "film"], count=2, seed=0) == texts[:2]


def test_invalid_texts_are_not_utf8():
    texts = invalid_utf8_texts(WORDS, count=20, seed=0)
    assert len(texts) == 20
    for text in texts:
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            continue
        raise AssertionError(f"{text!r} is valid")
