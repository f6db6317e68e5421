"""Whatever the router, a classifier keeps our promises: no batch-mates, static shapes, XLA, one answer everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from conftest import Quiet, export_file, tiny_config

from switch_tf.data.request import DataRequest
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.fused import build_classifier
from switch_tf.models.weights import named_weights
from switch_tf.runs.folder import Run
from switch_tf.training.session import train

NUM_IDS, LENGTH = 40, 12
ROUTERS: dict[str, list[str]] = {
    "top1": ["model.router=top1", "model.priority=gate", "model.balance_rate=0.01"],
    "top2": ["model.router=top2"],
    "top2 by gate": ["model.router=top2", "model.priority=gate", "model.normalize_gates=false"],
    "expert_choice": ["model.router=expert_choice"],
    "xmoe": ["model.router=xmoe"],
    "token": ["model.router=token", "model.balance_rate=0.01"],
}
every_router = pytest.mark.parametrize("router", ROUTERS)


def config(router: str, *changes: str) -> Any:
    small = ("model.num_experts=4", "model.capacity_factor=0.75", "model.eval_capacity_factor=0.75")
    return tiny_config(*small, "train.epochs=1", *ROUTERS[router], *changes)


def classifier(router: str, *changes: str, finished: bool = True) -> Any:
    """With weights large enough to matter."""
    settings = config(router, *changes)
    model = SwitchClassifier(settings, NUM_IDS, 2)
    model.initialize()
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    if not finished:
        return model
    weights = {name: variable.numpy() for name, variable in named_weights(model).items()}
    return build_classifier(settings, finish(weights, settings.model), NUM_IDS, 2, "weights")


def texts(count: int = 16) -> tf.Tensor:
    random = np.random.default_rng(1)
    ids = random.integers(1, NUM_IDS, [count, LENGTH])
    return tf.constant(np.where(np.arange(LENGTH) < random.integers(0, LENGTH + 1, [count, 1]), ids, 0), tf.int32)


@every_router
def test_a_text_is_answered_alone_as_in_a_batch(router: str) -> None:
    model, ids = classifier(router), texts()
    together = model(ids)
    assert together.reports[0].routing.dropped > 0  # or else nothing competes
    for row in range(len(ids)):
        alone = model(ids[row : row + 1])
        np.testing.assert_allclose(alone.logits[0], together.logits[row], atol=1e-6)
        np.testing.assert_array_equal(alone.reports[0].routing.kept[0], together.reports[0].routing.kept[row])


@every_router
def test_padding_behind_changes_nothing(router: str) -> None:
    model, ids = classifier(router), texts()
    short = tf.where(tf.range(LENGTH) < 8, ids, 0)
    np.testing.assert_allclose(model(short[:, :8]).logits, model(short).logits, atol=1e-6)


@every_router
def test_einsum_answers_as_gather(router: str) -> None:
    one, other = classifier(router), classifier(router, "model.dispatch=einsum")
    np.testing.assert_allclose(other(texts()).logits, one(texts()).logits, atol=1e-5)


@every_router
def test_no_dimension_but_the_batch_is_dynamic(router: str) -> None:
    model = classifier(router)
    function = tf.function(lambda ids: model(ids), autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([5, LENGTH], tf.int32)).graph
    tensors = [tensor for op in graph.get_operations() for tensor in op.outputs if tensor.dtype != tf.resource]
    assert not [tensor for tensor in tensors if not tensor.shape.is_fully_defined()]


@pytest.mark.slow
@every_router
def test_xla_agrees(router: str) -> None:
    model, ids = classifier(router), texts()
    compiled = tf.function(lambda ids: model(ids), jit_compile=True, autograph=False)(ids)
    expected = model(ids)
    np.testing.assert_allclose(compiled.logits, expected.logits, atol=1e-5)
    np.testing.assert_array_equal(compiled.reports[0].routing.kept, expected.reports[0].routing.kept)


@every_router
def test_every_weight_gets_a_gradient_but_a_bias_that_is_moved_by_loads(router: str) -> None:
    model = classifier(router, finished=False)
    with tf.GradientTape() as tape:
        output = model(texts(), training=True, seed=tf.constant([1, 2]))
        loss = tf.reduce_sum(output.logits[:, 0]) + output.reports[0].auxiliary_loss
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.name
    assert ["router_bias" in each.name for each in model.non_trainable_variables] == [True] * len(
        model.non_trainable_variables
    )
    before = [each.numpy() for each in model.non_trainable_variables]
    model.balance(output.reports)
    load = output.reports[0].routing.tokens_per_expert.numpy()
    for each, old in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_allclose(each - old, 0.01 * np.sign(load.mean() - load), rtol=1e-5)


@pytest.fixture(scope="module", params=ROUTERS)
def run(request: pytest.FixtureRequest, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained with attention, for one epoch."""
    data = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    return train(data, config(request.param), tmp_path_factory.mktemp("runs") / "made", Quiet())


@pytest.fixture(scope="module")
def proof(run: Run) -> Proof:
    return Proof(run, texts=40)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_every_file_passes_the_gate(run: Run, proof: Proof, name: str, tmp_path: Path) -> None:
    _, comparison = export_file(name, run, proof, tmp_path / f"model.{name}")
    assert comparison.ok and comparison.routing_ties == 0
    assert comparison.arrays >= 20 and comparison.max_abs_diff <= 1e-6


@pytest.mark.slow
def test_every_saved_model_passes_the_gate(run: Run, proof: Proof, tmp_path: Path) -> None:
    _, comparisons = export_saved_model(run, proof, tmp_path / "saved_model")
    assert all(each.ok and each.routing_ties == 0 and each.max_abs_diff <= 1e-6 for each in comparisons)


@pytest.mark.slow
def test_a_router_of_words_leaves_no_product_and_no_argmax(run: Run, proof: Proof, tmp_path: Path) -> None:
    """Beside those of attention (6), places in queues (1), experts (2) and head (1), and the label's.

    `expert_choice` has no queues, but a router's product, and experts choose without an argmax.
    """
    path, _ = export_file("onnx", run, proof, tmp_path / "model.onnx", inputs="ids")
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    found = kinds.count("MatMul") + kinds.count("Gemm"), kinds.count("ArgMax")
    assert (found == (10, 1)) == (run.config.model.router in ("token", "expert_choice"))
