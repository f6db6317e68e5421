"""The encoder of a Hugging Face checkpoint with a classification head.

ids -> embeddings -> T5 encoder with Switch layers -> mean over the real ids, or the first one's state -> logits
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import ArgumentError, ModelError, RunError
from switch_tf.files import Shape, read_tensors
from switch_tf.layers.common import dropout, masked_pool
from switch_tf.models.checkpoint import Checkpoint
from switch_tf.models.classifier import ClassifierOutput, answer_of
from switch_tf.models.huggingface import T5Settings, Weights, read_settings
from switch_tf.models.t5 import T5Encoder
from switch_tf.models.tokenizer import encode_texts
from switch_tf.models.weights import assign_weights, creating_only
from switch_tf.runs.fine_tuned import FineTunedRun, FineTuneSettings
from switch_tf.runs.folder import WEIGHTS
from switch_tf.runs.rejection import Rejection
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces
from switch_tf.text.sentencepiece_model import SentencePieces

NAME = "classifier"
_BATCH = 16


class EncoderClassifier(keras.Model):
    """A text classifier over SentencePiece ids."""

    def __init__(self, settings: T5Settings, num_classes: int, pooling: str):
        super().__init__(name=NAME)
        self.settings = settings
        self.pooling = pooling
        self.tokens = keras.layers.Embedding(settings.vocab_size, settings.d_model, name="tokens")
        self.encoder = T5Encoder(settings, name="encoder")
        self.head = keras.layers.Dense(num_classes, name="head")

    def initialize(self) -> None:
        """Create every weight, by a first call of one id."""
        self(tf.ones([1, 1], tf.int32))

    def call(self, ids: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None) -> ClassifierOutput:
        """int32 [batch, length], padding at the end alone, to logits; `seed`, int32 [2], is needed when training."""
        mask = tf.not_equal(ids, self.settings.pad_token_id)
        seeds = [tf.random.fold_in(seed, place) if training else None for place in range(2)]
        hidden, reports = self.encoder(self.tokens(ids), mask, training=training, seed=seeds[0])
        pooled = hidden[:, 0] if self.pooling == "first" else masked_pool(hidden, mask, "mean")  # [batch, d_model]
        return ClassifierOutput(self.head(dropout(pooled, self.settings.dropout_rate, training, seeds[1], 3)), reports)

    def divide_logits(self, temperature: float) -> None:
        """Make every answer of the head that much less sure."""
        for weight in self.head.weights:
            weight.assign(weight / temperature)

    def trained_variables(self, frozen_layers: int) -> list[tf.Variable]:
        """What is trained when so many blocks, from the first, and with them the embeddings, are not.

        Raises:
            ArgumentError: there are not so many blocks.
        """
        blocks = self.encoder.blocks
        if frozen_layers > len(blocks):
            raise ArgumentError(
                f"Received frozen_layers={frozen_layers}. Expected at most {len(blocks)}, the encoder's blocks.",
                argument="frozen_layers",
            )
        if not frozen_layers:
            return list(self.trainable_variables)
        layers = [*blocks[frozen_layers:], *([self.encoder.norm] if frozen_layers < len(blocks) else []), self.head]
        return [variable for layer in layers for variable in layer.trainable_variables]


def classifier_from_checkpoint(folder: Path, num_classes: int, pooling: str, seed: int) -> EncoderClassifier:
    """The encoder in a folder of Hugging Face's, under a head of weights drawn from the seed.

    Raises:
        ModelError: the settings or the weights are missing, damaged or not supported.
    """
    model = EncoderClassifier(read_settings(folder), num_classes, pooling)
    keras.utils.set_random_seed(seed)
    with Checkpoint(folder) as checkpoint:
        weights = Weights(checkpoint, model.settings, prefix=NAME, with_decoder=False)
        drawn = {  # not read
            f"{NAME}/head/kernel": Shape((model.settings.d_model, num_classes), "float32"),
            f"{NAME}/head/bias": Shape((num_classes,), "float32"),
        }
        try:
            with creating_only({**weights, **drawn}, str(folder), "Restore both from where the checkpoint came from."):
                model.initialize()
        except RunError as error:
            raise ModelError(str(error)) from error
        for variable in model.variables:
            name = variable.name.removesuffix(":0")
            if name in weights:
                weights[name].assign_to(variable)
    return model


class FineTunedClassifier:
    """A fine-tuned run's model: texts to ids to probabilities.

    Attributes:
        labels: class names, in the order of the probabilities.
        model: the graph's layers.
        length: ids of a text that are read.
        rejection: when it answers by no class, or None.
        pieces: the tokenizer.
    """

    def __init__(
        self,
        model: EncoderClassifier,
        pieces: SentencePieces,
        labels: list[str],
        length: int,
        rejection: Rejection | None = None,
    ):
        self.model = model
        self.labels = labels
        self.length = length
        self.rejection = rejection
        self.pieces = pieces
        signature = [tf.TensorSpec([None, length], tf.int32, "ids")]
        self._logits = tf.function(lambda ids: model(ids, training=False).logits, signature, autograph=False)

    def tokenize(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """int32 [texts, length]: cut where they are longer, the end's id last all the same, and padded."""
        return encode_texts(self.pieces, texts, self.length, self.model.settings)

    def tokenize_bytes(self, texts: Sequence[bytes]) -> np.ndarray:
        """The same of what `numeric_text` reads of each text."""
        return encode_texts(self.pieces, texts, self.length, self.model.settings, self.numeric_text.spec.num_bytes)

    @cached_property
    def numeric_text(self) -> NumericSentencePieces:
        """What makes ids of bytes in a graph.

        Raises:
            ExportError: the tokenizer asks for what no graph does.
        """
        return NumericSentencePieces(self.pieces, self.length, self.model.settings.pad_token_id)

    def probabilities(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """float32 [texts, classes]; any number of texts, in batches."""
        return self.probabilities_of_ids(self.tokenize(texts))

    def probabilities_of_ids(self, ids: np.ndarray) -> np.ndarray:
        """float32 [texts, classes] of int32 [texts, length]."""
        return tf.nn.softmax(self.logits_of_ids(ids)).numpy()

    def logits_of_ids(self, ids: np.ndarray) -> np.ndarray:
        """float32 [texts, classes] of int32 [texts, length]."""
        answers = [self._logits(tf.constant(ids[start : start + _BATCH])) for start in range(0, len(ids), _BATCH)]
        return np.concatenate([np.zeros([0, len(self.labels)], np.float32), *answers])

    def classify_ids(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """What artifacts are made of: int32 [batch, length] to what `answer_of` answers."""
        return answer_of(self.model(ids, training=False).logits, self.rejection)


def load_fine_tuned(run: FineTunedRun, pieces: SentencePieces) -> FineTunedClassifier:
    """The trained model of a folder.

    Raises:
        RunError: the weights are missing, damaged or of another model.
    """
    weights, _ = read_tensors(run.path / WEIGHTS)
    settings: FineTuneSettings = run.settings
    model = EncoderClassifier(read_settings(run.path), len(run.labels), settings.pooling)
    with creating_only(weights, str(run.path / WEIGHTS)):
        model.initialize()
    assign_weights(model, weights, str(run.path / WEIGHTS))
    return FineTunedClassifier(model, pieces, run.labels, settings.length, run.rejection)
