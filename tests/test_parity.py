"""The gate must shut: each way an artifact can be off, by a little more than its bound, is a problem with a name."""

import numpy as np
import pytest

from switch_tf.artifacts.base import Answers
from switch_tf.errors import ModelError
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof.parity import BATCH_SIZES, compare, with_accuracy, with_rounding
from switch_tf.export.proof.reference import Reference
from switch_tf.export.proof.runner import in_batches

N = 10_000
TEXTS = [f"text {i}".encode() for i in range(N)]


def answers() -> Answers:
    random = np.random.default_rng(0)
    ids = random.integers(0, 9, [N, 5]).astype(np.int32)
    positive = random.uniform(0.6, 0.9, N).astype(np.float32)
    return Answers(ids, np.stack([1 - positive, positive], axis=1), ["pos"] * N)


class FakeRunner:
    """Answers as the reference does, but for `change`, which gets the batch size and fresh copies."""

    path = "model.fake"
    door: Door = "text"
    size = 5
    admits_invalid_utf8 = True

    def __init__(self, change, precision="float32"):
        self.change = change
        self.precision: Precision = precision

    def answer(self, texts, batch_sizes):
        results = []
        for size in batch_sizes:
            ids, probabilities, labels = answers()
            self.change(size, ids, probabilities, labels)
            results.append(Answers(ids, probabilities, labels))
        return results

    def tokenize(self, texts):
        return []

    def named_labels(self):
        return {}

    def named_rejections(self):
        return {}

    def parts(self):
        return []


def compared(change, near_tie=(), precision="float32"):
    ties = np.zeros(N, bool)
    ties[list(near_tie)] = True
    return compare(FakeRunner(change, precision), Reference(answers(), ties, []), TEXTS)


def shift(row, by):
    def change(size, ids, probabilities, labels):
        probabilities[row] += np.array([-by, by], np.float32)

    return change


def test_equal_answers_pass():
    comparison = compared(lambda *_: None)
    assert comparison.ok and comparison.problems == []
    assert (comparison.texts, comparison.ids_equal, comparison.labels_equal) == (N, N, N)
    assert (comparison.max_abs_diff, comparison.batch_invariance, comparison.routing_ties) == (0.0, 0.0, 0)


def test_a_probability_within_the_bound_passes_and_is_reported():
    comparison = compared(shift(7, 9.5e-6))
    assert comparison.ok
    assert comparison.max_abs_diff == pytest.approx(9.5e-6, rel=0.05)


@pytest.mark.parametrize("by", [1.05e-5, 0.3])
def test_a_probability_over_the_bound_fails_and_names_the_text(by):
    comparison = compared(shift(7, by))
    assert not comparison.ok
    assert comparison.problems == ["1 of 10000 texts: probabilities off by more than 1e-05; the first is b'text 7'"]


def test_one_class_over_the_bound_is_enough():
    def change(size, ids, probabilities, labels):
        probabilities[7, 1] += np.array(1.05e-5, np.float32)

    assert not compared(change).ok


def test_answers_of_another_shape_are_refused():
    class Wider(FakeRunner):
        def answer(self, texts, batch_sizes):
            return [each._replace(ids=np.zeros([N, 6], np.int32)) for each in super().answer(texts, batch_sizes)]

    expected = r"model\.fake answers ids \(10000, 6\)\. Expected \(10000, 5\): is it of this run\?"
    with pytest.raises(ModelError, match=expected):
        compare(Wider(lambda *_: None), Reference(answers(), np.zeros(N, bool), []), TEXTS)


def test_one_other_id_fails():
    def change(size, ids, probabilities, labels):
        ids[3, 2] += 1

    comparison = compared(change)
    assert comparison.ids_equal == N - 1
    assert any("other token ids" in problem for problem in comparison.problems)


def test_another_label_fails():
    def change(size, ids, probabilities, labels):
        labels[5] = "neg"

    comparison = compared(change)
    assert comparison.labels_equal == N - 1
    assert any("another label" in problem for problem in comparison.problems)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probability_that_is_no_number_fails(value):
    def change(size, ids, probabilities, labels):
        probabilities[9] = value

    for precision in ("float32", "int8"):
        comparison = compared(change, precision=precision)
        assert not comparison.ok
        assert comparison.as_dict()["max_abs_diff"] is None  # JSON knows no infinity


def vary(by, size_that_varies=1):
    def change(size, ids, probabilities, labels):
        if size == size_that_varies:
            probabilities[4] += np.array([-by, by], np.float32)

    return change


