"""The trained model's own answers, which artifacts are held against: TensorFlow on the CPU, float32, without XLA."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from switch_tf.artifacts.base import Answers
from switch_tf.models.blocks import experts_of_layers
from switch_tf.runs.rejection import Rejection

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

NEAR_TIE = 1e-6  # between scores that routing compares
_BATCH = 64
_IDS_BATCH = 1024

Visited = list[np.ndarray]  # for each Switch layer, bool [experts]: whether a token found room there


class Reference(NamedTuple):
    """The trained model's answers, which texts are near-ties, bool [n], and the experts that the texts visit.

    Attributes:
        labels: class names.
        rejection: when it answers by no class, or None.
    """

    answers: Answers
    near_tie: np.ndarray
    visited: Visited
    labels: Sequence[str] = ()
    rejection: Rejection | None = None

    @property
    def unvisited(self) -> list[str]:
        """The experts that no text visits, by name."""
        return [
            f"layer {layer}, expert {expert}"
            for layer, visited in enumerate(self.visited)
            for expert in np.flatnonzero(~visited)
        ]


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """What is made and run inside is placed on the CPU even where there is a GPU, and not compiled by XLA.

    A GPU multiplies in TF32 and adds in other orders, and may not be there where an artifact is verified. Graphs that
    are traced inside are not bound to the CPU, so that artifacts may be made of the same model.
    """
    import tensorflow as tf

    compiled = tf.config.optimizer.get_jit()
    with ExitStack() as stack:
        stack.enter_context(tf.device("/CPU:0"))
        if compiled:
            tf.config.optimizer.set_jit(False)
            stack.callback(tf.config.optimizer.set_jit, compiled)
        yield


def ask_reference(model: "TextClassifier", texts: Sequence[bytes], batch_size: int = _BATCH) -> Reference:
    """The trained model's own answers."""
    import tensorflow as tf

    function = tf.function(model.classifier.__call__, autograph=False)
    ids_of_any_batch = tf.TensorSpec([None, model.spec.ids_length], tf.int32)
    report = function.get_concrete_function(ids_of_any_batch)  # one trace for all sizes
    experts = experts_of_layers(model.classifier.settings)
    ids = reference_ids(model, texts)
    probabilities, labels, ties, visits = [], [], [], []
    with on_the_cpu():
        for start in range(0, len(texts), batch_size):
            text = tf.constant(texts[start : start + batch_size], tf.string)
            answer = model.classify_text(text)
            probabilities.append(answer["probabilities"].numpy())
            labels += [label.decode() for label in answer["label"].numpy()]
            reports = report(tf.constant(ids[start : start + batch_size])).reports
            ties.append(near_ties(reports, batch=len(text)))
            visits.append([each.any(axis=0) for each in find_visited(reports, experts)])
    answers = Answers(ids, np.concatenate(probabilities), labels)
    visited = [np.any(layer, axis=0) for layer in zip(*visits, strict=True)]
    return Reference(answers, np.concatenate(ties), visited, model.labels, model.rejection)


def join(first: Reference, second: Reference) -> Reference:
    """The answers to both sets of texts."""
    answers = Answers(
        np.concatenate([first.answers.ids, second.answers.ids]),
        np.concatenate([first.answers.probabilities, second.answers.probabilities]),
        first.answers.labels + second.answers.labels,
    )
    visited = [np.logical_or(*layers) for layers in zip(first.visited, second.visited, strict=True)]
    near_tie = np.concatenate([first.near_tie, second.near_tie])
    return first._replace(answers=answers, near_tie=near_tie, visited=visited)


def reference_ids(model: "TextClassifier", texts: Sequence[bytes]) -> np.ndarray:
    """Ids of the Keras front-end, or of the definition in Python where N bytes are read: int32 [texts, ids]."""
    import tensorflow as tf

    from switch_tf.text.code_points import StringCodePoints
    from switch_tf.text.plain import plain_subwords

    if isinstance(model.text, StringCodePoints):
        return plain_subwords(model.spec, model.vocabulary).ids(texts)
    with on_the_cpu():
        parts = [
            model.tokenize(tf.constant(texts[start : start + _IDS_BATCH], tf.string))["ids"].numpy()
            for start in range(0, len(texts), _IDS_BATCH)
        ]
    return np.concatenate(parts)


def find_visited(reports: Sequence[Any], experts: Sequence[int]) -> list[np.ndarray]:
    """Which experts each text of a batch visits with a token that found room: bool [batch, experts] for each layer.

    Args:
        experts: how many each layer has weights of.
    """
    import tensorflow as tf

    visited = []
    for report, number in zip(reports, experts, strict=True):
        routing = report.routing
        chosen = tf.one_hot(routing.expert, number, True, False, dtype=tf.bool)
        visits = tf.logical_and(chosen, routing.kept[..., tf.newaxis])  # [batch, length, choices, experts]
        visited.append(tf.reduce_any(visits, axis=[1, 2]).numpy())  # [batch, experts]
    return visited


def near_ties(reports: Sequence[Any], batch: int) -> np.ndarray:
    """Which texts were nearly routed otherwise in some layer, whatever the router, bool [batch]."""
    ties = np.zeros(batch, bool)
    for report in reports:
        ties |= report.routing.margin.numpy() < NEAR_TIE
    return ties
