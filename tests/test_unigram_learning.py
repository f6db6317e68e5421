"""Unigram pieces are learnt from texts by the library sentencepiece, the same ones from the same texts."""

import builtins
from typing import Any

import numpy as np
import pytest
from sentencepieces import make_spec

from switch_tf.errors import ConfigError, DataError
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.unigram_learning import learn_unigram
from switch_tf.text.unigram_table import piece_of, score_of

# The library takes for a piece what is in two different words.
TEXTS = [
    f"The film{end} was {word}{end}, the ÜBER{end} 电影{end}"
    for word in ["fine", "dull"] * 10
    for end in ["", "s", "ed"]
]


def learnt(texts: list[Any], **changes: Any) -> list[str]:
    spec = make_spec(**{"vocabulary_size": 60, **changes})
    return learn_unigram(spec, [np.array(texts[:40], object), np.array(texts[40:], object)])


def test_what_is_frequent_is_a_piece() -> None:
    entries = learnt(TEXTS)
    assert len(entries) <= 58
    assert {"\u2581film", "\u2581über", "\u2581", "ed"} <= set(map(piece_of, entries))
    scores = list(map(score_of, entries))
    assert scores == sorted(scores, reverse=True)
    assert all(score * 256 % 1 == 0 for score in scores)
    assert [piece for piece, _ in PlainUnigram(make_spec(), entries).read("FILM Über")] == ["\u2581film", "\u2581über"]


def test_the_same_texts_give_the_same_pieces() -> None:
    assert learnt(TEXTS) == learnt([text.encode() for text in TEXTS])
    assert learnt(TEXTS) != learnt(TEXTS, normalization="identity")


def test_scores_are_as_the_sums_need_them() -> None:
    raw = learnt(TEXTS, unigram_sums="sequential")
    assert any(score_of(each) * 256 % 1 for each in raw)
    long = learnt(TEXTS, byte_length=65_536)
    assert all(score_of(each) * 16 % 1 == 0 for each in long)
    PlainUnigram(make_spec(byte_length=65_536), long)


def test_more_characters_than_there_is_room_for() -> None:
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + count))) for count in range(1, 200)]
    entries = learnt(texts)
    assert 0 < len(entries) <= 58
    assert chr(0x4E00) in {piece_of(each)[-1] for each in entries}


@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
def test_characters_that_the_library_keeps_for_itself(rule: Any) -> None:
    entries = learnt(["a\tb\u2585c\u2581d\nef\ufffd g"] * 9 + TEXTS, normalization=rule)
    assert not set("\t\n\u2585\ufffd ") & set("".join(map(piece_of, entries)))


def test_texts_that_nothing_is_learnt_from() -> None:
    for texts in (["", " "], ["abc"]):
        with pytest.raises(DataError, match="at least one character twice"):
            learnt(texts)


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    right = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError(name)
        return right(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'switch-tf\[unigram\]'; or set text.vocabulary_file"):
        learnt(TEXTS)
