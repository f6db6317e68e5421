"""Words counted in bounded memory."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch_tf.text import from_strings
from switch_tf.text.spec import TextSpec
from switch_tf.text.word_counts import WordCounts


def counted(texts: list[list[str]], most: int) -> WordCounts[str]:
    counts = WordCounts[str](most)
    for text in texts:
        counts.count(text)
    return counts


def test_the_rarest_are_forgotten_and_of_equals_the_last() -> None:
    counts = counted([["a", "b", "a"], ["c", "b", "d"]], most=4)
    assert dict(counts) == {"a": 2, "b": 2, "c": 1, "d": 1}
    counts.count(["e", "e", "e"])
    assert dict(counts) == {"e": 3, "a": 2}
    counts.count(["b"])
    assert dict(counts) == {"e": 3, "a": 2, "b": 1}


def test_words_that_all_come_once_are_few_too() -> None:
    counts = counted([[str(number)] for number in range(100)], most=10)
    assert len(counts) <= 10 and set(counts.values()) == {1}


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8), max_size=30), st.integers(2, 12))
def test_never_more_than_asked_for_and_never_too_many_of_one(texts: list[list[str]], most: int) -> None:
    counts, exact = counted(texts, most), Counter(word for text in texts for word in text)
    assert len(counts) <= most and all(count <= exact[word] for word, count in counts.items())
    if len(exact) <= most:
        assert counts == exact


def test_frequent_words_are_found_among_ever_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_strings, "WordCounts", partial(WordCounts, 60))
    random = np.random.default_rng(0)
    texts = [f"the film was {' '.join(f'x{n:x}' for n in random.integers(2**40, size=20))}" for _ in range(50)]
    batches = [np.array([text], object) for text in texts]
    assert from_strings.adapt_vocabulary(TextSpec(vocabulary_size=5), batches) == ["was", "the", "film"]
