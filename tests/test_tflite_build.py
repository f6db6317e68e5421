"""The TFLite file is what a phone runs: signatures, operators, hostile bytes, and that a bad one is never kept.

That ids are equal and probabilities within 1e-5 on the proof's texts is what the gate inside an export asserts.
"""

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import types
import zipfile
from typing import cast

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import export_file, said_without, tensor_sizes

from switch_tf.artifacts import tflite_file as opening
from switch_tf.artifacts.seal import manifest_path
from switch_tf.artifacts.tflite_file import TFLitePredictor
from switch_tf.config import load_config
from switch_tf.errors import DataError, ExportError, ModelError, ParityError, RunError
from switch_tf.export.formats import FORMATS
from switch_tf.export.proof import bounds
from switch_tf.export.proof.gate import Proof
from switch_tf.export.tflite_file import build as tflite_export
from switch_tf.export.tflite_file import flatbuffer as tflite_file
from switch_tf.export.tflite_file.build import build_tflite
from switch_tf.export.tflite_file.runner import TFLiteRunner
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import open_run
from switch_tf.text.byte_codes import kept_bytes, pack

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
    """Files by (precision, batch), each through the gate, which holds every text against the trained model."""
    folder = tmp_path_factory.mktemp("tflite")
    made = {}
    for precision in ("float32", "float16", "int8"):
        for batch in (None, 4):
            output = folder / f"{precision}-{batch}.tflite"
            path, comparison = export_file("tflite", run, proof, output, batch=batch, precision=precision)
            assert comparison.ok and comparison.ids_equal == comparison.texts > 60
            assert (comparison.size, comparison.precision) == (path.stat().st_size, precision)
            assert comparison.batch_invariance == 0.0
            made[precision, batch] = path
    return made


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_signatures_have_names_and_only_the_batch_is_dynamic(exported, run, precision, batch):
    interpreter = Interpreter(model_path=str(exported[precision, batch]))
    length, size, classes = run.config.text.sequence_length, run.config.text.num_bytes, len(run.labels)
    first = -1 if batch is None else batch
    answers = {"probabilities": (np.float32, [first, classes]), "label": (np.int32, [first])}  # LiteRT.js refuses int64
    expected = {
        "bytes": ({"bytes": (np.uint8, [first, size])}, answers),
        "ids": ({"ids": (np.int32, [first, length])}, answers),
        "tokenize": ({"bytes": (np.uint8, [first, size])}, {"ids": (np.int32, [first, length])}),
    }
    assert list(interpreter.get_signature_list()) == list(expected)  # the first is the default
    for name, (inputs, outputs) in expected.items():
        runner = interpreter.get_signature_runner(name)
        for details, wanted in ((runner.get_input_details(), inputs), (runner.get_output_details(), outputs)):
            received = {key: (each["dtype"], each["shape_signature"].tolist()) for key, each in details.items()}
            assert received == wanted


def test_without_signatures_the_default_is_the_bytes_input(exported, run):
    interpreter = Interpreter(model_path=str(exported["float32", None]))
    (entry,) = interpreter.get_input_details()
    assert entry["shape_signature"].tolist() == [-1, run.config.text.num_bytes]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_operators_are_built_in_and_no_graph_needs_more(exported, precision):
    model = tflite_file.unpack(exported[precision, None].read_bytes())
    assert not [code.customCode for code in model.operatorCodes if code.customCode]
    assert {"GATHER", "CUMSUM", "SCATTER_ND"} <= set(tflite_file.operators(model))


def test_the_facts_stand_in_metadata_and_behind_the_model(exported, run):
    path = exported["int8", None]
    facts = tflite_file.read_facts(path.read_bytes())
    assert json.loads(facts["labels"]) == run.labels and facts["precision"] == "int8"
    assert json.loads(facts["text"])["byte_length"] == run.config.text.num_bytes
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().splitlines() == run.labels
        assert json.loads(archive.read("labels.json")) == run.labels
    model = tflite_file.unpack(path.read_bytes())
    assert b"UTF-8 with zeros behind it" in model.description and b"bad, good" in model.description


