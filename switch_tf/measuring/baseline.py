"""The linear baseline: what any text model has to be measured against."""

from typing import Any

import numpy as np

from switch_tf.data.examples import Examples, encode_labels
from switch_tf.measuring.scores import score


def linear_baseline(training: Examples, test: Examples, labels: list[str]) -> dict[str, Any]:
    """TF-IDF over words and word pairs with logistic regression: what any text model has to be measured against.

    Returns the figures of `switch_tf.measuring.scores.score` on `test`. Both sets must fit in memory as Python strings.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # Words of one letter count: "a", "i" and digits tell something in short reviews.
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    model = make_pipeline(features, LogisticRegression(C=10.0, max_iter=1000))
    model.fit(training.texts.to_pylist(), encode_labels(training, labels))
    probabilities = np.zeros([len(test), len(labels)])
    probabilities[:, model.classes_] = model.predict_proba(test.texts.to_pylist())  # none for labels not trained on
    return score(probabilities, encode_labels(test, labels), labels)
