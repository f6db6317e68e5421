"""Training is repeatable to the bit, survives a kill at any moment, and every setting of the loss has its effect."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import Quiet, ask, tiny_arguments, tiny_config

from switch_tf import files
from switch_tf.errors import RunError
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.weights import assign_weights, named_weights
from switch_tf.training import loop as fit
from switch_tf.training import trainer as trainer_module
from switch_tf.training.loop import best_epoch, epoch_batches
from switch_tf.training.optimizer import make_optimizer
from switch_tf.training.steps import Encoded, StepResult
from switch_tf.training.trainer import Trainer, _padded

NUM_IDS, LENGTH = 20, 12
# Nothing random, so that two steps differ in what a test changes alone.
STILL = ("model.dropout=0.0", "model.token_dropout=0.0", "model.expert_dropout=0.0", "model.router_jitter=0.0")


def encoded(count: int, seed: int = 0) -> Encoded:
    """Ids whose first says the label; the first texts are short, the others full, so that batches have one shape."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).astype(np.int32)
    ids = random.integers(4, NUM_IDS, [count, LENGTH]).astype(np.int32)
    ids[:, 0] = labels + 2
    ids[:5, 4:] = 0
    return Encoded(ids, labels)


def fitted(folder: Path, *changes: str, progress: Quiet | None = None) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Weights and history of a training in `folder` (made if need be) with tiny settings."""
    folder.mkdir(exist_ok=True)
    config = tiny_config("train.epochs=2", *changes)
    history = fit.fit(encoded(40), encoded(16, seed=1), NUM_IDS, 2, config, folder, progress or Quiet())
    return files.read_tensors(folder / "weights.safetensors")[0], history


def validate_as(monkeypatch: pytest.MonkeyPatch, figures: Callable[[Any], tuple[float, float, float]]) -> None:
    """Let a trainer's figures on the 16 validation texts of `fitted` be these."""
    measured = Trainer.evaluate

    def evaluate(self: Any, data: Encoded) -> tuple[float, float, float]:
        return figures(self) if len(data.ids) == 16 else measured(self, data)

    monkeypatch.setattr(Trainer, "evaluate", evaluate)


def trainer(*changes: str) -> Any:
    config = tiny_config(*changes)
    keras.utils.set_random_seed(config.train.seed)
    return Trainer(config, NUM_IDS, 2, total_steps=4)


