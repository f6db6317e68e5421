"""Stored weights: which are stored smaller, how far off they may be, and that the graph computes in float32."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from switch_tf.export.onnx_file.weights import store_weights

TABLE = np.random.default_rng(0).normal(size=[40, 32]).astype(np.float32)
EXPERTS = np.random.default_rng(1).normal(size=[2, 32, 32]).astype(np.float32) * np.array([[[1]], [[100]]], np.float32)
ROUTER = np.random.default_rng(2).normal(size=[32, 40]).astype(np.float32)
SMALL = np.random.default_rng(3).normal(size=[32, 3]).astype(np.float32)


def model() -> onnx.ModelProto:
    """ids [n] -> expert rows [2, n, 32], router logits [n, 40], a small product [n, 3]; the router is used twice."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "experts"], ["y"]),
        helper.make_node("MatMul", ["x", "router"], ["logits"]),
        helper.make_node("MatMul", ["x", "router"], ["again"]),
        helper.make_node("MatMul", ["x", "small"], ["z"]),
    ]
    shapes = {"y": [2, None, 32], "logits": [None, 40], "again": [None, 40], "z": [None, 3]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, [None])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [
            numpy_helper.from_array(array, name)
            for name, array in {"table": TABLE, "experts": EXPERTS, "router": ROUTER, "small": SMALL}.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def types(of: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in of.graph.initializer}


def answers(of: onnx.ModelProto, ids: list[int]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(of.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y", "logits", "again", "z"], {"ids": np.array(ids, np.int32)})


def test_large_matrices_and_tables_are_stored_small_but_those_kept() -> None:
    stored = types(store_weights(model(), "int8", kept=[ROUTER]))
    kinds = {name: stored[name] for name in ("table", "experts", "router", "small")}
    small = TensorProto.INT8
    assert kinds == {"table": small, "experts": small, "router": TensorProto.FLOAT, "small": TensorProto.FLOAT}
    assert types(store_weights(model(), "float16"))["router"] == TensorProto.FLOAT16
    assert store_weights(model(), "float32") == model()


def test_int8_rounds_each_column_of_each_expert_to_its_own_scale() -> None:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in store_weights(model(), "int8").graph.initializer}
    np.testing.assert_allclose(stored["experts/scale"], np.abs(EXPERTS).max(axis=1, keepdims=True) / 127, rtol=1e-6)
    assert stored["experts/scale"].shape == (2, 1, 32) and stored["table/scale"].shape == (1, 32)
    off = np.abs(stored["experts"] * stored["experts/scale"] - EXPERTS)
    assert np.all(off <= stored["experts/scale"] / 2 * 1.001) and np.abs(stored["experts"]).max() == 127


@pytest.mark.parametrize(("precision", "bound"), [("float16", 2e-3), ("int8", 3e-2)])
def test_the_graph_computes_with_what_was_stored(precision, bound) -> None:
    changed = store_weights(model(), precision, kept=[SMALL])
    onnx.checker.check_model(changed, full_check=True)
    for received, expected in zip(answers(changed, [3, 0, 39]), answers(model(), [3, 0, 39]), strict=True):
        assert received.dtype == np.float32
        assert 0 < np.abs(received - expected).max() <= bound * np.abs(expected).max()


def test_a_column_of_zeros_stays_zero() -> None:
    changed = model()
    (table,) = (tensor for tensor in changed.graph.initializer if tensor.name == "table")
    values = TABLE.copy()
    values[:, 5] = 0
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    stored = store_weights(changed, "int8")
    assert all(np.isfinite(each).all() for each in answers(stored, [1, 2]))
