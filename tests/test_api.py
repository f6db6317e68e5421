"""The package in Python: what a caller of Keras guesses is right, and answers are those of the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from conftest import ask, made_up_rows, tiny_config

import switch_tf
from switch_tf import Classifier, errors
from switch_tf.artifacts import seal
from switch_tf.training import session

TEXTS = ["A lovely, warm film.", "dull", "", "schön " * 100]


@pytest.fixture(scope="module")
def classifier(module_run: Path) -> Classifier:
    return switch_tf.load(module_run)


@pytest.fixture(scope="module")
def exported(classifier: Classifier) -> dict[str, Classifier]:
    return {name: switch_tf.load(classifier.export(name, verbose=0)) for name in ("saved_model", "onnx", "tflite")}


@pytest.fixture
def frames(data_folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files of `data_folder`, with an index that is not from 0."""
    training, test = (pd.read_csv(data_folder / name, sep="\t") for name in ("made.tsv", "made-test.tsv"))
    return training.set_index(training.index[::-1] + 5).astype({"label": "category"}), test


class TestThePackage:
    def test_importing_it_loads_nothing_heavy(self) -> None:
        heavy = ["tensorflow", "tf_keras", "numpy", "pyarrow", "pydantic", "rich", "onnxruntime", "sklearn"]
        code = f"import sys, switch_tf; print([name for name in {heavy} if name in sys.modules], dir(switch_tf))"
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert finished.stdout.startswith("[] [")
        assert {"train", "load", "Classifier", "Config", "layers", "export", "DataError"} <= set(
            finished.stdout.replace("'", "").strip("[]\n").replace("] [", "").split(", ")
        )

    @pytest.mark.slow
    def test_an_onnx_file_answers_without_tensorflow(self, exported: dict[str, Classifier]) -> None:
        code = (
            f"import sys, switch_tf\nmodel = switch_tf.load({str(exported['onnx'].path)!r})\n"
            "print(model.predict(['a']), model.tokenize(['a']).shape, 'tensorflow' in sys.modules)"
        )
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert finished.stdout.endswith("'] (1, 12) False\n")

    def test_it_offers_what_its_list_says(self) -> None:
        assert all(getattr(switch_tf, name) is not None for name in switch_tf.__all__)
        assert switch_tf.train is sys.modules["switch_tf.api"].train
        assert switch_tf.layers is sys.modules["switch_tf.layers"]
        assert switch_tf.export is sys.modules["switch_tf.export"]
        assert switch_tf.Config().model.num_experts == 4

    def test_every_error_is_there(self) -> None:
        kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
        assert kinds == {name for name in switch_tf.__all__ if name.endswith("Error")}
        assert all(getattr(switch_tf, name) is getattr(errors, name) for name in kinds)

    def test_a_misspelt_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match=r"^module 'switch_tf' has no attribute 'tain'$"):
            switch_tf.tain  # type: ignore[attr-defined]  # noqa: B018


