"""The encoder and the decoder of a Switch-Transformer in T5's form, behind the embeddings.

tokens -> N x (norm, self-attention; norm, feed-forward or Switch layer) -> norm                          encoder
tokens -> N x (norm, self-attention; norm, attention to the text; norm, feed-forward or Switch) -> norm   decoder

Sources: Fedus, Zoph and Shazeer, arXiv 2101.03961; Raffel et al., arXiv 1910.10683, section 2.1. Each block adds to
what it got; a token that finds no slot in a Switch layer keeps what it had.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.layers.common import dropout
from switch_tf.layers.relative_attention import NEVER, RelativeAttention, RelativePositionBias, RMSNorm
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.layers.t5_ffn import T5DenseFFN, T5SwitchFFN
from switch_tf.models.huggingface import T5Settings

KeysAndValues = tuple[tf.Tensor, tf.Tensor]  # float32 [batch, heads, length, d_kv] each


class Memory(NamedTuple):
    """What decoding needs of the text that was read.

    Attributes:
        keys_and_values: of each decoder block.
        bias: float32 [batch, 1, 1, length], far below zero at padding.
    """

    keys_and_values: tuple[KeysAndValues, ...]
    bias: tf.Tensor


def padding_bias(mask: tf.Tensor) -> tf.Tensor:
    """bool [batch, length], True at real tokens, to what scores get added: float32 [batch, 1, 1, length]."""
    return tf.where(mask, 0.0, NEVER)[:, tf.newaxis, tf.newaxis, :]


class T5Block(keras.layers.Layer):
    """One block of the encoder, or of the decoder where it also looks at the text that was read."""

    def __init__(self, settings: T5Settings, is_sparse: bool, looks_at_text: bool, **kwargs: object):
        super().__init__(**kwargs)
        self.rate = settings.dropout_rate
        self.attention_norm = RMSNorm(settings.layer_norm_epsilon, name="attention_norm")
        self.attention = _attention(settings, "attention")
        self.text_norm: Any = None  # of the decoder, as the next
        self.text_attention: Any = None
        if looks_at_text:
            self.text_norm = RMSNorm(settings.layer_norm_epsilon, name="text_attention_norm")
            self.text_attention = _attention(settings, "text_attention")
        self.ffn_norm = RMSNorm(settings.layer_norm_epsilon, name="ffn_norm")
        self.ffn: T5SwitchFFN | T5DenseFFN
        if is_sparse:
            self.ffn = T5SwitchFFN(
                settings.expert_capacity,
                settings.router_bias,
                num_experts=settings.num_experts,
                d_ff=settings.d_ff,
                router_jitter=settings.router_jitter_noise,
                expert_dropout=settings.dropout_rate,
                name="ffn",
            )
        else:
            self.ffn = T5DenseFFN(settings.d_model, settings.d_ff, settings.dropout_rate, name="ffn")

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        bias: tf.Tensor,
        memory: tuple[tf.Tensor, tf.Tensor] | None = None,
        training: bool = False,
        seed: tf.Tensor | None = None,
        longest: int | None = None,
    ) -> tuple[tf.Tensor, RouterReport | None]:
        """All tokens at once.

        Args:
            x: float32 [batch, length, d_model].
            mask: bool [batch, length], True at real tokens.
            bias: float32, broadcast to [batch, heads, length, length], for the block's attention to its own tokens.
            memory: of the decoder: the encoder's float32 [batch, text_length, d_model] and its bias.
            seed: int32 [2], needed when training with dropout or jitter.
            longest: the most tokens there may be, where their number is not known.

        Returns:
            float32 [batch, length, d_model], and the router's report where there is a router.
        """
        seeds = [tf.random.fold_in(seed, place) if training else None for place in range(3)]
        normed = self.attention_norm(x)
        x += self._drop(self.attention(normed, normed, bias, training, seeds[0]), training, seed, 10)
        if memory is not None:
            looked_up = self.text_attention(self.text_norm(x), *memory, training, seeds[1])
            x += self._drop(looked_up, training, seed, 11)
        y, report = self.ffn(self.ffn_norm(x), mask, training=training, seed=seeds[2], longest=longest)
        return x + self._drop(y, training, seed, 12), report

    def step(
        self,
        x: tf.Tensor,
        here: tf.Tensor | None,
        bias: tf.Tensor,
        cache: KeysAndValues,
        text: KeysAndValues,
        text_bias: tf.Tensor,
    ) -> tuple[tf.Tensor, KeysAndValues]:
        """One token of each text, given what the block remembers of the earlier ones.

        Args:
            x: float32 [batch, 1, d_model].
            here: bool, broadcast to [batch, 1, longest, 1]: True at the token's place; None for a cache that grows.
            bias: float32, broadcast to [batch, heads, 1, longest]: far below zero at places yet to come.
            cache: float32 [batch, heads, longest, d_kv], twice.
            text: float32 [batch, heads, text_length, d_kv], twice.
            text_bias: float32 [batch, 1, 1, text_length].

        Returns:
            float32 [batch, 1, d_model], and the cache with this token in it.
        """
        normed = self.attention_norm(x)
        keys, values = (
            tf.concat([old, new], axis=2) if here is None else tf.where(here, new, old)
            for new, old in zip(self.attention.keys_and_values(normed), cache, strict=True)
        )  # [batch, heads, longest, d_kv]
        x += self.attention.attend(normed, keys, values, bias)
        x += self.text_attention.attend(self.text_norm(x), *text, text_bias)
        return x + self.ffn.step(self.ffn_norm(x)[:, 0])[:, tf.newaxis], (keys, values)

    def _drop(self, x: tf.Tensor, training: bool, seed: tf.Tensor | None, place: int) -> tf.Tensor:
        return dropout(x, self.rate, training, seed, place)


class T5Encoder(keras.layers.Layer):
    """Embedded tokens to hidden states, every token looking at all real ones."""

    def __init__(self, settings: T5Settings, **kwargs: object):
        super().__init__(**kwargs)
        self.settings = settings
        self.positions = _positions(settings, bidirectional=True)
        self.blocks = [
            T5Block(settings, settings.is_sparse_encoder_layer(i), looks_at_text=False, name=f"block_{i}")
            for i in range(settings.num_layers)
        ]
        self.norm = RMSNorm(settings.layer_norm_epsilon, name="norm")

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        longest: int | None = None,
    ) -> tuple[tf.Tensor, tuple[RouterReport, ...]]:
        """float32 [batch, length, d_model] and bool [batch, length] to the same shape, with the routers' reports.

        `longest` is needed where the length is not known: the most that it may be.
        """
        x = dropout(x, self.settings.dropout_rate, training, seed, 1)
        bias = self._bias(x) + padding_bias(mask)  # [batch, heads, length, length]
        reports = []
        for i, block in enumerate(self.blocks):
            x, report = block(x, mask, bias, training=training, seed=_fold(seed, i, training), longest=longest)
            if report is not None:
                reports.append(report)
        return dropout(self.norm(x), self.settings.dropout_rate, training, seed, 2), tuple(reports)

    def _bias(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [1, heads, length, length]."""
        if x.shape[1] is not None:
            return self.positions.between(x.shape[1], x.shape[1])
        places = tf.range(tf.shape(x)[1])
        return self.positions.at(places[tf.newaxis] - places[:, tf.newaxis])


