"""Who trains one model together: this process alone, GPUs of this machine, or the processes that TF_CONFIG names.

TF_CONFIG is what TensorFlow's clusters are told by (Kubernetes' training operator sets it, as do others):

    {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from switch_tf.config import Config
from switch_tf.errors import ConfigError, RunError
from switch_tf.training.shardable import refuse_alone, refuse_devices, refuse_unshardable

TF_CONFIG = "TF_CONFIG"
MOST = 1024
_ADDRESS = re.compile(r"\S+:\d+")
_FORM = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


class LostWorkerError(RunError):
    """Another of the processes that train together is gone: what this one fails of is another one's failure."""


@dataclass(frozen=True)
class Workers:
    """Those that train together, seen from one process.

    Attributes:
        count: of them, 1 or more.
        index: of this process among the processes of a cluster; 0, the chief, where there is only one.
        place: what they are.
        has_chief: whether the cluster names its chief apart, before the workers.
    """

    count: int = 1
    index: int = 0
    place: Literal["here", "devices", "processes", "cluster"] = "here"
    has_chief: bool = False

    @property
    def in_cluster(self) -> bool:
        return self.place == "cluster"

    def number_of(self, job: str, task: int) -> int:
        """Of a task of the cluster, by its job and its number there."""
        return task + (self.has_chief and job == "worker")


ALONE = Workers()


def cluster_of(environment: Mapping[str, str]) -> Workers | None:
    """What TF_CONFIG says; None where it is not set, or names one worker.

    Raises:
        RunError: it is no such thing.
    """
    if not environment.get(TF_CONFIG, "").strip():
        return None
    try:
        said = json.loads(environment[TF_CONFIG])
        cluster = said.get("cluster") or {}
        task = said.get("task") or {}
        kind, index = str(task.get("type", "worker")), task.get("index", 0)
        sizes = {job: len(addresses) for job, addresses in cluster.items() if _are_addresses(addresses)}
    except (ValueError, AttributeError) as error:
        raise _refusal(f"{environment[TF_CONFIG][:200]!r}") from error
    if set(cluster) - {"chief", "worker"} or sizes.get("chief", 0) > 1 or len(sizes) != len(cluster):
        raise _refusal(f"the cluster {json.dumps(cluster)[:200]}")
    if sum(sizes.values()) < 2:
        return None
    if kind not in sizes or type(index) is not int or not 0 <= index < sizes[kind]:
        raise _refusal(f"the task {task!r}")
    workers = Workers(sum(sizes.values()), index, "cluster", "chief" in sizes)
    return replace(workers, index=workers.number_of(kind, index))


def _are_addresses(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and _ADDRESS.fullmatch(each) for each in value)


def _refusal(received: str) -> RunError:
    return RunError(f"{TF_CONFIG} has {received}. Expected {_FORM}, with this process's own task; or unset it.")


def choose_workers(count: int | None, environment: Mapping[str, str], config: Config, resume: bool = False) -> Workers:
    """Who is to train, where so many workers are asked for; None is for one that nobody asked about.

    Args:
        resume: whether another number of workers may have begun, whose experts one worker goes on with as well.

    Raises:
        RunError: there is no such number of workers here.
        ConfigError: settings are not for several.
    """
    cluster = cluster_of(environment)
    if cluster is not None and cluster.count != count:
        asked = "no number of workers" if count is None else f"{count} of them"
        raise RunError(
            f"{TF_CONFIG} names a cluster of {cluster.count} workers, and {asked} was asked for. Ask for "
            f"{cluster.count}, or unset {TF_CONFIG} to train apart from it.",
            argument="workers",
        )
    if count is None or count == 1:
        if not resume:
            refuse_alone(config)
        return ALONE
    if not 1 <= count <= MOST:
        raise RunError(f"Received {count} workers. Expected 1 to {MOST:,}.", argument="workers")
    check_settings(config, count)
    if cluster is not None:
        return cluster
    gpus = _gpus()
    if not gpus:
        return Workers(count, place="processes")
    if gpus < count:
        raise RunError(f"Received {count} workers. Expected at most {gpus}, the GPUs here.", argument="workers")
    refuse_devices(config)
    return Workers(count, place="devices")


def check_settings(config: Config, replicas: int) -> None:
    """
    Raises:
        ConfigError: the settings are not for so many replicas.
    """
    size = config.train.batch_size
    if size % replicas:
        nearest = max(round(size / replicas), 1) * replicas
        raise ConfigError(
            f"train.batch_size = {size} is shared by {replicas} replicas, and no multiple of {replicas}. "
            f"Expected one, such as train.batch_size = {nearest}.",
            "settings",
        )
    if config.train.jit_compile:
        raise ConfigError("train.jit_compile = true is for one worker. Leave it out to train with several.", "settings")
    refuse_unshardable(config, replicas)


def _gpus() -> int:
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def cluster_on_loopback(ports: list[int], index: int) -> str:
    """What TF_CONFIG says to the process of that number, where all are on this machine."""
    described: dict[str, Any] = {
        "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    return json.dumps(described)
