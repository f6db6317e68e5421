"""An encoder-decoder Switch-Transformer: a text's ids to the logits of another text's ids.

ids -> embeddings -> encoder -> hidden states; earlier ids -> embeddings -> decoder -> logits of the next id
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import DataError, ModelError, RunError
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.models.checkpoint import Checkpoint
from switch_tf.models.huggingface import T5Settings, Weights, read_settings
from switch_tf.models.t5 import KeysAndValues, Memory, T5Decoder, T5Encoder
from switch_tf.models.weights import creating_only

NAME = "seq2seq"


class Seq2Seq(keras.Model):
    """The model; `load_seq2seq` makes one with weights.

    One table embeds what is read and what is written, and is the head too, its rows then scaled by d_model^-0.5; with
    `tie_word_embeddings = False` these are three.
    """

    def __init__(self, settings: T5Settings):
        super().__init__(name=NAME)
        self.settings = settings
        self.tokens = keras.layers.Embedding(settings.vocab_size, settings.d_model, name="tokens")
        self.decoder_tokens, self.head = self.tokens, None
        if not settings.tie_word_embeddings:
            self.decoder_tokens = keras.layers.Embedding(settings.vocab_size, settings.d_model, name="decoder_tokens")
            self.head = keras.layers.Dense(settings.vocab_size, use_bias=False, name="head")
        self.encoder = T5Encoder(settings, name="encoder")
        self.decoder = T5Decoder(settings, name="decoder")

    def initialize(self) -> None:
        """Create every weight, by a first call of one token."""
        one = tf.ones([1, 1], tf.int32)
        self(one, one)

    def call(
        self,
        ids: tf.Tensor,
        decoder_ids: tf.Tensor,
        decoder_mask: tf.Tensor | None = None,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tuple[RouterReport, ...]]:
        """Logits of every next id at once, as in training.

        Args:
            ids: int32 [batch, length], padding at the end alone.
            decoder_ids: int32 [batch, decoder_length], the first of which is `decoder_start_token_id`.
            decoder_mask: bool [batch, decoder_length], False at padding, which then takes no expert's slot; None for
                no padding, since the id of padding may be that of the start.
            seed: int32 [2], needed when training.

        Returns:
            float32 [batch, decoder_length, vocab_size], and the routers' reports.
        """
        seeds = [tf.random.fold_in(seed, place) if training else None for place in range(2)]
        mask = self.mask(ids)
        hidden, reports = self.encoder(self.tokens(ids), mask, training=training, seed=seeds[0])
        if decoder_mask is None:
            decoder_mask = tf.ones_like(decoder_ids, tf.bool)
        x, more = self.decoder(
            self.decoder_tokens(decoder_ids), decoder_mask, hidden, mask, training=training, seed=seeds[1]
        )  # [batch, decoder_length, d_model]
        logits = self.logits(tf.reshape(x, [-1, x.shape[-1]]))  # [batch * decoder_length, vocab_size]
        return tf.reshape(logits, [-1, decoder_ids.shape[1], self.settings.vocab_size]), reports + more

    def mask(self, ids: tf.Tensor) -> tf.Tensor:
        """True at real tokens: bool [batch, length]."""
        return tf.not_equal(ids, self.settings.pad_token_id)

    def encode(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] to hidden states, float32 [batch, length, d_model]; those of padding mean nothing."""
        hidden, _ = self.encoder(self.tokens(ids), self.mask(ids))
        return hidden

    def step(
        self,
        ids: tf.Tensor,
        place: tf.Tensor,
        cache: tuple[KeysAndValues, ...],
        memory: Memory,
        biases: tf.Tensor,
    ) -> tuple[tf.Tensor, tuple[KeysAndValues, ...]]:
        """One more id of each text to the logits of the next: int32 [batch] to float32 [batch, vocab_size].

        The rest is as for `T5Decoder.step`. A step never drops its token, where `call` may.
        """
        x, cache = self.decoder.step(self.decoder_tokens(ids), place, cache, memory, biases)
        return self.logits(x), cache

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [rows, d_model] to [rows, vocab_size]."""
        if self.head is not None:
            return self.head(x)
        return tf.matmul(x * self.settings.d_model**-0.5, self.tokens.embeddings, transpose_b=True)


def load_seq2seq(folder: Path) -> Seq2Seq:
    """The model in a folder of Hugging Face's.

    Weights are read tensor by tensor into variables that exist already, each compared with the settings before it
    takes any memory.

    Raises:
        ModelError: the settings or the weights are missing, damaged or not supported.
    """
    model = Seq2Seq(read_settings(folder))
    with Checkpoint(folder) as checkpoint:
        weights = Weights(checkpoint, model.settings, prefix=NAME)
        try:
            with creating_only(weights, str(folder), "Restore both from where the checkpoint came from."):
                model.initialize()
        except RunError as error:
            raise ModelError(str(error)) from error
        for variable in model.variables:
            weights[variable.name.removesuffix(":0")].assign_to(variable)
    return model


def check_ids(ids: np.ndarray, settings: T5Settings) -> None:
    """Refuse ids that the model was not made for.

    Raises:
        DataError: they are no int32 [batch, length] of known ids, or padding stands before a token: it would take
            slots of experts, and shift every position.
    """
    if ids.ndim != 2 or ids.dtype != np.int32 or not ids.shape[1]:
        raise DataError(f"Received ids of {ids.dtype} {list(ids.shape)}. Expected int32 [batch, length].")
    if ids.size and not 0 <= ids.min() <= ids.max() < settings.vocab_size:
        raise DataError(f"Received ids from {ids.min()} to {ids.max()}. Expected 0 to {settings.vocab_size - 1}.")
    real = ids != settings.pad_token_id
    if (real[:, 1:] & ~real[:, :-1]).any():
        row = int((real[:, 1:] & ~real[:, :-1]).any(axis=1).argmax())
        raise DataError(f"Row {row} of the ids has padding before a token. Expected padding at the end alone.")
