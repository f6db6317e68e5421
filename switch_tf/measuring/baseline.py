"""The baselines that any text model has to be measured against: the majority class, and a linear model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.compute as pc

from switch_tf.data.examples import Examples, encode_labels, words_of
from switch_tf.measuring.scores import score
from switch_tf.text.word_counts import WordCounts

MOST_WORK = 120_000_000  # words x (4 + columns of weights): about a minute of one core
_READING = 4  # what reading a word costs, beside a column of its weights
_TEXT_BATCH = 1024
_SAMPLED = 1000  # texts whose words are counted
_MOST_FEATURES = 200_000  # of long data: weights, and what fitting them takes, are hundreds of bytes for each


def majority_baseline(training: Examples, test: Examples, labels: list[str]) -> dict[str, Any]:
    """Answering every text with the most frequent label of `training`, as surely as that one is frequent.

    Returns the figures of `switch_tf.measuring.scores.score` on `test`.
    """
    counts = np.bincount(encode_labels(training, labels), minlength=len(labels))  # [classes]
    probabilities = np.tile(counts / counts.sum(), [len(test), 1])  # [n, classes]
    return score(probabilities, encode_labels(test, labels), labels)


def linear_baseline(
    training: Examples, test: Examples, labels: list[str], most_work: int = MOST_WORK
) -> dict[str, Any]:
    """TF-IDF over words and word pairs with logistic regression: what any text model has to be measured against.

    Long data is sampled, or it would take longer than the model that it is to be held against, and of a sample only the
    most frequent words and pairs are features: all of them would need many times the model's memory.

    Args:
        most_work: what it may cost, in words x (4 + columns of weights).

    Returns:
        The figures of `switch_tf.measuring.scores.score` on `test`; `fitted_on`, how many texts it has learnt from; and
        `sampled`, whether these were not all.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    fitted = training.take(sampled_rows(training, len(labels), most_work))
    # Words of one letter count: "a", "i" and digits tell something in short reviews.
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    sampled = len(fitted) < len(training)
    model = LogisticRegression(C=10.0, max_iter=1000)
    if not any(pc.match_substring_regex(fitted.texts, r"[\pL\pN_]").to_pylist()):  # no feature: a bias is all there is
        return majority_baseline(training, test, labels) | {"fitted_on": len(training), "sampled": False}
    if sampled:
        features.set_params(vocabulary=_most_frequent(features.build_analyzer(), fitted, _MOST_FEATURES))
    texts = (text for batch in fitted.text_batches(_TEXT_BATCH) for text in batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after as many iterations there is little left to gain
        model.fit(features.fit_transform(texts), encode_labels(fitted, labels))
    probabilities = np.zeros([len(test), len(labels)])
    answers = [model.predict_proba(features.transform(batch)) for batch in test.text_batches(_TEXT_BATCH)]
    probabilities[:, model.classes_] = np.concatenate(answers)  # none for labels not trained on
    return score(probabilities, encode_labels(test, labels), labels) | {
        "fitted_on": len(fitted),
        "sampled": sampled,
    }


def _most_frequent(analyze: Callable[[str], list[str]], examples: Examples, most: int) -> list[str]:
    """So many features at most, in their order, of what `analyze` finds in the texts."""
    counts = WordCounts[str](2 * most)
    for batch in examples.text_batches(_TEXT_BATCH):
        for text in batch:
            counts.count(analyze(text))
    return sorted(feature for feature, _ in counts.most_common(most))


def sampled_rows(training: Examples, num_classes: int, most_work: int) -> np.ndarray:
    """Rows of `training`, increasing: all of them if words x (4 + columns of weights) are within `most_work`.

    Else a random part, repeatable, in which at least one text of each label stays.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(training))
    some = training.take(np.sort(order[:_SAMPLED]))
    words = sum(len(words_of(text)) for batch in some.text_batches(_TEXT_BATCH) for text in batch) / len(some)
    columns = num_classes if num_classes > 2 else 1
    wanted = int(most_work / (max(words, 1.0) * (_READING + columns)))
    if wanted >= len(training):
        return np.arange(len(training))
    labels = training.labels.combine_chunks().dictionary_encode().indices.to_numpy()  # [n]
    _, firsts = np.unique(labels[order], return_index=True)
    return np.unique(np.concatenate([order[:wanted], order[firsts]]))
