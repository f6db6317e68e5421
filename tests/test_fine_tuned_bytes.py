"""The bytes input of exports of fine-tuned runs: asked as users ask it, refused where it cannot be, and its gate."""

import dataclasses
import json
import shutil
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import FineTuned, ask, said_without, tensor_sizes
from fine_tuned_exports import Answering

import switch_tf
from switch_tf.artifacts import tflite_file
from switch_tf.artifacts.fine_tuned_export import FineTunedArtifact
from switch_tf.artifacts.opening import load_predictor
from switch_tf.errors import ModelError
from switch_tf.export.fine_tuned.proof import FineTunedProof
from switch_tf.export.fine_tuned.stored import other_tables
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.runs.fine_tuned import write_manifest
from switch_tf.runs.rejection import label_indexes
from switch_tf.text.byte_codes import pack
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces
from switch_tf.text.sentencepiece_file import Piece, read_model, write_model
from switch_tf.text.sentencepiece_model import SentencePieces
from switch_tf.text.unigram import NEVER, NumericUnigram

RAW = ["the film was lovely", "a <extra_id_0> plot\0<extra_id_99>", "\u00bd \u2581 n\u0303"]


IN_RUNTIMES = """
import json
import numpy, onnxruntime
from ai_edge_litert.interpreter import Interpreter
texts = [text.encode() for text in {texts}]
rows = numpy.stack([numpy.frombuffer(text.ljust(256, b"\\0"), numpy.uint8) for text in texts])
session = onnxruntime.InferenceSession("{export}/onnx/model.onnx")
answers = [dict(zip(["probabilities", "label"], session.run(["probabilities", "label"], {{"bytes": rows}})))]
lite = Interpreter(model_path="{export}/tflite/model.tflite")
assert list(lite.get_signature_list()) == ["bytes", "ids", "tokenize"]
answers.append(lite.get_signature_runner("bytes")(bytes=rows))
print(json.dumps([{{name: value.tolist() for name, value in each.items()}} for each in answers]))
"""
IN_THIS_PACKAGE = """
import json
import switch_tf
models = [switch_tf.load("{export}/" + name) for name in ("onnx", "tflite")]
print(json.dumps([[model.predict({texts}).tolist(), model.tokenize({texts}).tolist()] for model in models]))
"""
OTHERS = ["tensorflow", "tf_keras", "tensorflow_text", "sentencepiece", "tokenizers", "transformers", "torch"]


@pytest.mark.slow
def test_runtimes_are_asked_without_this_package(exported: Path) -> None:
    run = switch_tf.load(exported)
    program = IN_RUNTIMES.format(texts=RAW, export=exported / "export")
    answers = json.loads(said_without([*OTHERS, "switch_tf", "onnx"], program, "-I"))
    loaded = tf.saved_model.load(str(exported / "export" / "saved_model"))
    answers.append(loaded.signatures["bytes"](bytes=tf.constant(pack(RAW, 256))))
    names = [*run.labels, "unknown"]
    for answer in answers:
        assert [names[int(label)] for label in answer["label"]] == run.predict(RAW).tolist()
        np.testing.assert_allclose(answer["probabilities"], run.predict_proba(RAW), atol=1e-5)
    spoken = loaded.signatures["serving_default"](text=tf.constant(RAW))["label"]
    assert [each.decode() for each in spoken.numpy()] == run.predict(RAW).tolist()


@pytest.mark.slow
def test_this_package_asks_them_without_tensorflow(exported: Path) -> None:
    run = switch_tf.load(exported)
    program = IN_THIS_PACKAGE.format(texts=RAW, export=exported / "export")
    assert json.loads(said_without(OTHERS, program)) == [[run.predict(RAW).tolist(), run.tokenize(RAW).tolist()]] * 2


@pytest.mark.slow
def test_a_manifest_of_another_batch(exported: Path, tmp_path: Path) -> None:
    """Which would ask for more memory at a time than was looked at."""
    for name in ("tflite", "onnx", "saved_model", "onnx-ids-batch3"):
        folder = shutil.copytree(exported / "export" / name, tmp_path / name)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").write_text(json.dumps(manifest | {"batch": 65_536}), encoding="utf-8")
        taken = 3 if name.endswith("3") else "null"
        with pytest.raises(ModelError, match=f"says batch = 65536, and the graph takes {taken}"):
            switch_tf.load(folder)


