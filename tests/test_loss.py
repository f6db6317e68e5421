"""Every setting of the loss has its effect, and what ruins the weights is refused."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from test_loop import STILL, after_steps, encoded, fitted, largest_difference, trainer

from switch_tf.errors import RunError
from switch_tf.layers.routers import top1
from switch_tf.layers.switch_ffn import RouterReport
from switch_tf.models.classifier import ClassifierOutput
from switch_tf.models.huggingface import T5Settings
from switch_tf.models.weights import named_weights
from switch_tf.training.optimizer import make_optimizer
from switch_tf.training.steps import dropped_and_routed, losses, with_router_losses
from switch_tf.training.trainer import Trainer


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

    def test_all_layers_losses_are_added_by_their_weights(self) -> None:
        """-ln 3/4 of the one example that counts, 0.1 x (3 + 1) of balancing, 0.01 x (5 + 0.5) of large logits."""
        config = tiny_config("model.auxiliary_loss_weight=0.1", "model.z_loss_weight=0.01", "train.label_smoothing=0.0")
        routing = top1(tf.zeros([1, 1, 1]), tf.constant([[True]]), 1)
        reports = [RouterReport(None, routing, tf.constant(a), tf.constant(z)) for a, z in ((3.0, 5.0), (1.0, 0.5))]
        output = ClassifierOutput(tf.math.log([[3.0, 1.0], [3.0, 1.0]]), tuple(reports))
        loss, cross_entropy = losses(output, tf.constant([0, 1]), tf.constant([1.0, 0.0]), config)
        assert float(cross_entropy) == pytest.approx(math.log(4 / 3), rel=1e-6)
        assert float(loss) == pytest.approx(math.log(4 / 3) + 0.1 * 4 + 0.01 * 5.5, rel=1e-6)

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

            def recorded(pairs: Any, **options: Any) -> Any:
                pairs = list(pairs)
                norms.append(float(tf.linalg.global_norm([gradient for gradient, _ in pairs])))
                return apply(pairs, **options)

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


def test_routers_losses_have_the_weights_of_a_checkpoint() -> None:
    settings = T5Settings(router_aux_loss_coef=0.5, router_z_loss_coef=0.25)
    routed = top1(tf.constant([[[1.0, 0.0], [2.0, 0.0]]]), tf.constant([[True, True]]), capacity=1)
    reports = [RouterReport(None, routed, tf.constant(2.0), tf.constant(4.0))] * 2
    assert float(with_router_losses(tf.constant(1.0), reports, settings)) == 5.0  # 1 + 2 (0.5 * 2 + 0.25 * 4)
    assert [float(each) for each in dropped_and_routed(reports)] == [2.0, 4.0]  # both chose the first, which has a slot
    assert [float(each) for each in dropped_and_routed([])] == [0.0, 0.0]
