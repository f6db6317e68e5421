"""Texts become normal as the library makes them."""

import hashlib

import pytest
from sentencepieces import TEXTS, charsmap, random_texts

from switch_tf.text.normalization import BAD_BYTE, digests, read_normalization
from switch_tf.text.sentencepiece_model import Normalization as OfModel
from switch_tf.text.spec import Normalization

NAMES: list[Normalization] = ["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "identity"])
def test_the_library_normalizes_alike(name: Normalization) -> None:
    import sentencepiece

    if name != "identity" and digests()[hashlib.sha256(charsmap(name)).hexdigest()] != name:
        pytest.skip("the library that is installed is older, and has other rules")
    library = sentencepiece.SentencePieceNormalizer(
        rule_name=name, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    rules = read_normalization(name)
    for text in [*TEXTS, *random_texts(400)]:
        assert rules.apply(text.encode()) == library.normalize(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_of_the_library_are_known(name: Normalization) -> None:
    assert digests()[hashlib.sha256(charsmap(name)).hexdigest()].split("/")[0] == name


def test_every_rule_is_that_of_a_model_file() -> None:
    """By the other reader of rules, which walks through the file's own trie."""
    name = digests()[hashlib.sha256(charsmap("nmt_nfkc_cf")).hexdigest()]
    rules, of_model = read_normalization(name), OfModel(charsmap("nmt_nfkc_cf"))
    assert len(rules.single) > 6000 and len(rules.joined) > 200_000
    for key in [*list(rules.single)[::20], *rules.joined[::500]]:
        assert rules.apply(key.encode()) == of_model.apply(key)


@pytest.mark.slow
def test_older_releases_have_rules_of_their_own() -> None:
    rules = {name: read_normalization(name) for name in ("nmt_nfkc", "nmt_nfkc/0.2.0", "nmt_nfkc/0.1.83")}
    sizes = {name: len(each.single) + len(each.joined) for name, each in rules.items()}
    assert sizes == {"nmt_nfkc": 225_276, "nmt_nfkc/0.2.0": 224_725, "nmt_nfkc/0.1.83": 224_711}
    assert len(digests()) == len(set(digests().values())) == 12


def test_nul_is_white_space_and_bytes_that_are_not_utf8_are_replaced() -> None:
    rules = read_normalization("nmt_nfkc")
    assert rules.apply(b"a\0b\xff\xc3c\xed\xa0\x80") == "a b\ufffd\ufffdc\ufffd\ufffd\ufffd"
    assert rules.apply("a\ufffdb".encode()) == "a b"  # a rule's: what is written so is white space
    assert read_normalization("identity").apply(b"A\tb\xff") == "A\tb\ufffd"
    assert 0xD800 <= BAD_BYTE < 0xE000