def after_steps(made: Any, *steps: tuple[Encoded, int]) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Weights after steps on (examples, rows in the batch), taken without compiling, and what each step reported."""
    results = []
    for number, (data, batch_size) in enumerate(steps):
        batch = _padded(data, np.arange(len(data.ids)), batch_size)
        results.append(made._step(*batch, tf.constant(number)))
    return made.weights(), results


def largest_difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


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


class TestBatches:
    def test_every_example_comes_once_an_epoch(self) -> None:
        for epoch in range(3):
            batches = epoch_batches(1003, 16, seed=5, epoch=epoch)
            assert sorted(np.concatenate(batches)) == list(range(1003))
            assert sorted(batch.size for batch in batches) == [11, *[16] * 62]

    def test_they_follow_from_seed_and_epoch(self) -> None:
        def order(seed: int, epoch: int) -> list[int]:
            return np.concatenate(epoch_batches(1003, 16, seed, epoch)).tolist()

        assert order(1, 0) == order(1, 0)
        orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
        assert all(a != b for i, a in enumerate(orders) for b in orders[:i])

    @pytest.mark.parametrize("count", [1, 15, 16, 17])
    def test_few_examples_are_no_special_case(self, count: int) -> None:
        batches = epoch_batches(count, 16, seed=0, epoch=0)
        assert sorted(np.concatenate(batches)) == list(range(count))

    def test_a_batch_is_cut_to_its_longest_text_in_eighths(self) -> None:
        data = encoded(7)  # two eighths of 12 are 4 tokens
        ids, labels, weights = _padded(data, np.array([0, 3]), 3)
        assert ids.numpy().tolist() == [*data.ids[[0, 3], :4].tolist(), [0, 0, 0, 0]]
        assert (labels.numpy()[:2].tolist(), weights.numpy().tolist()) == (
            data.labels[[0, 3]].tolist(),
            [1.0, 1.0, 0.0],
        )
        assert _padded(data, np.array([0, 6]), 2)[0].shape == [2, 12]
        data.ids[0, 4] = 3  # a fifth token asks for a third eighth
        assert _padded(data, np.array([0]), 1)[0].shape == [1, 6]

    def test_rows_that_fill_a_batch_change_nothing(self) -> None:
        tight = (*STILL, "model.capacity_factor=0.5", "model.z_loss_weight=0.1", "model.auxiliary_loss_weight=0.5")
        alone, (one,) = after_steps(trainer(*tight), (encoded(6), 6))
        filled, (other,) = after_steps(trainer(*tight), (encoded(6), 16))
        assert float(one.dropped[0]) == float(other.dropped[0]) > 0
        for name in ("correct", "examples", "tokens", "load"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert float(one.loss) == pytest.approx(float(other.loss), rel=1e-6)
        assert largest_difference(alone, filled) < 1e-4


class TestBestEpoch:
    @staticmethod
    def history(*figures: tuple[float, float]) -> list[dict[str, Any]]:
        return [{"validation_accuracy": accuracy, "validation_loss": loss} for accuracy, loss in figures]

    def test_accuracy_decides_then_loss_then_the_earliest(self) -> None:
        assert best_epoch([]) == 0
        assert best_epoch(self.history((0.5, 0.1), (0.7, 0.9), (0.6, 0.2))) == 1
        assert best_epoch(self.history((0.7, 0.3), (0.7, 0.2), (0.7, 0.4))) == 1
        assert best_epoch(self.history((0.6, 0.1), (0.7, 0.2), (0.7, 0.2), (0.7, 0.2))) == 1

    def test_another_figure_may_decide(self) -> None:
        history = self.history((0.9, 0.5), (0.8, 0.2), (0.7, 0.4))
        for row, macro_f1 in zip(history, (0.2, 0.3, 0.3), strict=True):
            row["validation_macro_f1"] = macro_f1
        assert [best_epoch(history, by) for by in ("accuracy", "macro_f1", "log_loss")] == [0, 1, 1]

    def test_macro_f1_is_scikit_learns(self) -> None:
        from sklearn.metrics import f1_score

        random = np.random.default_rng(0)
        for _ in range(20):
            expected, answered = random.integers(0, 5, 9), random.integers(0, 5, 9)
            wanted = f1_score(expected, answered, average="macro", zero_division=0.0)
            assert trainer_module._macro_f1(expected, answered) == pytest.approx(wanted)

    def test_the_best_weights_are_kept_not_the_last(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[dict[str, np.ndarray]] = []
        figures = iter([(0.9, 0.5, 0.5), (0.7, 0.8, 0.5), (0.8, 0.8, 0.9), (0.1, 0.9, 0.5)])  # loss, accuracy, F1

        def evaluate(self: Any) -> tuple[float, float, float]:
            seen.append(self.weights())
            return next(figures)

        validate_as(monkeypatch, evaluate)
        progress = Quiet()
        weights, history = fitted(tmp_path, "train.epochs=9", "train.patience=1", progress=progress)
        assert largest_difference(weights, seen[1]) == 0.0
        assert largest_difference(weights, seen[2]) > 0.0
        # Patience 1: the first epoch that is no better is the last.
        assert [row["epoch"] for row in history] == progress.epochs == [1, 2, 3]
        assert progress.best == [True, True, False]
        assert progress.rows == history

    def test_patience_counts_epochs_since_the_best(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        figures = iter([(0.9, 0.5), (0.9, 0.4), (0.9, 0.6), (0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.9, 0.4)])
        validate_as(monkeypatch, lambda _: (*next(figures), 0.5))
        _, history = fitted(tmp_path, "train.epochs=9", "train.patience=3")
        assert len(history) == 6
        assert fitted(tmp_path, "train.epochs=9", "train.patience=3")[1] == history  # resuming has nothing to do


class TestClassWeights:
    def test_balanced_ones_count_every_label_alike_and_have_a_mean_of_one(self) -> None:
        labels = np.array([0] * 6 + [1] * 3 + [3])
        weights = fit.balanced_weights(labels, 4)
        assert weights.dtype == np.float32
        assert [float(weights[labels == label].sum()) for label in (0, 1, 3)] == pytest.approx([10 / 3] * 3)
        assert float(weights.mean()) == pytest.approx(1.0)

    def test_weights_of_one_change_nothing_and_a_weight_of_two_is_the_example_twice(self) -> None:
        data = encoded(6)
        plain, (one,) = after_steps(trainer(*STILL), (data, 8))
        same, (other,) = after_steps(trainer(*STILL), (data._replace(weights=np.ones(6, np.float32)), 8))
        assert largest_difference(plain, same) == 0.0 and float(one.loss) == float(other.loss)
        twice = Encoded(np.concatenate([data.ids, data.ids[:1]]), np.concatenate([data.labels, data.labels[:1]]))
        heavy = data._replace(weights=np.array([2, 1, 1, 1, 1, 1], np.float32))
        (_, (repeated,)), (_, (weighted,)) = (
            after_steps(trainer(*STILL), (twice, 8)),
            after_steps(trainer(*STILL), (heavy, 8)),
        )
        assert float(weighted.loss) * 6 == pytest.approx(float(repeated.loss) * 7, rel=1e-5)
        assert float(weighted.examples) == 6 and float(weighted.correct) <= 6


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


class TestSteps:
    def test_each_has_a_number_of_its_own_also_when_resumed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        numbers: list[int] = []

        class Counting:
            """Stands for the trainer and learns nothing."""

            def __init__(self, config: Any, *_: Any):
                self.config = config
                assert _[-1] == 3 * 4  # 40 examples in batches of 16, four epochs

            def restore(self, path: Path) -> Any:
                return json.loads(path.read_text())

            def save(self, path: Path, history: Any) -> None:
                files.write_json(path, history)

            def weights(self) -> dict[str, np.ndarray]:
                return {"w": np.zeros(1, np.float32)}

            def evaluate(self, data: Encoded) -> tuple[float, float, float]:
                if len(numbers) == 6:
                    raise KeyboardInterrupt
                return 1.0 / len(numbers), 0.5 if len(data.ids) == 16 else 0.75, 0.5

            def train_on(self, _: Encoded, rows: np.ndarray, epoch: int, number: int) -> StepResult:
                assert epoch == number // 3
                numbers.append(number)
                return StepResult(*map(tf.constant, (1.0, 1.0, float(rows.size), 1.0, [[1.0, 1.0]], [0.0], [0.5])))

        monkeypatch.setattr(fit, "Trainer", Counting)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path, "train.epochs=4")
        history = fitted(tmp_path, "train.epochs=4")[1]
        assert numbers == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10, 11]
        assert [row["epoch"] for row in history] == [1, 2, 3, 4]
        assert [row["loss"] for row in history] == [1 / 3, 1 / 9, 1 / 12, 1 / 15]
        assert {(row["accuracy"], row["validation_accuracy"]) for row in history} == {(0.75, 0.5)}

    def test_each_drops_other_units(self) -> None:
        def weights(number: int) -> dict[str, np.ndarray]:
            made, data = trainer("model.dropout=0.5"), encoded(6)
            made._step(*_padded(data, np.arange(6), 6), tf.constant(number))
            return made.weights()

        first = weights(0)
        assert largest_difference(first, weights(0)) == 0.0
        assert largest_difference(first, weights(1)) > 0.0


class TestCheckpoint:
    def test_it_holds_every_variable_of_the_optimizer(self) -> None:
        made = trainer(*STILL)
        after_steps(made, (encoded(6), 6), (encoded(6, seed=1), 6))
        kept = [variable.numpy() for variable in made.optimizer.variables]
        assert len(kept) >= 1 + 2 * len(made.variables)
        assert [value for value in kept if value.dtype == np.int64] == [2]

    def test_it_comes_back_as_it_was(self, tmp_path: Path) -> None:
        made, path = trainer(*STILL), tmp_path / "checkpoint.safetensors"
        after_steps(made, (encoded(6), 6), (encoded(6, seed=1), 6))
        made.save(path, [{"epoch": 1, "loss": 0.1}])
        other = trainer(*STILL, "train.seed=1")
        assert other.restore(path) == [{"epoch": 1, "loss": 0.1}]
        assert largest_difference(other.weights(), made.weights()) == 0.0
        for a, b in zip(made.optimizer.variables, other.optimizer.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        step = (encoded(6, seed=2), 6)
        assert largest_difference(after_steps(made, step)[0], after_steps(other, step)[0]) == 0.0

    @pytest.mark.parametrize(
        "damage", ["optimizer/1", "weights/classifier/head/bias", "optimizer shape", "history", "no JSON"]
    )
    def test_it_is_refused_where_it_does_not_fit(self, damage: str, tmp_path: Path) -> None:
        made, path = trainer(), tmp_path / "checkpoint.safetensors"
        made.save(path, [])
        tensors, metadata = files.read_tensors(path)
        tensors = {name: array for name, array in tensors.items() if name != damage}
        if damage == "optimizer shape":
            tensors["optimizer/2"] = np.zeros([3, 3, 3], np.float32)
        metadata = {"history": {}, "no JSON": {"history": "["}}.get(damage, metadata)
        files.write_tensors(path, tensors, metadata)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors does not fit"):
            made.restore(path)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The shapes of ids with which Python has run the model: once for each trace of it."""
    shapes: list[tuple[Any, ...]] = []
    call = SwitchClassifier.call

    def counted(self: Any, ids: Any, *arguments: Any, **named: Any) -> Any:
        shapes.append(tuple(ids.shape))
        return call(self, ids, *arguments, **named)

    monkeypatch.setattr(SwitchClassifier, "call", counted)
    return shapes


