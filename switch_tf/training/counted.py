"""Which texts are counted, words, pairs and all, where there are too many to count in memory."""

import numpy as np

from switch_tf.training.steps import Encoded


def counted(data: Encoded, most: int) -> Encoded:
    """All texts, or a random part of at most so many tokens and at least one text of each label; repeatable.

    Args:
        most: tokens, padding included.

    >>> few = counted(Encoded(np.arange(12).reshape(6, 2), np.array([0, 0, 0, 0, 0, 1])), most=4)
    >>> few.ids.tolist(), few.labels.tolist()
    ([[4, 5], [6, 7], [10, 11]], [0, 0, 1])
    """
    wanted = most // max(data.ids.shape[1], 1)
    if len(data.ids) <= wanted:
        return data
    order = np.random.default_rng(0).permutation(len(data.ids))
    _, firsts = np.unique(data.labels[order], return_index=True)
    rows = np.unique(np.concatenate([order[:wanted], order[firsts]]))
    return Encoded(data.ids[rows], data.labels[rows], None if data.weights is None else data.weights[rows])
