"""The long form of the gate: it finds a run's artifacts, asks each through its own runtime, and tells good from bad."""

import json

import onnx
import pytest
from conftest import export_file, sealed_onnx

from switch_tf.artifacts.tflite_file import read_labels
from switch_tf.errors import ExportError, ModelError, ParityError
from switch_tf.export.formats import format_of
from switch_tf.export.onnx_file.format import OnnxFormat
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof, load_exported
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.export.session import find_artifacts
from switch_tf.export.session import verify_run as verify
from switch_tf.export.tflite_file.runner import TFLiteRunner
from switch_tf.runs.folder import open_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(module_run):
    """A copy of the trained run with a SavedModel, a TFLite file and both kinds of ONNX file."""
    run, folder = open_run(module_run), module_run
    proof = Proof(run, texts=20)
    export_saved_model(run, proof, folder / "export" / "saved_model")
    export_file("tflite", run, proof, folder / "export" / "model.tflite")
    export_file("onnx", run, proof, folder / "export" / "model.onnx")
    export_file("onnx", run, proof, folder / "export" / "ids.onnx", inputs="ids", batch=4)
    return run


@pytest.fixture(scope="module")
def wrong(run, tmp_path_factory):
    """The text model with its label names swapped."""
    model = onnx.load(run.path / "export" / "model.onnx")
    (names,) = (tensor for tensor in model.graph.initializer if tensor.name == "label_names")
    names.string_data[:] = names.string_data[::-1]
    path = tmp_path_factory.mktemp("wrong") / "wrong.onnx"
    path.write_bytes(sealed_onnx(model))
    return path


def test_all_artifacts_of_a_run_are_found_and_compared_on_the_same_texts(run):
    folder = run.path / "export"
    messages: list[str] = []
    comparisons = verify(run, texts=30, seed=3, tell=messages.append)
    assert [each.path for each in comparisons] == [
        str(folder / "saved_model" / "1"),
        str(folder / "saved_model" / "1"),
        str(folder / "model.tflite"),
        str(folder / "ids.onnx"),
        str(folder / "model.onnx"),
    ]
    assert all(each.ok and each.ids_equal == each.labels_equal == each.texts for each in comparisons)
    valid = len(Proof(run, 30, 3).texts)
    assert [each.texts - valid > 0 for each in comparisons] == [True] * 4 + [False]  # the last takes UTF-8 alone
    assert len(messages) == 5 and all(
        each.path in message for each, message in zip(comparisons[1:], messages[1:], strict=True)
    )


def test_the_newest_version_of_a_saved_model_stands_for_it(run, tmp_path):
    for version in ("1", "10", "9"):
        (tmp_path / "export" / "saved_model" / version).mkdir(parents=True)
        (tmp_path / "export" / "saved_model" / version / "saved_model.pb").touch()
    found = find_artifacts(type("Run", (), {"path": tmp_path}))  # type: ignore[arg-type]
    assert found == [tmp_path / "export" / "saved_model" / "10"]
    folder = tmp_path / "export" / "saved_model"
    runner, bytes_runner = format_of(folder).open_runners(folder, Proof(run, 1).model)
    assert runner.path == bytes_runner.path == str(found[0]) and (runner.door, bytes_runner.door) == ("text", "bytes")


def test_a_wrong_artifact_is_told_from_a_right_one(run, wrong):
    right, bad = verify(run, [run.path / "export" / "model.onnx", wrong], texts=10)
    assert right.ok and not bad.ok
    assert bad.labels_equal == 0 and bad.ids_equal == bad.texts and "another label" in bad.problems[0]
    assert wrong.exists()


def test_texts_of_ones_own_replace_the_held_out_ones(run):
    (one,) = verify(run, [run.path / "export" / "model.onnx"], texts=5, held_out=["lovely", "dull film"])
    assert one.ok and one.texts == 7 + 4  # and the 48 words of the vocabulary, 12 a text


@pytest.mark.parametrize("labels", ['["spam", "ham"]', '["good", "bad"]'])
def test_other_labels_or_another_order_of_them_are_a_parity_failure(run, tmp_path, labels):
    model = onnx.load(run.path / "export" / "model.onnx")
    (entry,) = (each for each in model.metadata_props if each.key == "labels")
    entry.value = labels
    (tmp_path / "other.onnx").write_bytes(sealed_onnx(model))
    (one,) = verify(run, [tmp_path / "other.onnx"], texts=5)
    said = ", ".join(repr(label) for label in json.loads(labels))
    assert one.problems == [f"its metadata says the labels are [{said}]: expected ['bad', 'good']"]


def test_a_file_remembers_how_much_it_may_lose(run, tmp_path):
    """In float32 nothing is lost; a file that says it has fewer words is measured, and held to its own limit."""
    path = tmp_path / "a.onnx"
    options = ExportOptions("onnx", max_size="1M", max_loss=7.5)
    path.write_bytes(OnnxFormat().build(run, load_exported(run, 40), options))
    assert format_of(path).shrunk(path, 48) == (40, 7.5)
    (one,) = verify(run, [path], texts=5)
    assert (one.max_loss, one.words) == (0.075, 40) and one.accuracy is not None
    assert one.accuracy_of_trained_model == Proof(run, 1).accuracy


@pytest.mark.parametrize("name", ["none", "none.onnx"])
def test_a_missing_artifact_is_named(run, name, tmp_path):
    with pytest.raises(ModelError, match=rf"There is no .*{name}\. Expected what an export of"):
        verify(run, [tmp_path / name])


def test_a_file_that_is_no_artifact_is_refused(run):
    with pytest.raises(
        ModelError,
        match=r"is no artifact\. Expected what an export wrote: a SavedModel folder; a \.tflite file; an \.onnx file\.",
    ):
        verify(run, [run.path / "config.toml"], texts=5)


def test_a_run_without_artifacts_says_how_to_make_one(run_copy):
    with pytest.raises(ModelError, match=r"holds no artifact\. Export the run first\."):
        verify(open_run(run_copy))


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
@pytest.mark.parametrize("keep", [0, 3, 20, 1000, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_a_clear_error(run, tmp_path, name, keep):
    content = (run.path / "export" / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises((ModelError, ExportError), match=r"Export it again|takes \[\]|Expected"):
        verify(run, [tmp_path / name], texts=2)


def test_damage_anywhere_in_the_archive_of_a_tflite_file_is_a_clear_error(run, tmp_path):
    content = (run.path / "export" / "model.tflite").read_bytes()
    start = content.index(b"PK\x03\x04")
    path = tmp_path / "model.tflite"
    refused = 0
    for place in range(start, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            read_labels(path)
        except ModelError:
            refused += 1
    assert refused > 20


def test_signatures_that_disagree_are_told_and_the_other_artifacts_are_compared(run, monkeypatch):
    def disagree(self, texts):
        raise ParityError("the signatures bytes and ids answer differently")

    monkeypatch.setattr(TFLiteRunner, "_ask", disagree)
    bad, good = verify(run, [run.path / "export" / "model.tflite", run.path / "export" / "model.onnx"], texts=5)
    assert bad.problems == ["the signatures bytes and ids answer differently"] and good.ok
    assert bad.as_dict()["max_abs_diff"] is None
