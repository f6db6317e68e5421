"""What is checked of every ONNX graph, in memory and in a file."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from test_onnx_passes import model_of

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file.conversion import refuse_invalid


def scattering(**arguments: str) -> onnx.ModelProto:
    """Rows put to places: float32 [n, 2] into [3, 2]."""
    inputs = [
        ("x", TensorProto.FLOAT, [3, 2]),
        ("at", TensorProto.INT64, ["n", 1]),
        ("rows", TensorProto.FLOAT, ["n", 2]),
    ]
    node = helper.make_node("ScatterND", [name for name, *_ in inputs], ["y"], **arguments)
    return model_of([node], inputs, [("y", TensorProto.FLOAT, [3, 2])])


def inside_a_branch(inner: onnx.ModelProto) -> onnx.ModelProto:
    """The model as both branches of an If."""
    branch = onnx.GraphProto()
    branch.CopyFrom(inner.graph)
    del branch.input[:]
    node = helper.make_node("If", ["which"], ["z"], then_branch=branch, else_branch=branch)
    outer = model_of([node], [], [("z", TensorProto.FLOAT, [3, 2])])
    outer.graph.input.extend([*inner.graph.input, helper.make_tensor_value_info("which", TensorProto.BOOL, [])])
    return outer


@pytest.mark.parametrize("arguments", [{}, {"reduction": "none"}])
def test_rows_may_be_scattered(arguments: dict[str, str]) -> None:
    refuse_invalid(scattering(**arguments))


@pytest.mark.parametrize("reduction", ["add", "max"])
def test_but_not_be_summed_by_threads_that_race(reduction: str, tmp_path: Path) -> None:
    for model in (scattering(reduction=reduction), inside_a_branch(scattering(reduction=reduction))):
        onnx.save(model, tmp_path / "model.onnx")
        for given in (model, tmp_path / "model.onnx"):
            with pytest.raises(ExportError, match=r"^The converted graph sums by ScatterND"):
                refuse_invalid(given)


def test_what_is_no_valid_graph_is_refused_by_its_name() -> None:
    model = scattering()
    model.graph.node[0].op_type = "Scatterer"
    with pytest.raises(ExportError, match=r"^The graph of a\.onnx is not valid ONNX: .*Scatterer"):
        refuse_invalid(model, "The graph of a.onnx")
