"""Models that answer wrong: other probabilities, labels or reject thresholds from the right logits."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.rejection import Rejection

_classify_ids = TextClassifier._classify_ids


def logits(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    return _classify_ids(self, ids) | {"probabilities": self.classifier(ids, training=False).logits}


def least_label(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    return answer | {"label": tf.argmin(answer["probabilities"], axis=-1)}


def _is_rare(self: TextClassifier, ids: tf.Tensor) -> tf.Tensor:
    """1 where a text holds the rarest word, else 0: int32 [batch]."""
    return tf.cast(tf.reduce_any(ids == len(self.vocabulary) + 1, axis=1), tf.int32)


def fails(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    """A row that is not there is gathered for texts with the rarest word."""
    answer = _classify_ids(self, ids)
    return answer | {"probabilities": answer["probabilities"] + tf.gather(tf.constant([[0.0]]), _is_rare(self, ids))}


def no_number(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    root = tf.sqrt(-tf.cast(_is_rare(self, ids), tf.float32))[:, tf.newaxis]
    return answer | {"probabilities": answer["probabilities"] + root}


def label_from_the_end(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    """-1 for the last class, as Python and NumPy would still understand it."""
    answer = _classify_ids(self, ids)
    return answer | {"label": answer["label"] - len(self.labels)}


def label_beyond(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    return answer | {"label": answer["label"] + len(self.labels) * tf.cast(_is_rare(self, ids), tf.int64)}


def rejection(change: Callable[[Rejection], Rejection | None]) -> Callable[[Any], Any]:
    """The run with another reject threshold or label, or with none."""
    return lambda run: dataclasses.replace(run, rejection=change(run.rejection))


def answer_by(label: Callable[[tf.Tensor, Rejection], tf.Tensor]) -> Callable[[Any], None]:
    """A model whose label index is another function of the probabilities."""

    def spoil(model: Any) -> None:
        right = model._classify_ids

        def wrong(ids: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities = right(ids)["probabilities"]
            return {"probabilities": probabilities, "label": label(probabilities, model.rejection)}

        model._classify_ids = model.classify_packed = wrong
        signature = model.classify_ids.input_signature
        model.classify_ids = tf.function(wrong, input_signature=signature, autograph=False)

    return spoil


def when_sure(probabilities: tf.Tensor, rejection: Rejection) -> tf.Tensor:
    sure = tf.reduce_max(probabilities, axis=-1) >= np.float32(rejection.threshold)
    return tf.where(sure, tf.constant(2, tf.int64), tf.argmax(probabilities, axis=-1))


def as_the_last_class(probabilities: tf.Tensor, rejection: Rejection) -> tf.Tensor:
    unsure = tf.reduce_max(probabilities, axis=-1) < np.float32(rejection.threshold)
    return tf.where(unsure, tf.constant(1, tf.int64), tf.argmax(probabilities, axis=-1))
