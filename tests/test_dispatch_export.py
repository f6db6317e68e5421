"""Both kinds of dispatch give one answer from the same weights in every format; einsum gathers no token."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert.schema_py_generated import BuiltinOperator
from conftest import ask, export_file

from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.export.tflite_file import flatbuffer as tflite_file
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proof(trained_run):
    return Proof(open_run(trained_run), texts=40, dispatch="einsum")


def test_the_reference_stays_as_it_was_trained(trained_run, proof):
    assert proof.model.classifier.settings.dispatch == "gather"
    assert proof.exported.classifier.settings.dispatch == "einsum"
    same = Proof(open_run(trained_run), texts=4, dispatch="gather")
    assert same.exported is same.model


def test_in_tensorflow_they_differ_by_rounding_alone(proof):
    texts = tf.constant(proof.texts)
    expected, received = (each.classify_text(texts)["probabilities"] for each in (proof.model, proof.exported))
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6)


def test_in_a_saved_model(proof, trained_run, tmp_path):
    _, comparisons = export_saved_model(open_run(trained_run), proof, tmp_path / "saved_model")
    assert all(each.ok and each.max_abs_diff <= 1e-6 for each in comparisons)


def test_in_litert(proof, trained_run, tmp_path):
    path, comparison = export_file("tflite", open_run(trained_run), proof, tmp_path / "a.tflite")
    assert comparison.ok and comparison.max_abs_diff <= 1e-6
    model = tflite_file.unpack(path.read_bytes())
    (of_ids,) = (each.subgraphIndex for each in model.signatureDefs if each.signatureKey == b"ids")
    used = {model.operatorCodes[each.opcodeIndex].builtinCode for each in model.subgraphs[of_ids].operators}
    assert BuiltinOperator.BATCH_MATMUL in used and BuiltinOperator.SCATTER_ND not in used


def test_in_onnx_runtime(proof, trained_run, tmp_path):
    path, comparison = export_file("onnx", open_run(trained_run), proof, tmp_path / "a.onnx", inputs="ids", batch=4)
    assert comparison.ok and comparison.max_abs_diff <= 1e-6
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("Gather") == 1 and "ScatterND" not in operators  # the embedding's


def test_the_command_takes_either(trained_run, tmp_path):
    for dispatch in ("einsum", "gather"):
        words = (
            "--format",
            "onnx",
            "--inputs",
            "ids",
            "--dispatch",
            dispatch,
            "--output",
            tmp_path / f"{dispatch}.onnx",
        )
        answer = ask("export", trained_run, *words)
        assert answer.code == 0, answer.err
    found = {
        name: [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node]
        for name in ("einsum", "gather")
    }
    assert "ScatterND" in found["gather"] and "ScatterND" not in found["einsum"]
