"""The ONNX graph as it is built, before any gate: what is not rounded, and what is refused."""

import dataclasses
import types
from typing import cast

import numpy as np
import onnx
import pytest
import tensorflow as tf

from switch_tf.config import load_config
from switch_tf.errors import ExportError
from switch_tf.export.onnx_file.build import build_onnx
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


def test_router_weights_are_not_rounded(run):
    """A router of 64 x 16 is as large as what is stored small; a rounding would send tokens to other experts."""
    sizes = ["model.d_model=64", "model.d_ff=64", "model.num_experts=16", "text.sequence_length=4"]
    config = load_config(assignments=sizes)
    classifier = SwitchClassifier(config, num_ids=40, num_classes=len(run.labels))
    classifier.initialize()
    words = [f"word{number}" for number in range(38)]
    model = TextClassifier(config, words, run.labels, classifier)
    wide = dataclasses.replace(run, config=config, vocabulary=words)
    stored = build_onnx(wide, model, "ids", None, "int8").graph.initializer
    (router,) = classifier.router_weights()
    kinds = [tensor.data_type for tensor in stored if np.array_equal(onnx.numpy_helper.to_array(tensor), router)]
    assert router.size == 1024 and kinds == [onnx.TensorProto.FLOAT]
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in stored}


def test_an_operator_that_tf2onnx_leaves_as_it_was_is_refused(run):
    def classify(ids):
        values = tf.cast(ids[:, :2], tf.float32)
        found = tf.searchsorted(tf.constant([[0.0, 1.0, 2.0]]) + 0.0 * values[:, :1], values)
        return {"probabilities": tf.nn.softmax(tf.cast(found, tf.float32)), "label": tf.argmax(values, axis=-1)}

    model = types.SimpleNamespace(classify_ids=types.SimpleNamespace(python_function=classify), spec=run.config.text)
    with pytest.raises(ExportError, match="operators that are not standard ONNX"):
        build_onnx(run, cast(TextClassifier, model), "ids")
