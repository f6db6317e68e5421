"""The trained model as the reference of the gate: batches, traces, devices, near-ties."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.config import load_config
from switch_tf.export.proof.reference import ask_reference, on_the_cpu
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.text_classifier import TextClassifier


def test_near_ties_are_found_in_real_tokens_alone():
    """With a router of zeros every real token is a tie; an empty text has none."""
    settings = ["model.d_model=8", "model.d_ff=8", "model.num_experts=2", "text.sequence_length=4", "model.num_heads=2"]
    config = load_config(assignments=settings)
    classifier = SwitchClassifier(config, num_ids=4, num_classes=2)
    classifier.initialize()
    model = TextClassifier(config, ["film", "fine"], ["neg", "pos"], classifier)
    router = classifier.blocks[0].feed_forward.router_kernel
    texts = [b"fine film", b"", b"!?"]

    router.assign(tf.zeros_like(router))
    assert ask_reference(model, texts).near_tie.tolist() == [True, False, False]

    classifier.blocks[0].feed_forward_norm.beta.assign(tf.ones([8]))
    classifier.blocks[0].feed_forward_norm.gamma.assign(tf.zeros([8]))
    for apart, tie in ((0.0, True), (8e-7, True), (1.2e-6, False), (-8e-7, True), (-1.2e-6, False), (1.0, False)):
        router.assign(tf.constant([[0.0, apart / 8.0]] * 8))  # logits 0 and `apart`
        assert ask_reference(model, texts).near_tie.tolist() == [tie, False, False], apart


@pytest.mark.parametrize("layer", [0, 1])
def test_a_near_tie_in_one_layer_is_enough(layer):
    settings = ["model.d_model=8", "model.d_ff=8", "model.num_experts=2", "text.sequence_length=4", "model.num_heads=2"]
    config = load_config(assignments=[*settings, "model.num_blocks=2"])
    classifier = SwitchClassifier(config, num_ids=4, num_classes=2)
    classifier.initialize()
    model = TextClassifier(config, ["film", "fine"], ["neg", "pos"], classifier)
    for number, block in enumerate(classifier.blocks):
        block.feed_forward_norm.beta.assign(tf.ones([8]))
        block.feed_forward_norm.gamma.assign(tf.zeros([8]))
        block.feed_forward.router_kernel.assign(tf.constant([[0.0, 0.0 if number == layer else 1.0]] * 8))
    assert ask_reference(model, [b"fine film", b""]).near_tie.tolist() == [True, False]


def test_the_reference_answers_batch_by_batch():
    settings = ["model.d_model=8", "model.d_ff=8", "model.num_experts=2", "text.sequence_length=4", "model.num_heads=2"]
    config = load_config(assignments=settings)
    classifier = SwitchClassifier(config, num_ids=4, num_classes=2)
    classifier.initialize()
    model = TextClassifier(config, ["film", "fine"], ["neg", "pos"], classifier)
    texts = [b"fine film", b"film", b"", b"x fine \xff", b"a\0b"]
    reference = ask_reference(model, texts, batch_size=2)
    assert reference.answers.ids.tolist() == [[3, 2, 0, 0], [2, 0, 0, 0], [0] * 4, [1, 3, 1, 0], [1, 1, 0, 0]]
    np.testing.assert_allclose(reference.answers.probabilities, model.probabilities(texts), atol=1e-6)
    best = reference.answers.probabilities.argmax(axis=1)
    assert reference.answers.labels == [["neg", "pos"][i] for i in best]


def test_the_reference_is_traced_once_for_batches_of_all_sizes(monkeypatch):
    settings = ["model.d_model=8", "model.d_ff=8", "model.num_experts=2", "text.sequence_length=4", "model.num_heads=2"]
    config = load_config(assignments=settings)
    classifier = SwitchClassifier(config, num_ids=4, num_classes=2)
    classifier.initialize()
    model = TextClassifier(config, ["film", "fine"], ["neg", "pos"], classifier)
    traced = []
    call = SwitchClassifier.call

    def counted(self, ids, *arguments, **named):
        traced.append(tuple(ids.shape))
        return call(self, ids, *arguments, **named)

    monkeypatch.setattr(SwitchClassifier, "call", counted)
    texts = [b"fine"] * 7
    ask_reference(model, texts, batch_size=3)
    assert traced == [(None, 4), (None, 4)]  # for its router's logits, and inside `classify_text`
    ask_reference(model, texts, batch_size=2)
    assert traced == [(None, 4)] * 3


def test_the_reference_is_asked_on_the_first_cpu_and_its_graphs_are_bound_to_no_device():
    """A second CPU stands for a GPU, in a process of its own: devices are set up once."""
    program = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from switch_tf.export.proof.reference import on_the_cpu
double = tf.function(lambda x: x * 2.0, autograph=False)
with tf.device("/CPU:1"):
    outside = double(tf.constant([1.0]))
    with on_the_cpu():
        inside = double(tf.constant([1.0, 2.0]))
print(outside.device[-5:], inside.device[-5:])
graph = double.get_concrete_function(tf.TensorSpec([2], tf.float32)).graph.as_graph_def()
print({node.device for node in graph.node})
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[:2] == ["CPU:1 CPU:0", "{''}"]


def test_the_reference_is_not_compiled_and_the_setting_comes_back():
    tf.config.optimizer.set_jit("autoclustering")
    try:
        with on_the_cpu():
            assert tf.config.optimizer.get_jit() == ""
        assert tf.config.optimizer.get_jit() == "autoclustering"
    finally:
        tf.config.optimizer.set_jit(False)


def test_the_experts_that_found_room_for_a_token_are_told():
    """One slot an expert and example: a second token of the same expert visits nothing."""
    settings = ["model.d_model=8", "model.d_ff=8", "model.num_experts=2", "text.sequence_length=2", "model.num_heads=2"]
    config = load_config(assignments=[*settings, "model.eval_capacity_factor=0.5"])
    classifier = SwitchClassifier(config, num_ids=4, num_classes=2)
    classifier.initialize()
    layer = classifier.blocks[0]
    layer.feed_forward_norm.beta.assign(tf.ones([8]))
    layer.feed_forward_norm.gamma.assign(tf.zeros([8]))
    layer.feed_forward.router_kernel.assign(tf.constant([[1.0, 2.0]] * 8))  # every token goes to the second
    model = TextClassifier(config, ["film", "fine"], ["neg", "pos"], classifier)
    (visited,) = ask_reference(model, [b"fine film", b"film"]).visited
    assert visited.tolist() == [False, True]
    (visited,) = ask_reference(model, [b""]).visited
    assert visited.tolist() == [False, False]
