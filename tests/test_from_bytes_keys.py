"""Words and their keys: which no text gives, which collide, how many are false."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from test_from_bytes import MODES, VOCABULARY, spec_of

from switch_tf.errors import ExportError
from switch_tf.text import from_bytes as module
from switch_tf.text.byte_codes import pack
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.spec import TextSpec
from switch_tf.text.word_keys import WordKeys, choose_word_keys


def test_words_that_no_text_gives_are_counted() -> None:
    dropped = {standardize: NumericText(spec_of(standardize), VOCABULARY).dropped_words for standardize in MODES}
    always = 3  # "x y", "x\0" and the one of 99 letters
    assert dropped == {
        "lower_and_strip_punctuation": always + 2,  # "Hello" and "don't"
        "lower": always + 1,
        "strip_punctuation": always + 1,
        "none": always,
    }


def test_a_vocabulary_of_unreachable_words_alone() -> None:
    text = NumericText(spec_of(), ["Hello", "don't"])
    assert text(tf.constant(pack(["Hello don't", ""], 64))).numpy().tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert (text.dropped_words, text.false_positive_rate) == (2, 0.0)


def test_false_positive_rate_and_size() -> None:
    words = [f"word{number}" for number in range(9_000)]
    text = NumericText(TextSpec(byte_length=1024), words)
    assert text.false_positive_rate == 9_000 / math.prod(choose_word_keys(MODES[0], 1024, 9_000, 1e-9).primes)
    assert text.num_keys == 2
    assert text.table_bytes < 14 * 9_000
    rare = NumericText(TextSpec(byte_length=1024), words, max_false_positive_rate=1e-15)
    assert (rare.num_keys, rare.false_positive_rate < 1e-15) == (3, True)
    np.testing.assert_array_equal(rare(pack(["word7 word"], 1024)).numpy()[0, :3], [9, 1, 0])


@pytest.mark.parametrize("bad_seeds", [2, 8])
def test_words_that_collide_get_other_roots(monkeypatch: pytest.MonkeyPatch, bad_seeds: int) -> None:
    seeds = []

    def colliding_at_first(*arguments: Any) -> WordKeys:
        keys = choose_word_keys(*arguments)
        seeds.append(arguments[-1])
        if len(seeds) <= bad_seeds:
            keys.powers[:] = 1  # words of the same letters collide
        return keys

    monkeypatch.setattr(module, "choose_word_keys", colliding_at_first)
    if bad_seeds == module._SEEDS:
        with pytest.raises(ExportError, match=r"no table for 2 words at text\.byte_length = 64"):
            NumericText(spec_of(), ["ab", "ba"])
        return
    text = NumericText(spec_of(), ["ab", "ba"])
    assert seeds == [0, 1, 2]
    assert text(pack(["ba ab aa"], 64)).numpy().tolist() == [[3, 2, 1, 0]]