class TestAsking:
    def test_shapes_and_types_are_those_of_scikit_learn(self, classifier: Classifier) -> None:
        labels, probabilities, ids = (
            ask_it(TEXTS) for ask_it in (classifier.predict, classifier.predict_proba, classifier.tokenize)
        )
        assert labels.shape == (4,) and labels.dtype == object and type(labels[0]) is str
        assert probabilities.shape == (4, 2) and probabilities.dtype == np.float32
        assert ids.shape == (4, 12) and ids.dtype == np.int32
        assert probabilities.sum(axis=1) == pytest.approx(1)
        assert labels.tolist() == [classifier.labels[i] for i in probabilities.argmax(axis=1)]
        assert ids[2].tolist() == [0] * 12 and (ids[3] == ids[3][0]).all() and ids[3][0] > 1

    def test_no_texts_have_no_answers(self, classifier: Classifier) -> None:
        assert classifier.predict([]).shape == (0,)
        assert classifier.predict_proba(np.array([])).shape == (0, 2)
        assert classifier.tokenize(pd.Series([], dtype=object)).shape == (0, 12)

    def test_it_says_what_the_command_line_says(self, classifier: Classifier) -> None:
        rows = [json.loads(line) for line in ask("predict", classifier.path, *TEXTS, "--json").out.splitlines()]
        assert classifier.predict(TEXTS).tolist() == [row["label"] for row in rows]
        expected = np.array([list(row["probabilities"].values()) for row in rows], np.float32)
        assert (classifier.predict_proba(TEXTS) == expected).all()
        assert list(rows[0]["probabilities"]) == classifier.labels == ["bad", "good"]

    def test_every_artifact_answers_alike(self, classifier: Classifier, exported: dict[str, Classifier]) -> None:
        for name, each in exported.items():
            assert each.labels == classifier.labels
            assert each.predict(TEXTS).tolist() == classifier.predict(TEXTS).tolist(), name
            assert each.predict_proba(TEXTS) == pytest.approx(classifier.predict_proba(TEXTS), abs=1e-5), name
            assert (each.tokenize(TEXTS) == classifier.tokenize(TEXTS)).all(), name
            assert each.predict_proba([]).shape == (0, 2)

    def test_bytes_are_their_text_everywhere(self, classifier: Classifier, exported: dict[str, Classifier]) -> None:
        for each in (classifier, *exported.values()):
            assert (each.predict_proba([text.encode() for text in TEXTS]) == each.predict_proba(TEXTS)).all()
            with pytest.raises(switch_tf.DataError, match=r"texts, position 1: byte 1 of .* is not UTF-8"):
                each.predict([b"a", b"\xff"])

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "tokenize"])
    def test_a_single_text_is_refused(self, method: str, classifier: Classifier) -> None:
        with pytest.raises(switch_tf.ArgumentError, match=r"received a single str\. Expected several: give a list\."):
            getattr(classifier, method)("A lovely film.")

    def test_it_shows_what_it_is(self, classifier: Classifier, exported: dict[str, Classifier]) -> None:
        assert repr(classifier) == f"<Classifier '{classifier.path}': labels ['bad', 'good'], TensorFlow>"
        assert repr(exported["tflite"]) == f"<Classifier '{exported['tflite'].path}': labels ['bad', 'good'], LiteRT>"

    def test_a_caller_cannot_change_its_labels(self, classifier: Classifier) -> None:
        classifier.labels.clear()
        assert classifier.labels == ["bad", "good"]


class TestMeasuring:
    def test_it_says_what_the_command_line_says(self, classifier: Classifier, data_folder: Path) -> None:
        path = data_folder / "made-test.tsv"
        expected = json.loads(ask("evaluate", classifier.path, path, "--json").out)
        frame = pd.read_csv(path, sep="\t")
        renamed = pl.DataFrame({"stars": frame["label"], "review": frame["text"]})
        assert classifier.evaluate(path) == classifier.evaluate(str(path)) == expected
        assert classifier.evaluate(frame) == classifier.evaluate((frame.text, frame.label)) == expected
        assert classifier.evaluate(renamed, text_column="review", label_column="stars") == expected

    def test_an_unknown_label_is_refused_by_its_row(self, classifier: Classifier) -> None:
        with pytest.raises(
            switch_tf.DataError, match=r"^data \(texts and labels\), position 1: received the label 'x'"
        ):
            classifier.evaluate((["a", "b"], ["good", "x"]))


class TestLoading:
    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_path_may_be_a_string(self, kind: type, classifier: Classifier, tmp_path: Path) -> None:
        assert switch_tf.load(kind(classifier.path)).path == classifier.path
        with pytest.raises(switch_tf.ModelError, match=r"nothing does not exist\. Expected a run folder"):
            switch_tf.load(kind(tmp_path / "nothing"))

    def test_threads_are_for_files(self, classifier: Classifier, exported: dict[str, Classifier]) -> None:
        one = switch_tf.load(exported["onnx"].path, threads=1)
        assert one.predict(TEXTS).tolist() == classifier.predict(TEXTS).tolist()
        with pytest.raises(switch_tf.ArgumentError, match="threads is for those alone"):
            switch_tf.load(classifier.path, threads=1)


