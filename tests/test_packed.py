"""The packed classifier answers as the layers do, whatever is padding, in TensorFlow, LiteRT and ONNX Runtime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from test_fused import CLASSES, LENGTH, NUM_IDS, deep_weights, settings, wide_tables

from switch_tf.config import load_config
from switch_tf.export.onnx_file.packed_graph import build_packed_graph
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.fused import FusedClassifier, build_classifier, fused_arrays
from switch_tf.models.packed import can_pack, pack, packed_logits
from switch_tf.models.weights import named_weights

Answer = Callable[[np.ndarray], np.ndarray]


def test_pairs_and_tokens_of_a_batch() -> None:
    packed = pack(tf.constant([[7, 8, 0], [9, 0, 0], [0, 0, 0]]))
    assert packed.previous.numpy().tolist() == [0, 7, 8, 0, 9, 0]
    assert packed.this.numpy().tolist() == [7, 8, 0, 9, 0, 0]
    assert packed.text_of_pair.numpy().tolist() == [0, 0, 0, 1, 1, 2]
    assert packed.tokens.numpy().tolist() == [0, 1, 3, 5]  # the last is that of the empty text, and weighs nothing
    assert packed.text.numpy().tolist() == [0, 0, 1, 2]
    assert packed.real.numpy().tolist() == [[1], [1], [1], [0]]
    assert packed.divisor.numpy().tolist() == [[2], [1], [1]]


def classifier(wide: bool = True, **model: Any) -> SwitchClassifier | FusedClassifier:
    """A model with random weights, of which two slots an expert are full at three tokens."""
    config = settings(**{"eval_capacity_factor": 0.6} | model)
    random = np.random.default_rng(3)
    deep = SwitchClassifier(config, NUM_IDS, CLASSES, num_pairs=2 * wide)
    deep.initialize()
    weights = {name: random.normal(size=v.shape).astype(np.float32) for name, v in named_weights(deep).items()}
    if not wide:
        for name, variable in named_weights(deep).items():
            variable.assign(weights[name])
        return deep
    weights |= {name: array for name, array in deep_weights(2).items() if "pairs/" in name}
    weights = fused_arrays(finish(weights, config.model), wide_tables(), np.array([0.5, 2.0]))
    return build_classifier(config, weights, NUM_IDS, CLASSES, "here")


MODELS = {
    "both paths": {},
    "the deep path alone": {"wide": False},
    "the dense twin": {"num_experts": 0},
    "two blocks": {"num_blocks": 2},
    "two dense blocks": {"num_blocks": 2, "num_experts": 0},
    "gelu": {"activation": "gelu"},
    "without a gate": {"scale_by_gate": "false"},
    "nothing dropped": {"drop_tokens": "false"},
    "routes of words": {"router": "token", "num_experts": 3},
    "routes of words, without a gate": {"router": "token", "num_blocks": 2, "scale_by_gate": "false"},
    "two of four experts left": {"num_experts": 4, "expert_map": "[[-1, 1, 0, -1]]"},
    "experts that share weights": {"num_experts": 4, "num_blocks": 2, "expert_map": "[[0, 0, 0, 0], [0, 1, -1, 1]]"},
    "words of experts that share weights": {"router": "token", "num_experts": 3, "expert_map": "[[0, 1, 0]]"},
}


def batch_of_ids() -> np.ndarray:
    random = np.random.default_rng(0)
    ids = random.integers(1, NUM_IDS, [40, LENGTH]).astype(np.int32)
    ids[np.arange(LENGTH) >= random.integers(0, LENGTH + 1, [40, 1])] = 0
    ids[:4] = [[0] * LENGTH, [5] * LENGTH, [0, 3, 0, 2, 3, 0], [4, 0, 0, 0, 0, 5]]  # padding may stand anywhere
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_it_answers_as_the_layers_do(model: dict[str, Any]) -> None:
    built = classifier(**model)
    assert can_pack(built)
    ids = batch_of_ids()
    expected = built(tf.constant(ids)).logits.numpy()
    traced = tf.function(lambda ids: packed_logits(built, ids), autograph=False)
    np.testing.assert_allclose(traced(tf.constant(ids)), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(traced(tf.constant(ids[:1])), expected[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_onnx_runtime_answers_as_the_layers_do(model: dict[str, Any]) -> None:
    built = classifier(**model)
    written = build_packed_graph(built, LENGTH, {"": 20}, 9)
    onnx.checker.check_model(written, full_check=True)
    assert {node.domain for node in written.graph.node} == {""}
    scatters = [node for node in written.graph.node if node.op_type == "ScatterND"]
    # Its sums race: threads of ONNX Runtime overwrite each other's.
    assert not any(attribute.name == "reduction" for node in scatters for attribute in node.attribute)
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = batch_of_ids()
    logits = built(tf.constant(ids)).logits.numpy()
    for batch in (slice(None), slice(0, 1), slice(1, 2)):  # all, one without a word, one that is full
        probabilities, label = session.run(None, {"ids": ids[batch]})
        np.testing.assert_allclose(probabilities, tf.nn.softmax(logits[batch]), atol=1e-5)
        np.testing.assert_array_equal(label, logits[batch].argmax(axis=1))


def in_litert(built: SwitchClassifier | FusedClassifier, folder: Any) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    spec = tf.TensorSpec([None, LENGTH], tf.int32, name="ids")
    function = tf.function(lambda ids: {"logits": packed_logits(built, ids)}, input_signature=[spec], autograph=False)
    module = tf.Module()
    module.weights = built.variables
    tf.saved_model.save(module, str(folder), signatures={"ids": function})
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    runner = Interpreter(model_content=content).get_signature_runner("ids")
    return lambda ids: runner(ids=ids)["logits"]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_litert_answers_as_the_layers_do(model: dict[str, Any], tmp_path: Any) -> None:
    built = classifier(**model)
    ask, ids = in_litert(built, tmp_path), batch_of_ids()
    expected = built(tf.constant(ids)).logits.numpy()
    for batch in (slice(None), slice(0, 1), slice(1, 2), slice(2, 9)):
        np.testing.assert_allclose(ask(ids[batch]), expected[batch], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [["model.context=attention"], ["model.pooling=max"], ["model.dispatch=einsum"]])
def test_what_it_does_not_know_is_not_packed(changes: list[str]) -> None:
    config = load_config(assignments=["text.sequence_length=4", "model.context=mean", *changes])
    model = SwitchClassifier(config, NUM_IDS, CLASSES)
    assert not can_pack(model)
