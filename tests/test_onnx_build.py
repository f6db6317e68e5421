"""The ONNX file is what a stranger runs: its signature, its operators, hostile texts, and that a bad one is never kept.

That ids are equal and probabilities within 1e-5 on the proof's texts is what the gate inside an export asserts.
"""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from conftest import ask, export_file, said_without

from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.artifacts.seal import manifest_path
from switch_tf.errors import DataError, ExportError, ModelError, ParityError, RunError
from switch_tf.export.formats import FORMATS
from switch_tf.export.onnx_file import build as onnx_export
from switch_tf.export.onnx_file import passes as onnx_passes
from switch_tf.export.onnx_file.build import build_onnx
from switch_tf.export.onnx_file.runner import OnnxRunner
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof import bounds
from switch_tf.export.proof.gate import Proof
from switch_tf.export.session import export_run
from switch_tf.locks import locked
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow

TEXTS = ["lovely film", "", "!!!", "awful\0plot", "É\u00a0schön", "dull " * 50]


@pytest.fixture(scope="module")
def run(trained_run):
    return open_run(trained_run)


@pytest.fixture(scope="module")
def proof(run):
    return Proof(run, texts=60)


@pytest.fixture(scope="module")
def exported(run, proof, tmp_path_factory):
    """Files by (inputs, batch), each through the gate, which holds every text against the trained model."""
    folder = tmp_path_factory.mktemp("onnx")
    made = {}
    for inputs in ("text", "ids", "bytes"):
        for batch in (None, 4):
            path, comparison = export_file(
                "onnx", run, proof, folder / f"{inputs}-{batch}.onnx", inputs=inputs, batch=batch
            )
            assert comparison.ok and comparison.ids_equal == comparison.texts > 60
            assert comparison.size == path.stat().st_size
            made[inputs, batch] = path
    return made


@pytest.fixture(scope="module")
def built(exported):
    """The dynamic text model."""
    return onnx.load(exported["text", None])


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("inputs", ["text", "ids", "bytes"])
def test_only_the_batch_is_dynamic_and_has_a_name(exported, run, inputs, batch):
    session = onnxruntime.InferenceSession(str(exported[inputs, batch]), providers=["CPUExecutionProvider"])
    first, length, classes = batch or "batch", run.config.text.sequence_length, len(run.labels)
    entry = {
        "text": ("text", "tensor(string)", [first]),
        "ids": ("ids", "tensor(int32)", [first, length]),
        "bytes": ("bytes", "tensor(uint8)", [first, run.config.text.num_bytes]),
    }[inputs]
    label = "tensor(string)" if inputs == "text" else "tensor(int64)"
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [entry]
    assert {each.name: (each.type, each.shape) for each in session.get_outputs()} == {
        "probabilities": ("tensor(float)", [first, classes]),
        "label": (label, [first]),
    }


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("inputs", ["text", "ids", "bytes"])
def test_the_file_is_valid_and_holds_standard_operators_alone(exported, inputs, batch):
    model = onnx.load(exported[inputs, batch])
    onnx.checker.check_model(model, full_check=True)
    opsets = {("", 20), ("ai.onnx.ml", 2)} if inputs == "text" else {("", 18)}
    assert {(entry.domain, entry.version) for entry in model.opset_import} == opsets
    assert {node.domain for node in onnx_passes.nodes(model.graph)} <= {"", "ai.onnx.ml"}
    assert model.ir_version == 9 and not model.functions
    assert not [tensor for tensor in model.graph.initializer if tensor.external_data]


def test_the_metadata_name_labels_text_and_producer(built, run):
    metadata = {entry.key: entry.value for entry in built.metadata_props}
    assert json.loads(metadata["labels"]) == run.labels
    assert json.loads(metadata["text"])["sequence_length"] == run.config.text.sequence_length
    assert metadata["producer"].startswith("switch-tf ") and built.producer_name == "switch-tf"


