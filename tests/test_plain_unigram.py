"""The definition of unigram pieces in Python gives the ids of the library sentencepiece."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepieces import TEXTS, charsmap, library, make_spec, random_texts, vocabulary

from switch_tf.text.normalization import digests
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.sentencepiece_file import MARK

GIVEN = ["\u2581film\t-3", "s\t-4", "\u2581a\t-2", "\u2581\t-5", "o\t-4.5", "oo\t-9", "ooo\t-13.5"]


def newest(rule: str) -> str:
    """The name of the rules that the library installed has under a name."""
    import hashlib

    return digests().get(hashlib.sha256(charsmap(rule)).hexdigest(), rule)


@pytest.mark.parametrize("rule", ["nmt_nfkc_cf", "nmt_nfkc", "nfkc", "identity"])
@pytest.mark.parametrize("sums", ["exact", "sequential"])
def test_the_library_reads_alike(rule: Any, sums: str) -> None:
    entries = vocabulary(exact=sums == "exact")
    plain = PlainUnigram(make_spec(normalization=newest(rule), unigram_sums=sums), entries)
    reference = library(entries, rule)
    for text in [*TEXTS, *random_texts(400)]:
        assert plain.numbers(text.encode()) == [number + 1 for number in reference.encode(text)], text


@settings(deadline=None, max_examples=50)
@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_of_any_text(text: str) -> None:
    entries = vocabulary()
    plain = PlainUnigram(make_spec(normalization=newest("nmt_nfkc")), entries)
    assert plain.numbers(text.encode()) == [number + 1 for number in library(entries, "nmt_nfkc").encode(text)]


def test_by_hand() -> None:
    plain = PlainUnigram(make_spec(), GIVEN)
    assert [piece for piece, _ in plain.read("a FILMS  film")] == ["\u2581a", "\u2581film", "s", "\u2581film"]
    assert plain.numbers("☃☃ ☃a".encode()) == [5, 1, 5, 1]  # the letter a is unknown without its mark
    assert plain.numbers(b"ooo") == [5, 8]  # of equal sums, the longest last piece
    assert plain.numbers(b"oooo") == [5, 6, 8]
    assert plain.numbers(f"{MARK}".encode()) == []


def test_unknown_characters_meet_where_no_mark_is_a_piece() -> None:
    plain = PlainUnigram(make_spec(), ["\u2581film\t-3", "s\t-4"])
    assert plain.numbers("☃ ☃ films ☃".encode()) == [1, 2, 3, 1]


def test_what_is_read_of_a_text() -> None:
    plain = PlainUnigram(make_spec(sequence_length=3, byte_length=8), GIVEN)
    np.testing.assert_array_equal(plain.ids([b"a films film", b"film", b""]), [[4, 2, 3], [2, 0, 0], [0, 0, 0]])
    assert plain.whole_ids([b"film film films"]).tolist() == [[2, 2, 2]]
    dropping = PlainUnigram(make_spec(sequence_length=4, byte_length=8, truncation="drop"), GIVEN)
    assert dropping.ids([b"a films film", b"a filmss"]).tolist() == [[4, 2, 3, 0], [4, 0, 0, 0]]


def test_what_grows_is_cut_at_n_characters() -> None:
    plain = PlainUnigram(make_spec(byte_length=12, sequence_length=16), ["1\u20442\t-3", "\u2581\t-4", "1\t-5"])
    assert [number for number in plain.ids(["½½½½½½".encode()])[0].tolist() if number] == [3, 2, 2, 2, 2]


def test_words_are_remembered_only_where_a_word_is_cut_as_by_itself() -> None:
    entries = ["\u2581a\t-2", "\u2581a\u2581a\t-3", "\u2581\t-5", "a\t-5"]
    plain = PlainUnigram(make_spec(), entries)
    assert plain.numbers(b"a a a") == [2, 3]  # of equal sums, the last piece is the longest
    assert [each + 1 for each in library(entries, "identity").encode("a a a")] == [2, 3]