def test_an_int8_file_holds_no_large_table_in_float32(run):
    """The positions, 64 x 32, are added and not multiplied, so the converter alone would leave them."""
    config = load_config(assignments=["model.d_model=32", "model.d_ff=32", "text.sequence_length=64"])
    classifier = SwitchClassifier(config, num_ids=40, num_classes=len(run.labels))
    classifier.initialize()
    words = [f"word{number}" for number in range(38)]
    model = TextClassifier(config, words, run.labels, classifier)
    wide = dataclasses.replace(run, config=config, vocabulary=words)
    built = tflite_file.unpack(build_tflite(wide, model, None, "int8"))
    tensors = [tensor for graph in built.subgraphs for tensor in graph.tensors if tensor.type == 0]
    held = [built.buffers[tensor.buffer].data for tensor in tensors]
    assert max(len(data) for data in held if data is not None) < 4 * 1024


def test_the_same_run_gives_the_same_file(run, proof, exported):
    assert build_tflite(run, proof.model, None, "int8") == exported["int8", None].read_bytes()


def test_the_manifest_has_signatures_operators_checksum_and_figures(exported, run):
    path = exported["float32", 4]
    manifest = json.loads(manifest_path(path).read_text())
    assert manifest["signatures"]["bytes"]["inputs"] == {
        "bytes": {"type": "uint8", "shape": [4, run.config.text.num_bytes]}
    }
    assert "CUMSUM" in manifest["operators"] and manifest["word_keys"]["false_positive_rate"] < 1e-9
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["files"] == {path.name: {"bytes": path.stat().st_size, "sha256": digest}}
    assert manifest["parity"]["bytes"]["ids_equal"] == manifest["parity"]["bytes"]["texts"] > 60


@pytest.mark.parametrize("batch", [None, 4])
def test_the_predictor_answers_as_the_trained_model_in_any_number(exported, proof, batch):
    predictor = TFLitePredictor(exported["float32", batch], threads=1)
    assert (predictor.labels, predictor.runtime) == (proof.model.labels, "LiteRT")
    for count in (0, 1, 3, 4, 6):
        expected = proof.model.probabilities(TEXTS[:count])
        np.testing.assert_allclose(predictor.probabilities(TEXTS[:count]), expected, rtol=0, atol=1e-5)


def test_a_text_over_the_limit_is_read_as_far_as_the_policy_says(exported, proof):
    texts = ["lovely " * 200, "x" * 5000, "É" * 5000]
    assert all(len(text.encode()) > proof.model.spec.num_bytes for text in texts)
    expected = proof.model.probabilities([kept_bytes(proof.model.spec, text) for text in texts])
    received = TFLitePredictor(exported["float32", None]).probabilities(texts)
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "text", [b"", b"!!! ...", b"\xff\xfe lovely", b"\xc3", b"\0\0lovely", b"\xff" * 5000, bytes(range(256)) * 3]
)
def test_any_bytes_are_answered_by_numbers(exported, proof, text, precision):
    received = TFLitePredictor(exported[precision, None]).probabilities([text])
    assert np.isfinite(received).all() and received.sum() == pytest.approx(1.0, abs=1e-5)
    if precision == "float32":
        expected = proof.model.probabilities([kept_bytes(proof.model.spec, text)])
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["half \ud83d", 5, None])
def test_what_is_no_text_is_refused(exported, text):
    with pytest.raises(DataError, match=r"^Received .*Expected a string|half of a surrogate pair"):
        TFLitePredictor(exported["float32", None]).probabilities(["fine", text])


@pytest.mark.parametrize(
    "feed",
    [
        *(np.zeros([rows, width], np.uint8) for rows, width in ((1, 300), (1, 100), (2, 255), (4, 512))),
        np.zeros([1, 256], np.int32),
        np.zeros([256], np.uint8),
    ],
)
@pytest.mark.parametrize("signature", ["bytes", "tokenize"])
def test_the_runtime_refuses_rows_of_another_kind(exported, run, signature, feed):
    assert run.config.text.num_bytes == 256
    runner = Interpreter(model_path=str(exported["float32", None])).get_signature_runner(signature)
    with pytest.raises((ValueError, RuntimeError)):
        runner(bytes=feed)


