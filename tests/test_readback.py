"""Reading back: what is found, what is not, and what a quantized array may be off by; by hand."""

import numpy as np
import pytest

from switch_tf.export.proof.readback import Expected, Part, Stored, holds, read_back

MATRIX = np.array([[1.0, -2.0, 3.1], [4.0, 5.0, -6.0]], np.float32)


def problems(stored, weights, **changes):
    part = Part("", frozenset({"weights"}), stored, **changes)
    return read_back([part], Expected(weights, {"w": 2 * weights["w"]} if "w" in weights else {}, {}, {}))


@pytest.mark.parametrize("arranged", [MATRIX, MATRIX.T, MATRIX.reshape(2, 1, 3), MATRIX.T.reshape(1, 3, 2, 1)])
def test_an_array_is_found_transposed_and_reshaped(arranged):
    assert holds(Stored("x", np.ascontiguousarray(arranged)), MATRIX)


def test_axes_of_length_one_and_order_do_not_matter_but_values_do():
    cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for order in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
        assert holds(Stored("x", cube.transpose(order)), cube)
    wrong = cube.copy()
    wrong[1, 2, 3] = np.nextafter(np.float32(23), np.float32(24))
    assert not holds(Stored("x", wrong), cube)
    assert not holds(Stored("x", cube[::-1]), cube)


def test_experts_may_be_stored_one_by_one_each_in_an_array_of_its_own():
    """As the graphs of long texts hold them, where each expert has a matrix product of its own."""
    experts = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    apart = [Stored(str(number), each.T.copy()) for number, each in enumerate(experts)]
    assert problems(apart[::-1], {"w": experts}) == []
    assert "is not stored" in problems(apart[:2], {"w": experts})[0]
    twice = experts[[0, 0, 1]]
    assert "is not stored" in problems(apart, {"w": twice})[0] and problems([*apart, apart[0]], {"w": twice}) == []
    wrong = apart[1].values.copy()
    wrong[1, 3] += np.float32(1e-3)
    assert "is not stored" in problems([apart[0], Stored("1", wrong), apart[2]], {"w": experts})[0]
    assert "is not stored" in problems([Stored("row", row) for row in MATRIX], {"w": MATRIX})[0]  # a matrix is whole


def test_integers_are_found_in_any_width_and_floats_are_no_integers():
    ids = np.array([3, 1, 2], np.int32)
    assert holds(Stored("x", ids.astype(np.int16)), ids)
    assert not holds(Stored("x", np.array([3, 1, 3], np.int16)), ids)
    assert not holds(Stored("x", ids.astype(np.float32)), ids)
    assert not holds(Stored("x", ids), ids.astype(np.float32))


def test_float16_is_the_nearest():
    third = np.array([1 / 3, 2 / 3], np.float32)
    nearest = third.astype(np.float16)
    assert holds(Stored("x", nearest), third)
    assert not holds(Stored("x", np.nextafter(nearest, np.float16(1))), third)
    assert not holds(Stored("x", np.array([np.inf, 1], np.float16)), np.array([1e5, 2], np.float32))


# Columns of MATRIX have the largest values 4, 5 and 6; over 127 steps.
SCALE = np.array([[4, 5, 6]], np.float32) / 127
STEPS = np.round(MATRIX / SCALE).astype(np.int8)


def test_int8_is_within_half_a_step_with_the_right_scale():
    assert STEPS.tolist() == [[32, -51, 66], [127, 127, -127]]
    assert holds(Stored("x", STEPS, SCALE), MATRIX)
    assert holds(Stored("x", STEPS.T, SCALE.T), MATRIX)
    for place in np.ndindex(2, 3):
        wrong = STEPS.copy()
        wrong[place] -= np.sign(wrong[place])
        assert not holds(Stored("x", wrong, SCALE), MATRIX), place


@pytest.mark.parametrize("factor", [3, 1 / 3, 1.001, 1 + 3e-6])
def test_another_scale_is_found_even_where_every_value_is_near(factor):
    assert not holds(Stored("x", STEPS, SCALE * np.float32(factor)), MATRIX)
    wrong = SCALE.copy()
    wrong[0, 1] *= np.float32(factor)
    assert not holds(Stored("x", STEPS, wrong), MATRIX)


def test_one_scale_for_all():
    scale = np.array(6 / 127, np.float32)
    steps = np.round(MATRIX / scale).astype(np.int8)
    assert holds(Stored("x", steps, scale), MATRIX)
    assert not holds(Stored("x", STEPS, scale), MATRIX)


def test_zeros_have_any_scale():
    zeros = np.zeros([2, 3], np.float32)
    assert holds(Stored("x", np.zeros([2, 3], np.int8), np.ones([1, 3], np.float32)), zeros)


def test_what_is_missing_is_named_with_what_comes_nearest():
    wrong = MATRIX.copy()
    wrong[1, 1] += np.float32(1e-3)
    near = "w [2, 3] is not stored as the run has it: the nearest array differs in 1 of its values, by up to 1.0e-03"
    assert problems([Stored("a", wrong.T), Stored("b", -MATRIX)], {"w": MATRIX}) == [near]
    assert problems([], {"w": MATRIX}) == ["w [2, 3] is not stored as the run has it"]
    assert problems([Stored("a", MATRIX)], {"w": MATRIX}) == []


def test_single_numbers_are_not_searched():
    assert problems([], {"scalar": np.array([0.3], np.float32)}) == []


def test_a_constant_may_be_folded_in_where_the_converter_does_so():
    stored = [Stored("a", 2 * MATRIX)]
    assert problems(stored, {"w": MATRIX}, folded=True) == []
    assert len(problems(stored, {"w": MATRIX})) == 1
    assert len(problems([Stored("a", 3 * MATRIX)], {"w": MATRIX}, folded=True)) == 1


def test_every_part_is_looked_at_by_itself():
    parts = [Part(where, frozenset({"weights"}), [Stored("a", MATRIX)]) for where in ("one", "two")]
    parts.append(Part("three", frozenset({"weights"})))
    parts.append(Part("four", frozenset()))
    assert read_back(parts, Expected({"w": MATRIX}, {}, {}, {})) == ["three: w [2, 3] is not stored as the run has it"]


def test_tables_of_the_bytes_front_end():
    part = Part("", frozenset({"bytes"}), [Stored("a", np.array([1, 2], np.int16))])
    assert read_back([part], Expected({"w": MATRIX}, {}, {"table": np.array([1, 2], np.int32)}, {})) == []
    (problem,) = read_back([part], Expected({}, {}, {"table": np.array([1, 3], np.int32)}, {}))
    assert problem.startswith("table [2] is not stored as the run has it")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"film": 2, "fine": 3}, []),
        ({"": 0, "[UNK]": 1, "film": 2, "fine": 3}, []),
        ({"film": 2}, ["its vocabulary lacks 1 words of the run's; the first is 'fine'"]),
        ({"film": 2, "fine": 3, "x": 2}, ["its vocabulary has more than 1 words of the run's; the first is 'x'"]),
        ({"film": 3, "fine": 2}, ["its vocabulary gives another id to 2 words of the run's; the first is 'film'"]),
        (None, ["its vocabulary lacks 2 words of the run's; the first is 'film'"]),
    ],
)
def test_words_and_their_ids(words, expected):
    part = Part("", frozenset({"words"}), words=words)
    assert read_back([part], Expected({}, {}, {}, {"film": 2, "fine": 3})) == expected
