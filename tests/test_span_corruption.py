"""Spans that are cut out of texts, by hand and by chance."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from switch_tf.data.span_corruption import corrupt, longest, random_mask, span_counts

END, SENTINELS = 1, [99, 98, 97, 96]


def marked(marks: str) -> np.ndarray:
    return np.array([mark == "x" for mark in marks])


def test_the_example_of_the_paper() -> None:
    """Raffel et al. 2020, figure 2: "Thank you for inviting me to your party last week", ids 10 to 19."""
    cut = corrupt(range(10, 20), marked("..xx....x."), SENTINELS, END)
    assert cut.inputs == [10, 11, 99, 14, 15, 16, 17, 98, 19, END]
    assert cut.targets == [99, 12, 13, 98, 18, END]


def test_spans_at_both_ends_and_all_of_a_text() -> None:
    assert corrupt([5, 6, 7], marked("x.x"), SENTINELS, END) == ([99, 6, 98, END], [99, 5, 98, 7, END])
    assert corrupt([5, 6], marked("xx"), SENTINELS, END) == ([99, END], [99, 5, 6, END])
    assert corrupt([5], marked("."), SENTINELS, END) == ([5, END], [END])


def test_counts_by_hand() -> None:
    assert span_counts(100, 0.15, 3.0) == (15, 5)
    assert span_counts(3, 0.15, 3.0) == (1, 1)
    assert span_counts(10, 0.9, 1.0) == (9, 1)  # no more spans than ids that are kept between them
    assert longest(4, 0.5, 1.0) == (5, 5)  # 4 ids: two cut out in two spans, so 2 + 2 + 1 and 2 + 2 + 1


def test_a_mask_by_hand() -> None:
    """4 of 10 ids in 2 spans: the 6 that are kept are cut behind the second one, the 4 others behind the first."""

    class Drawn:
        def __init__(self) -> None:
            self.answers = [[1], [0]]

        def choice(self, below: int, count: int, replace: bool) -> np.ndarray:
            assert (below, count, replace) in [(5, 1, False), (3, 1, False)]
            return np.array(self.answers.pop(0))

    mask = random_mask(10, 0.4, 2.0, Drawn())  # type: ignore[arg-type]
    assert "".join("x" if each else "." for each in mask) == "..x....xxx"


@given(
    st.integers(2, 300),
    st.floats(0.01, 0.9),
    st.floats(1.0, 10.0),
    st.integers(0, 2**32 - 1),
)
def test_nothing_is_lost_and_the_sizes_are_those_that_were_foretold(
    length: int, rate: float, mean_span: float, seed: int
) -> None:
    ids, sentinels = list(range(1000, 1000 + length)), list(range(999, 0, -1))
    mask = random_mask(length, rate, mean_span, np.random.default_rng(seed))
    cut, spans = span_counts(length, rate, mean_span)
    assert mask.shape == (length,) and mask.sum() == cut and not mask[0] and mask[-1]
    corrupted = corrupt(ids, mask, sentinels, END)
    assert [each for each in corrupted.inputs if each < 1000] == [*sentinels[:spans], END]
    assert [each for each in corrupted.targets if each < 1000] == [*sentinels[:spans], END]
    # Each sentinel of the inputs replaced by what the targets say of it gives the text again.
    said: dict[int, list[int]] = {}
    for each in corrupted.targets[:-1]:
        if each < 1000:
            latest = said.setdefault(each, [])
        else:
            latest.append(each)
    assert [part for each in corrupted.inputs[:-1] for part in said.get(each, [each])] == ids
    most = longest(length, rate, mean_span)
    assert len(corrupted.inputs) <= most[0] and len(corrupted.targets) <= most[1]
