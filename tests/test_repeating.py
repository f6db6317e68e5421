"""Training is repeatable to the bit and survives a kill at any moment; other precisions come close."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import Quiet, ask, tiny_arguments, tiny_config
from test_loop import LENGTH, NUM_IDS, STILL, encoded, fitted, largest_difference, trainer, validate_as

from switch_tf import files
from switch_tf.models.weights import assign_weights
from switch_tf.training import loop as fit
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import Trainer, _padded


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two uninterrupted epochs left their files."""
    folder = tmp_path_factory.mktemp("fit") / "plain"
    fitted(folder)
    return folder


@pytest.fixture(scope="module")
def plain(plain_folder: Path) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Their best weights and their history."""
    history = json.loads(files.read_tensors(plain_folder / "checkpoint.safetensors")[1]["history"])
    return files.read_tensors(plain_folder / "weights.safetensors")[0], history


@pytest.mark.slow
class TestRepeating:
    def test_the_same_seed_gives_the_same_weights_and_another_does_not(
        self, plain: tuple[dict[str, np.ndarray], list[Any]], tmp_path: Path
    ) -> None:
        again, history = fitted(tmp_path / "again")
        assert largest_difference(again, plain[0]) == 0.0
        timed = ("seconds", "tokens_per_second")
        assert [{k: v for k, v in row.items() if k not in timed} for row in history] == [
            {k: v for k, v in row.items() if k not in timed} for row in plain[1]
        ]
        other, _ = fitted(tmp_path / "other", "train.seed=1")
        assert all(
            (other[name] != plain[0][name]).any() for name in plain[0] if name.endswith(("embeddings", "kernel"))
        )

    def test_training_is_measured_as_validation_is_by_the_weights_of_the_epoch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = list[tuple[int, tuple[float, float, float]]]()
        measured = Trainer.evaluate

        def evaluate(self: Any, data: Encoded) -> tuple[float, float, float]:
            seen.append((len(data.ids), measured(self, data)))
            return seen[-1][1]

        monkeypatch.setattr(Trainer, "evaluate", evaluate)
        _, history = fitted(tmp_path, "model.token_dropout=0.9")
        assert [count for count, _ in seen] == [16, 40] * 2
        assert [(row["loss"], row["accuracy"]) for row in history] == [figures[:2] for _, figures in seen[1::2]]

    def test_of_many_training_texts_a_sample_is_measured_the_same_each_time(self) -> None:
        many = encoded(2500)
        sample = fit.measured_sample(many, 7)
        assert sample.ids.shape == (2000, LENGTH) and sample.labels.shape == (2000,)
        np.testing.assert_array_equal(fit.measured_sample(many, 7).ids, sample.ids)
        rows = np.sort(np.random.default_rng(7).permutation(2500)[:2000])
        np.testing.assert_array_equal(sample.labels, many.labels[rows])
        assert fit.measured_sample(encoded(2000), 7).ids.shape[0] == 2000

    def test_history_tells_what_happened(self, plain: tuple[dict[str, np.ndarray], list[Any]]) -> None:
        for row in plain[1]:
            assert 0 < row["loss"] < 2 and 0 <= row["accuracy"] <= 1 and 0 <= row["dropped_share"] < 0.5
            assert row["experts_in_use"] in (1, 2)
            assert row["tokens_per_second"] * row["seconds"] == pytest.approx(35 * 12 + 5 * 4)

    @pytest.mark.parametrize("cut", ["weights.safetensors", "checkpoint.safetensors"])
    def test_a_cut_before_either_file_of_an_epoch_changes_nothing(
        self,
        cut: str,
        plain_folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write, written = files.write_bytes, list[str]()
        # One figure after the other, so that every epoch is the best and writes both files.
        figures = iter([(0.5, 0.1), (0.5, 0.2), (0.5, 0.2)])
        validate_as(monkeypatch, lambda _: (*next(figures), 0.5))

        def cut_off(path: Path, content: bytes) -> None:
            written.append(path.name)
            if path.name == cut and written.count(cut) == 2:
                raise KeyboardInterrupt
            write(path, content)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(files, "write_bytes", cut_off)
            fitted(tmp_path)
        progress = Quiet()
        weights, history = fitted(tmp_path, progress=progress)
        assert (progress.epochs, [row["epoch"] for row in history]) == ([2], [1, 2])
        last, uninterrupted = (
            files.read_tensors(folder / "checkpoint.safetensors")[0] for folder in (tmp_path, plain_folder)
        )
        assert largest_difference(last, uninterrupted) == 0.0
        assert all((weights[name] == last[f"weights/{name}"]).all() for name in weights)

    def test_a_killed_and_resumed_training_equals_one_that_was_not(
        self, data_folder: Path, trained_run: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "made"
        # Waits for its death behind the first epoch's checkpoint, with a half-written file beside it.
        code = """