def test_answers_that_depend_on_the_batch_size_fail():
    def change_ids(size, ids, probabilities, labels):
        if size == 7:
            ids[4, 0] += 1

    words = "probabilities that differ by more than 1e-06 between batch sizes or signatures"
    assert compared(vary(1.1e-6)).problems == [f"1 of 10000 texts: {words}; the first is b'text 4'"]
    within = compared(vary(9e-7))
    assert within.ok and within.batch_invariance == pytest.approx(9e-7, rel=0.1)
    assert within.max_abs_diff == pytest.approx(9e-7, rel=0.1)  # of every answer, not of the first alone
    assert any("ids depend on the batch size" in problem for problem in compared(change_ids).problems)


def test_a_near_tie_over_the_bound_is_counted_and_passes_while_rare_and_small():
    comparison = compared(shift(7, 2e-5), near_tie=[7])
    assert comparison.ok
    assert comparison.routing_ties == 1
    assert comparison.max_abs_diff == 0.0


def test_a_near_tie_far_off_fails():
    problem = "1 of 10000 texts: a near-tie off by more than 0.01; the first is b'text 7'"
    assert compared(shift(7, 1.01e-2), near_tie=[7]).problems == [problem]
    assert compared(shift(7, 9.9e-3), near_tie=[7]).ok


def test_more_near_ties_over_the_bound_than_are_probable_in_a_healthy_model_fail():
    """Of 10,000 texts at one in a thousand, 21 or more are as likely as 0.0016 and pass; 22 or more, 0.0007, do not."""
    problem = (
        "22 near-ties over the bound among 10000 texts: expected at most 0.1% of the texts, and so many by chance less "
        "than once in 1,000"
    )
    assert compared(shift(slice(0, 22), 2e-5), near_tie=range(22)).problems == [problem]
    assert compared(shift(slice(0, 21), 2e-5), near_tie=range(21)).ok


