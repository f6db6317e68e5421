"""How much data uses each expert, and what a model answers meanwhile."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.data.examples import Examples
from switch_tf.expert_map import GONE, stored_experts
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text.spec import PADDING_ID

_TEXT_BATCH = 1024
_BATCH = 64  # texts that are answered at a time


class ExpertUse(NamedTuple):
    """What the texts of some data did in a model.

    Attributes:
        use: of each Switch layer, float64 [experts that have weights]. How many tokens chose each; with the router
            expert_choice, which gives all of them the same number, the sum of the gates of those that it took.
        dropped: float64 [layers]. The share of the tokens that found no expert.
        probabilities: float32 [texts, classes].
    """

    use: list[np.ndarray]
    dropped: np.ndarray
    probabilities: np.ndarray


def measure_use(model: TextClassifier, examples: Examples) -> ExpertUse:
    """Answer all texts, and count which experts they visit."""
    settings = model.classifier.settings
    by_gate = settings.router == "expert_choice"

    def watch(ids: tf.Tensor) -> tuple[Any, ...]:
        output = model.classifier(ids)
        ids = ids[:, : model.spec.sequence_length]
        routed = [report.routing for report in output.reports]
        use = [
            tf.reduce_sum(tf.where(each.kept, each.gate, 0.0), axis=[0, 1]) if by_gate else each.tokens_per_expert
            for each in routed
        ]
        tokens = tf.reduce_sum(tf.cast(ids != PADDING_ID, tf.float32))
        return use, tf.stack([each.dropped for each in routed]), tokens, tf.nn.softmax(output.logits)

    ids_of_any_batch = tf.TensorSpec([None, model.spec.ids_length], tf.int32)
    ask = tf.function(watch, autograph=False).get_concrete_function(ids_of_any_batch)
    tokenize = model.tokenize.get_concrete_function()  # TensorFlow warns of models asked once each
    uses, dropped, tokens, answers = [], [], 0.0, []
    for texts in examples.text_batches(_TEXT_BATCH):
        ids = tokenize(tf.constant(texts, tf.string))["ids"]
        for start in range(0, len(texts), _BATCH):
            use, lost, seen, probabilities = ask(ids[start : start + _BATCH])
            uses.append([each.numpy().astype(np.float64) for each in use])
            dropped.append(lost.numpy().astype(np.float64))
            tokens += float(seen)
            answers.append(probabilities.numpy())
    of_layers = [np.sum(each, axis=0) for each in zip(*uses, strict=True)]
    if not by_gate and settings.expert_map is not None:
        of_layers = [_of_weights(each, owners) for each, owners in zip(of_layers, settings.expert_map, strict=True)]
    return ExpertUse(of_layers, np.sum(dropped, axis=0) / max(tokens, 1.0), np.concatenate(answers))


def _of_weights(use: np.ndarray, expert_map: list[int]) -> np.ndarray:
    """The use of all experts, [experts], as that of the weights that they answer with."""
    owners = np.array(expert_map)
    return np.bincount(owners[owners != GONE], use[owners != GONE], stored_experts(expert_map))
