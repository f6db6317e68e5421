"""A classifier from a checkpoint's encoder: trained, kept, opened, asked and measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import Answer, ask, made_up_rows, write_tsv

import switch_tf
from switch_tf.errors import ArgumentError, ModelError, RunError
from switch_tf.export import fine_tuned
from switch_tf.models.encoder_classifier import classifier_from_checkpoint
from switch_tf.runs.fine_tuned import FineTuneSettings, open_fine_tuned, write_manifest

FIXTURES = Path(__file__).parent / "data" / "huggingface"
SETTINGS = ("length=24", "epochs=3", "batch_size=16", "learning_rate=0.02", "head_learning_rate=0.05")


def checkpoint(folder: Path) -> Path:
    shutil.copytree(FIXTURES / "plain", folder / "plain")
    shutil.copy(FIXTURES / "spiece.model", folder / "plain")
    return folder / "plain"


def words(data: Path, test: Path, source: Path, output: Path, *more: str) -> list[str]:
    assigned = [word for each in (*SETTINGS, *more) for word in ("--set", f"fine_tune.{each}")]
    return ["train", str(data), "--test", str(test), "--from-hf", str(source), "--output", str(output), *assigned]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    folder = tmp_path_factory.mktemp("fine_tuning")
    data = write_tsv(folder / "train.tsv", made_up_rows(240, noise=0.0))
    test = write_tsv(folder / "test.tsv", made_up_rows(60, seed=1, noise=0.0))
    answer = ask(*words(data, test, checkpoint(folder), folder / "run"), "--json")
    assert answer.code == 0, answer.err
    return folder, answer


class TestTraining:
    def test_it_learns(self, trained: tuple[Path, Answer]) -> None:
        metrics = json.loads(trained[1].out)
        assert metrics["test"]["accuracy"] > 0.8  # half of the texts have each label
        assert metrics["test"]["n"] == 60 and metrics["training"]["epochs"] == 3
        assert metrics["training"]["trained_parameters"] == metrics["training"]["parameters"]
        assert "Epoch 3 of 3: loss" in trained[1].err

    def test_all_of_it_is_kept(self, trained: tuple[Path, Answer]) -> None:
        folder, answer = trained
        run = open_fine_tuned(folder / "run")
        assert run.labels == ["bad", "good"] and run.settings.length == 24 and run.settings.epochs == 3
        assert run.data["training_examples"] + run.data["validation_examples"] == 240
        assert json.loads((folder / "run" / "metrics.json").read_text()) == {
            name: value for name, value in json.loads(answer.out).items() if name != "run"
        }
        assert {"history.csv", "history.png", "held_out.parquet", "config.json", "spiece.model"} < {
            each.name for each in (folder / "run").iterdir()
        }

    def test_the_same_call_ends_with_the_same_weights(self, trained: tuple[Path, Answer], tmp_path: Path) -> None:
        folder, _ = trained
        given = words(folder / "train.tsv", folder / "test.tsv", folder / "plain", tmp_path / "run")
        assert ask(*given, "--quiet").code == 0
        first, second = ((place / "run" / "weights.safetensors").read_bytes() for place in (folder, tmp_path))
        assert first == second

    def test_frozen_layers_stay_as_they_are(self) -> None:
        model = classifier_from_checkpoint(FIXTURES / "plain", 3, "mean", seed=0)
        assert len(model.trained_variables(0)) == len(model.trainable_variables)
        names = {each.name for each in model.trained_variables(3)}
        assert all(
            name.startswith(("classifier/encoder/block_3/", "classifier/encoder/norm/", "classifier/head/"))
            for name in names
        )
        assert {each.name for each in model.trained_variables(4)} == {
            "classifier/head/kernel:0",
            "classifier/head/bias:0",
        }
        with pytest.raises(ArgumentError, match=r"frozen_layers=5\. Expected at most 4"):
            model.trained_variables(5)

    def test_the_encoder_is_that_of_the_checkpoint(self) -> None:
        reference = np.load(FIXTURES / "plain" / "reference.npz")
        ids, real = tf.constant(reference["ids"]), reference["ids"] != 0
        for pooling in ("mean", "first"):
            model = classifier_from_checkpoint(FIXTURES / "plain", 2, pooling, seed=0)
            hidden = reference["hidden"]
            pooled = hidden[:, 0] if pooling == "first" else hidden.sum(axis=1) / real.sum(axis=1, keepdims=True)
            expected = pooled @ model.head.kernel.numpy()
            np.testing.assert_allclose(model(ids).logits, expected, atol=2e-5)


class TestAsking:
    def test_it_answers_texts(self, trained: tuple[Path, Answer]) -> None:
        classifier = switch_tf.load(trained[0] / "run")
        assert isinstance(classifier, switch_tf.Classifier) and classifier.labels == ["bad", "good"]
        texts = ["the film was lovely", "a dull and awful plot"]
        assert classifier.predict(texts).tolist() == ["good", "bad"]
        together = classifier.predict_proba([*texts, "", "word " * 500])
        assert together.shape == (4, 2) and np.allclose(together.sum(axis=1), 1.0)
        np.testing.assert_allclose(classifier.predict_proba(texts[1:]), together[1:2], atol=1e-6)
        ids = classifier.tokenize(["word " * 500, ""])
        assert ids.shape == (2, 24) and ids[0, -1] == 1 and ids[1].tolist() == [1] + [0] * 23

    def test_evaluate_finds_the_figures_of_training(self, trained: tuple[Path, Answer]) -> None:
        folder, answer = trained
        measured = ask("evaluate", folder / "run", folder / "test.tsv", "--json")
        assert measured.code == 0
        assert json.loads(measured.out)["accuracy"] == json.loads(answer.out)["test"]["accuracy"]

    def test_predict_answers_on_the_command_line(self, trained: tuple[Path, Answer]) -> None:
        answer = ask("predict", trained[0] / "run", "the film was lovely", "--json")
        assert json.loads(answer.out)["label"] == "good"

    @pytest.mark.parametrize("name", ["weights.safetensors", "labels.json", "config.json", "spiece.model"])
    def test_a_file_that_was_changed_is_refused(self, trained: tuple[Path, Answer], tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(trained[0] / "run", tmp_path / "run")
        content = bytearray((folder / name).read_bytes())
        content[-3] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(RunError, match="is damaged or was changed by hand"):
            switch_tf.load(folder)

    def test_weights_of_another_model_are_refused(self, trained: tuple[Path, Answer], tmp_path: Path) -> None:
        folder = shutil.copytree(trained[0] / "run", tmp_path / "run")
        (folder / "labels.json").write_text('["a", "b", "c"]', encoding="utf-8")
        write_manifest(folder)
        with pytest.raises(RunError, match="does not fit its settings: weight 'classifier/head/"):
            switch_tf.load(folder)


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"length": 1}, "length=1. Expected an integer from 2"),
            ({"epochs": 0}, "epochs=0"),
            ({"batch_size": 1.5}, "batch_size=1.5"),
            ({"pooling": "max"}, "pooling='max'. Expected 'mean' or 'first'"),
            ({"learning_rate": -1.0}, "learning_rate=-1.0"),
            ({"head_learning_rate": float("nan")}, "head_learning_rate=nan"),
            ({"validation_share": 0.9}, "validation_share=0.9"),
            ({"seed": 2**31}, "seed=2147483648"),
        ],
    )
    def test_settings_out_of_range(self, given: dict[str, Any], problem: str) -> None:
        with pytest.raises(ArgumentError) as caught:
            FineTuneSettings(**given)
        assert problem in str(caught.value)

    @pytest.mark.parametrize(
        ("more", "code", "problem"),
        [
            (["--preset", "tiny"], 2, "Received --preset with --from-hf"),
            (["--resume"], 2, "Received --resume with --from-hf"),
            (["--set", "train.epochs=3"], 2, "Expected some of fine_tune.length"),
            (["--set", "fine_tune.layers=3"], 2, "Expected some of fine_tune.length"),
            (["--set", "fine_tune.length=0"], 2, "length=0"),
            (["--epochs", "0"], 2, "On the command line: --epochs."),
        ],
    )
    def test_words_that_have_no_meaning(self, tmp_path: Path, more: list[str], code: int, problem: str) -> None:
        answer = ask("train", "reviews", "--from-hf", FIXTURES / "plain", "--output", tmp_path / "run", *more)
        assert answer.code == code and problem in answer.err
        assert not (tmp_path / "run").exists()

    def test_a_folder_that_is_no_checkpoint(self, tmp_path: Path) -> None:
        answer = ask("train", "reviews", "--from-hf", tmp_path, "--output", tmp_path / "run")
        assert answer.code == 1 and "Expected the folder of a Switch-Transformer" in answer.err

    def test_a_checkpoint_without_a_tokenizer(self, tmp_path: Path) -> None:
        answer = ask("train", "reviews", "--from-hf", FIXTURES / "plain", "--output", tmp_path / "run")
        assert answer.code == 1 and "has no spiece.model" in answer.err

    def test_a_place_that_is_taken(self, tmp_path: Path) -> None:
        answer = ask("train", "reviews", "--from-hf", FIXTURES / "plain", "--output", tmp_path)
        assert answer.code == 1 and "already exists" in answer.err

    def test_a_weight_of_another_shape(self, tmp_path: Path) -> None:
        folder = checkpoint(tmp_path)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | {"d_ff": 48}), encoding="utf-8")
        with pytest.raises(ModelError, match="does not fit its settings"):
            classifier_from_checkpoint(folder, 2, "mean", seed=0)


class TestExport:
    def test_every_format_answers_as_the_model_does(self, trained: tuple[Path, Answer], tmp_path: Path) -> None:
        run = shutil.copytree(trained[0] / "run", tmp_path / "run")
        answer = ask("export", run, "--format", "all", "--json")
        assert answer.code == 0, answer.err
        artifacts = json.loads(answer.out)["artifacts"]
        assert [Path(each["path"]).name for each in artifacts] == ["saved_model", "tflite", "onnx"]
        for each in artifacts:
            assert each["texts"] == 124 == each["labels_equal"] and each["problems"] == []
            assert each["max_abs_diff"] <= 1e-5 and each["alone_max_abs_diff"] <= 1e-6
            manifest = json.loads((Path(each["path"]) / "manifest.json").read_text(encoding="utf-8"))
            assert {"labels.json", "spiece.model"} < set(manifest["files"])

    def test_an_artifact_of_another_model_leaves_nothing(
        self, trained: tuple[Path, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = shutil.copytree(trained[0] / "run", tmp_path / "run")

        def write_another(model: Any, folder: Path) -> Any:
            model.model.head.bias.assign_add([1e-3, 0.0])
            return fine_tuned._write_saved_model(model, folder)

        monkeypatch.setitem(fine_tuned._WRITERS, "saved_model", write_another)
        answer = ask("export", run, "--format", "saved_model")
        assert answer.code == 3 and "Probabilities are off by" in answer.err
        assert not (run / "export").exists()

    @pytest.mark.parametrize(
        ("more", "code", "problem"),
        [
            (["--format", "onnx", "--batch", 3], 2, "Received --batch with a fine-tuned run"),
            (["--format", "onnx", "--quantize", "int8"], 2, "Received --quantize with a fine-tuned run"),
            (["--format", "all", "--output", "x"], 2, "Expected one format"),
            (["--format", "onnx", "--output", "."], 1, "already exists"),
        ],
    )
    def test_words_that_have_no_meaning(
        self, trained: tuple[Path, Answer], more: list[Any], code: int, problem: str
    ) -> None:
        answer = ask("export", trained[0] / "run", *more)
        assert answer.code == code and problem in answer.err
