"""A checkpoint that goes on learning from plain texts: what it learns, what is written, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ask, checkpoint_copy, made_up_rows

import switch_tf
from switch_tf.errors import ArgumentError, DataError, RunError
from switch_tf.files import read_tensors
from switch_tf.locks import locked
from switch_tf.models.checkpoint_writer import write_checkpoint
from switch_tf.models.encoder_classifier import classifier_from_checkpoint
from switch_tf.models.seq2seq import load_seq2seq
from switch_tf.training import span_steps
from switch_tf.training.span_settings import SpanSettings
from switch_tf.training.span_training import train_on_spans

FIXTURES = Path(__file__).parent / "data" / "huggingface"
SMALL: dict[str, Any] = {"length": 24, "epochs": 2, "learning_rate": 0.01, "batch_size": 16, "validation_share": 0.2}


def texts(count: int) -> list[str]:
    return [text for text, _ in made_up_rows(count)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("spans")
    (folder / "texts.txt").write_text("\n".join(texts(160)), encoding="utf-8")
    assigned = [word for key, value in SMALL.items() for word in ("--set", f"span.{key}={value}")]
    words = ["train", folder / "texts.txt", "--from-hf", checkpoint_copy(folder), "--objective", "span"]
    answer = ask(*words, "--output", folder / "further", *assigned, "--json")
    assert answer.code == 0, answer.err
    return folder, json.loads(answer.out)


class TestTraining:
    def test_it_lowers_the_loss_on_other_texts(self, trained: tuple[Path, dict[str, Any]]) -> None:
        found = trained[1]
        assert found["validation_loss"] < found["validation_loss_before"] - 1.0
        assert found["validation_loss"] == min(row["validation_loss"] for row in found["epochs"])
        assert len(found["epochs"]) == 2 and found["pieces"] > 3 * found["validation_pieces"] > 100

    def test_what_comes_out_is_a_checkpoint(self, trained: tuple[Path, dict[str, Any]]) -> None:
        folder, found = trained
        assert {each.name for each in (folder / "further").iterdir()} == {
            *("config.json", "generation_config.json", "model.safetensors", "spiece.model", "span_training.json")
        }
        before, after = (read_tensors(folder / name / "model.safetensors")[0] for name in ("plain", "further"))
        assert {name: each.shape for name, each in before.items()} == {name: each.shape for name, each in after.items()}
        assert all(not np.array_equal(before[name], after[name]) for name in before)
        record = json.loads((folder / "further" / "span_training.json").read_text(encoding="utf-8"))
        assert record["settings"]["length"] == 24 and record["validation_loss"] == found["validation_loss"]

    def test_it_writes_and_becomes_a_classifier(self, trained: tuple[Path, dict[str, Any]]) -> None:
        folder = trained[0] / "further"
        assert len(switch_tf.load(folder).generate(["a <extra_id_0> film"], max_new_tokens=2)) == 1
        model = classifier_from_checkpoint(folder, 2, "mean", seed=0)
        stored = read_tensors(folder / "model.safetensors")[0]["encoder.block.1.layer.1.mlp.experts.expert_3.wi.weight"]
        np.testing.assert_array_equal(model.encoder.blocks[1].ffn.w_in[3], stored.T)

    def test_the_same_call_ends_with_the_same_weights(
        self, trained: tuple[Path, dict[str, Any]], tmp_path: Path
    ) -> None:
        folder = trained[0]
        train_on_spans(texts(160), "texts", folder / "plain", SpanSettings(**SMALL), tmp_path / "again")
        first, second = (place / "model.safetensors" for place in (folder / "further", tmp_path / "again"))
        assert first.read_bytes() == second.read_bytes()

    def test_the_best_epoch_s_weights_are_kept_the_first_of_equals(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, losses = load_seq2seq(FIXTURES / "plain"), [3.0, 2.0, 2.0, 2.5]
        trainer = span_steps.SpanTrainer(model, SpanSettings(epochs=4), [99], 1)
        weight = model.trainable_variables[0]

        def run_epoch(_training: object, _validation: object, epoch: int) -> dict[str, Any]:
            weight.assign(np.full(weight.shape, epoch, np.float32))
            return {"epoch": epoch + 1, "loss": 1.0, "validation_loss": losses[epoch], "seconds": 0.0}

        monkeypatch.setattr(trainer, "_run_epoch", run_epoch)
        monkeypatch.setattr(trainer, "evaluate", lambda _: 4.0)
        before, history = trainer.fit([], [], tmp_path / "best.safetensors", lambda _: None)
        assert (before, len(history), float(weight.numpy().max())) == (4.0, 4, 1.0)

    def test_one_that_is_cut_off_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def cut_off(*_: object) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(span_steps.SpanTrainer, "_run_epoch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train_on_spans(texts(60), "texts", checkpoint_copy(tmp_path), SpanSettings(length=24), tmp_path / "further")
        assert [each.name for each in tmp_path.iterdir()] == ["plain"]


@pytest.mark.parametrize("name", ["plain", "untied", "router_bias", "sharded", "bfloat16_bin"])
def test_weights_that_were_not_trained_are_written_as_they_were_read(name: str, tmp_path: Path) -> None:
    source = FIXTURES / name
    write_checkpoint(load_seq2seq(source), source, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    before, after = load_seq2seq(source), load_seq2seq(tmp_path)
    for one, other in zip(before.variables, after.variables, strict=True):
        np.testing.assert_array_equal(one, other)


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"length": 3}, "length=3. Expected an integer from 4 to 4,096"),
            ({"epochs": 1.0}, "epochs=1.0. Expected an integer"),
            ({"rate": 1.0}, "rate=1.0. Expected a number from 0.01 to 0.9"),
            ({"mean_span": float("nan")}, "mean_span=nan"),
            ({"learning_rate": True}, "learning_rate=True"),
        ],
    )
    def test_settings_out_of_range(self, given: dict[str, Any], problem: str) -> None:
        with pytest.raises(ArgumentError) as caught:
            SpanSettings(**given)
        assert problem in str(caught.value)

    def test_too_few_texts_and_a_place_that_is_taken(self, tmp_path: Path) -> None:
        checkpoint = checkpoint_copy(tmp_path)
        with pytest.raises(DataError, match="few has 4 pieces of text to train on"):
            train_on_spans(["one two three"] * 40 + texts(5), "few", checkpoint, SpanSettings(), tmp_path / "further")
        with locked(tmp_path / "further", "trained"), pytest.raises(RunError, match="is being trained by process"):
            train_on_spans(texts(5), "few", checkpoint, SpanSettings(), tmp_path / "further")
        with pytest.raises(RunError, match="already exists"):
            train_on_spans(texts(60), "texts", checkpoint, SpanSettings(), tmp_path)
        with pytest.raises(ArgumentError, match="has up to 160 spans, and the tokenizer 100 sentinels"):
            settings = SpanSettings(length=512, rate=0.5, mean_span=1.6)
            train_on_spans(texts(60), "texts", checkpoint, settings, tmp_path / "further")

    @pytest.mark.parametrize(
        ("more", "problem"),
        [
            (["--resume"], "Such a training that is cut off leaves nothing: start it again"),
            (["--label-column", "x"], "Received --label-column with --objective span"),
            (["--reject", "0.9"], "Received --reject with --objective span"),
            (["--set", "fine_tune.length=9"], "Expected some of span.length"),
            (["--set", "span.length=2"], "length=2. Expected"),
            (["--epochs", "0"], "On the command line: --epochs."),
        ],
    )
    def test_words_that_have_no_meaning(self, tmp_path: Path, more: list[str], problem: str) -> None:
        words = ["train", "reviews", "--from-hf", FIXTURES / "plain", "--objective", "span"]
        answer = ask(*words, "--output", tmp_path / "x", *more)
        assert answer.code == 2 and problem in answer.err
        assert list(tmp_path.iterdir()) == []

    def test_a_checkpoint_is_needed(self) -> None:
        answer = ask("train", "reviews", "--objective", "span")
        assert answer.code == 2 and "Received --objective span without --from-hf DIR" in answer.err
