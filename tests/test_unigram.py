"""The graph that reads unigram pieces gives the ids of `PlainUnigram` in TensorFlow, XLA, LiteRT and ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from front_end_graphs import (
    WIDTH,
    Ask,
    also_broken,
    check_litert,
    in_batches,
    in_onnx_runtime,
    in_tensorflow,
    under_xla,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepieces import TEXTS, make_spec, random_texts, vocabulary

from switch_tf.text.byte_codes import pack
from switch_tf.text.code_points import StringCodePoints
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.spec import TextSpec
from switch_tf.text.spelling import hard_texts
from switch_tf.text.unigram import NEVER, NumericUnigram, _candidates, _Found, _last_sizes, _sums, reached
from switch_tf.text.unigram_table import piece_of

LONGEST = 7
# Rules, sums, truncation, and how many texts: one graph of each of the two ways to add goes through every runtime.
KINDS: dict[str, dict[str, Any]] = {
    "exact": {},
    "sequential": {"unigram_sums": "sequential", "normalization": "nmt_nfkc"},
    "identity": {"normalization": "identity"},
    "dropping": {"truncation": "drop", "normalization": "nfkc_cf"},
}


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    """As they are, and with bytes put in that are not UTF-8."""
    return also_broken([text.encode() for text in [*TEXTS, *random_texts(240)]])


@pytest.fixture(scope="module")
def front_ends() -> dict[str, tuple[PlainUnigram, NumericUnigram]]:
    """The definition and what makes graphs, of each kind."""

    def both(changes: dict[str, Any]) -> tuple[PlainUnigram, NumericUnigram]:
        spec = make_spec(**changes)
        entries = vocabulary(exact=spec.unigram_sums == "exact")
        entries = [each for each in entries if len(piece_of(each)) <= LONGEST]  # a graph takes as many steps
        return PlainUnigram(spec, entries), NumericUnigram(spec, entries)

    return {name: both(changes) for name, changes in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_loops_know_the_batch_where_it_is_known(kind: str, front_ends: dict[str, Any]) -> None:
    """Or LiteRT.js does not know the memory of what they give, and refuses the file."""
    numeric = front_ends[kind][1]
    row = tf.TensorSpec([1, numeric.spec.num_bytes], tf.uint8)
    graph = tf.function(numeric.__call__, autograph=False).get_concrete_function(row).graph
    loops = [each for each in graph.get_operations() if "While" in each.type]
    assert loops and all(output.shape.is_fully_defined() for loop in loops for output in loop.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow(front_ends: Any, texts: list[bytes], kind: str) -> None:
    plain, numeric = front_ends[kind]
    np.testing.assert_array_equal(in_batches(in_tensorflow(numeric), texts), plain.ids(texts))


@pytest.mark.slow
def test_strings_are_read_as_bytes_are(front_ends: Any, texts: list[bytes]) -> None:
    plain, numeric = front_ends["exact"]
    strings = tf.function(StringCodePoints(numeric).__call__).get_concrete_function(tf.TensorSpec([None], tf.string))
    np.testing.assert_array_equal(strings(tf.constant(texts)).numpy(), plain.ids(texts))
    assert strings(tf.constant([], tf.string)).shape == (0, 32)


@pytest.mark.slow
def test_xla(front_ends: Any, texts: list[bytes]) -> None:
    plain, numeric = front_ends["exact"]
    np.testing.assert_array_equal(in_batches(under_xla(numeric), texts), plain.ids(texts))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "sequential"])
def test_litert(front_ends: Any, texts: list[bytes], kind: str) -> None:
    plain, numeric = front_ends[kind]
    check_litert(numeric, texts, plain.ids(texts), alone=50)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "sequential"])
def test_onnx_runtime(front_ends: Any, texts: list[bytes], kind: str) -> None:
    plain, numeric = front_ends[kind]
    np.testing.assert_array_equal(in_batches(in_onnx_runtime(numeric), texts), plain.ids(texts))


PIECES = ["\u2581film\t-3", "s\t-4", "\u2581a\t-2", "\u2581\t-5", "o\t-4.5", "oo\t-9", "ooo\t-13.5", "ñ\t-6"]


@pytest.fixture(scope="module")
def small() -> tuple[PlainUnigram, Ask]:
    return PlainUnigram(make_spec(), PIECES), in_tensorflow(NumericUnigram(make_spec(), PIECES))


def test_the_gate_asks_sums_that_are_equal() -> None:
    """o and oo, and oo and o, are both worth -13.5, as ooo is."""
    asked = hard_texts(make_spec(), PIECES)
    assert any(text.startswith("a") and text.endswith("ooo") and len(text) == 5 for text in asked)


PARTS = ["film", " ", "oo", "ooooo", "a s", "n\u0303", "\u0303", "½", "\u2581", "\0", "S", "☃☃", "\u3000", "ﷺ"]
ROWS = st.lists(
    st.one_of(
        st.binary(max_size=2 * WIDTH),
        st.text(max_size=WIDTH).map(str.encode),
        st.lists(st.sampled_from(PARTS), max_size=30).map("".join).map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@settings(deadline=None)
@given(rows=ROWS)
def test_any_bytes(small: tuple[PlainUnigram, Ask], rows: list[bytes]) -> None:
    plain, ask = small
    np.testing.assert_array_equal(in_batches(ask, rows), plain.ids(rows))


@pytest.mark.slow
def test_by_hand() -> None:
    spec = TextSpec(tokenizer="unigram", sequence_length=6, byte_length=16)
    ids = NumericUnigram(spec, PIECES)(tf.constant(pack(["a  FILMS ☃☃", "ooo", "n\u0303o", ""], 16)))
    assert ids.numpy().tolist() == [[4, 2, 3, 5, 1, 0], [5, 8, 0, 0, 0, 0], [5, 9, 6, 0, 0, 0], [0] * 6]


@pytest.mark.slow
def test_sums_are_rounded_from_the_left_by_hand() -> None:
    """a and b are worth more than ab, by 2^-21; what stands before takes so many bits that both are worth the same."""
    pieces = ["a\t-3", "b\t-3.0000002", "ab\t-6.0000005", "x\t-50", "\u2581\t-1"]
    spec = TextSpec(
        tokenizer="unigram", unigram_sums="sequential", normalization="identity", sequence_length=16, byte_length=32
    )
    texts = [b"ab", b"xxxxxxxxxxab", b"ab xxxxxxxxxx ab"]
    expected = [[6, 2, 3], [6, *[5] * 10, 4], [6, 2, 3, 6, *[5] * 10, 6, 4]]
    ids = NumericUnigram(spec, pieces)(tf.constant(pack(texts, 32))).numpy()
    assert [[number for number in row if number] for row in ids.tolist()] == expected
    np.testing.assert_array_equal(ids, PlainUnigram(spec, pieces).ids(texts))


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [([1, 2, 3, 4], [1, 1, 1, 1]), ([2, 4, 4, 4], [1, 0, 1, 0]), ([4, 4, 4, 4], [1, 0, 0, 0])],
)
def test_what_jumps_lead_to(jumps: list[int], expected: list[int]) -> None:
    first = tf.constant([[True, False, False, False]])
    assert tf.cast(reached(first, tf.constant([jumps])), tf.int32).numpy().tolist() == [expected]


def test_jumps_of_a_row_stay_in_it() -> None:
    first = tf.constant([[False, False], [True, False], [False, True]])
    jumps = tf.constant([[1, 2], [1, 2], [2, 2]])
    assert reached(first, jumps).numpy().tolist() == [[False, False], [True, True], [False, True]]


def test_scores_are_turned_from_where_pieces_begin_to_where_they_end_by_hand() -> None:
    """Of "ab" and "c": a, ab and b with scores of -1, -2 and -4, then c with -8; M = 2."""
    scores = tf.constant([[[-1.0, -4.0], [-2.0, NEVER]], [[-8.0, -16.0], [NEVER, NEVER]]])
    ends = _candidates(_Found(tf.zeros([2, 2, 2], tf.int32), scores, tf.ones([2, 2], tf.int32)))
    assert ends.numpy().tolist() == [
        [[NEVER, -1.0, -4.0], [NEVER, NEVER, -2.0]],
        [[NEVER, -8.0, -16.0], [NEVER, NEVER, NEVER]],
    ]
    best = tf.constant([[0.0, -1.0, -2.0], [-32.0, -40.0, -56.0]])
    sums = _sums(ends, best).numpy()
    assert (sums[:, :, 1:] >= NEVER / 2).tolist() == [[[True, True], [False, True]], [[True, True], [False, False]]]
    assert [*sums[0, 0, 1:], sums[0, 1, 2], *sums[1, 0, 1:]] == [-1.0, -5.0, -2.0, -40.0, -56.0]
    assert (sums[:, :, 0] < NEVER / 2).all()
    assert _last_sizes(ends, best).numpy()[:, 1:].tolist() == [[1, 2], [1, 1]]


def test_of_equal_sums_the_longest_last_piece_counts() -> None:
    ends = tf.constant([[[NEVER, -1.0, -1.0, -1.0], [NEVER, NEVER, -2.0, -2.5], [NEVER, NEVER, NEVER, -3.0]]])
    assert _last_sizes(ends, tf.constant([[0.0, -1.0, -2.0, -3.0]])).numpy()[0, 1:].tolist() == [1, 2, 3]


@pytest.mark.slow
def test_what_is_said_of_the_constants(front_ends: Any) -> None:
    numeric = front_ends["exact"][1]
    arrays = numeric.stored_arrays()
    assert {name.removeprefix("bytes front-end/") for name in arrays} == {
        *("characters", "further", "alone", "lengths", "codes", "scores"),
        *("rules/base", "rules/labels", "rules/found", "trie/base", "trie/labels", "trie/ids"),
    }
    assert numeric.table_bytes == sum(each.nbytes for each in arrays.values()) < 150_000
    assert all(np.issubdtype(each.dtype, np.integer) for each in arrays.values())
    assert numeric.dropped_words == 0