class T5Decoder(keras.layers.Layer):
    """Embedded tokens and the encoder's hidden states to hidden states, every token looking at itself and back."""

    def __init__(self, settings: T5Settings, **kwargs: object):
        super().__init__(**kwargs)
        self.settings = settings
        self.positions = _positions(settings, bidirectional=False)
        self.blocks = [
            T5Block(settings, settings.is_sparse_decoder_layer(i), looks_at_text=True, name=f"block_{i}")
            for i in range(settings.num_decoder_layers)
        ]
        self.norm = RMSNorm(settings.layer_norm_epsilon, name="norm")

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        hidden: tf.Tensor,
        text_mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tuple[RouterReport, ...]]:
        """All tokens at once, as in training.

        Args:
            x: float32 [batch, length, d_model].
            mask: bool [batch, length]: False where a token is padding, which takes no slot.
            hidden: float32 [batch, text_length, d_model], the encoder's.
            text_mask: bool [batch, text_length].

        Returns:
            float32 [batch, length, d_model], and the routers' reports.
        """
        length = x.shape[1]
        x = dropout(x, self.settings.dropout_rate, training, seed, 1)
        causal = np.where(np.tril(np.ones([length, length], bool)), 0.0, NEVER).astype(np.float32)
        bias = self.positions.between(length, length) + causal  # [1, heads, length, length]
        memory = (hidden, padding_bias(text_mask))
        reports = []
        for i, block in enumerate(self.blocks):
            x, report = block(x, mask, bias, memory, training=training, seed=_fold(seed, i, training))
            if report is not None:
                reports.append(report)
        return dropout(self.norm(x), self.settings.dropout_rate, training, seed, 2), tuple(reports)

    def remember(self, hidden: tf.Tensor, text_mask: tf.Tensor) -> Memory:
        """What every step looks up of the text, computed once."""
        found = tuple(block.text_attention.keys_and_values(hidden) for block in self.blocks)
        return Memory(found, padding_bias(text_mask))

    def empty_cache(self, batch: tf.Tensor, longest: int) -> tuple[KeysAndValues, ...]:
        """A place for the keys and values of `longest` tokens of each block."""
        shape = tf.stack([batch, self.settings.num_heads, longest, self.settings.d_kv])
        zeros = tf.ensure_shape(tf.zeros(shape), [None, self.settings.num_heads, longest, self.settings.d_kv])
        return tuple((zeros, zeros) for _ in self.blocks)

    def step(
        self, x: tf.Tensor, place: tf.Tensor, cache: tuple[KeysAndValues, ...], memory: Memory, biases: tf.Tensor
    ) -> tuple[tf.Tensor, tuple[KeysAndValues, ...]]:
        """One token of each text.

        Args:
            x: float32 [batch, d_model].
            place: int32 [], the token's, counted from 0.
            cache: from `empty_cache`, or from the step before.
            memory: from `remember`.
            biases: float32 [1, heads, longest, longest]: `positions` of all places, which no step changes.

        Returns:
            float32 [batch, d_model], and the cache with this token in it.
        """
        places = tf.range(biases.shape[-1])
        here = (places == place)[tf.newaxis, tf.newaxis, :, tf.newaxis]  # [1, 1, longest, 1]
        bias = tf.gather(biases, place, axis=2)[:, :, tf.newaxis]  # [1, heads, 1, longest]
        bias += tf.where(places <= place, 0.0, NEVER)
        x = x[:, tf.newaxis]  # [batch, 1, d_model]
        after = []
        for block, old, text in zip(self.blocks, cache, memory.keys_and_values, strict=True):
            x, new = block.step(x, here, bias, old, text, memory.bias)
            after.append(new)
        return self.norm(x)[:, 0], tuple(after)

    def append(
        self, x: tf.Tensor, cache: tuple[KeysAndValues, ...], memory: Memory
    ) -> tuple[tf.Tensor, tuple[KeysAndValues, ...]]:
        """As `step`, with a cache of as many places as there were steps: float32 [batch, heads, steps, d_kv]."""
        past = tf.shape(cache[0][0])[2]
        bias = self.positions.at((tf.range(past + 1) - past)[tf.newaxis])  # [1, heads, 1, steps + 1]
        x = x[:, tf.newaxis]  # [batch, 1, d_model]
        after = []
        for block, old, text in zip(self.blocks, cache, memory.keys_and_values, strict=True):
            x, new = block.step(x, None, bias, old, text, memory.bias)
            after.append(new)
        return self.norm(x)[:, 0], tuple(after)


def _fold(seed: tf.Tensor | None, number: int, training: bool) -> tf.Tensor | None:
    return tf.random.fold_in(seed, 100 + number) if training else None


def _attention(settings: T5Settings, name: str) -> RelativeAttention:
    return RelativeAttention(settings.num_heads, settings.d_kv, settings.d_model, rate=settings.dropout_rate, name=name)


def _positions(settings: T5Settings, bidirectional: bool) -> RelativePositionBias:
    return RelativePositionBias(
        settings.num_heads,
        settings.relative_attention_num_buckets,
        settings.relative_attention_max_distance,
        bidirectional,
        name="positions",
    )
