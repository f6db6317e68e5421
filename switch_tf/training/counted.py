"""Which texts are counted, words, pairs and all, where there are too many to count in memory."""

import numpy as np

from switch_tf.data.spill import relieving, rows_of
from switch_tf.training.steps import Encoded

_TEXTS = 2**16  # whose tokens are counted at a time


def counted(data: Encoded, most: int) -> Encoded:
    """All texts, or a random part of some so many tokens and at least one text of each label; repeatable.

    Args:
        most: tokens; with the padding behind them twice as many at most, for padding takes memory too.

    >>> few = counted(Encoded(np.arange(1, 13).reshape(6, 2), np.array([0, 0, 0, 0, 0, 1])), most=4)
    >>> few.ids.tolist(), few.labels.tolist()
    ([[5, 6], [7, 8], [11, 12]], [0, 0, 1])
    """
    texts, length = data.ids.shape
    tokens = max(_tokens(data.ids), texts * length // 2, 1)
    if tokens <= most:
        return data
    order = np.random.default_rng(0).permutation(texts)
    _, firsts = np.unique(data.labels[order], return_index=True)
    rows = np.unique(np.concatenate([order[: texts * most // tokens], order[firsts]]))
    return Encoded(rows_of(data.ids, rows), data.labels[rows], None if data.weights is None else data.weights[rows])


def _tokens(ids: np.ndarray) -> int:
    """Those that are not padding."""
    return sum(int(np.count_nonzero(ids[start : start + _TEXTS])) for start in relieving(range(0, len(ids), _TEXTS), 8))