def test_it_runs_where_only_numpy_and_litert_are(exported):
    program = (
        "import numpy\nfrom ai_edge_litert.interpreter import Interpreter\n"
        f"model = Interpreter({str(exported['int8', None])!r}).get_signature_runner('bytes')\n"
        "width = model.get_input_details()['bytes']['shape'][1]\n"
        "row = numpy.frombuffer('lovely film'.encode()[:width].ljust(width, b'\\0'), numpy.uint8)\n"
        "print(model(bytes=row[None])['probabilities'].shape)\n"
    )
    assert said_without(["tensorflow", "switch_tf", "onnx", "tf_keras"], program, "-I") == "(1, 2)"


def test_the_predictor_imports_no_tensorflow(exported):
    program = (
        "from pathlib import Path; from switch_tf.artifacts.tflite_file import TFLitePredictor\n"
        f"print(TFLitePredictor(Path({str(exported['float32', None])!r})).probabilities(['lovely']).shape)\n"
    )
    assert said_without(["tensorflow", "tf_keras"], program) == "(1, 2)"


@pytest.mark.parametrize("batch", [None, 4])
def test_what_a_batch_takes_is_bounded_when_a_file_is_opened(exported, batch, monkeypatch):
    """By the largest tensor for the texts that it is asked at a time: 64, or as many as its shapes are of."""
    follows, every = tensor_sizes(exported["float32", batch])
    limit = every if batch else 64 * follows
    assert limit >= every
    monkeypatch.setattr(opening, "_MEMORY_LIMIT", limit)
    TFLitePredictor(exported["float32", batch])
    monkeypatch.setattr(opening, "_MEMORY_LIMIT", limit - 1)
    with pytest.raises(ModelError, match="cannot be used as a TFLite model: its tensor"):
        TFLitePredictor(exported["float32", batch])


@pytest.mark.parametrize("earlier", [None, b"earlier"])
def test_wrong_weights_fail_and_leave_what_was_there(run, proof, tmp_path, monkeypatch, earlier):
    def wrong(*arguments):
        weight = proof.model.classifier.head.kernel
        kept = tf.identity(weight)
        weight.assign(-10.0 * weight + 1.0)
        try:
            return build_tflite(*arguments)
        finally:
            weight.assign(kept)

    monkeypatch.setattr(tflite_export, "build_tflite", wrong)
    output = tmp_path / "model.tflite"
    if earlier:
        output.write_bytes(earlier)
    with pytest.raises(ParityError, match="does not answer as the trained model"):
        export_file("tflite", run, proof, output)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == (
        [("model.tflite", earlier)] if earlier else []
    )


