"""Is a text rejected where the trained model rejects it, and answered where that answers it?

An artifact compares the probabilities that it answers itself, so its labels have to follow from those and from the
threshold, exactly, in every precision. Beside the trained model, a text whose highest probability is as near to the
threshold as probabilities may be off is a near-tie of its own: the last bit may tell.
"""

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.export.proof import bounds
from switch_tf.export.proof.reference import Reference


def contradictory(answers: Answers, reference: Reference) -> np.ndarray:
    """Texts whose label does not follow from the probabilities beside it, bool [n]; none without a threshold."""
    probabilities, rejection = answers.probabilities, reference.rejection
    if rejection is None:
        return np.zeros(len(probabilities), bool)
    classes = {name: index for index, name in enumerate(reference.labels)}
    index = np.array([classes.get(label, -1) for label in answers.labels], np.int64)  # [n], -1 is no class
    top = probabilities.max(axis=1)  # [n]
    rejected = np.array(answers.labels, object) == rejection.label  # [n]
    picked = probabilities[np.arange(len(index)), index]  # [n]
    below = top < np.float32(rejection.threshold)  # [n]
    return np.asarray(np.where(below, ~rejected, (index < 0) | (picked != top)))


def threshold_ties(answers: list[Answers], reference: Reference) -> np.ndarray:
    """Texts at the threshold that one of the answers decides otherwise than the trained model, bool [n].

    Each of the answers either agrees with the trained model, or rejects where that does not, or the other way round.
    """
    expected, rejection = reference.answers, reference.rejection
    if rejection is None:
        return np.zeros(len(expected.labels), bool)
    near = np.abs(expected.probabilities.max(axis=1) - rejection.threshold) <= bounds.PROBABILITY_BOUND  # [n]
    agrees = [np.array(each.labels, object) == np.array(expected.labels, object) for each in answers]
    flipped = [rejected(each, reference) != rejected(expected, reference) for each in answers]
    explained = np.all([one | other for one, other in zip(agrees, flipped, strict=True)], axis=0)  # [n]
    return near & explained & np.any(flipped, axis=0)


def rejected(answers: Answers, reference: Reference) -> np.ndarray:
    """Texts that are answered the reject label, bool [n]."""
    label = None if reference.rejection is None else reference.rejection.label
    return np.array([each == label for each in answers.labels], bool)


def distinct(wrong: np.ndarray, reference: Reference) -> int:
    """How many different texts, as the model reads them, are among those of `wrong`, bool [n].

    Texts without a known word are all one text to it: they are near the threshold together or not at all.
    """
    return len(np.unique(reference.answers.ids[wrong], axis=0))
