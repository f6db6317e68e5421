"""Which runs of letters a vocabulary keeps for unknown words, and from which word on."""

import numpy as np

from switch_tf.text.byte_codes import byte_codes
from switch_tf.text.letter_runs import names_of
from switch_tf.text.spec import TextSpec
from switch_tf.training.known_runs import known_runs
from switch_tf.training.wide_fit import GramRows

SPELLS = TextSpec(unknown_words="letters")


def test_runs_rise_by_the_second_word_that_has_them() -> None:
    """cats and bats (ids 2, 3) have ats, ts> and ats>; that and what (4, 5) hat, at> and hat>."""
    runs = known_runs(SPELLS, ["cats", "bats", "that", "what"])
    assert runs is not None
    assert runs.words.tolist() == [3, 3, 3, 5, 5, 5]
    a, t, s = byte_codes(SPELLS.standardize)[list(b"ats")].tolist()
    first, second = names_of(np.array([[a, t, s, -1, -1], [a, t, s, 0, -1]]))
    names = {(int(runs.index.first[slot]), int(runs.index.second[slot])) for slot in range(len(runs.index.rows))}
    assert {tuple(first.tolist()), tuple(second.tolist())} <= names
    assert runs.index.keep(3).num_runs == 3


def test_weights_are_those_of_their_own_runs() -> None:
    """Of the grams by length and bytes, at> ats hat ts> ats> hat>, each weighs its number."""
    runs = known_runs(SPELLS, ["cats", "bats", "that", "what"])
    assert runs is not None
    weighed = runs.weighed(GramRows(np.arange(6, dtype=np.float32)[:, np.newaxis], rare_idf=2.0))
    assert weighed.rows.ravel().tolist() == [1, 3, 4, 0, 2, 5]
    assert weighed.rare_idf == 2.0


def test_unknown_words_that_are_all_alike_have_none() -> None:
    assert known_runs(TextSpec(), ["cats", "bats"]) is None