def test_a_quantized_model_that_lost_too_much_is_not_kept(run, proof, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "max_loss", lambda complete: -100.0)
    with pytest.raises(ParityError, match="below the trained model's"):
        export_file("tflite", run, proof, tmp_path / "a.tflite", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_is_not_built_in_is_refused(run, proof):
    def classify(ids):
        found = tf.strings.to_hash_bucket_fast(tf.strings.as_string(ids[:, :2]), 7)
        return {"probabilities": tf.nn.softmax(tf.cast(found, tf.float32)), "label": tf.argmax(found, axis=-1)}

    model = types.SimpleNamespace(
        spec=proof.model.spec,
        vocabulary=proof.model.vocabulary,
        classifier=proof.model.classifier,
        numeric_text=proof.model.numeric_text,
        tokenize_bytes=proof.model.tokenize_bytes,
        classify_bytes=proof.model.classify_bytes,
        classify_ids=types.SimpleNamespace(python_function=classify),
    )
    with pytest.raises(ExportError, match="The converter to TFLite fails"):
        build_tflite(run, cast(TextClassifier, model))


def test_signatures_that_disagree_are_refused(run, proof, exported):
    """A file whose `ids` signature has other weights."""
    model = tflite_file.unpack(exported["float32", None].read_bytes())
    ids = model.subgraphs[1]
    biases = [
        tensor for tensor in ids.tensors if tensor.type == 0 and tensor.shape is not None and list(tensor.shape) == [2]
    ]
    (bias,) = [tensor for tensor in biases if model.buffers[tensor.buffer].data is not None]
    copy = type(model.buffers[0])()
    copy.data = np.array([3, -3], np.float32).view(np.uint8)
    model.buffers.append(copy)
    bias.buffer = len(model.buffers) - 1
    content = tflite_file.pack(model, {"labels.json": json.dumps(run.labels)})
    with pytest.raises(ParityError, match="bytes and ids answer differently"):
        TFLiteRunner(content, "a.tflite").answer([b"lovely"], [1])


@pytest.mark.parametrize("inside", ["file/model.tflite", "folder"])
def test_a_place_that_cannot_be_written_is_a_clear_error(run, proof, exported, tmp_path, monkeypatch, inside):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(tflite_export, "build_tflite", lambda *_: exported["float32", None].read_bytes())
    with pytest.raises(RunError, match="cannot be written"):
        export_file("tflite", run, proof, tmp_path / inside)


def test_damaged_and_foreign_files_are_refused(exported, proof, tmp_path):
    content = exported["float32", None].read_bytes()
    archive = content[content.index(b"PK\x03\x04") :]
    noise = np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes()
    damaged = {"empty": b"", "half": content[: len(content) // 2], "noise": noise, "archive": archive}
    damaged |= {"text": b"TFL3" * 100, "noise and archive": noise + archive}
    for name, bad in damaged.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(bad)
        with pytest.raises(ModelError, match="Export it again"):
            TFLitePredictor(path)
        with pytest.raises((ModelError, ExportError), match="Export it again"):
            FORMATS["tflite"].open_runners(path, proof.model)[0]
    with pytest.raises(ModelError, match="cannot be read"):
        TFLitePredictor(tmp_path / "none.tflite")


def test_a_file_of_another_run_is_refused(exported, proof, tmp_path):
    model = tflite_file.unpack(exported["float32", None].read_bytes())
    (tmp_path / "a.tflite").write_bytes(tflite_file.pack(model, {"labels.json": '["one", "two"]'}))
    (runner,) = FORMATS["tflite"].open_runners(tmp_path / "a.tflite", proof.model)
    labels = "says the labels are ['one', 'two']: expected ['bad', 'good']"
    missing = "labels.txt in its archive says the labels are []: expected ['bad', 'good']"
    assert proof.compare(runner).problems[-2:] == [f"labels.json in its archive {labels}", missing]
    (tmp_path / "b.tflite").write_bytes(tflite_file.pack(model, {"labels.json": '["one"]'}))
    with pytest.raises(ModelError, match="are fewer than two class names"):
        TFLitePredictor(tmp_path / "b.tflite")


def test_a_file_moved_from_its_manifest_is_checked_by_the_checksum_in_it(exported, tmp_path):
    content = exported["float32", None].read_bytes()
    path = tmp_path / "moved.tflite"
    path.write_bytes(content)
    assert content[-64:].decode() == hashlib.sha256(content[:-64]).hexdigest()
    with zipfile.ZipFile(path) as archive:
        assert archive.comment == b"sha256:" + content[-64:]
    assert TFLitePredictor(path).checked
    for byte in (100, len(content) // 2, content.index(b"PK\x03\x04") - 1):
        damaged = bytearray(content)
        damaged[byte] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="its checksum is not that of its content"):
            TFLitePredictor(path)
    (tmp_path / "old.tflite").write_bytes(without_seal(content))
    assert not TFLitePredictor(tmp_path / "old.tflite").checked


def without_seal(content: bytes) -> bytes:
    """The file as it was before files had a checksum."""
    packed = io.BytesIO(content)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.comment = b""
    return packed.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_labels_that_unpack_to_gigabytes_are_refused_in_little_memory(tmp_path, method):
    path, size = tmp_path / "bomb.tflite", 2**27
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("labels.json", "w", force_zip64=True) as stream:
        for _ in range(64):
            stream.write(b" " * (size // 64))
    assert path.stat().st_size < 2**21
    code = f"""
import resource, sys
from pathlib import Path
from switch_tf.artifacts.tflite_file import read_labels
from switch_tf.errors import ModelError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_labels(Path({str(path)!r}))
except ModelError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, megabytes = done.stdout.splitlines()
    assert "bytes of labels. Export it again." in message or "has packed its labels by the method" in message
    assert int(megabytes) < 50


def test_rows_are_packed_as_documented(run):
    width = run.config.text.num_bytes
    rows = pack(["é", "a" * (width + 5)], width)
    assert rows[0, :3].tolist() == [0xC3, 0xA9, 0] and rows[1, -1] == ord("a") and rows.shape == (2, width)
