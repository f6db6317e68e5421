"""Pairs have the rows they were given, in NumPy and in a graph, for small and large vocabularies; grams are runs."""

import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import RunError
from switch_tf.text import ngrams
from switch_tf.text.ngrams import PairIndex, build_pair_index, count_codes, neighbours, pair_codes, word_grams
from switch_tf.text.perfect_hash import KeyCollisionError

SIZES = [3, 500, 46_340, 46_341, 1_000_000]  # the third is the last that one code does for
KNOWN = [[0, 2], [2, 1], [1, 2], [2, 0]]


def zipf_pairs(count: int, num_ids: int, seed: int = 0) -> np.ndarray:
    """Different pairs, in no order, in which small ids are far more frequent, as words are."""
    random = np.random.default_rng(seed)
    ids = np.minimum((num_ids * random.random([5 * count, 2]) ** 6).astype(np.int64), num_ids - 1)
    pairs = np.unique(ids, axis=0)
    return random.permutation(pairs[pairs.sum(axis=1) > 0])[:count]


class TestPairs:
    def test_of_a_text(self) -> None:
        previous, this = neighbours(np.array([[7, 8, 9], [5, 0, 0], [0, 0, 0]]))
        assert previous.tolist() == [[0, 7, 8, 9], [0, 5, 0, 0], [0, 0, 0, 0]]
        assert this.tolist() == [[7, 8, 9, 0], [5, 0, 0, 0], [0, 0, 0, 0]]

    @pytest.mark.parametrize("num_ids", SIZES)
    def test_rows(self, num_ids: int) -> None:
        index = build_pair_index(np.array(KNOWN), num_ids)
        ids = np.array([[2, 1, 2], [2, 2, 0], [1, 0, 0], [0, 0, 0]], np.int32)
        expected = [[0, 1, 2, 3], [0, 4, 3, 4], [4, 4, 4, 4], [4, 4, 4, 4]]
        assert index.find(ids).tolist() == expected
        assert index.look_up(tf.constant(ids)).numpy().tolist() == expected

    def test_one_code_is_worked_out_by_hand(self) -> None:
        assert [code.tolist() for code in pair_codes(np.array([3, 0]), np.array([4, 9]), 500)] == [[139_024, 9]]

    def test_two_codes_are_worked_out_by_hand(self) -> None:
        """p q = 2,147,397,151, divided by 99,999 is 21,474."""
        codes = pair_codes(np.array([3, 0]), np.array([4, 9]), 100_000)
        assert [code.tolist() for code in codes] == [[64_423, 9], [85_895, 193_257]]

    @pytest.mark.parametrize("num_ids", SIZES)
    def test_codes_of_the_largest_ids_can_be_mixed_in_int32(self, num_ids: int) -> None:
        last = np.array([num_ids - 1], np.int32)
        codes = pair_codes(last, last, num_ids)
        exact = pair_codes(num_ids - 1, num_ids - 1, num_ids)
        assert [code.tolist() for code in codes] == [[code] for code in exact]
        assert len(codes) == count_codes(num_ids) and max(exact) < ngrams._P * ngrams._Q < 2**31
        mixed = [mix.item() for mix in ngrams._mix(codes)]
        assert mixed == list(ngrams._mix(exact)) and max(mixed) < 2**31

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.data(), st.sampled_from(SIZES))
    def test_those_known_are_found_and_no_other(self, data: st.DataObject, num_ids: int) -> None:
        one = st.one_of(st.integers(0, 2), st.integers(0, num_ids - 1), st.just(num_ids - 1))
        known = data.draw(st.lists(st.tuples(one, one), max_size=30, unique=True))
        rows = {pair: row for row, pair in enumerate(known) if pair != (0, 0)}
        known = list(rows)
        rows = {pair: row for row, pair in enumerate(known)}
        index = build_pair_index(np.array(known, np.int64).reshape(-1, 2), num_ids)
        words = st.one_of(one, st.sampled_from([word for pair in known for word in pair] or [1]))
        ids = np.array(data.draw(st.lists(st.lists(words, min_size=4, max_size=4), min_size=1, max_size=5)), np.int32)
        expected = [
            [rows.get(pair, len(rows)) for pair in zip([0, *text], [*text, 0], strict=True)] for text in ids.tolist()
        ]
        assert index.find(ids).tolist() == expected
        assert index.look_up(tf.constant(ids)).numpy().tolist() == expected
        assert index.find(ids).dtype == np.int32

    @pytest.mark.parametrize("num_ids", [300, 20_000, 46_340, 46_341, 1_000_000])
    def test_frequent_words_do_not_crowd(self, num_ids: int) -> None:
        """Ids given to the perfect hash as they are take minutes."""
        pairs = zipf_pairs(20_000, num_ids)
        started = time.perf_counter()
        index = build_pair_index(pairs, num_ids)
        assert time.perf_counter() - started < 10
        assert len(index.rows) < 1.1 * len(pairs)
        assert index.find(pairs.astype(np.int32))[:, 1].tolist() == list(range(len(pairs)))

    def test_no_pair_is_known(self) -> None:
        index = build_pair_index(np.zeros([0, 2]), 10)
        assert index.find(np.array([[3, 0]], np.int32)).tolist() == [[0, 0, 0]]
        assert index.look_up(tf.constant([[3, 0]])).numpy().tolist() == [[0, 0, 0]]

    def test_the_same_pair_twice(self) -> None:
        with pytest.raises(KeyCollisionError):
            build_pair_index(np.array([[1, 2], [3, 4], [1, 2]]), 10)

    @pytest.mark.parametrize("pair", [[3, 10], [-1, 3]])
    def test_an_id_out_of_range(self, pair: list[int]) -> None:
        with pytest.raises(ValueError, match=r"Expected 0 to 9\."):
            build_pair_index(np.array([pair, [1, 1]]), 10)

    def test_too_many_ids(self) -> None:
        with pytest.raises(ValueError, match=r"Received 1000001 ids\. Expected at most 1000000"):
            build_pair_index(np.array([[1, 1]]), 1_000_001)


