"""Exports of fine-tuned runs: built, proven, opened as users open them, and compared again."""

import json
import shutil
import sys
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from conftest import FineTuned, ask
from fine_tuned_exports import Answering

import switch_tf
from switch_tf.artifacts import onnx_file
from switch_tf.errors import ArgumentError, ModelError, ParityError, RunError
from switch_tf.export.fine_tuned import builds
from switch_tf.export.fine_tuned.proof import FineTunedProof, made_up_ids
from switch_tf.export.options import ExportOptions
from switch_tf.runs.fine_tuned import FineTunedRun, open_fine_tuned
from switch_tf.runs.folder import write_rejection
from switch_tf.runs.rejection import Rejection, label_indexes
from switch_tf.text.sentencepiece_graph import GraphTokenizer

TEXTS = ["the film was lovely", "a dull and awful plot", "", "word " * 500]


class TestArtifacts:
    def test_each_has_a_folder_of_its_own(self, exported: Path) -> None:
        names = sorted(path.name for path in (exported / "export").iterdir() if not path.name.startswith("."))
        assert names == [
            "onnx",
            "onnx-ids-batch3",
            "onnx-ids-int8",
            "saved_model",
            "saved_model-text",
            "tflite",
            "tflite-int8",
        ]
        manifest = json.loads((exported / "export" / "onnx-ids-int8" / "manifest.json").read_text(encoding="utf-8"))
        assert {"labels.json", "spiece.model", "reject.json", "model.onnx"} < set(manifest["files"])
        assert (manifest["precision"], manifest["max_loss"], manifest["batch"]) == ("int8", 3, None)
        assert (
            "model.weights" not in manifest["files"] and not (exported / "export/onnx-ids-int8/model.weights").exists()
        )

    def test_smaller_ones_have_the_routers_and_the_threshold_as_they_were(
        self, exported: Path, tmp_path: Path, opened: tuple[FineTunedRun, Any, FineTunedProof]
    ) -> None:
        stored = onnx.load(exported / "export" / "onnx-ids-int8" / "model.onnx").graph.initializer
        held = [each.raw_data for each in stored if each.data_type == onnx.TensorProto.FLOAT]
        model = copy(opened[1])
        routers = builds._routers(model)
        assert len(routers) == 2 and all(router.tobytes() in held for router in routers)
        model.rejection = Rejection(0.8, "unknown")  # which float16 has not
        builds.write_tflite(model, tmp_path, ExportOptions("tflite", precision="float16"))
        assert np.float32(0.8).tobytes() in (tmp_path / "model.tflite").read_bytes()

    def test_a_threshold_that_was_changed_is_refused(self, exported: Path, tmp_path: Path) -> None:
        run = Path(shutil.copytree(exported, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
        write_rejection(run, Rejection(0.75, "unknown"), {})
        with pytest.raises(RunError, match=r"changed by hand: reject\.json"):
            open_fine_tuned(run)
        (run / "reject.json").unlink()
        with pytest.raises(RunError, match=r"changed by hand: reject\.json is missing"):
            open_fine_tuned(run)

    def test_smaller_ones_are_smaller_and_answer_nearly_the_same(self, exported: Path) -> None:
        manifest = json.loads((exported / "export" / "tflite-int8" / "manifest.json").read_text(encoding="utf-8"))
        said = manifest["comparisons"][0]
        assert said["accuracy"] >= said["accuracy_of_trained_model"] - 0.01 and 0 < said["mean_abs_diff"] < 0.02
        sizes = {
            name: (exported / "export" / name / "model.tflite").stat().st_size for name in ("tflite", "tflite-int8")
        }
        assert sizes["tflite-int8"] < sizes["tflite"] - 2 * 19_346  # weights, of which a byte is left

    @pytest.mark.parametrize(
        "name", ["saved_model", "saved_model-text", "tflite", "onnx", "onnx-ids-batch3", "onnx/model.onnx"]
    )
    def test_each_answers_texts_as_the_run_does(self, exported: Path, name: str) -> None:
        run, artifact = switch_tf.load(exported), switch_tf.load(exported / "export" / name)
        assert (artifact.labels, artifact.reject_label) == (["bad", "good"], "unknown")
        np.testing.assert_allclose(artifact.predict_proba(TEXTS), run.predict_proba(TEXTS), atol=1e-5)
        assert artifact.predict(TEXTS).tolist() == run.predict(TEXTS).tolist()
        np.testing.assert_array_equal(artifact.tokenize(TEXTS), run.tokenize(TEXTS))
        assert artifact.predict_proba([]).shape == (0, 2)

    def test_the_command_line_asks_and_measures_them(self, exported: Path, fine_tuned: FineTuned) -> None:
        folder = exported / "export" / "tflite"
        said = ask("predict", folder, TEXTS[0], "--json", "--threads", 1)
        assert json.loads(said.out)["label"] in ("good", "unknown")
        test = fine_tuned.folder / "test.tsv"
        both = [json.loads(ask("evaluate", each, test, "--json").out) for each in (exported, folder)]
        assert both[0]["accuracy"] == both[1]["accuracy"] and both[0]["rejection"] == both[1]["rejection"]

    @pytest.mark.parametrize("name", ["model.onnx", "model.weights", "labels.json", "reject.json", "spiece.model"])
    def test_a_file_that_was_changed_is_refused(self, exported: Path, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(exported / "export" / "onnx", tmp_path / "onnx")
        content = bytearray((folder / name).read_bytes())
        content[-3] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"is damaged or was changed by hand: {name}"):
            switch_tf.load(folder)

    @pytest.mark.parametrize(
        "facts", [{"length": 10**9}, {"length": None}, {"batch": 0}, {"precision": "int4"}, {"max_loss": -1}]
    )
    def test_a_manifest_that_says_what_cannot_be(self, exported: Path, tmp_path: Path, facts: dict[str, Any]) -> None:
        folder = shutil.copytree(exported / "export" / "onnx", tmp_path / "onnx")
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").write_text(json.dumps(manifest | facts), encoding="utf-8")
        with pytest.raises(ModelError, match="which cannot be"):
            switch_tf.load(folder)


class TestTexts:
    def test_a_graph_reads_them_itself(self, exported: Path) -> None:
        loaded = tf.saved_model.load(str(exported / "export" / "saved_model-text"))
        answer = loaded.signatures["serving_default"](text=tf.constant(TEXTS))
        assert answer["label"].numpy().tolist() == [each.encode() for each in switch_tf.load(exported).predict(TEXTS)]

    def test_tensorflow_text_is_an_extra(self, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow_text", None)
        answer = ask("export", exported, "--format", "saved_model", "--inputs", "text", "--output", exported / "x")
        assert answer.code == 1 and "Install the extra `text` (tensorflow-text)" in answer.err
        assert not (exported / "x").exists()
        with pytest.raises(ModelError, match="takes texts: tensorflow-text, which reads texts in a graph, cannot be"):
            switch_tf.load(exported / "export" / "saved_model-text")

    def test_a_graph_that_reads_otherwise_is_not_kept(
        self, fine_tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(GraphTokenizer, "_split", lambda _, texts: tf.strings.split(texts, "\0"))
        run = shutil.copytree(fine_tuned.run, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
        answer = ask("export", run, "--format", "saved_model", "--inputs", "text")
        assert answer.code == 3 and "other token ids" in answer.err


class TestVerify:
    def test_all_that_was_exported(self, exported: Path) -> None:
        answer = ask("verify", exported, "--texts", 20, "--json")
        assert answer.code == 0, answer.err
        artifacts = json.loads(answer.out)["artifacts"]
        assert {(each["door"], each["texts"]) for each in artifacts} == {
            ("ids", 80),
            ("bytes", 105),
            ("text", 105),
            ("text", 104),
        }
        assert {each["max_loss"] for each in artifacts} == {None, 0.01, 0.03}

    def test_one_that_fails_is_out_of_bounds(self, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> Any:
            raise ModelError("ONNX Runtime does not run it. Export it again.")

        monkeypatch.setattr(onnx_file, "run_session", fail)
        answer = ask("verify", exported, exported / "export" / "onnx", "--texts", 8)
        assert answer.code == 3 and "ONNX Runtime does not run it" in answer.err

    def test_one_that_says_another_length(self, exported: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(exported / "export" / "tflite", tmp_path / "tflite")
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").write_text(json.dumps(manifest | {"length": 23}), encoding="utf-8")
        with pytest.raises(ParityError, match="it says of ids of a text 23: expected 24"):
            switch_tf.load(exported).verify(folder, texts=8, verbose=0)

    def test_one_of_another_run(self, exported: Path, fine_tuned: FineTuned) -> None:
        with pytest.raises(ParityError, match="it says of labels and threshold"):
            switch_tf.load(fine_tuned.run).verify(exported / "export" / "tflite", texts=8, verbose=0)

    def test_what_is_none(self, exported: Path, fine_tuned: FineTuned, tmp_path: Path) -> None:
        classifier = switch_tf.load(exported)
        with pytest.raises(ModelError, match="is no artifact of a fine-tuned run"):
            classifier.verify(fine_tuned.folder / "plain", verbose=0)
        with pytest.raises(ModelError, match="There is no"):
            classifier.verify(tmp_path / "x", verbose=0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("more", "code", "problem"),
        [
            (["--format", "onnx", "--inputs", "text"], 2, "Expected bytes or ids, of a saved_model text as well"),
            (["--format", "all", "--inputs", "text"], 2, "Expected bytes or ids"),
            (["--format", "onnx", "--inputs", "ids", "--allow-truncation"], 2, "which cut no bytes"),
            (["--format", "onnx", "--max-size", "1M"], 2, "there are no words to leave out; take a smaller precision"),
            (["--format", "onnx", "--dispatch", "einsum"], 2, "Received dispatch for a fine-tuned run"),
            (["--format", "saved_model", "--quantize", "int8"], 2, "precision is for tflite or onnx"),
            (["--format", "saved_model", "--max-batch-size", 3], 2, "without a configuration of TF Serving"),
            (["--format", "all", "--output", "x"], 2, "Expected one format"),
            (["--format", "onnx", "--output", "."], 1, "already exists"),
        ],
    )
    def test_words_that_have_no_meaning(self, exported: Path, more: list[Any], code: int, problem: str) -> None:
        answer = ask("export", exported, *more)
        assert answer.code == code and problem in answer.err

    def test_an_artifact_is_no_run_and_writes_nothing(self, exported: Path) -> None:
        folder = exported / "export" / "onnx"
        assert "is not a run folder" in ask("export", folder, "--format", "onnx").err
        assert "classifies texts, and writes none" in ask("generate", folder, "a text").err
        assert "its routers look at whole texts" in ask("experts", exported).err
        with pytest.raises(ModelError, match="is an export already"):
            switch_tf.load(folder).export("onnx")
        with pytest.raises(ArgumentError, match="Received provider='cuda'"):
            switch_tf.load(folder, provider="cuda")

    def test_an_artifact_of_another_model_leaves_nothing(
        self, fine_tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = shutil.copytree(fine_tuned.run, tmp_path / "run")

        def write_another(model: Any, *rest: Any) -> None:
            model.model.head.bias.assign_add([1e-3, 0.0])
            builds.write_saved_model(model, *rest)

        monkeypatch.setitem(builds.BUILDS, "saved_model", write_another)
        answer = ask("export", run, "--format", "saved_model")
        assert answer.code == 3 and "probabilities off by more than 1e-05" in answer.err
        assert not (run / "export" / "saved_model").exists()

    def test_a_build_that_changes_the_model_is_not_measured_by_what_it_made(
        self, fine_tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = shutil.copytree(fine_tuned.run, tmp_path / "run")

        def write_another(model: Any, *rest: Any) -> None:
            model.model.head.bias.assign_add([50.0, 0.0])
            builds.write_tflite(model, *rest)

        monkeypatch.setitem(builds.BUILDS, "tflite", write_another)
        answer = ask("export", run, "--format", "tflite", "--quantize", "int8")
        assert answer.code == 3 and "accuracy" in answer.err
        assert not (run / "export").exists() or list((run / "export").iterdir()) == []


class TestGate:
    """What is judged is judged by `switch_tf.export.proof.parity`; here is what it is asked, and that it is asked."""

    @pytest.mark.parametrize(
        ("off", "alone", "problem"),
        [
            (9e-6, 0.0, None),
            (2e-5, 0.0, "1 of 76 texts: probabilities off by more than 1e-05; the first is b'"),
            (0.0, 2e-6, "probabilities that differ by more than 1e-06 between batch sizes"),
        ],
    )
    def test_an_answer_that_is_off(
        self, opened: tuple[FineTunedRun, Any, FineTunedProof], off: float, alone: float, problem: str | None
    ) -> None:
        _, model, proof = opened
        marked = np.array([int(each) for each in proof.question("ids").texts[-1].split()], np.int32)

        def ask(door: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert door == "ids"
            probabilities = model.probabilities_of_ids(ids).copy()
            probabilities[(ids == marked).all(axis=1), 0] += off
            probabilities[:, 0] += alone * (len(ids) == 1)
            return probabilities, label_indexes(probabilities, model.rejection)

        (compared,) = proof.compare(Answering(ask, model.labels, model.rejection, model.length), "x")  # type: ignore[arg-type]
        assert compared.texts == 76 and len(compared.problems) == (problem is not None)
        assert problem is None or problem in compared.problems[0]

    def test_what_is_made_up(self, opened: tuple[FineTunedRun, Any, FineTunedProof]) -> None:
        _, model, _ = opened
        ids = made_up_ids(model, 16, seed=0)
        sizes = (ids != 0).sum(axis=1)
        assert ids.shape == (16, 24) and sizes.min() == 1 and sizes.max() == 24
        assert all(row[size - 1] == 1 and 1 not in row[: size - 1] for row, size in zip(ids, sizes, strict=True))
        assert len(set(ids[7, : sizes[7] - 1].tolist())) == 1 and not np.array_equal(
            ids, made_up_ids(model, 16, seed=1)
        )
