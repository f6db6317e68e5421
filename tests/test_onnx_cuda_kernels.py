"""The table of CUDA kernels: our own graph for GPUs passes, and each kind of gap is found and named."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file import cuda_kernels as onnx_cuda
from switch_tf.export.onnx_file.build import build_onnx
from switch_tf.export.onnx_file.cuda_kernels import cpu_operators, refuse_cpu_operators
from switch_tf.export.onnx_file.passes import to_opset
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run


def graph(node: onnx.NodeProto, kind: int, opset: int = 18, out: int | None = None) -> onnx.ModelProto:
    """One node on values of one type, each [2, 2]; constants are those it needs."""
    inputs = [helper.make_tensor_value_info(name, kind, [2, 2]) for name in node.input if name in ("x", "y")]
    constants = {"at": np.zeros([2, 2], np.int64), "pads": np.zeros([4], np.int64)}
    return helper.make_model(
        helper.make_graph(
            [node],
            "g",
            inputs,
            [helper.make_tensor_value_info(name, out or kind, None) for name in node.output],
            [numpy_helper.from_array(constants[name], name) for name in node.input if name in constants],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )


@pytest.fixture(scope="module")
def model(trained_run):
    run = open_run(trained_run)
    return build_onnx(run, load_classifier(run), "ids", 4)


def test_the_model_for_gpus_leaves_nothing_to_the_cpu(model):
    assert list(cpu_operators(model)) == []
    assert refuse_cpu_operators(model) is model


def test_at_opset_20_it_would(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    assert set(cpu_operators(to_opset(copy, {"": 20}, 9))) == {"ConstantOfShape 20", "Equal 19"}


@pytest.mark.parametrize(
    ("case", "found"),
    [
        (graph(helper.make_node("GatherND", ["x", "at"], ["z"]), TensorProto.INT32), ["GatherND 13 T=int32"] * 2),
        (graph(helper.make_node("GatherND", ["x", "at"], ["z"]), TensorProto.FLOAT), []),
        (graph(helper.make_node("Pad", ["x", "pads"], ["z"]), TensorProto.INT64), ["Pad 18 T=int64"] * 2),
        (
            graph(helper.make_node("ArgMax", ["x"], ["z"]), TensorProto.INT32, out=TensorProto.INT64),
            ["ArgMax 13 T=int32"],
        ),
        (graph(helper.make_node("ReduceProd", ["x"], ["z"]), TensorProto.INT64), ["ReduceProd 18"]),
        (graph(helper.make_node("Unique", ["x"], ["z"]), TensorProto.FLOAT), ["Unique 11"]),
        (
            graph(helper.make_node("StringConcat", ["x", "y"], ["z"]), TensorProto.STRING, opset=20),
            ["StringConcat 20"],
        ),
        (graph(helper.make_node("Equal", ["x", "y"], ["z"]), TensorProto.INT32, out=TensorProto.BOOL), []),
        (graph(helper.make_node("Equal", ["x", "y"], ["z"]), TensorProto.INT32, 20, TensorProto.BOOL), ["Equal 19"]),
    ],
    ids=lambda value: None if isinstance(value, onnx.ModelProto) else "-".join(value) or "fine",
)
def test_what_the_provider_lacks_is_named(case, found):
    assert list(cpu_operators(case)) == found
    if found:
        with pytest.raises(ExportError, match=found[0]):
            refuse_cpu_operators(case)


def test_an_export_for_gpus_asks_the_table_and_no_other_does(trained_run, monkeypatch):
    run = open_run(trained_run)
    model = load_classifier(run)
    monkeypatch.delitem(onnx_cuda._KERNELS, "ScatterND")
    with pytest.raises(ExportError, match="leave this to the CPU: ScatterND 18"):
        build_onnx(run, model, "ids", 4)
    assert build_onnx(run, model, "ids").graph.node  # a dynamic batch is for the CPU
