"""Text, ids and bytes give one answer, and what holds no string compiles under XLA, text front-end included."""

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run
from switch_tf.text.byte_codes import kept_bytes, pack

BATCH = 8


@pytest.fixture(scope="module")
def model(trained_run):
    return load_classifier(open_run(trained_run))


@pytest.fixture(scope="module")
def texts(model):
    valid = [text.encode() for text in adversarial_texts(model.spec, model.vocabulary, 120, seed=2)]
    return valid + invalid_utf8_texts(model.vocabulary, BATCH, seed=2)  # a multiple of BATCH


def batches(texts):
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def test_bytes_answer_as_the_text_that_is_kept(model, texts):
    for batch in batches(texts):
        expected = model.classify_text(tf.constant([kept_bytes(model.spec, text) for text in batch]))
        received = model.classify_bytes(pack(batch, model.spec.num_bytes))
        np.testing.assert_array_equal(received["probabilities"], expected["probabilities"])
        labels = [label.decode() for label in expected["label"].numpy()]
        assert [model.labels[index] for index in received["label"]] == labels


def test_an_empty_batch_of_bytes_gives_an_empty_answer(model):
    assert model.classify_bytes(pack([], model.spec.num_bytes))["probabilities"].shape == (0, 2)


@pytest.fixture(scope="module")
def compiled(model):
    """`ids` and `bytes` with a fixed batch, as a caller compiles them from outside."""
    shapes = {"ids": (model.spec.sequence_length, tf.int32), "bytes": (model.spec.num_bytes, tf.uint8)}
    functions = {"ids": model.classify_ids, "bytes": model.classify_bytes}
    return {
        name: tf.function(
            functions[name].python_function,
            input_signature=[tf.TensorSpec([BATCH, width], kind)],
            jit_compile=True,
            autograph=False,
        )
        for name, (width, kind) in shapes.items()
    }


@pytest.mark.slow
def test_xla_compiles_bytes_and_ids_and_agrees(model, compiled, texts):
    for batch in batches(texts):
        raw = pack(batch, model.spec.num_bytes)
        ids = model.tokenize_bytes(raw)["ids"]
        expected = model.classify_bytes(raw)["probabilities"]
        np.testing.assert_allclose(compiled["bytes"](raw)["probabilities"], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(compiled["ids"](ids)["probabilities"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["ids", "bytes"])
def test_xla_sees_static_shapes_alone(model, compiled, name):
    width, kind = (model.spec.num_bytes, tf.uint8) if name == "bytes" else (model.spec.sequence_length, tf.int32)
    hlo = compiled[name].experimental_get_compiler_ir(tf.zeros([BATCH, width], kind))(stage="optimized_hlo")
    assert "ENTRY" in hlo
    assert "<=" not in hlo and "set-dimension-size" not in hlo  # a shape of which XLA knows a bound only
