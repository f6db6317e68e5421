"""The adversarial corpus is what the gate's worth rests on: it must hold the cases it names, and be repeatable."""

import unicodedata

from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
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


def test_it_holds_what_breaks_tokenizers():
    everything = "".join(TEXTS)
    assert "" in TEXTS
    for character in "\0\t\n\v\f\r\u00a0\u0085\u2028\u3000":
        assert character in everything, f"{character!r} is missing"
    assert any(unicodedata.combining(character) for character in everything)
    assert any(ord(character) > 0x1F000 for character in everything)
    assert any(text and not any(c.isalnum() for c in text) and text.strip() for text in TEXTS), "punctuation alone"
    assert any(len(word) > 64 for text in TEXTS for word in text.split())
    assert "FILM" in everything and "Film" in everything


def test_invalid_texts_are_not_utf8():
    texts = invalid_utf8_texts(WORDS, count=20, seed=0)
    assert len(texts) == 20
    for text in texts:
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            continue
        raise AssertionError(f"{text!r} is valid")
