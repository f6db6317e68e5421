"""A worker that trains with sharded experts, in the cluster that TF_CONFIG names.

Usage: python sharded_child.py FOLDER SETTING...; trains in FOLDER/whole from the start, which leaves the checkpoint of
the first epoch in FOLDER/half as well, and goes on in FOLDER/other from the checkpoint that lies there. Prints the
shapes of the weights that this worker held, and of their moments.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from conftest import tiny_config
from data_parallel_child import NUM_IDS, texts

from switch_tf.config import Config
from switch_tf.training import loop
from switch_tf.training.loop import CHECKPOINT, fit
from switch_tf.training.sharded import ShardedTrainer
from switch_tf.training.team import Team, formed
from switch_tf.training.workers import cluster_of

SETTINGS = (
    "model.num_experts=4",
    "model.expert_dropout=0.3",
    "model.router_jitter=0.1",
    "train.gradient_clip_norm=0.05",
    "train.epochs=2",
    "train.shard_experts=true",
)


class CopyingProgress:
    """Keeps the checkpoint after the first epoch."""

    def __init__(self, folder: Path, copy: Path | None):
        self.folder, self.copy = folder, copy

    def stage(self, name: str) -> None: ...

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None: ...

    def step(self, totals: Any, seconds: float) -> None: ...

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
        if self.copy is not None and row["epoch"] == 1:
            self.copy.mkdir()
            shutil.copy(self.folder / CHECKPOINT, self.copy)


def trained(config: Config, folder: Path, copy: Path | None = None, team: Team | None = None) -> list[dict[str, Any]]:
    """The rows of figures of a training in `folder`, or of what is left of it."""
    folder.mkdir(exist_ok=True)
    every = texts(120)
    training, validation = (every._replace(ids=every.ids[cut], labels=every.labels[cut]) for cut in PARTS)
    return fit(training, validation, NUM_IDS, 2, config, folder, CopyingProgress(folder, copy), team=team)


class Remembered(ShardedTrainer):
    """Tells what its variables hold."""

    shapes: ClassVar[dict[str, list[int]]] = {}

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.shapes.update({each.name: list(each.shape) for each in (*self.variables, *self.optimizer.variables)})


PARTS = (slice(0, 70), slice(70, 120))  # neither a multiple of the batch


def main() -> None:
    folder, config = Path(sys.argv[1]), tiny_config(*sys.argv[2:])
    workers = cluster_of(os.environ)
    assert workers is not None
    team = formed(workers, config)
    half = folder / "half" if team.is_chief else None
    with mock.patch.object(loop, "ShardedTrainer", Remembered):
        trained(config, folder / "whole", half, team)
        trained(config, folder / "other", team=team)
    print(json.dumps(Remembered.shapes))


if __name__ == "__main__":
    main()
