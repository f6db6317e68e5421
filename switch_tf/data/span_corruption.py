"""Span corruption: parts of a text are cut out, and the model learns to write them (T5's pre-training).

    ids       Thank you for inviting me to your party last week
    inputs    Thank you <0> me to your party <1> </s>
    targets   <0> for inviting <1> last week </s>

Source: Raffel et al. 2020, arXiv 1910.10683, section 3.1.4, and the rule by which T5 draws spans: so many ids and spans
as the rates say, cut at random, the first and every other one kept, so that a text begins with ids that are kept and
ends with a span. Pure functions over arrays.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Corrupted(NamedTuple):
    """What the encoder reads of a text, and what the decoder shall write; both lists of ids end with the end's."""

    inputs: list[int]
    targets: list[int]


def span_counts(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """How many of `length` ids are cut out, and in how many spans; one id at least is kept before each span.

    >>> span_counts(128, 0.15, 3.0), span_counts(10, 0.15, 3.0), span_counts(2, 0.15, 3.0)
    ((19, 6), (2, 1), (1, 1))
    """
    cut = min(max(round(length * rate), 1), length - 1)
    spans = min(max(round(cut / mean_span), 1), cut, length - cut)
    return cut, spans


def random_mask(length: int, rate: float, mean_span: float, random: np.random.Generator) -> np.ndarray:
    """Which ids are cut out: bool [length], of two ids at least."""
    cut, spans = span_counts(length, rate, mean_span)
    kept, taken = _segments(length - cut, spans, random), _segments(cut, spans, random)
    sizes = np.stack([kept, taken], axis=1).ravel()  # [2 * spans], kept and taken in turn
    return np.repeat(np.arange(2 * spans) % 2 == 1, sizes)


def _segments(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`total` cut at random into `count` parts of one at least: int [count]."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1 if count > 1 else np.zeros(0, int)
    return np.diff(np.concatenate([[0], cuts, [total]]))


def corrupt(ids: Sequence[int], mask: np.ndarray, sentinels: Sequence[int], end: int) -> Corrupted:
    """Cut the marked ids out; each span is one sentinel in the inputs, and stands behind it in the targets.

    Args:
        ids: of a text, without the end's.
        mask: bool [len(ids)].
        sentinels: ids of <extra_id_0>, <extra_id_1> and so on, as many as there are spans.
        end: the end's id.

    >>> corrupt([11, 12, 13, 14, 15], np.array([False, True, True, False, True]), [99, 98], 1)
    Corrupted(inputs=[11, 99, 14, 98, 1], targets=[99, 12, 13, 98, 15, 1])
    """
    inputs: list[int] = []
    targets: list[int] = []
    number = 0
    for place, (each, is_cut) in enumerate(zip(ids, mask.tolist(), strict=True)):
        if not is_cut:
            inputs.append(each)
            continue
        if place == 0 or not mask[place - 1]:
            inputs.append(sentinels[number])
            targets.append(sentinels[number])
            number += 1
        targets.append(each)
    return Corrupted([*inputs, end], [*targets, end])


def longest(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """Ids that inputs and targets have at most, the end's included, of texts of up to `length` ids.

    >>> longest(128, 0.15, 3.0)
    (116, 26)
    """
    sizes = [(size, *span_counts(size, rate, mean_span)) for size in range(2, length + 1)]
    return max(size - cut + spans for size, cut, spans in sizes) + 1, max(cut + spans for _, cut, spans in sizes) + 1