@pytest.mark.slow
def test_what_a_batch_takes_is_bounded_when_a_file_is_opened(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the largest tensor for the 16 texts that it is asked at a time."""
    follows, every = tensor_sizes(exported / "export" / "tflite" / "model.tflite")
    assert 16 * follows > every
    monkeypatch.setattr(tflite_file, "_MEMORY_LIMIT", 16 * follows)
    switch_tf.load(exported / "export" / "tflite")
    monkeypatch.setattr(tflite_file, "_MEMORY_LIMIT", 16 * follows - 1)
    with pytest.raises(ModelError, match="cannot be used as a TFLite model: its tensor"):
        switch_tf.load(exported / "export" / "tflite")


@pytest.mark.parametrize("name", ["tflite", "onnx", "saved_model"])
@pytest.mark.slow
def test_bytes_that_are_not_utf8(exported: Path, name: str) -> None:
    texts = [b"a \xff\xfe film", b"\xe2\x81", b"ab\0<extra_id_7>\xc3"]
    run, artifact = load_predictor(exported), load_predictor(exported / "export" / name)
    np.testing.assert_array_equal(artifact.tokenize(texts), run.tokenize(texts))
    np.testing.assert_allclose(artifact.probabilities(texts), run.probabilities(texts), atol=1e-5)


@pytest.mark.slow
def test_a_tokenizer_that_no_graph_holds(fine_tuned: FineTuned, tmp_path: Path) -> None:
    run = Path(shutil.copytree(fine_tuned.run, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    model = read_model((run / "spiece.model").read_bytes())
    pieces = [*model.pieces[:-1], Piece("x" * 49, -9.0)]
    (run / "spiece.model").write_bytes(write_model(pieces, model.charsmap, model.normalization))
    write_manifest(run)
    answer = ask("export", run, "--format", "tflite")
    assert answer.code == 1 and "1 to 48 characters" in answer.err and "Choose the inputs ids" in answer.err
    assert "--inputs" in answer.err and not (run / "export" / "tflite").exists()
    assert ask("export", run, "--format", "tflite", "--inputs", "ids").code == 0


@pytest.mark.slow
def test_texts_that_are_too_long(fine_tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switch_tf.export.fine_tuned.session.read_held_out", lambda run: [" " * 300 + "film", "a"])
    answer = ask("export", fine_tuned.run, "--format", "onnx", "--output", tmp_path / "onnx")
    assert answer.code == 1 and not (tmp_path / "onnx").exists()
    assert "Cut at 256 bytes, 50.0% of the held-out sample texts" in answer.err
    assert "larger fine_tune.length" in answer.err and "--allow-truncation" in answer.err


def compared_bytes(model: Any, numeric: NumericSentencePieces, proof: FineTunedProof) -> list[str]:
    """What the gate says of an artifact that reads bytes by a graph."""
    signature = [tf.TensorSpec([None, numeric.spec.num_bytes], tf.uint8)]
    read = tf.function(numeric.__call__, input_signature=signature, autograph=False)

    def ask_ids(door: str, texts: list[bytes]) -> np.ndarray:
        assert door == "bytes"
        return read(tf.constant(pack(texts, numeric.spec.num_bytes))).numpy()

    def ask(door: str, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        probabilities = model.probabilities_of_ids(ask_ids(door, texts))
        return probabilities, label_indexes(probabilities, model.rejection)

    words = {"door": "bytes", "byte_length": numeric.spec.num_bytes}
    artifact = Answering(ask, model.labels, model.rejection, model.length, ask_ids, **words)  # type: ignore[arg-type]
    return proof.ask(artifact, "x", "bytes").problems  # type: ignore[arg-type]


def sums_go_on_behind_a_sentinel(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    patch.setattr(NumericSentencePieces, "_restarts", NumericUnigram._restarts)


def a_mark_stays_before_a_sentinel(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    patch.setattr(NumericSentencePieces, "_mark", NumericUnigram._mark)


def sentinels_are_text(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    patch.setattr(NumericSentencePieces, "_classes", NumericUnigram._classes)


def the_last_sentinel_is_text(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric.sentinels -= 1


def a_sentinel_has_another_id(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._ids = np.where(numeric._ids == 350, 351, numeric._ids)


def two_pieces_are_exchanged(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    ids = numeric._ids
    numeric._ids = np.where(ids == 250, 251, np.where(ids == 251, 250, ids))


def a_piece_is_left_out(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._scores = np.where(numeric._ids == 200, 1, numeric._scores)


def a_score_is_off(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._scores = np.where(numeric._ids == 298, numeric._scores - 2**24, numeric._scores)


def unknown_has_another_id(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._unknown = 3


def rules_of_several_are_not_read(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._rule_found = np.zeros_like(numeric._rule_found)


def a_bad_byte_vanishes(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    replaced = numeric._tables.alone.copy()
    replaced[numeric._tables.bad] = 0  # which writes nothing
    numeric._tables = dataclasses.replace(numeric._tables, alone=replaced)


def the_end_is_another(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    numeric._end = 2


def the_last_byte_is_not_read(patch: pytest.MonkeyPatch, numeric: Any) -> None:
    read = NumericUnigram._normal
    patch.setattr(NumericUnigram, "_normal", lambda self, rows: read(self, tf.pad(rows[:, :-1], [[0, 0], [0, 1]])))


BREAKS = [
    sums_go_on_behind_a_sentinel,
    a_mark_stays_before_a_sentinel,
    sentinels_are_text,
    the_last_sentinel_is_text,
    a_sentinel_has_another_id,
    two_pieces_are_exchanged,
    a_piece_is_left_out,
    a_score_is_off,
    unknown_has_another_id,
    rules_of_several_are_not_read,
    a_bad_byte_vanishes,
    the_end_is_another,
    the_last_byte_is_not_read,
]


@pytest.fixture(scope="module")
def gate(opened: tuple[Any, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, FineTunedProof]:
    """A model of which some sums are rounded otherwise behind others, and its gate."""
    run, trained, _ = opened
    read = read_model(trained.pieces.content)
    repeated = [Piece("ñ" * size, size * np.float32(-4.3)) for size in (1, 2, 3)]
    path = tmp_path_factory.mktemp("gate") / "spiece.model"
    path.write_bytes(write_model([*read.pieces[:-3], *repeated], read.charsmap, read.normalization))
    model = copy(trained)
    model.__dict__.pop("numeric_text", None)
    model.pieces = SentencePieces(path, trained.pieces.end_id)
    return model, FineTunedProof(run, model, made_up=16)


@pytest.mark.slow
def test_a_front_end_that_is_right(gate: tuple[Any, FineTunedProof]) -> None:
    model, proof = gate
    assert compared_bytes(model, model.numeric_text, proof) == []


@pytest.mark.slow
@pytest.mark.parametrize("change", BREAKS, ids=lambda change: change.__name__)
def test_a_front_end_that_is_wrong(
    gate: tuple[Any, FineTunedProof], monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    model, proof = gate
    numeric = copy(model.numeric_text)
    change(monkeypatch, numeric)
    assert compared_bytes(model, numeric, proof) != []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tflite", "onnx", "saved_model"])
def test_a_score_that_no_text_shows(
    exported: Path, opened: tuple[Any, Any, FineTunedProof], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _, model, _ = opened
    folder = exported / "export" / name
    assert other_tables(folder, model.numeric_text) == ([], 12)
    numeric = copy(model.numeric_text)
    numeric._scores = np.where(numeric._ids == 40, numeric._scores - 16, numeric._scores)  # by a millionth
    problems, _ = other_tables(folder, numeric)
    assert problems and all("scores" in problem and "differs in 1 of its values" in problem for problem in problems)


@pytest.mark.slow
def test_the_gate_reads_the_tables_of_what_it_asks(
    exported: Path, opened: tuple[Any, Any, FineTunedProof], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, proof = opened
    numeric = copy(model.numeric_text)
    numeric._scores = np.where(numeric._ids == 40, numeric._scores - 16, numeric._scores)
    monkeypatch.setitem(model.__dict__, "numeric_text", numeric)
    compared, *_ = proof.compare(FineTunedArtifact(exported / "export" / "tflite"), "here")
    assert any("scores" in problem and "differs in 1 of its values" in problem for problem in compared.problems)


@pytest.mark.slow
def test_float16_weights_leave_sums_as_they_are(fine_tuned: FineTuned, tmp_path: Path) -> None:
    """The converter would round the score of what is no piece, -2^62, to -65,504."""
    run = shutil.copytree(fine_tuned.run, tmp_path / "run")
    answer = ask("export", run, "--format", "tflite", "--quantize", "float16")
    assert answer.code == 0, answer.err
    model = flatbuffer.unpack((run / "export" / "tflite-float16" / "model.tflite").read_bytes())
    numbers = [
        np.frombuffer(bytes(each.data), np.float32)
        for each in model.buffers
        if each.data is not None and len(each.data) == 4
    ]
    assert any(number[0] == NEVER for number in numbers)
