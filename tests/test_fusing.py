"""A run with both paths: honest figures, one file of weights, a resumable end, and exports that pass the gate."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.sparse
import tensorflow as tf
from conftest import Quiet, ask, export_file, tiny_config
from test_composed import COMPOSED

from switch_tf import files
from switch_tf.config import WideConfig
from switch_tf.data.examples import encode_labels
from switch_tf.data.request import DataRequest
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.export.tflite_file.flatbuffer import unpack
from switch_tf.measuring.fusion import expected_calibration_error, softmax
from switch_tf.models.fused import FusedClassifier
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import Run, open_run, read_metrics
from switch_tf.training import fusing, session
from switch_tf.training.encoding import encode
from switch_tf.training.fusing import choose_scales, fit_on_validation
from switch_tf.training.session import prepare, train
from switch_tf.training.steps import Encoded


def settings() -> Any:
    return tiny_config(*COMPOSED, "model.token_dropout=0.2", "train.select_by=log_loss", "train.epochs=2")


def request_for(data_folder: Path) -> DataRequest:
    return DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))


@pytest.fixture(scope="module")
def run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with both paths on the made-up texts."""
    output = tmp_path_factory.mktemp("runs") / "fused"
    return open_run(train(request_for(data_folder), settings(), output, Quiet()).path)


def test_the_model_is_both_paths_by_the_scales_of_the_file(run: Run) -> None:
    model = load_classifier(run)
    assert isinstance(model.classifier, FusedClassifier)
    weights, _ = files.read_tensors(run.path / "weights.safetensors")
    figures = read_metrics(run.path)["fusion"]
    expected = [figures["wide_scale"], figures["deep_scale"]]
    np.testing.assert_allclose(weights["fusion/scales"], expected, rtol=1e-6)
    texts = ["lovely warm film", "dull", "", "nothing known !?"]
    ids = model.tokenize(tf.constant(texts))["ids"]
    rows = model.classifier.wide.pair_rows(ids)
    deep = model.classifier.deep(ids, pair_rows=rows[:, :-1]).logits.numpy()
    logits = expected[0] * model.classifier.wide(ids).numpy() + expected[1] * deep
    np.testing.assert_allclose(model.probabilities(texts), softmax(logits), atol=1e-6)


def noisy(texts: int, seed: int, flipped: float) -> Encoded:
    """Texts of 6 words of 200; the first one's parity is the class, but for a share of them."""
    random = np.random.default_rng(seed)
    ids = random.integers(2, 202, [texts, 6]).astype(np.int32)
    return Encoded(ids, ((ids[:, 0] + (random.random(texts) < flipped)) % 2).astype(np.int32))


NO_GRAMS = scipy.sparse.csr_matrix((202, 0), dtype=np.float32)


@pytest.mark.parametrize(("flipped", "chosen"), [(0.0, 50.0), (0.45, 2.0)])
def test_noisy_labels_choose_a_stronger_penalty(flipped: float, chosen: float) -> None:
    training, validation = noisy(2000, 0, flipped), noisy(400, 1, flipped)
    alone = fit_on_validation(WideConfig(), training, validation, 2, NO_GRAMS)
    assert alone.settings == WideConfig(inverse_regularization=chosen)
    assert alone.logits.shape == (400, 2)


def test_a_penalty_that_is_set_or_cannot_be_chosen_stays() -> None:
    training, validation = noisy(500, 0, 0.45), noisy(400, 1, 0.45)
    fixed = fit_on_validation(WideConfig(inverse_regularization=7.0), training, validation, 2, NO_GRAMS)
    assert fixed.settings.inverse_regularization == 7.0
    few = Encoded(validation.ids[:199], validation.labels[:199])
    assert fit_on_validation(WideConfig(), training, few, 2, NO_GRAMS).settings.inverse_regularization == 50.0


def test_few_texts_choose_no_scales() -> None:
    expected = np.arange(50) % 2
    wide = np.where(np.eye(2)[expected] > 0, 1.0, 0.0)
    assert choose_scales(wide[:49], wide[:49], expected[:49]) == (0.6, 0.4, 1.0)
    assert choose_scales(wide, -wide, expected) == pytest.approx((1.4, 0.0, 0.2), rel=0.02)  # all right: surer still


def test_pairs_of_the_deep_path_are_frequent_ones_and_come_first(run: Run, data_folder: Path) -> None:
    model = load_classifier(run)
    assert isinstance(model.classifier, FusedClassifier)
    prepared = prepare(request_for(data_folder), run.config)
    ids = encode(prepared.training, run.labels, model.text).ids
    count = model.classifier.deep.num_pairs
    assert 0 < count < model.classifier.wide.pairs.shape[0] - 1
    starts_and_pairs = np.stack([np.pad(ids[:, :-1], [[0, 0], [1, 0]]), ids], axis=2)[ids != 0]
    pairs, counts = np.unique(starts_and_pairs, axis=0, return_counts=True)
    rows = model.classifier.wide.pair_rows(tf.constant(pairs)).numpy()[:, 1]
    assert sorted(rows[counts >= 2]) == list(range(count))
    assert (rows[counts < 2] >= count).all()


