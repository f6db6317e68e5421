"""Replicas that share their batches end where one device does; a loss that each has for itself does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RANDOM = (  # all that is drawn while training, and all that clips or weighs
    "model.dropout=0.3",
    "model.token_dropout=0.2",
    "model.expert_dropout=0.3",
    "model.router_jitter=0.1",
    "model.auxiliary_loss_weight=0.5",
    "train.gradient_clip_norm=0.1",
)
COMPOSED = ("model.context=mean", "model.character_grams=true", "model.pair_min_count=2", "wide.enabled=true")
CASES = {
    "top1": (*RANDOM, "model.z_loss_weight=0.1", "model.capacity_factor=0.5"),
    # Experts whose loads differ, and so many slots that they learn one after the other: of a half it would be together.
    "top2": (*RANDOM, "model.router=top2", "model.balance_rate=0.01", "model.num_experts=4", "model.d_model=48"),
    "composed": (*RANDOM, *COMPOSED),
    "own loads": (*RANDOM, "model.z_loss_weight=0.1", "model.capacity_factor=0.5", "own"),
}


@pytest.mark.slow
def test_two_replicas_end_where_one_device_does() -> None:
    words = [word for case in CASES.values() for word in ("--", *case)]
    child = Path(__file__).with_name("data_parallel_child.py")
    finished = subprocess.run(
        [sys.executable, str(child), *words], capture_output=True, text=True, check=False, timeout=600
    )
    assert finished.returncode == 0, finished.stderr
    found = dict(zip(CASES, json.loads(finished.stdout.splitlines()[-1]), strict=True))
    wrong = found.pop("own loads")
    for name, each in found.items():
        assert each["steps"] == 40
        assert each["loss"] < 2e-6 and each["figures"] < 2e-6, (name, each)
        assert each["weights"] < 1e-4, (name, each)
    assert wrong["loss"] > 1e-3 and wrong["weights"] > 1e-3, wrong
