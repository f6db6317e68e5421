"""Training takes each batch as it should, keeps the best epoch, comes back from its checkpoint, traces a step once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import Quiet, tiny_config

from switch_tf import files
from switch_tf.errors import RunError
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.training import loop as fit
from switch_tf.training import trainer as trainer_module
from switch_tf.training.composed import ComposedTrainer
from switch_tf.training.loop import best_epoch, epoch_batches
from switch_tf.training.reached import Reached
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


class TestSteps:
    def test_each_has_a_number_of_its_own_also_when_resumed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        numbers: list[int] = []

        class Counting:
            """Stands for the trainer and learns nothing."""

            needs_all = False

            def __init__(self, config: Any, *_: Any):
                self.config = config
                assert _[2] == 3 * 4  # 40 examples in batches of 16, four epochs

            def restore(self, path: Path) -> Reached:
                return Reached.from_metadata(json.loads(path.read_text()))

            def save(self, path: Path, reached: Reached) -> None:
                files.write_json(path, reached.to_metadata())

            def keep(self, path: Path) -> None:
                files.write_tensors(path, {"w": np.zeros(1, np.float32)})

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
        made.save(path, Reached([{"epoch": 1, "loss": 0.1}]))
        other = trainer(*STILL, "train.seed=1")
        assert other.restore(path) == Reached([{"epoch": 1, "loss": 0.1}])
        assert largest_difference(other.weights(), made.weights()) == 0.0
        for a, b in zip(made.optimizer.variables, other.optimizer.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        step = (encoded(6, seed=2), 6)
        assert largest_difference(after_steps(made, step)[0], after_steps(other, step)[0]) == 0.0

    @pytest.mark.slow
    @pytest.mark.parametrize("context", ["attention", "mean"])
    def test_from_any_step_on_it_leads_to_the_same_bits(
        self, context: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """40 examples in batches of 16 are three steps an epoch; checkpoints come after the 2nd, 3rd, 4th and 6th."""
        changes = ("train.checkpoint_steps=2", "model.token_dropout=0.3", f"model.context={context}")
        whole, expected = fitted(tmp_path / "whole", *changes)
        kind = ComposedTrainer if context == "mean" else Trainer
        train_on, steps = kind.train_on, []

        def cut_off(self: Any, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> Any:
            steps.append(number)
            if len(steps) in cuts:
                raise KeyboardInterrupt
            return train_on(self, data, rows, epoch, number)

        monkeypatch.setattr(kind, "train_on", cut_off)
        cuts = [3, 6]
        for _ in cuts:
            with pytest.raises(KeyboardInterrupt):
                fitted(tmp_path / "cut", *changes)
        weights, history = fitted(tmp_path / "cut", *changes)
        assert steps == [0, 1, 2, 2, 3, 4, 4, 5]
        assert largest_difference(whole, weights) == 0.0
        timed = ("seconds", "tokens_per_second")
        same = [
            [{name: row[name] for name in row if name not in timed} for row in rows] for rows in (expected, history)
        ]
        assert same[0] == same[1]

    @pytest.mark.slow
    def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train_on = Trainer.train_on

        def cut_off(self: Any, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> Any:
            if number == 2 and not (tmp_path / "kept").exists():
                (tmp_path / "kept").touch()
                raise KeyboardInterrupt
            return train_on(self, data, rows, epoch, number)

        monkeypatch.setattr(Trainer, "train_on", cut_off)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path, "train.checkpoint_steps=2")
        tensors, metadata = files.read_tensors(tmp_path / fit.CHECKPOINT)
        reached = Reached.from_metadata(metadata)
        longer = Reached(reached.history, reached.totals, reached.seconds + 1000.0)
        files.write_tensors(tmp_path / fit.CHECKPOINT, tensors, longer.to_metadata())
        _, history = fitted(tmp_path, "train.checkpoint_steps=2")
        assert history[0]["seconds"] > 1000.0 > history[1]["seconds"]

    @pytest.mark.slow
    def test_a_lost_loss_never_replaces_a_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train_on = Trainer.train_on

        def lost(self: Any, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> StepResult:
            step = train_on(self, data, rows, epoch, number)
            return step._replace(loss=tf.constant(np.nan)) if number == 1 else step

        monkeypatch.setattr(Trainer, "train_on", lost)
        with pytest.raises(RunError, match=r"^The loss is nan in epoch 1\. Remove .* lower train\.learning_rate\.$"):
            fitted(tmp_path, "train.checkpoint_steps=1")
        assert Reached.from_metadata(files.read_tensors(tmp_path / fit.CHECKPOINT)[1]).totals.steps == 1

    @pytest.mark.parametrize(
        "damage", ["optimizer/1", "weights/classifier/head/bias", "optimizer shape", "history", "no JSON", "epoch"]
    )
    def test_it_is_refused_where_it_does_not_fit(self, damage: str, tmp_path: Path) -> None:
        made, path = trainer(), tmp_path / "checkpoint.safetensors"
        made.save(path, Reached())
        tensors, metadata = files.read_tensors(path)
        tensors = {name: array for name, array in tensors.items() if name != damage}
        if damage == "optimizer shape":
            tensors["optimizer/2"] = np.zeros([3, 3, 3], np.float32)
        torn = {"history": {}, "no JSON": {"history": "["}, "epoch": {"history": "[]", "epoch": '{"totals": {"a": 1}}'}}
        metadata = torn.get(damage, metadata)
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


def test_the_dense_twin_trains(tmp_path: Path) -> None:
    weights, history = fitted(tmp_path, "model.num_experts=0")
    assert not any("router" in name for name in weights)
    assert [(row["experts_in_use"], row["dropped_share"]) for row in history] == [(0, 0.0)] * 2
