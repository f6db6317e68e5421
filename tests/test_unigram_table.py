"""Vocabularies with scores: what is taken, and the integers that stand for the scores."""

import numpy as np
import pytest
from sentencepieces import make_spec

from switch_tf.errors import DataError
from switch_tf.text.spec import TextSpec
from switch_tf.text.unigram_table import UnigramTable, entry, on_the_grid, piece_of, score_of


def test_scores_are_integers() -> None:
    table = UnigramTable(make_spec(), ["a\t-2.5", "b\t-3.00390625", "\t\t-4"])
    assert (table.scores, table.bits, table.unknown_score) == ({"a": -640, "b": -769, "\t": -1024}, 8, -14 * 256)
    assert (table.ids, table.longest) == ({"a": 2, "b": 3, "\t": 4}, 1)
    raw = UnigramTable(make_spec(unigram_sums="sequential"), [entry("a", np.float32(-2.8474113941192627))])
    assert raw.scores == {"a": round(-2.8474113941192627 * 2**24)}
    assert raw.unknown_score == round(float(np.float32(-2.8474114) - np.float32(10)) * 2**24)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (["a"], "Expected a piece, a tab and its score"),
        (["a\tx"], "Expected a piece, a tab and its score"),
        (["\ud800\t-1"], "Expected a piece, a tab and its score"),
        (["a\tnan"], "a score from -100 to 0"),
        (["a\t-101"], "a score from -100 to 0"),
        (["a\t1"], "a score from -100 to 0"),
        (["\t-1"], "Expected 1 to 48 characters"),
        ([f"{'a' * 49}\t-1"], "Expected 1 to 48 characters"),
        (["a\t-1", "a\t-2"], "a piece more than once"),
        (["a\t-2.847"], "text.unigram_sums = 'sequential'"),
        ([], "empty"),
    ],
)
def test_what_is_refused(entries: list[str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        UnigramTable(make_spec(), entries)


def test_sums_have_to_be_exact() -> None:
    long = make_spec(byte_length=8192)
    with pytest.raises(DataError, match=r"Set text\.byte_length to at most 4366, or text\.unigram_sums"):
        UnigramTable(long, ["a\t-5.00390625"])
    assert UnigramTable(make_spec(byte_length=4366), ["a\t-5.00390625"]).bits == 8
    assert UnigramTable(long, ["a\t-5.5"]).bits == 1
    with pytest.raises(DataError, match="no multiple of 2"):
        UnigramTable(make_spec(unigram_sums="sequential"), [entry("a", -1e-9)])


@pytest.mark.parametrize("byte_length", [96, 2048, 65_536])
def test_what_is_learnt_is_put_on_a_grid_that_is_fine_enough(byte_length: int) -> None:
    spec = make_spec(byte_length=byte_length)
    scores = on_the_grid(spec, np.linspace(-17.3, -2.1, 50))
    table = UnigramTable(spec, [entry(f"p{number}", score) for number, score in enumerate(scores)])
    assert table.bits == {96: 8, 2048: 8, 65_536: 3}[byte_length]


def test_entries() -> None:
    assert piece_of(entry("a\tb", -1.25)) == "a\tb" and score_of(entry("a\tb", -1.25)) == -1.25
    raw = np.float32(-2.8474114)
    assert score_of(entry("a", raw)) == raw


def test_settings_that_do_not_go_together() -> None:
    assert TextSpec(tokenizer="unigram").tokenizer_rules == "sentencepiece"
    for wrong, problem in (
        ({"tokenizer": "unigram", "tokenizer_rules": "bert"}, "has the rules 'sentencepiece'"),
        ({"tokenizer": "wordpiece", "tokenizer_rules": "sentencepiece"}, "has the rules 'sentencepiece'"),
        ({"tokenizer": "unigram", "standardize": "lower"}, "unigram has normalization"),
        ({"tokenizer": "wordpiece", "normalization": "nfkc"}, "are for tokenizer = 'unigram'"),
        ({"unigram_sums": "sequential"}, "are for tokenizer = 'unigram'"),
    ):
        with pytest.raises(ValueError, match=problem):
            TextSpec(**wrong)  # type: ignore[arg-type]
    assert "normalization" not in TextSpec(tokenizer="wordpiece").as_dict()
    assert TextSpec(tokenizer="unigram").as_dict()["unigram_sums"] == "exact"