def test_a_router_that_sends_most_tokens_elsewhere_fails_even_where_all_texts_are_near_ties():
    problems = compared(shift(slice(0, N // 2), 5e-3), near_tie=range(N)).problems
    assert len(problems) == 1 and problems[0].startswith("5000 near-ties over the bound among 10000 texts")


def test_a_near_tie_reads_the_same_ids_all_the_same():
    def change(size, ids, probabilities, labels):
        ids[3, 2] += 1

    assert compared(change, near_tie=[3]).problems == ["1 of 10000 texts: other token ids; the first is b'text 3'"]


def test_a_near_tie_with_another_label_is_counted_and_passes():
    def change(size, ids, probabilities, labels):
        if size == 7:
            labels[5] = "neg"

    comparison = compared(change, near_tie=[5])
    assert comparison.ok and (comparison.routing_ties, comparison.labels_equal) == (1, N - 1)


def test_a_near_tie_within_the_bound_is_not_counted():
    assert compared(lambda *_: None, near_tie=range(100)).routing_ties == 0


def test_a_near_tie_that_flips_between_batch_sizes_is_counted_too():
    comparison = compared(vary(3e-6), near_tie=[4])
    assert comparison.ok and (comparison.routing_ties, comparison.batch_invariance) == (1, 0.0)
    assert not compared(vary(3e-6), near_tie=[5]).ok
    assert not compared(vary(2e-2), near_tie=[4]).ok

    def both_ways(size, ids, probabilities, labels):  # each answer is off by less than 1e-2, and two of them by more
        by = {64: 6e-3, 7: -6e-3, 1: 0.0}[size]
        probabilities[4] += np.array([-by, by], np.float32)

    assert any("a near-tie off by more than 0.01" in problem for problem in compared(both_ways, near_tie=[4]).problems)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_quantized_artifact_may_be_off_but_not_read_other_tokens_or_vary(precision):
    def change_label(size, ids, probabilities, labels):
        labels[5] = "neg"

    def change_ids(size, ids, probabilities, labels):
        ids[3, 2] += 1

    comparison = compared(shift(7, 0.03), precision=precision)
    assert comparison.ok and comparison.max_abs_diff == pytest.approx(0.03, rel=1e-3)
    comparison = compared(change_label, precision=precision)
    assert comparison.ok and comparison.labels_equal == N - 1
    assert compared(vary(9e-4, 7), precision=precision).ok
    assert not compared(vary(1.1e-3, 7), precision=precision, near_tie=[4]).ok
    assert not compared(change_ids, precision=precision).ok


def test_a_smaller_artifact_may_lose_so_much_accuracy_and_no_more():
    comparison = compared(lambda *_: None, precision="int8")
    judged = with_accuracy(comparison, 0.7701, 0.78, 0.01)
    assert judged.ok and (judged.accuracy, judged.accuracy_of_trained_model, judged.max_loss) == (0.7701, 0.78, 0.01)
    assert with_accuracy(comparison, 0.9, 0.78, 0.01).ok
    judged = with_accuracy(comparison, 0.7699, 0.78, 0.01)
    lost = "accuracy 0.7699, over 0.01 below the trained model's 0.7800; allow more bytes, or a larger loss"
    assert judged.problems == [lost]
    assert with_accuracy(comparison, 0.7699, 0.78, 0.02).ok
    assert not with_accuracy(comparison, float("nan"), 0.78, 0.01).ok


@pytest.mark.parametrize(
    ("precision", "by", "texts", "problem"),
    [
        ("int8", 0.019, 1000, ""),
        ("int8", 0.021, 1000, "probabilities off by 2.1e-02 on average: expected at most 0.02"),
        ("int8", 0.29, 15, ""),
        ("int8", 0.51, 15, "a probability off by 5.1e-01: expected at most 0.5 of rounding"),
        ("float16", 4e-4, 1000, ""),
        ("float16", 6e-4, 1000, "probabilities off by 6.0e-04 on average: expected at most 0.0005"),
        ("float16", 0.09, 4, ""),
        ("float16", 0.11, 1, "a probability off by 1.1e-01: expected at most 0.1 of rounding"),
    ],
)
def test_rounding_may_move_probabilities_so_far_and_no_further(precision, by, texts, problem):
    expected = np.tile(np.array([[0.8, 0.2]], np.float32), [1000, 1])
    received = expected.copy()
    received[:texts] += np.array([by, -by], np.float32)  # which leaves the label
    judged = with_rounding(compared(lambda *_: None, precision=precision), received, expected)
    assert judged.problems == ([problem] if problem else [])
    assert judged.mean_abs_diff == pytest.approx(by * texts / 1000, rel=1e-4)
    assert judged.labels_changed == 0.0


@pytest.mark.parametrize(("changed", "ok"), [(30, True), (31, False)])
def test_rounding_may_change_three_labels_in_a_hundred(changed, ok):
    expected = np.tile(np.array([[0.51, 0.49]], np.float32), [1000, 1])
    received = expected.copy()
    received[:changed] = [[0.49, 0.51]]
    judged = with_rounding(compared(lambda *_: None, precision="int8"), received, expected)
    assert judged.ok == ok and judged.labels_changed == changed / 1000
    if not ok:
        assert judged.problems == ["3.10% of the labels changed by rounding: expected at most 3.00%"]


def test_probabilities_that_are_no_numbers_are_not_rounding():
    expected = np.full([4, 2], 0.5, np.float32)
    judged = with_rounding(compared(lambda *_: None, precision="int8"), expected * np.nan, expected)
    assert not judged.ok


def doubled(texts):
    """Answers that tell each text, and the batch it stood in."""
    numbers = [int(text or b"0") for text in texts]
    return Answers(
        np.array([[number, len(texts)] for number in numbers], np.int32),
        np.array([[number / 100] for number in numbers], np.float32),
        [f"label {number}" for number in numbers],
    )


def test_texts_are_asked_in_batches_of_each_size():
    texts = [b"%d" % number for number in range(10)]
    for answers, sizes in zip(in_batches(doubled, texts, (4, 1), None), ([4] * 8 + [2] * 2, [1] * 10), strict=True):
        assert answers.ids.tolist() == [[number, size] for number, size in enumerate(sizes)]
        assert answers.labels == [f"label {number}" for number in range(10)]


def test_where_the_batch_is_fixed_texts_are_asked_among_other_batch_mates():
    asked = []

    def ask(texts):
        asked.append(texts)
        return doubled(texts)

    texts = [b"%d" % number for number in range(1, 6)]
    results = in_batches(ask, texts, (64, 7, 1), 2)
    assert asked[:3] == [[b"1", b"2"], [b"3", b"4"], [b"5", b""]]
    rounds = [[text for batch in asked[start : start + 3] for text in batch] for start in (0, 3, 6)]
    assert all(sorted(each) == [b"", *texts] and each[-1] == b"" for each in rounds)
    assert len({tuple(each) for each in rounds}) == 3
    for answers in results:
        assert answers.ids.tolist() == [[number, 2] for number in range(1, 6)]
        assert answers.labels == [f"label {number}" for number in range(1, 6)]


def test_the_batch_sizes_hold_a_text_alone():
    assert set(BATCH_SIZES) == {1, 7, 64}