def test_the_manifest_beside_it_has_signature_operators_checksum_and_figures(exported, run):
    for (inputs, batch), path in exported.items():
        manifest = json.loads((path.parent / f"{path.name}.manifest.json").read_text())
        entry = {"text": {"type": "string", "shape": [batch or "batch"]}}
        if inputs == "bytes":
            entry = {"bytes": {"type": "uint8", "shape": [batch or "batch", run.config.text.num_bytes]}}
        if inputs == "ids":
            entry = {"ids": {"type": "int32", "shape": [batch or "batch", run.config.text.sequence_length]}}
        assert manifest["inputs"] == entry and set(manifest["outputs"]) == {"probabilities", "label"}
        assert ("StringSplit" in manifest["operators"]) == (inputs == "text") and "MatMul" in manifest["operators"]
        content = path.read_bytes()
        assert manifest["files"] == {path.name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
        (figures,) = manifest["parity"].values()
        assert figures["ids_equal"] == figures["texts"] and manifest["labels"] == run.labels


def test_weights_are_stored_once_and_the_front_end_keeps_to_its_size(exported, proof, run):
    parameters = proof.model.classifier.count_params()
    assert exported["text", None].stat().st_size <= 4 * parameters + 40 * len(run.vocabulary) + 140_000


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("inputs", ["text", "ids"])
def test_a_quantized_model_passes_and_says_what_it_is(run, proof, tmp_path, inputs, precision):
    path, comparison = export_file("onnx", run, proof, tmp_path / "a.onnx", inputs=inputs, precision=precision)
    assert comparison.ok and comparison.precision == precision and comparison.ids_equal == comparison.texts
    assert comparison.accuracy >= comparison.accuracy_of_trained_model - 0.01
    assert FORMATS["onnx"].open_runners(path, proof.model)[0].precision == precision
    assert json.loads(manifest_path(path).read_text())["parity"][inputs]["accuracy"] == comparison.accuracy


def test_a_quantized_model_that_lost_too_much_is_not_kept(run, proof, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "max_loss", lambda complete: -100.0)
    with pytest.raises(ParityError, match="below the trained model's"):
        export_file("onnx", run, proof, tmp_path / "a.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        (np.zeros([2], np.float32), "Unexpected input data type"),
        (np.array([["a", "b"]], object), "Invalid rank for input: text"),
        (np.array("a", object), "Invalid rank for input: text"),
        (np.array(["half \ud83d"], object), "surrogates not allowed"),
    ],
    ids=["floats", "rank 2", "rank 0", "surrogate"],
)
def test_the_runtime_refuses_what_is_no_row_of_texts(exported, feed, message):
    session = onnxruntime.InferenceSession(str(exported["text", None]), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match=message):
        session.run(None, {"text": feed})
    assert len(session.run(None, {"text": np.array(["fine"], object)})) == 2


def test_the_value_between_front_end_and_classifier_is_named_ids(built, proof, run):
    answers = OnnxRunner(built.SerializeToString(), "x").answer([text.encode() for text in TEXTS], [3])[0]
    np.testing.assert_array_equal(answers.ids, proof.model.tokenize(tf.constant(TEXTS))["ids"])
    assert set(answers.labels) <= set(run.labels)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("inputs", ["text", "bytes"])
