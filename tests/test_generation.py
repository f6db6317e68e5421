"""Writing: the ids that transformers writes, drawing by its seed alone, settings that make no sense."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.errors import ArgumentError
from switch_tf.layers.relative_attention import NEVER
from switch_tf.models.decoding import drawn, most_probable_alone
from switch_tf.models.generation import GenerationSettings, generate
from switch_tf.models.seq2seq import load_seq2seq

FIXTURES = Path(__file__).parent / "data" / "huggingface"
VARIANTS = ("plain", "tiny_capacity", "untied", "router_bias", "sharded", "bfloat16_bin")
LENGTH, LONGEST = 24, 24


@cache
def writer(name: str, xla: bool = False, **settings: Any) -> Callable[..., Any]:
    model, asked = load_seq2seq(FIXTURES / name), GenerationSettings(max_new_tokens=LONGEST, **settings)
    signature = [tf.TensorSpec([None, LENGTH], tf.int32), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(
        lambda ids, seed: generate(model, ids, asked, seed),
        input_signature=signature,
        autograph=False,
        jit_compile=xla or None,
    )
    return lambda ids, seed=0: graph(tf.constant(ids), tf.constant([seed, 0])).numpy()


def reference(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(FIXTURES / name / "reference.npz"))


def up_to_the_end(ids: np.ndarray) -> np.ndarray:
    """Padding behind the first id of the end, where transformers' beams have the end's id again."""
    ended = np.cumsum(ids == 1, axis=1) - (ids == 1)
    return np.where(ended, 0, ids)


@pytest.mark.parametrize("name", VARIANTS)
def test_64_of_64_texts_are_those_of_transformers(name: str) -> None:
    expected = reference(name)
    np.testing.assert_array_equal(writer(name)(expected["prompts"]), expected["greedy"])


@pytest.mark.parametrize("name", ["plain", "untied"])
def test_beams_find_the_texts_that_those_of_transformers_find(name: str) -> None:
    expected = reference(name)
    written = writer(name, num_beams=3)(expected["prompts"])
    np.testing.assert_array_equal(written, up_to_the_end(expected["beams"]))
    assert (written != expected["greedy"]).any(axis=1).sum() > 30


def test_xla_writes_the_same() -> None:
    expected = reference("untied")
    np.testing.assert_array_equal(writer("untied", xla=True)(expected["prompts"]), expected["greedy"])


def test_xla_compiles_beams() -> None:
    expected = reference("untied")
    written = writer("untied", xla=True, num_beams=3)(expected["prompts"])
    np.testing.assert_array_equal(written, up_to_the_end(expected["beams"]))


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"do_sample": True, "top_p": 0.9}], ids=str)
def test_a_text_is_written_for_alone_as_among_others(settings: dict[str, Any]) -> None:
    prompts = reference("untied")["prompts"][:6]
    write = writer("untied", **settings)
    together = write(prompts)
    for row in (0, 3, 5):
        np.testing.assert_array_equal(write(prompts[row : row + 1])[0], together[row])
    np.testing.assert_array_equal(write(prompts[::-1])[::-1], together)


def test_drawing_depends_on_the_seed() -> None:
    prompts = reference("untied")["prompts"][:6]
    write = writer("untied", do_sample=True, top_p=0.9)
    np.testing.assert_array_equal(write(prompts, 1), write(prompts, 1))
    assert (write(prompts, 1) != write(prompts, 2)).any()


def test_ids_are_drawn_with_their_probabilities() -> None:
    logits = tf.math.log([[0.5, 0.3, 0.2, 0.0 + 1e-30]])
    draw = tf.function(lambda: tf.map_fn(lambda place: drawn(logits, place, tf.constant([7, 0]))[0], tf.range(2000)))
    counts = Counter(draw().numpy().tolist())
    # Three standard deviations of a share of 2,000 draws are at most 0.034.
    for each, probability in enumerate((0.5, 0.3, 0.2, 0.0)):
        assert abs(counts[each] / 2000 - probability) < 0.034


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, [0, 1, 2, 3]),
        (2, 1.0, [0, 2]),
        (9, 1.0, [0, 1, 2, 3]),
        (0, 0.5, [0]),  # 0.5 is reached by the first alone
        (0, 0.51, [0, 2]),
        (0, 1e-9, [0]),
        (3, 0.99, [0, 1, 2]),
        (2, 0.6, [0]),  # of the two that are left it has 0.625
    ],
)
def test_which_ids_may_be_drawn(top_k: int, top_p: float, kept: list[int]) -> None:
    logits = tf.math.log([[0.5, 0.15, 0.3, 0.05]])
    left = most_probable_alone(logits, top_k, top_p).numpy()[0]
    assert [each for each in range(4) if left[each] > NEVER] == kept


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0. Expected an integer from 1 to 4,096"),
        ({"max_new_tokens": True}, "max_new_tokens=True"),
        ({"num_beams": 0}, "num_beams=0"),
        ({"num_beams": 65}, "num_beams=65"),
        ({"do_sample": 1}, "do_sample=1. Expected True or False"),
        ({"do_sample": True, "temperature": 0.0}, "temperature=0.0"),
        ({"do_sample": True, "temperature": float("nan")}, "temperature=nan"),
        ({"do_sample": True, "top_k": -1}, "top_k=-1"),
        ({"do_sample": True, "top_p": 0.0}, "top_p=0.0"),
        ({"do_sample": True, "top_p": 1.5}, "top_p=1.5"),
        ({"do_sample": True, "num_beams": 2}, "do_sample=True with num_beams=2"),
        ({"temperature": 0.5}, "temperature=0.5 without do_sample"),
        ({"top_k": 5}, "top_k=5 without do_sample"),
        ({"top_p": 0.5}, "top_p=0.5 without do_sample"),
        ({"length_penalty": 2.0}, "length_penalty=2.0 with one beam"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        GenerationSettings(**settings)
    assert problem in str(caught.value)
    assert caught.value.argument in GenerationSettings.__dataclass_fields__