class TestTraces:
    def test_a_step_is_traced_once_for_each_length_and_never_again(self, traced: list[tuple[Any, ...]]) -> None:
        made = trainer()
        traced.clear()
        for number, length in enumerate([2, 1, LENGTH, LENGTH - 1, 2, LENGTH]):
            ids = np.where(np.arange(LENGTH) < length, 5, 0).astype(np.int32)
            data = Encoded(np.tile(ids, [2, 1]), np.array([0, 1], np.int32))
            made.step(*trainer_module._padded(data, np.arange(2), 4), tf.constant(number))
        assert traced == [(4, 2), (4, LENGTH)]  # batches grow by an eighth of the length, which is 2

    def test_validation_is_traced_once_for_all_sizes(self, traced: list[tuple[Any, ...]]) -> None:
        made = trainer()
        traced.clear()
        for count in (300, 16, 300):  # 256 and 44, then 16
            made.evaluate(encoded(count))
        assert traced == [(None, LENGTH)]

    def test_many_trainings_in_one_process_draw_no_warning(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """TensorFlow counts the traces of all instances together: five in ten calls draw one."""
        monkeypatch.setattr(tf.get_logger(), "propagate", True)
        for number in range(6):
            made = trainer(f"train.seed={number}")
            made.evaluate(encoded(16))
            made.evaluate(encoded(16))
        assert caplog.text == ""


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


def moved(*changes: str) -> dict[str, np.ndarray]:
    """Weights after two steps; without a warm-up the first of them has its effect already."""
    settings = (*STILL, "model.auxiliary_loss_weight=0.0", *changes)
    return after_steps(trainer(*settings), (encoded(6), 6), (encoded(6, seed=1), 6))[0]


@pytest.fixture(scope="module")
def bare() -> dict[str, np.ndarray]:
    """The same with nothing but cross-entropy."""
    return moved()


class TestLoss:
    @pytest.mark.parametrize(
        "change",
        [
            "model.auxiliary_loss_weight=1.0",
            "model.z_loss_weight=1.0",
            "train.label_smoothing=0.5",
            "train.weight_decay=0.5",
            "train.learning_rate=0.02",
            "model.dropout=0.5",
            "model.expert_dropout=0.5",
            "model.router_jitter=0.5",
            "model.token_dropout=0.5",
        ],
    )
    def test_every_setting_of_it_moves_the_weights(self, change: str, bare: dict[str, np.ndarray]) -> None:
        assert largest_difference(moved(change), bare) > 1e-5

    def test_balancing_reaches_the_router(self, bare: dict[str, np.ndarray]) -> None:
        router = next(name for name in bare if "router" in name)
        for change in ("model.auxiliary_loss_weight=1.0", "model.z_loss_weight=1.0"):
            assert np.abs(moved(change)[router] - bare[router]).max() > 1e-5

    def test_what_is_reported_is_cross_entropy_with_smoothed_targets(self) -> None:
        made = trainer(*STILL, "train.label_smoothing=0.2", "model.auxiliary_loss_weight=9.0")
        data = encoded(6)
        logits = made.model(tf.constant(data.ids)).logits.numpy().astype(np.float64)
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        targets = np.where(np.arange(2) == data.labels[:, None], 0.9, 0.1)
        (result,) = after_steps(made, (data, 8))[1]
        assert float(result.loss) == pytest.approx(-np.sum(targets * logs) / 6, rel=1e-5)
        assert float(result.correct) == np.sum(logits.argmax(axis=1) == data.labels)

    def test_gradients_are_clipped_to_the_global_norm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def norm(limit: float) -> float:
            made, norms = trainer(*STILL, f"train.gradient_clip_norm={limit}"), list[float]()
            apply = made.optimizer.apply_gradients

            def recorded(pairs: Any) -> Any:
                pairs = list(pairs)
                norms.append(float(tf.linalg.global_norm([gradient for gradient, _ in pairs])))
                return apply(pairs)

            monkeypatch.setattr(made.optimizer, "apply_gradients", recorded)
            after_steps(made, (encoded(6), 6))
            return norms[0]

        free = norm(0.0)
        assert norm(free / 2) == pytest.approx(free / 2, rel=1e-4)
        assert norm(free * 2) == pytest.approx(free, rel=1e-4)

    def test_only_matrices_decay(self) -> None:
        made = trainer(*STILL, "train.weight_decay=0.5")
        decays = {name: made.optimizer._use_weight_decay(v) for name, v in named_weights(made.model).items()}
        assert {name for name, decay in decays.items() if decay} == {
            name
            for name, v in named_weights(made.model).items()
            if len(v.shape) > 1 and "b_in" not in name and "b_out" not in name and "bias" not in name
        }

    def test_the_rate_rises_from_zero_to_its_peak_and_falls_to_zero(self) -> None:
        rate = make_optimizer(tiny_config("train.warmup_share=0.1"), 100)._learning_rate
        values = [float(rate(step)) for step in range(101)]
        assert values[0] == 0.0
        assert values[10] == pytest.approx(0.01) == max(values)
        assert values[100] == pytest.approx(0.0, abs=1e-8)
        assert values[:11] == sorted(values[:11])
        assert values[10:] == sorted(values[10:], reverse=True)
        assert float(make_optimizer(tiny_config("train.warmup_share=0.0"), 100)._learning_rate(0)) == pytest.approx(
            0.01
        )

    def test_a_loss_that_is_no_number_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"in epoch 1.*Remove .* train again at a lower train\.learning_rate\."):
            fitted(tmp_path, "train.learning_rate=1e38", "train.gradient_clip_norm=0.0")
        assert list(tmp_path.iterdir()) == []

    def test_weights_that_the_very_last_step_ruined_are_not_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Trainer, "evaluate", lambda self, _: (float("nan"), 0.5, 0.5))
        with pytest.raises(RunError, match=r"nan on validation"):
            fitted(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_the_dense_twin_trains(tmp_path: Path) -> None:
    weights, history = fitted(tmp_path, "model.num_experts=0")
    assert not any("router" in name for name in weights)
    assert [(row["experts_in_use"], row["dropped_share"]) for row in history] == [(0, 0.0)] * 2
