"""Names of files, and that a bytes input which would cut too many texts is not shipped unasked."""

import itertools
import json

import pytest
from conftest import export_file

from switch_tf.errors import ArgumentError, ExportError
from switch_tf.export.formats import FORMATS, check_options
from switch_tf.export.options import Door, ExportOptions
from switch_tf.export.proof.gate import Proof
from switch_tf.export.session import export_run
from switch_tf.export.truncation import changed_shares, refuse_truncation
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run


def test_each_kind_of_file_has_a_name_of_its_own(trained_run):
    run = open_run(trained_run)

    def name(kind, **options):
        return FORMATS[kind].output(run, ExportOptions(kind, **options)).relative_to(trained_run / "export").as_posix()

    kinds = [{"batch": b, "precision": p} for b in (None, 1, 64) for p in ("float32", "float16", "int8")]
    names = [name("onnx", inputs=door, **kind) for door, kind in itertools.product(("text", "ids", "bytes"), kinds)]
    names += [name("tflite", **kind) for kind in kinds]
    assert len(set(names)) == 4 * 9 and {"model.onnx", "model-ids-int8.onnx", "model-batch1.tflite"} <= set(names)
    assert name("tflite", precision="int8", max_size="1M") == "model-1M.tflite"
    assert name("onnx", inputs="ids", dispatch="einsum", batch=2) == "model-ids-batch2-einsum.onnx"
    assert name("saved_model") == "saved_model"


@pytest.mark.parametrize(("kind", "name"), [("tflite", "a.tflite"), ("onnx", "a.onnx")])
def test_a_file_over_its_limit_is_not_written(trained_run, tmp_path, kind, name):
    run = open_run(trained_run)
    with pytest.raises(ExportError, match=r"would have [\d,]+ bytes\. Expected at most 9,999\."):
        export_file(kind, run, Proof(run, texts=4), tmp_path / name, max_size=9999)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(unchecked_run):
    return open_run(unchecked_run)


def test_the_shares_are_those_of_training(run):
    shares = changed_shares(run, load_classifier(run))
    assert shares == {"training": 0.0, "validation": 0.0, "test": 0.0}
    assert json.loads((run.path / "metrics.json").read_text())["changed_by_byte_length"] == shares


def test_a_run_without_them_measures_its_sample(run):
    metrics = json.loads((run.path / "metrics.json").read_text())
    del metrics["changed_by_byte_length"]
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    assert changed_shares(run, load_classifier(run)) == {"held-out sample": 0.0}
    config = (run.path / "config.toml").read_text()
    (run.path / "config.toml").write_text(config.replace("[text]", "[text]\nbyte_length = 20"))
    short = open_run(run.path)
    assert short.config.text.num_bytes == 20
    assert changed_shares(short, load_classifier(short))["held-out sample"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("truncation", ["prefix", "drop"])
def test_a_byte_limit_that_cuts_most_texts_is_compared_with_what_it_leaves_of_them(run, tmp_path, truncation):
    config = (run.path / "config.toml").read_text().replace("[text]", "[text]\nbyte_length = 20")
    (run.path / "config.toml").write_text(config.replace('truncation = "prefix"', f'truncation = "{truncation}"'))
    short = open_run(run.path)
    assert (short.config.text.num_bytes, short.config.text.truncation) == (20, truncation)
    _, comparison = export_file("tflite", short, Proof(short, texts=40), tmp_path / "a.tflite")
    assert comparison.ok and comparison.ids_equal == comparison.texts > 40


@pytest.mark.slow
@pytest.mark.parametrize(("share", "refused"), [(0.0100, False), (0.0101, True)])
def test_over_one_text_in_a_hundred_is_refused_unless_allowed(run, tmp_path, share, refused):
    metrics = json.loads((run.path / "metrics.json").read_text())
    metrics["changed_by_byte_length"] = {"training": 0.0, "test": share}
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    model = load_classifier(run)
    refuse_truncation(run, model, allowed=True)
    if not refused:
        refuse_truncation(run, model, allowed=False)
        return
    with pytest.raises(ExportError, match=r"256 bytes, 0\.0% of the training and 1\.0% of the test texts are read"):
        refuse_truncation(run, model, allowed=False)
    cutting: list[tuple[str, Door | None]] = [("tflite", None), ("saved_model", None), ("onnx", "bytes")]
    for kind, inputs in cutting:
        with pytest.raises(ExportError, match="allow the truncation") as refusal:
            export_run(run, ExportOptions(kind, inputs=inputs))
        assert refusal.value.argument == "allow_truncation"
    assert not (run.path / "export").exists()
    exported = export_run(run, ExportOptions("onnx", tmp_path / "x.onnx"))
    assert exported.comparisons[0].ok and exported.paths == [tmp_path / "x.onnx"]  # strings are read whole
    assert exported.changed == {}
    exported = export_run(run, ExportOptions("tflite", tmp_path / "x.tflite", allow_truncation=True))
    assert exported.changed == {"training": 0.0, "test": share}


def test_an_unknown_format_is_refused_with_those_there_are():
    message = r"^Received the format 'savedmodel'\. Expected one of saved_model, tflite, onnx, all\.$"
    with pytest.raises(ArgumentError, match=message) as refusal:
        check_options(ExportOptions("savedmodel"))
    assert refusal.value.argument == "format"