def test_the_predictor_answers_as_the_trained_model_in_any_number(exported, proof, inputs, batch):
    predictor = OnnxPredictor(exported[inputs, batch], threads=1)
    assert predictor.labels == proof.model.labels and predictor.provider == "CPUExecutionProvider"
    for count in (0, 1, 3, 4, 6):
        expected = proof.model.probabilities(TEXTS[:count])
        np.testing.assert_allclose(predictor.probabilities(TEXTS[:count]), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(
        predictor.probabilities([text.encode() for text in TEXTS]), predictor.probabilities(np.array(TEXTS, object))
    )


@pytest.mark.parametrize(
    "text",
    ["x" * 2**20, "lovely " * 150_000, "!" * 200_000, "a!" * 100_000, "\0", "\0" * 5000, "", " \n\t", "É" * 10_000],
    ids=["1 MB word", "1 MB words", "punctuation", "cut", "NUL", "NULs", "empty", "spaces", "not ASCII"],
)
def test_hostile_texts_are_answered_as_by_the_trained_model(exported, proof, text):
    texts = ["lovely film", text, "dull"]
    received = OnnxPredictor(exported["text", None]).probabilities(texts)
    np.testing.assert_allclose(received, proof.model.probabilities(texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", [b"ab\xff", "half \ud83d", 5, None])
def test_what_is_no_text_is_refused(exported, text):
    with pytest.raises(DataError, match=r"^Received .*Expected|half of a surrogate pair"):
        OnnxPredictor(exported["text", None]).probabilities(["fine", text])


def test_it_runs_where_only_numpy_and_onnx_runtime_are(exported):
    program = (
        "import numpy, onnxruntime\n"
        f"s = onnxruntime.InferenceSession({str(exported['text', None])!r}, providers=['CPUExecutionProvider'])\n"
        "p, l = s.run(['probabilities', 'label'], {'text': numpy.array(['lovely film', ''], object)})\n"
        "print(p.shape, p.dtype, len(l), s.get_modelmeta().custom_metadata_map['labels'])\n"
    )
    packages = ["tensorflow", "switch_tf", "onnx", "tf2onnx", "tf_keras"]
    assert said_without(packages, program, "-I") == '(2, 2) float32 2 ["bad", "good"]'


def test_the_predictor_imports_no_tensorflow(exported):
    program = (
        "from pathlib import Path; from switch_tf.artifacts.onnx_file import OnnxPredictor\n"
        f"print(OnnxPredictor(Path({str(exported['text', None])!r})).probabilities(['lovely']).shape)\n"
    )
    assert said_without(["tensorflow", "tf_keras"], program) == "(1, 2)"


@pytest.mark.parametrize("earlier", [None, b"earlier"])
def test_wrong_weights_fail_and_leave_what_was_there(run, proof, tmp_path, monkeypatch, earlier):
    def wrong(*arguments):
        weight = proof.model.classifier.head.kernel
        kept = tf.identity(weight)
        weight.assign(-10.0 * weight + 1.0)
        try:
            return build_onnx(*arguments)
        finally:
            weight.assign(kept)

    monkeypatch.setattr(onnx_export, "build_onnx", wrong)
    output = tmp_path / "export" / "model.onnx"
    if earlier:
        output.parent.mkdir()
        output.write_bytes(earlier)
    with pytest.raises(ParityError, match="does not answer as the trained model") as caught:
        export_file("onnx", run, proof, output)
    assert caught.value.exit_code == 3
    assert [(file.name, file.read_bytes()) for file in tmp_path.glob("export/*")] == (  # and no manifest
        [("model.onnx", earlier)] if earlier else []
    )
    assert earlier or not output.parent.exists()


def test_a_wrong_label_alone_fails(run, proof, built, tmp_path, monkeypatch):
    model = onnx.ModelProto()
    model.CopyFrom(built)
    (names,) = (tensor for tensor in model.graph.initializer if tensor.name == "label_names")
    names.string_data[:] = names.string_data[::-1]
    monkeypatch.setattr(onnx_export, "build_onnx", lambda *_: model)
    with pytest.raises(ParityError, match="its output label says the labels are"):
        export_file("onnx", run, proof, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_of_other_ids_is_refused_before_it_is_asked(run, proof, built, tmp_path, monkeypatch):
    model = onnx.ModelProto()
    model.CopyFrom(built)
    (weight,) = (node for node in model.graph.node if node.op_type == "LabelEncoder")
    values = next(attribute for attribute in weight.attribute if attribute.name == "values_int64s")
    values.ints[:] = [10**6] * len(values.ints)  # rows that the embedding does not have
    monkeypatch.setattr(onnx_export, "build_onnx", lambda *_: model)
    with pytest.raises(ParityError, match="gives another id to 48 words"):
        export_file("onnx", run, proof, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_readable_as_any_new_file(exported):
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(exported["text", None].stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("inside", ["file/model.onnx", "folder"])
def test_a_place_that_cannot_be_written_is_a_clear_error(run, proof, built, tmp_path, monkeypatch, inside):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(onnx_export, "build_onnx", lambda *_: built)
    with pytest.raises(RunError, match="cannot be written"):
        export_file("onnx", run, proof, tmp_path / inside)


def test_damaged_and_foreign_files_are_refused(exported, proof, tmp_path):
    content = exported["text", None].read_bytes()
    for name, bad in {"empty": b"", "half": content[: len(content) // 2], "noise": b"\xff" * 100}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(bad)
        with pytest.raises(ModelError, match="Export it again"):
            OnnxPredictor(path)
        with pytest.raises((ModelError, ExportError), match=r"Export it again|takes \[\]"):
            FORMATS["onnx"].open_runners(path, proof.model)[0]
    with pytest.raises(ModelError, match="cannot be"):
        OnnxPredictor(tmp_path / "none.onnx")
    model = onnx.load(exported["ids", None])
    model.graph.input[0].name = "numbers"
    del model.metadata_props[:]  # the seal of what it was
    for node in model.graph.node:
        node.input[:] = ["numbers" if name == "ids" else name for name in node.input]
    with pytest.raises(ModelError, match=r"\['numbers'\].*Expected text, bytes, ids -> probabilities"):
        OnnxPredictor(model.SerializeToString(), path="x")


@pytest.mark.parametrize("precision", [None, "int4"])
def test_metadata_without_a_precision_of_ours_is_refused(built, proof, run, tmp_path, precision):
    model = onnx.ModelProto()
    model.CopyFrom(built)
    del model.metadata_props[:]
    onnx_passes.with_metadata(
        model, {"labels": json.dumps(run.labels)} | ({} if precision is None else {"precision": precision})
    )
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=f"precision = {precision!r}. Expected one of float32, float16, int8"):
        FORMATS["onnx"].open_runners(tmp_path / "model.onnx", proof.model)[0]


@pytest.mark.parametrize("labels", [None, "[", '["one"]', "[1, 2]"])
def test_metadata_without_the_labels_is_refused(built, proof, tmp_path, labels):
    model = onnx.ModelProto()
    model.CopyFrom(built)
    del model.metadata_props[:]
    if labels is not None:
        onnx_passes.with_metadata(model, {"labels": labels, "precision": "float32"})
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="metadata"):
        OnnxPredictor(path)
    with pytest.raises(ModelError, match="metadata"):
        FORMATS["onnx"].open_runners(path, proof.model)[0]


@pytest.mark.parametrize("inputs", ["text", "bytes"])
def test_a_file_moved_from_its_manifest_is_checked_by_the_checksum_in_it(exported, tmp_path, inputs):
    content = exported[inputs, None].read_bytes()
    path = tmp_path / "moved.onnx"
    path.write_bytes(content)
    assert content[-64:].decode() == hashlib.sha256(content[:-64]).hexdigest()
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["sha256"] == content[-64:].decode() and {"labels", "text", "precision"} < set(metadata)
    assert OnnxPredictor(path).checked
    for byte in (100, len(content) // 2, len(content) - 200):
        damaged = bytearray(content)
        damaged[byte] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="its checksum is not that of its content"):
            OnnxPredictor(path)
    path.write_bytes(content[:-76])  # as before files had one
    assert not OnnxPredictor(path).checked
    answer = ask("predict", path, "lovely film")
    assert answer.code == 0 and "is not checked: it carries no checksum" in answer.err


def test_a_new_file_beside_an_old_manifest_is_noticed(exported, proof, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported["text", None].read_bytes())
    manifest_path(path).write_bytes(manifest_path(exported["bytes", None]).read_bytes())
    expected = r"model\.onnx is not the file that .*model\.onnx\.manifest\.json describes"
    with pytest.raises(ModelError, match=expected):
        OnnxPredictor(path)
    with pytest.raises(ModelError, match=expected):
        FORMATS["onnx"].open_runners(path, proof.model)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_while_files_get_their_names_leaves_nothing_that_disagrees(
    run, proof, tmp_path, monkeypatch, failing
):
    path, calls, replace = tmp_path / "model.onnx", [], Path.replace
    path.write_bytes(b"old")
    manifest_path(path).write_text('{"files": {}}')

    def fail(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RunError, match=r"model\.onnx cannot be written: Input/output error"):
        export_file("onnx", run, proof, path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert (path.read_bytes() == b"old") == (failing == 1)
    if failing == 2:
        assert OnnxPredictor(path).checked


def test_a_second_export_to_a_place_is_refused(run, tmp_path):
    path = tmp_path / "model.onnx"
    with (
        locked(path, "exported to"),
        pytest.raises(RunError, match=rf"model\.onnx is being exported to by process {os.getpid()} on "),
    ):
        export_run(run, ExportOptions("onnx", output=path))
    assert list(tmp_path.iterdir()) == []
