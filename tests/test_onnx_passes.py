"""Each graph pass alone, on graphs of a few nodes that one can read."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file import passes as passes

OPSETS = {"": 20, "ai.onnx.ml": 2}


def model_of(nodes, inputs, outputs, opset=20, initializers=(), domains=()):
    """A model; inputs and outputs are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def doubling(opset=20, first="n", second=3):
    """y = x + x."""
    shape = [first, second]
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return model_of(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], opset)


def answers(model, **feed):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def shape_of(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_a_later_opset_gives_the_same_answers_and_states_each_domain_once():
    model = passes.to_opset(doubling(opset=18), OPSETS, 9)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20), ("ai.onnx.ml", 2)]
    assert model.ir_version == 9
    np.testing.assert_array_equal(answers(model, x=np.ones([2, 3], np.float32))[0], np.full([2, 3], 2.0))


def test_an_operator_that_the_later_opset_lacks_is_refused():
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    model = model_of([node], [("x", TensorProto.FLOAT, ["n"])], [("y", TensorProto.FLOAT, ["n"])], opset=18)
    with pytest.raises(ExportError, match="cannot be brought to opset 20"):
        passes.to_opset(model, OPSETS, 9)


@pytest.mark.parametrize(("batch", "first"), [(None, "batch"), (4, 4)])
def test_the_batch_gets_its_name_or_its_size(batch, first):
    model = passes.name_batch(doubling(first="unk__6"), batch)
    assert shape_of(model.graph.input[0]) == shape_of(model.graph.output[0]) == [first, 3]


def test_a_second_dynamic_dimension_is_refused():
    with pytest.raises(ExportError, match="x has a dynamic dimension besides the batch"):
        passes.name_batch(doubling(second="m"), None)


def test_values_are_renamed_wherever_they_stand():
    model = passes.rename_values(doubling(), {"x": "front/x", "y": "z"})
    assert list(model.graph.node[0].input) == ["front/x", "front/x"]
    np.testing.assert_array_equal(answers(model, **{"front/x": np.ones([1, 3], np.float32)})[0], [[2.0, 2.0, 2.0]])
    assert model.graph.output[0].name == "z"


def test_merged_models_run_one_after_the_other():
    back = passes.rename_values(doubling(), {"x": "u", "y": "v"})
    model = passes.merge(doubling(), back, ("y", "u"))
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["v"]
    assert len(model.opset_import) == 1
    np.testing.assert_array_equal(answers(model, x=np.ones([1, 3], np.float32))[0], [[4.0, 4.0, 4.0]])


@pytest.mark.parametrize("labels", [["bad", "good"], ["", "schön", "a b\0c"]])
def test_the_label_is_spelled(labels):
    node = helper.make_node("Identity", ["x"], ["label"])
    model = model_of([node], [("x", TensorProto.INT64, ["n"])], [("label", TensorProto.INT64, ["n"])])
    spelled = passes.spell_label(model, labels)
    assert [value.name for value in spelled.graph.output] == ["label"]
    assert answers(spelled, x=np.array([1, 0, 1]))[0].tolist() == [labels[1], labels[0], labels[1]]


def test_metadata_comes_out_of_the_runtime_as_it_went_in():
    model = passes.with_metadata(doubling(), {"labels": '["schön", "🙂"]', "empty": ""})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"labels": '["schön", "🙂"]', "empty": ""}


def test_standard_operators_pass():
    assert passes.refuse_foreign_operators(doubling()) == doubling()


@pytest.mark.parametrize(("name", "domain"), [("Tokenizer", "com.microsoft"), ("SearchSorted", "")])
def test_foreign_operators_are_refused_by_name(name, domain):
    node = helper.make_node(name, ["x"], ["y"], domain=domain)
    info = [("x", TensorProto.FLOAT, ["n"])], [("y", TensorProto.FLOAT, ["n"])]
    with pytest.raises(ExportError, match=f"{domain}::{name}"):
        passes.refuse_foreign_operators(model_of([node], *info, domains=[domain] if domain else []))


def test_foreign_operators_are_found_in_subgraphs():
    def branch(domain):
        node = helper.make_node("Gelu", ["x"], ["b"], domain=domain)
        return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n"])])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch(""), else_branch=branch("com.microsoft"))
    inputs = [("c", TensorProto.BOOL, []), ("x", TensorProto.FLOAT, ["n"])]
    model = model_of([node], inputs, [("y", TensorProto.FLOAT, ["n"])], domains=["com.microsoft"])
    with pytest.raises(ExportError, match=r"standard ONNX: com\.microsoft::Gelu\."):
        passes.refuse_foreign_operators(model)
