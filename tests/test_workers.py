"""What TF_CONFIG and a number of workers mean together, and what is refused before anything long begins."""

import json
from typing import Any

import pytest
from conftest import tiny_config

from switch_tf.errors import ConfigError, RunError
from switch_tf.training import workers as workers_module
from switch_tf.training.workers import (
    ALONE,
    Workers,
    check_settings,
    choose_workers,
    cluster_of,
    cluster_on_loopback,
)

TWO = {"worker": ["a:1", "b:2"]}


def environment(cluster: Any, **task: Any) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many GPUs there are said to be."""
    said = [0]
    monkeypatch.setattr(workers_module, "_gpus", lambda: said[0])
    return said


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        (TWO, {"type": "worker", "index": 1}, Workers(2, 1, "cluster")),
        (TWO, {"type": "worker", "index": 0}, Workers(2, 0, "cluster")),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, {"type": "chief", "index": 0}, Workers(3, 0, "cluster", True)),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, {"type": "worker", "index": 1}, Workers(3, 2, "cluster", True)),
        ({"worker": ["a:1"]}, {"type": "worker", "index": 0}, None),
        ({}, {}, None),
    ],
)
def test_a_process_finds_its_place_in_a_cluster(cluster: Any, task: Any, expected: Workers | None) -> None:
    assert cluster_of(environment(cluster, **task)) == expected


def test_no_variable_is_no_cluster() -> None:
    assert cluster_of({}) is cluster_of({"TF_CONFIG": " "}) is None


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[1]",
        '"worker"',
        '{"cluster": [1, 2]}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": [0]}',
        json.dumps({"cluster": {**TWO, "ps": ["c:3"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"chief": ["a:1", "b:2"]}, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": {**TWO, "chief": "c:3"}, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": {"worker": ["a", "b:2"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": -1}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": True}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": "1"}}),
        json.dumps({"cluster": TWO, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": TWO, "task": {"type": ["worker"], "index": 0}}),
    ],
)
def test_what_is_no_cluster_is_refused(said: str) -> None:
    with pytest.raises(RunError, match=r"^TF_CONFIG has .*Expected .*own task; or unset it\.$"):
        cluster_of({"TF_CONFIG": said})


def test_loopback_addresses_are_a_cluster() -> None:
    said = [cluster_of({"TF_CONFIG": cluster_on_loopback([5001, 5002, 5003], index)}) for index in range(3)]
    assert said == [Workers(3, index, "cluster") for index in range(3)]


def test_workers_are_gpus_or_processes_or_the_cluster(gpus: list[int]) -> None:
    config = tiny_config()
    assert choose_workers(None, {}, config) is choose_workers(1, {}, config) is ALONE
    assert choose_workers(4, {}, config) == Workers(4, place="processes")
    gpus[0] = 8
    assert choose_workers(4, {}, config) == Workers(4, place="devices")
    assert choose_workers(2, environment(TWO, type="worker", index=1), config) == Workers(2, 1, "cluster")
    gpus[0] = 3
    with pytest.raises(RunError, match=r"^Received 4 workers\. Expected at most 3, the GPUs here\.$"):
        choose_workers(4, {}, config)


@pytest.mark.parametrize(("count", "asked"), [(None, "no number of workers"), (1, "1 of them"), (4, "4 of them")])
def test_a_cluster_of_another_size_is_refused(count: int | None, asked: str) -> None:
    with pytest.raises(RunError, match=f"^TF_CONFIG names a cluster of 2 workers, and {asked} was asked for") as caught:
        choose_workers(count, environment(TWO, type="worker", index=0), tiny_config())
    assert caught.value.argument == "workers"


@pytest.mark.parametrize("count", [0, -2, 1025])
def test_no_such_number_is_refused(count: int) -> None:
    with pytest.raises(RunError, match=f"^Received {count} workers. Expected 1 to 1,024"):
        choose_workers(count, {}, tiny_config())


def test_settings_that_several_cannot_share_are_refused() -> None:
    check_settings(tiny_config("train.batch_size=16"), 4)
    with pytest.raises(
        ConfigError, match=r"^train\.batch_size = 16 is .* 3 replicas.* such as train\.batch_size = 15\."
    ):
        check_settings(tiny_config("train.batch_size=16"), 3)
    with pytest.raises(ConfigError, match=r"such as train\.batch_size = 5\."):
        check_settings(tiny_config("train.batch_size=1"), 5)
    with pytest.raises(ConfigError, match=r"^train\.jit_compile = true is for one worker"):
        check_settings(tiny_config("train.jit_compile=true"), 2)
