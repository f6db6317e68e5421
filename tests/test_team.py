"""What the processes of a cluster hear from each other, and what they say when one of them is gone."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config

from switch_tf.errors import RunError
from switch_tf.training.team import Team, formed
from switch_tf.training.workers import ALONE, LostWorkerError, Workers, cluster_on_loopback

IN_CLUSTER = Workers(3, 1, "cluster")


def lost(message: str, workers: Workers = IN_CLUSTER) -> str:
    with pytest.raises(LostWorkerError) as caught, Team(workers).naming_the_lost(Path("runs/mine")):
        raise tf.errors.UnavailableError(None, None, message)
    assert caught.value.argument == "resume"
    return str(caught.value)


def test_one_process_hears_itself_and_waits_for_nobody() -> None:
    team = formed(ALONE, tiny_config())
    assert team.is_chief and team.from_chief(lambda: [0.1, 2.0], 2) == [0.1, 2.0]
    team.agree(lambda: pytest.fail("a digest of all texts takes long, and nobody asks for it"))
    team.meet()
    with team.scope():
        assert isinstance(tf.Variable(1.0), tf.Variable)
    assert not Team(IN_CLUSTER).is_chief


@pytest.mark.parametrize(
    ("message", "workers", "gone"),
    [
        ("Error reported from /job:worker/task:2: tasks are unhealthy", IN_CLUSTER, "Worker 2 of 3"),
        ("from remote target /job:worker/replica:0/task:0 while calling", IN_CLUSTER, "Worker 0 of 3"),
        ("/job:worker/replica:0/task:0 is down", Workers(3, 0, "cluster", has_chief=True), "Worker 1 of 3"),
        ("/job:chief/replica:0/task:0 is down", Workers(3, 1, "cluster", has_chief=True), "Worker 0 of 3"),
        ("Socket closed", IN_CLUSTER, "Another worker of 3"),
    ],
)
def test_the_lost_one_is_named(message: str, workers: Workers, gone: str) -> None:
    assert lost(message, workers).startswith(f"{gone} that train runs/mine is gone, and none can go on without it.")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(tf.errors.UnavailableError), Team().naming_the_lost(Path("runs/mine")):
        raise tf.errors.UnavailableError(None, None, "/job:worker/task:2")
    with pytest.raises(tf.errors.InternalError), Team(IN_CLUSTER).naming_the_lost(Path("runs/mine")):
        raise tf.errors.InternalError(None, None, "a kernel failed")
    with pytest.raises(tf.errors.ResourceExhaustedError), Team(IN_CLUSTER).naming_the_lost(Path("runs/mine")):
        raise tf.errors.ResourceExhaustedError(None, None, "/job:worker/task:2")


@pytest.mark.parametrize("differs", [False, True])
def test_workers_about_to_train_something_else_are_told(differs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    team, digest = Team(IN_CLUSTER), bytes(range(32))
    others = [digest, digest[::-1] if differs else digest]
    heard = sum(np.frombuffer(each, np.uint8).astype(np.float64) for each in others)
    monkeypatch.setattr(team, "_total", lambda own: own + heard)
    refusal = pytest.raises(RunError, match=r"^The workers are not about to train the same: their texts, settings")
    with refusal if differs else nullcontext():
        team.agree(lambda: digest)


def test_the_chief_alone_does_not_mind_who_has_gone_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(own: tf.Tensor) -> tf.Tensor:
        raise tf.errors.UnavailableError(None, None, "/job:worker/task:2")

    chief, other = Team(Workers(3, 0, "cluster")), Team(IN_CLUSTER)
    for team in (chief, other):
        monkeypatch.setattr(team, "_total", gone)
    chief.meet()
    with pytest.raises(tf.errors.UnavailableError):
        other.meet()


def test_a_process_where_tensorflow_is_at_work_joins_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float(tf.ones([])) == 1.0
    monkeypatch.setenv("TF_CONFIG", cluster_on_loopback([9, 10], 0))
    with pytest.raises(RunError, match=r"^TensorFlow has been at work in this process already.*fresh process"):
        formed(Workers(2, 0, "cluster"), tiny_config())
