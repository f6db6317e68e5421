"""Training with experts sharded over workers: two processes beside one, and what is refused before any starts."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sharded_child
import tensorflow as tf
from conftest import tiny_config
from sharded_child import SETTINGS, trained

from switch_tf import files
from switch_tf.config import Config, dense_twin
from switch_tf.errors import ConfigError
from switch_tf.runs.folder import WEIGHTS
from switch_tf.training.launching import free_ports
from switch_tf.training.loop import CHECKPOINT
from switch_tf.training.sharded import exchange_of
from switch_tf.training.workers import ALONE, TF_CONFIG, Workers, choose_workers, cluster_on_loopback

CHILD = Path(sharded_child.__file__)


def one_worker() -> Config:
    """The settings of the workers; one alone holds all experts."""
    return tiny_config(*SETTINGS)


class Trained:
    """What two workers left in `folder`, beside what one leaves in `alone`, both with the half that the other began."""

    def __init__(self, folder: Path):
        self.alone, self.folder = folder / "alone", folder
        self.history = trained(one_worker(), self.alone, folder / "other")
        ports = free_ports(2)
        started = [
            subprocess.Popen(
                [sys.executable, str(CHILD), str(folder), *SETTINGS],
                env=os.environ | {TF_CONFIG: cluster_on_loopback(ports, index), "CUDA_VISIBLE_DEVICES": ""},
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]
        said = [process.communicate(timeout=300)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0]
        self.held: list[dict[str, list[int]]] = [json.loads(each) for each in said]
        self.went_on = trained(one_worker(), folder / "half")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("sharded"))


def tensors(path: Path) -> dict[str, np.ndarray]:
    return files.read_tensors(path)[0]


def assert_close(received: Path, expected: Path, tolerance: float) -> None:
    """Both files hold arrays of the same names and shapes, that far from each other."""
    these, those = tensors(received), tensors(expected)
    assert {name: each.shape for name, each in these.items()} == {name: each.shape for name, each in those.items()}
    for name, array in those.items():
        np.testing.assert_allclose(these[name], array, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.slow
class TestTwoWorkers:
    def test_they_train_what_one_trains(self, two: Trained) -> None:
        assert_close(two.folder / "whole" / WEIGHTS, two.alone / WEIGHTS, 1e-5)
        assert_close(two.folder / "whole" / CHECKPOINT, two.alone / CHECKPOINT, 1e-5)

    def test_each_held_half_of_the_experts_and_of_their_moments(self, two: Trained) -> None:
        for held in two.held:
            experts = {name: shape for name, shape in held.items() if "switch_ffn/" in name and "router" not in name}
            assert len(experts) == 3 * 4 and all(shape[0] == 2 for shape in experts.values())
        (router,) = [shape for name, shape in two.held[0].items() if name.endswith("switch_ffn/router:0")][:1]
        assert router == [8, 4]

    def test_one_goes_on_with_what_two_began(self, two: Trained) -> None:
        assert [row["epoch"] for row in two.went_on] == [1, 2]
        assert_close(two.folder / "half" / CHECKPOINT, two.alone / CHECKPOINT, 1e-5)

    def test_two_go_on_with_what_one_began(self, two: Trained) -> None:
        assert_close(two.folder / "other" / CHECKPOINT, two.alone / CHECKPOINT, 1e-5)


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "count", "says"),
        [
            ([], 1, "one worker, which holds all experts.*workers = 2"),
            ([], None, "one worker"),
            (
                [],
                4,
                "2 experts .*4 workers.*multiple of 4, such as model.num_experts = 4; or as many workers as divide 2",
            ),
            (["model.num_experts=0"], 2, "num_experts = 0"),
            (["model.context=mean"], 2, "context = 'mean'.*'attention'.*shard_experts = false"),
            (
                ["model.num_experts=5", "model.expert_map=[[0, 1, 2, -1, -1]]"],
                2,
                "3 experts .*such as model.num_experts = 4",
            ),
            (["train.jit_compile=true"], 2, "jit_compile"),
        ],
    )
    def test_it_says_what_would_do(self, changes: list[str], count: int | None, says: str) -> None:
        with pytest.raises(ConfigError, match=f"(?s){says}") as caught:
            choose_workers(count, {}, tiny_config("train.shard_experts=true", *changes))
        assert caught.value.argument == "settings" and "--" not in str(caught.value)

    def test_gpus_of_one_process_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 2)
        with pytest.raises(ConfigError, match=r"several GPUs in one process.*a process for each"):
            choose_workers(2, {}, tiny_config("train.shard_experts=true"))

    def test_so_are_processes_of_several_devices(self) -> None:
        class Two:
            num_replicas_in_sync = 4

        with pytest.raises(ConfigError, match=r"2 workers of 4 devices.*CUDA_VISIBLE_DEVICES"):
            exchange_of(Workers(2, 0, "cluster"), Two())

    def test_one_worker_may_go_on_with_what_several_began(self) -> None:
        assert choose_workers(None, {}, tiny_config("train.shard_experts=true"), resume=True) == ALONE

    def test_pruned_experts_that_can_be_dealt_out_are_not(self) -> None:
        config = tiny_config("train.shard_experts=true", "model.num_experts=3", "model.expert_map=[[0, 1, -1]]")
        assert choose_workers(2, {}, config).count == 2


def test_the_dense_twin_has_nothing_to_shard() -> None:
    config = tiny_config("train.shard_experts=true")
    assert dense_twin(config) == dense_twin(replace(config, train=replace(config.train, shard_experts=False)))