import sys, time
from pathlib import Path
from switch_tf.training import loop as fit
save = fit.Trainer.save
def save_and_wait(self, path, history):
    save(self, path, history)
    path.with_name(".weights.safetensors.0a_b1c2d.part").write_bytes(b"half")
    print("saved", flush=True)
    time.sleep(600)
fit.Trainer.save = save_and_wait
from switch_tf.cli import main
main()
"""
        data = [str(data_folder / "made.tsv"), "--test", str(data_folder / "made-test.tsv")]
        words = ["train", *data, "--output", str(output), *tiny_arguments()]
        with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "saved\n"
            os.kill(process.pid, signal.SIGKILL)
        folder = tmp_path / "made.unfinished"
        history = json.loads(files.read_tensors(folder / "checkpoint.safetensors")[1]["history"])
        assert ([row["epoch"] for row in history], output.exists()) == ([1], False)

        answer = ask("train", "--resume", "--output", output)
        assert answer.code == 0, answer.err
        assert "\n  1/3  " not in answer.err and "\n  3/3  " in answer.err
        for name in ("weights.safetensors", "vocabulary.txt", "config.toml", "labels.json", "held_out.parquet"):
            assert (output / name).read_bytes() == (trained_run / name).read_bytes(), name
        assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in trained_run.iterdir())
        assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.slow
class TestPrecision:
    def test_mixed_precision_trains_keeps_float32_weights_and_validates_in_float32(
        self, plain: tuple[dict[str, np.ndarray], list[Any]], tmp_path: Path
    ) -> None:
        weights, history = fitted(tmp_path, "train.mixed_precision=true")
        assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
        assert largest_difference(weights, plain[0]) > 0
        assert history[0]["loss"] == pytest.approx(plain[1][0]["loss"], abs=0.05)

        made = trainer("train.mixed_precision=true")
        exact = Trainer(tiny_config(), NUM_IDS, 2, total_steps=4)
        assign_weights(exact.model, made.weights(), "test")
        assert made.evaluate(encoded(16)) == exact.evaluate(encoded(16))
        ids = tf.constant(encoded(16).ids)
        assert np.abs(made.model(ids).logits - exact.model(ids).logits).max() > 0

    def test_compiled_steps_agree_with_uncompiled_ones(self) -> None:
        compiled, plain = trainer(*STILL, "train.jit_compile=true"), trainer(*STILL)
        data = encoded(6)
        batch = _padded(data, np.arange(6), 8)
        for number in range(3):
            one, other = compiled.step(*batch, tf.constant(number)), plain._step(*batch, tf.constant(number))
            assert float(one.loss) == pytest.approx(float(other.loss), abs=1e-4)
            np.testing.assert_array_equal(one.load, other.load)
        # Adam turns a gradient near zero into a whole step of either sign: compare within a fraction of one.
        assert largest_difference(compiled.weights(), plain.weights()) < 0.2 * 0.01

    def test_compiling_changes_the_step_alone(self) -> None:
        assert trainer("train.jit_compile=true")._compiled._jit_compile is True
        assert not trainer()._compiled._jit_compile
