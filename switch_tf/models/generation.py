"""How a text is written: the most probable id each time, a drawn one, or the most probable text that beams find."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from switch_tf.errors import ArgumentError
from switch_tf.models.beam_search import beam_search
from switch_tf.models.decoding import drawn, most_probable, most_probable_alone, write
from switch_tf.models.seq2seq import Seq2Seq

_LONGEST = 4096  # ids that may be written: attention's biases take the square of it
_MOST_BEAMS = 64


@dataclass(frozen=True)
class GenerationSettings:
    """How a text is written; names and meanings are those of transformers' `generate`.

    Args:
        max_new_tokens: ids that are written at most.
        num_beams: texts that are kept at once; 1 keeps the most probable id each time.
        do_sample: draw each id from the model's probabilities instead.
        temperature: that logits are divided by before drawing.
        top_k: draw from that many most probable ids alone; 0 from all.
        top_p: draw from the most probable ids alone that together have this probability.
        length_penalty: a beam's log-probability is divided by its length to this power.

    Raises:
        ArgumentError: a value is out of range, or has no effect with the others.
    """

    max_new_tokens: int = 20
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, (accepts, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not accepts(value):
                raise ArgumentError(f"Received {name}={value!r}. Expected {expected}: change {name}.", argument=name)
        if self.do_sample and self.num_beams > 1:
            raise ArgumentError(
                f"Received do_sample=True with num_beams={self.num_beams}. Expected one of the two: leave one out.",
                argument="num_beams",
            )
        if self.num_beams == 1 and self.length_penalty != 1.0:
            raise ArgumentError(
                f"Received length_penalty={self.length_penalty} with one beam, which it does not change. "
                "Give num_beams as well, or leave it out.",
                argument="length_penalty",
            )
        for name, default in (("temperature", 1.0), ("top_k", 50), ("top_p", 1.0)):
            if not self.do_sample and getattr(self, name) != default:
                raise ArgumentError(
                    f"Received {name}={getattr(self, name)} without do_sample=True, without which nothing is drawn. "
                    "Give both, or neither.",
                    argument=name,
                )


def _integer(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _number(value: object, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most  # type: ignore[operator]  # NaN is not


_EXPECTED: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_new_tokens": (lambda value: _integer(value, 1, _LONGEST), f"an integer from 1 to {_LONGEST:,}"),
    "num_beams": (lambda value: _integer(value, 1, _MOST_BEAMS), f"an integer from 1 to {_MOST_BEAMS}"),
    "do_sample": (lambda value: isinstance(value, bool), "True or False"),
    "temperature": (lambda value: _number(value, 1e-3, 1e3), "a number from 0.001 to 1000"),
    "top_k": (lambda value: _integer(value, 0, 2**31 - 1), "an integer of at least 0"),
    "top_p": (lambda value: _number(value, math.ulp(0.0), 1.0), "a number above 0 and at most 1"),
    "length_penalty": (lambda value: _number(value, -10.0, 10.0), "a number from -10 to 10"),
}


def generate(model: Seq2Seq, ids: tf.Tensor, settings: GenerationSettings, seed: tf.Tensor | None = None) -> tf.Tensor:
    """Write a text for each text that is given.

    Args:
        ids: int32 [batch, length], padding at the end alone; the length is static.
        seed: int32 [2], needed with `do_sample`.

    Returns:
        int32 [batch, 1 + max_new_tokens]: `decoder_start_token_id`, what was written up to `eos_token_id`, and padding.
    """
    if settings.num_beams > 1:
        return beam_search(model, ids, settings.max_new_tokens, settings.num_beams, settings.length_penalty)
    if not settings.do_sample:
        return write(model, ids, settings.max_new_tokens, lambda logits, _: most_probable(logits))

    def draw(logits: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        left = most_probable_alone(logits / settings.temperature, settings.top_k, settings.top_p)
        return drawn(left, place, seed)

    return write(model, ids, settings.max_new_tokens, draw)