class TestTraining:
    def test_a_table_in_memory_trains_what_its_file_trains(
        self,
        frames: tuple[pd.DataFrame, pd.DataFrame],
        trained_run: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        trained = switch_tf.train(*frames, tmp_path / "run", config=tiny_config())
        assert trained.path == tmp_path / "run"
        for name in ("weights.safetensors", "vocabulary.txt", "held_out.parquet"):
            assert (tmp_path / "run" / name).read_bytes() == (trained_run / name).read_bytes(), name
        ours, theirs = (json.loads((run / "data.json").read_text()) for run in (trained.path, trained_run))
        assert (ours["data"], ours["test"], ours["in_memory"]) == ("pandas DataFrame",) * 2 + (["data", "test"],)
        assert ours["fingerprint"] == theirs["fingerprint"] and ours["test_fingerprint"] == theirs["test_fingerprint"]
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "Training on pandas DataFrame; the run will be in" in shown.err
        assert re.findall(r"^ *(\d/3) +0\.\d{4}", shown.err, re.MULTILINE) == ["1/3", "2/3", "3/3"]
        assert re.search(r"│ test +│ +40 │", shown.err)

    def test_settings_go_by_name_and_the_folder_is_a_new_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "run").mkdir(parents=True)
        texts, labels = zip(*made_up_rows(60), strict=True)
        numbers = np.array([label == "good" for label in labels]).astype(np.int32)
        trained = switch_tf.train(
            (np.array(texts), numbers), config=tiny_config(), epochs=np.int64(1), num_experts=0, verbose=0
        )
        assert trained.path == Path("runs/run-2")
        assert trained.labels == ["0", "1"]
        metrics = json.loads((trained.path / "metrics.json").read_text())
        assert metrics["training"]["epochs"] == 1 and "test" not in metrics
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("arguments", "kind", "problem"),
        [
            ({"epoch": 3}, errors.ConfigError, r"There is no setting or argument 'epoch' \(did you mean epochs\?\)"),
            ({"verbos": 0}, errors.ConfigError, r"There is no setting or argument 'verbos'"),
            ({"epochs": "many"}, errors.ConfigError, r"train\.epochs: input should be a valid integer"),
            ({"preset": "huge"}, errors.ConfigError, "Unknown preset 'huge'"),
            ({"verbose": 3}, errors.ArgumentError, r"Received verbose=3\. Expected 0 \(silent\), 1 \(progress\) or 2"),
            ({"data": (["a", None], ["x", "y"])}, errors.DataError, "texts, position 1: received None"),
            ({"test": (["a"], [None])}, errors.DataError, "test labels, position 0: received None"),
            (
                {"data": (["a", "b"], ["x", "x"])},
                errors.DataError,
                r"data \(texts and labels\) has the label 'x' alone",
            ),
            ({"data": None}, errors.DataError, "data: received NoneType"),
            ({"data": "none.tsv"}, errors.DataError, "There is no none.tsv"),
            (
                {"test": (["a"], ["z"])},
                errors.DataError,
                r"test \(texts and labels\), position 0: received the label 'z'",
            ),
        ],
    )
    def test_mistakes_leave_nothing(
        self, arguments: dict[str, Any], kind: type[Exception], problem: str, tmp_path: Path
    ) -> None:
        given: dict[str, Any] = {
            "data": (["a", "b", "c", "d"], ["x", "y", "x", "y"]),
            "output": tmp_path / "run",
            "verbose": 0,
        }
        with pytest.raises(kind, match=problem):
            switch_tf.train(**(given | arguments))
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cut_off(frames: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> Iterator[Path]:
    """What would be the run folder of a training in memory that was cut off when all epochs were done."""
    with pytest.MonkeyPatch.context() as monkeypatch:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(session, "_measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            switch_tf.train(*frames, tmp_path / "run", config=tiny_config(), verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.unfinished"]
    yield tmp_path / "run"


class TestResuming:
    def test_a_training_in_memory_goes_on_with_the_same_data_alone(
        self, cut_off: Path, frames: tuple[pd.DataFrame, pd.DataFrame], trained_run: Path
    ) -> None:
        training, test = frames
        with pytest.raises(switch_tf.RunError, match="holds an unfinished training"):
            switch_tf.train(training, test, cut_off, verbose=0)
        with pytest.raises(switch_tf.DataError, match="was started on other data: fingerprint differs"):
            switch_tf.train(training[::-1], test, cut_off, resume=True, verbose=0)
        answer = ask("train", "--resume", "--output", cut_off)
        assert answer.code == 1
        assert "was started on data that was given in memory (data and test), which no folder keeps." in answer.err
        assert f"switch_tf.train(data, ..., output={str(cut_off)!r}, resume=True)" in answer.err
        resumed = switch_tf.train(training, test, cut_off, resume=True, verbose=0)
        weights = (resumed.path / "weights.safetensors").read_bytes()
        assert weights == (trained_run / "weights.safetensors").read_bytes()


class TestExporting:
    def test_an_export_is_where_it_is_asked_to_be(
        self, classifier: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = classifier.export("onnx", str(tmp_path / "ids.onnx"), inputs="ids", batch=3)
        assert path == tmp_path / "ids.onnx" and path.is_file()
        shown = capsys.readouterr()
        assert (shown.out, shown.err.splitlines()[0]) == ("", "Loading the trained model")
        (comparison,) = classifier.verify(path, texts=20, verbose=0)
        assert (comparison.path, comparison.ok, comparison.door) == (str(path), True, "ids")
        assert capsys.readouterr() == ("", "")

    def test_without_a_place_it_is_under_the_run(self, exported: dict[str, Classifier], classifier: Classifier) -> None:
        folder = classifier.path / "export"
        assert exported["onnx"].path == folder / "model.onnx"
        assert exported["tflite"].path == folder / "model.tflite"
        assert exported["saved_model"].path == folder / "saved_model" / "1"

    def test_an_artifact_that_answers_otherwise_is_a_parity_error(
        self, exported: dict[str, Classifier], classifier: Classifier, tmp_path: Path
    ) -> None:
        model = onnx.load(exported["onnx"].path)
        largest = max(
            (each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT),
            key=lambda each: len(each.raw_data),
        )
        largest.raw_data = (np.frombuffer(largest.raw_data, np.float32) * np.float32(1.5)).tobytes()
        del model.metadata_props[-1]  # the seal of what it was
        (tmp_path / "other.onnx").write_bytes(seal.sealed(model.SerializeToString() + seal.ONNX))
        with pytest.raises(switch_tf.ParityError, match=r"other\.onnx: .*Export again\."):
            classifier.verify(tmp_path / "other.onnx", texts=20, verbose=0)

    def test_only_a_run_can_be_exported(self, exported: dict[str, Classifier]) -> None:
        for each in exported.values():
            with pytest.raises(switch_tf.ModelError, match=r"is an export already: only a run folder can be exported"):
                each.export("onnx")
            with pytest.raises(switch_tf.ModelError, match=r"only a run folder can be compared with its exports"):
                each.verify()

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"format": "onxx"}, r"Received the format 'onxx'\. Expected one of saved_model, tflite, onnx, all"),
            ({"precision": "int4"}, r"Received precision='int4'\. Expected one of float32, float16, int8\."),
            ({"inputs": "texts"}, r"Received inputs='texts'\. Expected one of text, ids, bytes\."),
            ({"dispatch": "scatter"}, r"Received dispatch='scatter'\. Expected one of gather, einsum\."),
            ({"batch": 0}, r"Received batch=0\. Expected a whole number from 1 on\."),
            ({"batch": "8"}, r"Received batch='8'\. Expected a whole number from 1 on\."),
            ({"max_size": "1X"}, r"Received the size '1X'\. Expected a number of bytes"),
            ({"format": "saved_model", "batch": 8}, "batch is for tflite or onnx"),
        ],
    )
    def test_options_that_mean_nothing_are_refused(
        self, arguments: dict[str, Any], problem: str, classifier: Classifier
    ) -> None:
        with pytest.raises(switch_tf.ArgumentError, match=problem):
            classifier.export(**({"format": "onnx"} | arguments))

    @pytest.mark.slow
    def test_what_was_measured_in_memory_has_to_be_given_again(
        self, classifier: Classifier, frames: tuple[pd.DataFrame, pd.DataFrame], data_folder: Path, tmp_path: Path
    ) -> None:
        run = switch_tf.load(classifier.path)
        assert run._run("exported").data.setdefault("in_memory", ["data", "test"])
        small: dict[str, Any] = {"output": tmp_path / "small.onnx", "precision": "float16", "verbose": 0}
        with pytest.raises(
            switch_tf.DataError, match=r"was measured on data that was given in memory .* which no run keeps\. Give it"
        ) as caught:
            run.export("onnx", **small)
        assert caught.value.argument == "measured_on"
        with pytest.raises(
            switch_tf.DataError, match=r"measured_on \(pandas DataFrame\) is not what .* was measured on"
        ):
            run.export("onnx", measured_on=frames[0], **small)
        assert list(tmp_path.iterdir()) == []
        assert run.export("onnx", measured_on=frames[1], **small) == tmp_path / "small.onnx"
        assert run.export("onnx", measured_on=data_folder / "made-test.tsv", **small).is_file()