class TestArrays:
    @pytest.mark.parametrize("num_ids", [500, 46_340, 46_341, 1_000_000])
    def test_pairs_are_had_back_from_codes(self, num_ids: int) -> None:
        pairs = np.concatenate([zipf_pairs(500, num_ids), [[num_ids - 1, num_ids - 1], [0, num_ids - 1]]])
        np.testing.assert_array_equal(build_pair_index(pairs, num_ids).pairs, pairs)

    @pytest.mark.parametrize("num_ids", [500, 50_000])
    def test_there_and_back(self, num_ids: int) -> None:
        index = build_pair_index(np.array(KNOWN), num_ids)
        arrays = index.to_arrays()
        assert {name: array.dtype.name for name, array in arrays.items()} == dict.fromkeys(arrays, "int32")
        again = PairIndex.from_arrays(arrays, num_ids, 4, "wide.safetensors")
        ids = np.array([[2, 1, 2], [2, 2, 0]], np.int32)
        assert again.find(ids).tolist() == index.find(ids).tolist() == [[0, 1, 2, 3], [0, 4, 3, 4]]

    @pytest.mark.parametrize("name", ["shifts", "codes", "rows"])
    def test_one_is_missing_or_of_another_type(self, name: str) -> None:
        arrays = build_pair_index(np.array(KNOWN), 500).to_arrays()
        for damage in ({}, {name: arrays[name].astype(np.float32)}):
            damaged = {key: array for key, array in arrays.items() if key != name} | damage
            with pytest.raises(RunError, match=f"wide.safetensors holds .* as '{name}'. Expected int32"):
                PairIndex.from_arrays(damaged, 500, 4, "wide.safetensors")

    @pytest.mark.parametrize("damage", ["codes of another vocabulary", "no slot", "no group", "shape", "row", "shift"])
    def test_damaged(self, damage: str) -> None:
        arrays = build_pair_index(np.array(KNOWN), 500).to_arrays()
        none = np.zeros(0, np.int32)
        changes = {
            "codes of another vocabulary": {"codes": np.repeat(arrays["codes"], 2, axis=0)},
            "no slot": {"rows": none, "codes": none[np.newaxis]},
            "no group": {"shifts": none},
            "shape": {"rows": arrays["rows"][:, np.newaxis]},
            "row": {"rows": arrays["rows"] + 1},
            "shift": {"shifts": arrays["shifts"] - 5},
        }
        with pytest.raises(RunError, match=r"wide.safetensors holds a pair index .* train again\."):
            PairIndex.from_arrays(arrays | changes[damage], 500, 4, "wide.safetensors")


class TestGrams:
    def test_by_hand(self) -> None:
        """<cat> and <cats> share "<ca", "cat" and "<cat"; <cat> itself is no gram, and <at> shares "at>" with <cat>."""
        grams = word_grams([b"cat", b"cats", b"dog", b"at"], 6, 2)
        assert grams.dtype == np.float32
        assert grams.toarray().tolist() == [
            [0, 0, 0, 0],
            [0, 0, 0, 0],
            [1, 1, 1, 1],  # <ca at> cat <cat
            [1, 0, 1, 1],
            [0, 0, 0, 0],
            [0, 1, 0, 0],
        ]

    def test_a_gram_that_a_word_has_twice_counts_once(self) -> None:
        assert word_grams([b"nanana", b"banana"], 4, 2).max() == 1.0

    def test_a_longer_gram_is_another(self) -> None:
        """Bytes of value 0 in front would make them equal if lengths did not count."""
        assert word_grams([b"\0ab", b"xab"], 2, 0).toarray().tolist() == [[1.0], [1.0]]  # "ab>"

    def test_bytes_of_any_value(self) -> None:
        shared = word_grams(["übel".encode(), "Übel".encode()], 2, 0)  # bel, el> and bel>; two bytes are not enough
        assert shared.toarray().tolist() == [[1.0] * 3] * 2

    @pytest.mark.parametrize("words", [[], [b"a"], [b"a", b"b"]])
    def test_none(self, words: list[bytes]) -> None:
        assert word_grams(words, 4, 2).shape == (4, 0)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.binary(min_size=1, max_size=9), unique=True, max_size=12))
    def test_as_counted_word_by_word(self, words: list[bytes]) -> None:
        sets = []
        for word in words:
            framed = b"<" + word + b">"
            runs = {framed[i : i + size] for size in (3, 4, 5) for i in range(len(framed) - size + 1)}
            sets.append(runs - {framed})
        shared = {run for runs in sets for run in runs if sum(run in other for other in sets) > 1}
        order = sorted(shared, key=lambda run: (len(run), run))
        expected = [[float(run in runs) for run in order] for runs in sets]
        assert word_grams(words, len(words), 0).toarray().tolist() == expected
