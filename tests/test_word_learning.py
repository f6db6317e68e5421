"""Which words a model knows that reads words by Unicode's rules."""

import numpy as np
import pytest

from switch_tf.errors import DataError
from switch_tf.text.spec import TextSpec
from switch_tf.text.word_learning import frequent_words


def words_of(*texts: str | bytes, size: int = 100) -> list[str]:
    return frequent_words(TextSpec(lowercase="unicode", vocabulary_size=size), [np.array(texts, object)])


def test_the_most_frequent_stand_first_and_equals_in_falling_order() -> None:
    assert words_of("Zoë zoe\u0308 ZOË", "b ö 好", "好 a") == ["zoë", "好", "ö", "b", "a"]
    assert words_of("Zoë zoe\u0308 ZOË", "b ö 好", "好 a", size=4) == ["zoë", "好"]


def test_what_can_never_be_read_is_left_out() -> None:
    assert words_of(b"caf\xe9 caf\xe9 fine", "x" * 101, "x" * 100, "\ufffd") == ["x" * 100, "fine"]


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(DataError, match="vocabulary is empty"):
        words_of("", "… !", "x" * 101)
