"""Pieces are learnt by merging the most frequent neighbours, and the same texts always give the same."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from switch_tf.errors import DataError
from switch_tf.text.piece_learning import learn_pieces
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import TextSpec


def learn(texts: list[Any], vocabulary_size: int = 1000, **changes: Any) -> list[str]:
    spec = TextSpec(tokenizer="wordpiece", vocabulary_size=vocabulary_size, **changes)
    return learn_pieces(spec, [np.array(texts, object)])


def test_merges_by_hand() -> None:
    # Letters: a 8, b 8, c 2. Pairs: a ##b 6 and ##a ##b 2, once; ab ##c and ##ab are what is left to join, twice each.
    pieces = learn(["ab ab ab ab", "abc abc", "cab cab".replace("c", "b")])
    assert pieces[:6] == ["b", "##b", "a", "##a", "c", "##c"]
    assert pieces[6:] == ["ab", "##ab", "abc", "bab"]


def test_the_first_pieces_are_those_of_a_smaller_vocabulary() -> None:
    draw = random.Random(0)
    texts = [" ".join("".join(draw.choices("abcde", k=draw.randint(1, 6))) for _ in range(20)) for _ in range(40)]
    large, small = learn(texts, 120), learn(texts, 60)
    assert (len(large), len(small)) == (118, 58)
    assert large[:58] == small
    assert len(set(large)) == len(large)
    assert learn(texts[::-1], 120) == large  # whatever their order


def test_every_merge_is_of_the_most_frequent_pair() -> None:
    """Held against counting everything anew before each merge."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abc", weights=[5, 2, 1], k=draw.randint(2, 7))) for _ in range(300)]
    split = {word: [word[0], *("##" + letter for letter in word[1:])] for word in set(words)}
    counts, expected = Counter(words), []
    for _ in range(40):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in split.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = best[0] + best[1].removeprefix("##")
        expected.append(joined)
        for pieces in split.values():
            place = 0
            while place < len(pieces) - 1:
                if (pieces[place], pieces[place + 1]) == best:
                    pieces[place : place + 2] = [joined]
                place += 1
    learnt = learn([" ".join(words)], 2 + 6 + len(set(expected)))
    assert learnt[6:] == list(dict.fromkeys(expected))


def test_letters_are_known_where_they_were_not_seen_and_what_stands_apart_is_not_marked() -> None:
    pieces = learn(["xy xy! 中中"])
    assert {"x", "##x", "y", "##y", "!"} - set(pieces) == {"!"}  # ! was seen once
    assert "中" in pieces
    assert "##中" not in pieces


def test_pieces_are_read_from_the_texts_that_they_were_learnt_from() -> None:
    texts = ["The café isn't open", "Das Café ist zu", "El cafetal es grande"] * 3
    spec = TextSpec(tokenizer="wordpiece", vocabulary_size=300)
    pieces = PlainPieces(spec, learn_pieces(spec, [np.array(texts, object)]))
    assert [piece for piece, _ in pieces.read("Café!")] == ["cafe", "[UNK]"]
    assert all(number > 1 for text in texts for _, number in pieces.read(text))


def test_capitals_and_accents_are_learnt_where_they_stay() -> None:
    texts = ["Été Mark", "été mark", "ÉTÉ Mark"] * 3
    assert set(learn(texts)) & {"Mark", "mark", "été", "Été", "ete"} == {"mark", "ete"}
    assert set(learn(texts, lowercase="none")) & {"Mark", "mark", "été", "Été", "ete"} == {"Mark", "mark", "été", "Été"}
    accents = learn(texts, tokenizer_rules="hf_bert", lowercase="unicode")
    assert set(accents) & {"Mark", "mark", "été", "Été", "ete"} == {"mark", "été"}


def test_rare_and_long_pieces_are_not_learnt() -> None:
    pieces = learn(["a" * 80, "b" * 30, "once"])
    assert max(map(len, pieces)) <= 26  # 24 letters and the mark
    assert not any(piece in pieces for piece in ("once", "on", "o"))


def test_texts_without_a_character_are_refused() -> None:
    with pytest.raises(DataError, match="vocabulary is empty"):
        learn(["", " \n"])
