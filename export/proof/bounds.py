"""How far an artifact may be off, and why so far.

**float32.** Kernels differ in the last bit: probabilities within `PROBABILITY_BOUND`, between batch sizes within
`INVARIANCE_BOUND`, ids and labels equal.

**Near-ties.** An argmax over nearly equal router logits may flip with that last bit. A text is a near-tie when some
real token's two best router logits are closer than `NEAR_TIE` in some Switch layer of the reference. Near-ties over the
bound are rare in a healthy model: of 5,000 texts through four blocks, 3 were. A share needs a sample that it can be
measured on, so it is not compared with `NEAR_TIE_SHARE` itself (one text in 528 is over a thousandth, and healthy):
they are too many when so many would be improbable at that share, by the binomial distribution.

**Rounding.** Weights in float16 or int8 give other probabilities, the same ids, and answers that depend on the batch by
less than `QUANTIZED_INVARIANCE_BOUND`. The largest figures of four models (reviews, sst2, trec with eight experts, and
trec by the default recipe) in TFLite and ONNX, on their 500 to 1,958 test texts, beside the smallest of the first three
with every int8 scale three times too large or too small, and with every scale 1.2 times too large:

                      float16    int8       bound of int8    scales x 3 or / 3    scales x 1.2
    mean |dp|         8e-5       0.0048     0.02             0.050                0.011
    largest |dp|      0.024      0.054      0.5              0.29                 0.070
    labels changed    none       0.22 %     3 %              5.2 %                0.9 %

Of the default recipe on eleven sets two are further off in int8, and sound: one of imdb's 25,000 test texts by 0.33,
and 2.27 % of the labels of the tweets in eight languages, of which the model knows little more than half. The bound
on the mean is four times what was measured, since deeper models round more often on their way, and it and that on
labels are well below what wrong scales do; a scale that is wrong by little is found when it is read back. One text
may be far off where its rounded router logits choose another expert, so the bound on the largest is wide. An artifact
may lose one point of accuracy by rounding, or two when words were left out besides, unless told otherwise.

A reject threshold is crossed by texts whose highest probability lies about as near to it as probabilities are off, so
the bound is wider than that on labels. Measured on clinc150 with a threshold of 0.67: 0.2 % in int8, 0.02 % in
float16, of 4,500 test texts in TFLite and ONNX; a two-class model has more texts near any one threshold.
"""

from typing import NamedTuple

from scipy.special import bdtrc

from switch_tf.export.options import Precision

PROBABILITY_BOUND = 1e-5
INVARIANCE_BOUND = 1e-6
NEAR_TIE_SHARE = 0.001  # of the texts, in a healthy model at most
NEAR_TIE_IMPROBABLE = 0.001
NEAR_TIE_BOUND = 1e-2  # on their probabilities
QUANTIZED_INVARIANCE_BOUND = 1e-3


def too_many_near_ties(ties: int, texts: int) -> bool:
    """Whether a healthy model would have so many near-ties over the bound less than once in a thousand times.

    >>> [too_many_near_ties(ties, 528) for ties in (1, 4, 5)], too_many_near_ties(2, 2)
    ([False, False, True], True)
    """
    return probability_of_as_many(ties, texts, NEAR_TIE_SHARE) < NEAR_TIE_IMPROBABLE


def probability_of_as_many(count: int, trials: int, share: float) -> float:
    """P(X >= count) for X binomial of `trials` and `share`.

    Of 3 trials at a half, P(X >= 2) = 3/8 + 1/8:

    >>> round(probability_of_as_many(2, 3, 0.5), 9)
    0.5
    """
    return float(bdtrc(count - 1, trials, share)) if count > 0 else 1.0


class Rounding(NamedTuple):
    """What storing weights in fewer bits may change, on labelled texts; `max_abs_diff` holds on all texts."""

    mean_abs_diff: float
    max_abs_diff: float
    changed: float
    rejected: float

    def changed_share(self, texts: int) -> float:
        """The share of labels that may change; two texts always may."""
        return max(self.changed, 2 / max(1, texts))

    def rejected_share(self, texts: int) -> float:
        """The share of texts that a reject threshold may decide otherwise; two texts always may be."""
        return max(self.rejected, 2 / max(1, texts))


ROUNDING: dict[Precision, Rounding] = {
    "float16": Rounding(mean_abs_diff=5e-4, max_abs_diff=0.1, changed=0.005, rejected=0.01),
    "int8": Rounding(mean_abs_diff=0.02, max_abs_diff=0.5, changed=0.03, rejected=0.04),
}


def max_loss(complete: bool) -> float:
    """Points of accuracy that an artifact may lose: by rounding alone, or with words left out besides."""
    return 1.0 if complete else 2.0
