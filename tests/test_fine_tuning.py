"""A classifier from a checkpoint's encoder: trained, kept, opened, asked and measured."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import FineTuned, ask, checkpoint_copy, write_tsv

import switch_tf
from switch_tf.errors import ArgumentError, ModelError, RunError
from switch_tf.models.encoder_classifier import FineTunedClassifier, classifier_from_checkpoint
from switch_tf.models.tokenizer import load_pieces
from switch_tf.runs.fine_tuned import FineTuneSettings, describe_fine_tuning, open_fine_tuned, write_manifest
from switch_tf.training import fine_tuner
from switch_tf.training.steps import Encoded

FIXTURES = Path(__file__).parent / "data" / "huggingface"


class TestTraining:
    def test_it_learns(self, fine_tuned: FineTuned) -> None:
        metrics = json.loads(fine_tuned.answer.out)
        assert metrics["test"]["accuracy"] > 0.75  # half of the texts have each label, and a tenth has a wrong one
        assert metrics["test"]["n"] == 60 and metrics["training"]["epochs"] == 2
        assert metrics["training"]["trained_parameters"] == metrics["training"]["parameters"]
        assert "Epoch 2 of 2: loss" in fine_tuned.answer.err

    def test_all_of_it_is_kept(self, fine_tuned: FineTuned) -> None:
        run = open_fine_tuned(fine_tuned.run)
        assert run.labels == ["bad", "good"] and run.settings.length == 24 and run.settings.epochs == 2
        assert run.data["training_examples"] == 468 and run.data["validation_examples"] == 52
        assert json.loads((fine_tuned.run / "metrics.json").read_text()) == {
            name: value for name, value in json.loads(fine_tuned.answer.out).items() if name != "run"
        }
        assert {each.name for each in fine_tuned.run.iterdir() if each.name != "export"} == {
            *("config.json", "spiece.model", "weights.safetensors", "fine_tuning.json", "labels.json", "metrics.json"),
            *("history.csv", "history.png", "held_out.parquet", "manifest.json"),
        }

    def test_probabilities_are_made_honest_on_validation(self, fine_tuned: FineTuned) -> None:
        found = json.loads(fine_tuned.answer.out)["calibration"]
        validation = json.loads(fine_tuned.answer.out)["validation"]
        assert 0.2 < found["temperature"] < 5.0
        assert validation["calibration_error"] == pytest.approx(found["error_after"], abs=1e-6)
        history = (fine_tuned.run / "history.csv").read_text().splitlines()
        losses = [float(row.split(",")[history[0].split(",").index("validation_loss")]) for row in history[1:]]
        assert validation["log_loss"] <= min(losses) + 1e-9

    def test_a_temperature_divides_logits(self) -> None:
        model = classifier_from_checkpoint(FIXTURES / "plain", 3, "mean", seed=0)
        model.head.bias.assign([1.0, 2.0, 3.0])
        ids = tf.constant([[5, 6, 1]])
        before = model(ids).logits.numpy()
        model.divide_logits(4.0)
        np.testing.assert_allclose(model(ids).logits, before / 4.0, rtol=1e-5)

    def test_a_training_that_is_cut_off_ends_with_the_same_weights(
        self, fine_tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = tmp_path / "run"
        original = fine_tuner.FineTuner._run_epoch

        def cut_off(self: Any, training: Any, validation: Any, epoch: int) -> Any:
            if epoch == 1:
                raise KeyboardInterrupt
            return original(self, training, validation, epoch)

        monkeypatch.setattr(fine_tuner.FineTuner, "_run_epoch", cut_off)
        stopped = ask(*fine_tuned.words, "--output", output)
        assert stopped.code == 130 and f"`switch-tf train --output {output} --resume` goes on" in stopped.err
        assert not output.exists() and (tmp_path / "run.unfinished" / "best.safetensors").exists()
        monkeypatch.undo()
        started_otherwise = ask(*fine_tuned.words, "--epochs", "3", "--output", output, "--resume")
        assert started_otherwise.code == 2 and "was started with other data or settings" in started_otherwise.err
        data = fine_tuned.folder / "train.tsv"
        again = ask("train", data, "--from-hf", fine_tuned.folder / "plain", "--output", output)
        assert again.code == 1 and "holds an unfinished training. Resume it" in again.err
        answer = ask("train", "--output", output, "--resume")
        assert answer.code == 0, answer.err
        assert "Epoch 2 of 2" in answer.err and "Epoch 1 of 2" not in answer.err
        first, second = (folder / "weights.safetensors" for folder in (fine_tuned.run, output))
        assert first.read_bytes() == second.read_bytes()
        assert [each.name for each in tmp_path.iterdir()] == ["run"]
        assert {each.name for each in output.iterdir()} == {
            each.name for each in fine_tuned.run.iterdir() if each.name != "export"
        }

    def test_a_threshold_that_is_not_reached_keeps_the_training(self, fine_tuned: FineTuned, tmp_path: Path) -> None:
        undecidable = [(f"the film number{number}", ("bad", "good")[number % 2]) for number in range(60)]
        data, output = write_tsv(tmp_path / "data.tsv", undecidable), tmp_path / "run"
        words = ["train", data, "--from-hf", fine_tuned.folder / "plain", "--output", output, "--epochs", 1]
        refused = ask(*words, "--set", "fine_tune.length=3", "--reject", 0.9)  # all texts read the same
        assert refused.code == 1 and "fine_tune.reject = 0.9 is not reached on the 6 validation texts" in refused.err
        assert "resume it with a lower fine_tune.reject. On the command line: --reject." in refused.err
        answer = ask("train", "--output", output, "--resume", "--reject", 0.4, "--reject-label", "neither", "--json")
        assert answer.code == 0, answer.err
        assert "Epoch" not in answer.err
        said = json.loads(answer.out)["validation"]["rejection"]
        assert (said["label"], said["precision"]) == ("neither", 0.5)
        classifier = switch_tf.load(output)
        assert (classifier.reject_label, classifier.reject_threshold) == ("neither", 0.0)

    def test_what_was_started_on_other_data_does_not_go_on(self, fine_tuned: FineTuned, tmp_path: Path) -> None:
        kept = tmp_path / "run.unfinished"
        kept.mkdir()
        for name in ("config.json", "spiece.model"):
            shutil.copy(fine_tuned.folder / "plain" / name, kept)
        described = json.loads((fine_tuned.run / "fine_tuning.json").read_text())
        settings = FineTuneSettings(**described.pop("settings"))
        describe_fine_tuning(kept, settings, ["bad", "good"], described | {"fingerprint": "0"})
        answer = ask("train", "--output", tmp_path / "run", "--resume")
        assert answer.code == 1 and "was started on other data: fingerprint differs" in answer.err

    def test_python_fine_tunes_too(self, fine_tuned: FineTuned, tmp_path: Path) -> None:
        texts = [f"a {word} film {number}" for number in range(20) for word in ("lovely", "dull")]
        labels = ["good", "bad"] * 20
        made: dict[str, Any] = {"from_hf": fine_tuned.folder / "plain", "output": tmp_path / "run", "verbose": 0}
        classifier = switch_tf.train((texts, labels), **made, epochs=1, length=8, batch_size=8, frozen_layers=4)
        assert classifier.labels == ["bad", "good"] and classifier.path == tmp_path / "run"
        finished = made["output"].rename(tmp_path / "again.unfinished")
        (finished / "manifest.json").unlink()  # of a training that was cut off at its very end
        (finished / "labels.json").write_text('["good", "bad"]', encoding="utf-8")  # the data has them otherwise
        again = switch_tf.train((texts, labels), **made | {"output": tmp_path / "again"}, resume=True)
        assert again.labels == ["bad", "good"]
        settings = open_fine_tuned(again.path).settings
        assert (settings.length, settings.frozen_layers) == (8, 4)
        with pytest.raises(ArgumentError, match="Received num_experts with from_hf"):
            switch_tf.train((texts, labels), **made, num_experts=4)
        with pytest.raises(ArgumentError, match="Received preset with from_hf"):
            switch_tf.train((texts, labels), **made, preset="tiny")

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


def a_tuner(settings: FineTuneSettings, auxiliary: float = 0.0) -> fine_tuner.FineTuner:
    model = classifier_from_checkpoint(FIXTURES / "plain", 2, "mean", seed=0)
    model.settings = replace(model.settings, router_aux_loss_coef=auxiliary, dropout_rate=0.0)
    classifier = FineTunedClassifier(model, load_pieces(FIXTURES, model.settings), ["bad", "good"], settings.length)
    return fine_tuner.FineTuner(classifier, list(model.trainable_variables), settings, 2)


class TestFineTuner:
    def test_the_best_epoch_s_weights_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tuner, accuracies = a_tuner(FineTuneSettings(epochs=3)), [0.5, 0.75, 0.625]

        def run_epoch(_training: object, _validation: object, epoch: int) -> dict[str, Any]:
            tuner._model.head.bias.assign([float(epoch), 0.0])
            losses = {"loss": 1.0, "validation_loss": 1.0}
            return losses | {"epoch": epoch + 1, "validation_accuracy": accuracies[epoch], "seconds": 0.0}

        monkeypatch.setattr(tuner, "_run_epoch", run_epoch)
        nothing = Encoded(np.zeros([0, 8], np.int32), np.zeros([0], np.int32))
        assert len(tuner.fit(nothing, nothing, tmp_path, lambda _: None)) == 3
        assert tuner._model.head.bias.numpy().tolist() == [1.0, 0.0]

    def test_routers_learn_from_their_auxiliary_loss(self) -> None:
        batch = [tf.constant([[5, 6, 7, 1], [8, 9, 1, 0]]), tf.constant([0, 1]), tf.ones([2]), tf.constant(0)]
        moments = []
        for auxiliary in (0.0, 100.0):
            tuner = a_tuner(FineTuneSettings(batch_size=2, length=4), auxiliary)
            tuner._update(*batch)
            moments.append([each.numpy() for each in tuner._groups[0][0].variables if "router" in each.name])
        assert len(moments[0]) > 0
        assert any(not np.allclose(one, other, rtol=1e-3) for one, other in zip(*moments, strict=True))


class TestAsking:
    def test_it_answers_texts(self, fine_tuned: FineTuned) -> None:
        classifier = switch_tf.load(fine_tuned.run)
        assert isinstance(classifier, switch_tf.Classifier) and classifier.labels == ["bad", "good"]
        texts = ["the film was lovely", "a dull and awful plot"]
        assert classifier.predict(texts).tolist() == ["good", "bad"]
        together = classifier.predict_proba([*texts, "", "word " * 500])
        assert together.shape == (4, 2) and np.allclose(together.sum(axis=1), 1.0)
        np.testing.assert_allclose(classifier.predict_proba(texts[1:]), together[1:2], atol=1e-6)
        ids = classifier.tokenize(["word " * 500, ""])
        assert ids.shape == (2, 24) and ids[0, -1] == 1 and ids[1].tolist() == [1] + [0] * 23

    def test_evaluate_finds_the_figures_of_training(self, fine_tuned: FineTuned) -> None:
        measured = ask("evaluate", fine_tuned.run, fine_tuned.folder / "test.tsv", "--json")
        assert measured.code == 0
        assert json.loads(measured.out)["accuracy"] == json.loads(fine_tuned.answer.out)["test"]["accuracy"]

    def test_predict_answers_on_the_command_line(self, fine_tuned: FineTuned) -> None:
        answer = ask("predict", fine_tuned.run, "the film was lovely", "--json")
        assert json.loads(answer.out)["label"] == "good"

    @pytest.mark.parametrize("name", ["weights.safetensors", "labels.json", "config.json", "spiece.model"])
    def test_a_file_that_was_changed_is_refused(self, fine_tuned: FineTuned, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(fine_tuned.run, tmp_path / "run")
        content = bytearray((folder / name).read_bytes())
        content[-3] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(RunError, match="is damaged or was changed by hand"):
            switch_tf.load(folder)

    def test_weights_of_another_model_are_refused(self, fine_tuned: FineTuned, tmp_path: Path) -> None:
        folder = shutil.copytree(fine_tuned.run, tmp_path / "run")
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
            (["--workers", "2"], 2, "Received --workers 2 with --from-hf"),
            (["--resume"], 1, "There is nothing to resume"),
            (["--autotune", "1"], 2, "Received --autotune with --from-hf"),
            (["--reject", "2"], 2, "reject=2.0. Expected a number above 0 and at most 1"),
            (["--reject", "0.9", "--reject-label", "Neg"], 1, "Expected another fine_tune.reject_label"),
            (["--reject-label", "x"], 2, "without reject, without which no text gets it"),
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

    def test_a_training_of_the_other_kind_is_not_gone_on_with(self, tmp_path: Path) -> None:
        output, folder = tmp_path / "run", tmp_path / "run.unfinished"
        folder.mkdir()
        answer = ask("train", "reviews", "--from-hf", FIXTURES / "plain", "--output", output, "--resume")
        assert answer.code == 1 and f"{folder} was started without a checkpoint. Leave it out to resume" in answer.err
        (folder / "fine_tuning.json").write_text("{}", encoding="utf-8")
        kinds: list[dict[str, Any]] = [{}, {"epochs": 1}]
        for settings in kinds:
            with pytest.raises(RunError, match=r"was started from a checkpoint\. Give it again to resume"):
                switch_tf.train("reviews", output=output, resume=True, verbose=0, **settings)

    def test_a_full_disk_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        checkpoint = checkpoint_copy(tmp_path)
        monkeypatch.setattr(shutil, "copyfile", full)
        with pytest.raises(RunError, match=r"run\.unfinished cannot be written: No space left on device"):
            texts = [f"a film {number}" for number in range(20)], ["good", "bad"] * 10
            switch_tf.train(texts, from_hf=checkpoint, output=tmp_path / "run", verbose=0)
        assert [each.name for each in tmp_path.iterdir()] == ["plain"]

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
        folder = checkpoint_copy(tmp_path)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | {"d_ff": 48}), encoding="utf-8")
        with pytest.raises(ModelError, match="does not fit its settings"):
            classifier_from_checkpoint(folder, 2, "mean", seed=0)