def test_validation_is_measured_before_the_wide_path_learns_those_texts(run: Run, data_folder: Path) -> None:
    metrics = read_metrics(run.path)
    validation, fusion = metrics["validation"], metrics["fusion"]
    assert validation["log_loss"] == pytest.approx(fusion["fused"]["log_loss"])
    assert validation["accuracy"] == fusion["fused"]["accuracy"]
    assert validation["calibration_error"] == pytest.approx(fusion["calibration_error_after"])
    held_out = prepare(request_for(data_folder), run.config).validation
    refitted = load_classifier(run).probabilities(held_out.texts.to_pylist())
    expected = encode_labels(held_out, run.labels)
    loss = float(-np.log(refitted[np.arange(len(expected)), expected]).mean())
    assert loss < validation["log_loss"] - 1e-4  # it has seen them by now
    assert metrics["test"]["n"] == 40
    error = expected_calibration_error(refitted, expected)
    assert 0 <= error <= 1


def test_a_training_cut_off_while_fusing_ends_the_same(
    run: Run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    request, output = request_for(data_folder), tmp_path / "cut"
    for module, step in ((fusing, "add_wide_path"), (session, "_measure")):  # before and after both paths are written
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, step, cut_off)
            train(request, settings(), output, Quiet(), resume=module is session)
    train(request, settings(), output, Quiet(), resume=True)
    weights, expected = (files.read_tensors(path / "weights.safetensors")[0] for path in (output, run.path))
    assert weights.keys() == expected.keys()
    for name in weights:
        np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


def test_exports_pass_the_gate(run: Run, tmp_path: Path) -> None:
    proof = Proof(run, texts=60)
    _, comparisons = export_saved_model(run, proof, tmp_path / "saved_model")
    for kind, choices in (("tflite", {}), ("onnx", {}), ("onnx", {"inputs": "ids"}), ("tflite", {"precision": "int8"})):
        output = tmp_path / f"{kind}{len(comparisons)}.{kind}"
        comparisons = [*comparisons, export_file(kind, run, proof, output, **choices)[1]]
    for comparison in comparisons:
        assert comparison.ok and comparison.ids_equal == comparison.texts > 60
        assert comparison.max_abs_diff < (1e-5 if comparison.precision == "float32" else 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 2])
def test_files_of_a_fixed_batch_have_static_shapes(batch: int | None, run: Run, tmp_path: Path) -> None:
    """Those of any batch compute on the real tokens alone, which they look for: then shapes depend on the texts."""
    proof = Proof(run, texts=20)
    path, _ = export_file("tflite", run, proof, tmp_path / "model.tflite", batch=batch)
    tensors = [each for graph in unpack(path.read_bytes()).subgraphs for each in graph.tensors]
    static = all(each.shapeSignature is None or -1 not in each.shapeSignature for each in tensors)
    assert static == (batch is not None)
    path, _ = export_file("onnx", run, proof, tmp_path / "model.onnx", batch=batch)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert ("NonZero" in operators) == (batch is None)


def test_fewer_words_are_the_same_model_of_a_smaller_vocabulary(run: Run) -> None:
    whole, cut = load_classifier(run), load_classifier(run, 10)
    assert isinstance(cut.classifier, FusedClassifier)
    assert cut.vocabulary == whole.vocabulary[:10]
    assert cut.classifier.wide.words.shape[0] == 12
    assert cut.classifier.wide.pairs.shape[0] < whole.classifier.wide.pairs.shape[0]
    known = " ".join(whole.vocabulary[:6])
    unknown = known.replace(whole.vocabulary[3], "neverseen")
    np.testing.assert_allclose(cut.probabilities([known, unknown]), whole.probabilities([known, unknown]), atol=1e-6)


def test_the_command_line_trains_by_the_choices_it_prints(data_folder: Path, tmp_path: Path) -> None:
    small = [word for each in ("train.epochs=1", "model.d_model=8", "text.byte_length=256") for word in ("--set", each)]
    answer = ask("train", data_folder / "made.tsv", "--output", tmp_path / "auto", *small)
    assert answer.code == 0, answer.err
    said = " ".join(answer.err.split())
    assert "text.sequence_length = 16: 99.5 % of the texts have at most 11 words" in said
    assert "train.epochs =" not in said and "model.d_model =" not in said
    run = open_run(tmp_path / "auto")
    assert (run.config.text.sequence_length, run.config.train.epochs, run.config.wide.enabled) == (16, 1, True)
