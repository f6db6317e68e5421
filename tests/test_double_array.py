"""The trie in arrays finds what a dictionary of sequences finds, and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.text.double_array import build_double_array

CODES = 7
SEQUENCES = st.dictionaries(
    st.lists(st.integers(1, CODES - 1), min_size=1, max_size=6).map(tuple), st.integers(1, 1000), max_size=40
)


def test_a_small_one_by_hand() -> None:
    trie = build_double_array([{(1, 2): 5, (1,): 6}, {(2,): 7}], num_codes=4)
    assert [trie.longest(0, codes) for codes in ((1, 2, 3), (1, 3), (2,), ())] == [(2, 5), (1, 6), (0, 0), (0, 0)]
    assert [trie.longest(1, codes) for codes in ((2, 1), (1,))] == [(1, 7), (0, 0)]
    assert trie.dead == 2
    assert len(trie.base) == 7  # two roots, the dead slot, three nodes, and one that is empty: bases all differ


@settings(deadline=None)
@given(SEQUENCES, SEQUENCES, st.lists(st.lists(st.integers(0, CODES - 1), max_size=8), max_size=10))
def test_the_longest_sequence_is_found_from_either_root(first, second, asked) -> None:
    trie = build_double_array([first, second], CODES)
    for root, sequences in enumerate((first, second)):
        for codes in [*asked, *map(list, sequences)]:
            known = [size for size in range(1, len(codes) + 1) if tuple(codes[:size]) in sequences]
            expected = (known[-1], sequences[tuple(codes[: known[-1]])]) if known else (0, 0)
            assert trie.longest(root, codes) == expected


def test_the_dead_slot_has_no_children_and_every_address_is_in_reach() -> None:
    draw = np.random.default_rng(0)
    sequences = {tuple(draw.integers(1, 50, draw.integers(1, 5)).tolist()): number for number in range(1, 3000)}
    trie = build_double_array([sequences], 50)
    parents = trie.base[trie.base > 0]
    assert len(np.unique(parents)) == len(parents)  # a label tells whose child it is
    assert trie.base[trie.dead] == 0
    assert int(trie.base.max()) + 49 < len(trie.labels)
    assert len(trie.base) < 1.05 * (np.count_nonzero(trie.labels >= 0) + 2)  # hardly a slot is empty


def test_what_has_no_children_leads_nowhere_by_a_code_that_stands_first() -> None:
    """By the base of all that has none, 0, the code 3 would lead to slot 3, the first that is free for it."""
    trie = build_double_array([{(3,): 1, (3, 3): 2}], 8)
    assert trie.base[0] > 0
    assert trie.longest(0, (3, 3, 3, 3)) == (2, 2)


def test_no_sequences() -> None:
    assert build_double_array([{}, {}], 3).longest(0, [1, 2]) == (0, 0)


def test_the_longest_on_the_way_by_hand() -> None:
    trie = build_double_array([{(1, 2): 5, (1, 2, 3, 3): 6}, {(2,): 7}], num_codes=4)
    depths, values = trie.longest_on_the_way()

    def at(root: int, *codes: int) -> tuple[int, int]:
        node = root
        for code in codes:
            node = int(trie.base[node]) + code
            assert trie.labels[node] == code
        return int(depths[node]), int(values[node])

    assert [at(0), at(0, 1), at(0, 1, 2), at(0, 1, 2, 3)] == [(0, 0), (0, 0), (2, 5), (2, 5)]
    assert [at(0, 1, 2, 3, 3), at(1), at(1, 2)] == [(4, 6), (0, 0), (1, 7)]
    assert depths[trie.dead] == values[trie.dead] == 0


def test_children_are_told_in_16_bits_whatever_the_slots() -> None:
    sequences: dict[tuple[int, ...], int] = {(each // 200 + 1, each % 200 + 1, 1): 1 for each in range(20_000)}
    trie = build_double_array([sequences], 202)
    assert trie.base.dtype == np.int32
    assert trie.labels.dtype == np.int16
    assert len(trie.base) > 2**15
