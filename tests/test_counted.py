"""Which texts are counted where there are too many to count in memory."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from test_composed import COMPOSED
from test_fusing import request_for

from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run, read_metrics
from switch_tf.training.counted import counted
from switch_tf.training.session import train
from switch_tf.training.steps import Encoded

TEXTS = Encoded(
    np.arange(1, 41, dtype=np.int32).reshape(10, 4),
    np.array([2, 0, 0, 1, 0, 0, 0, 0, 0, 0], np.int32),
    np.arange(1, 11, dtype=np.float32),
)


def test_all_where_they_are_few_enough() -> None:
    assert counted(TEXTS, 40) is TEXTS


def test_else_a_part_with_one_of_each_label_and_each_with_its_own() -> None:
    part = counted(TEXTS, 39)
    assert len(part.ids) < 10 + 2 and len(counted(TEXTS, 20).ids) <= 5 + 2
    for most in (1, 20, 39):
        part = counted(TEXTS, most)
        rows = (part.ids[:, 0] - 1) // 4
        assert (np.diff(rows) > 0).all() and set(part.labels.tolist()) == {0, 1, 2}
        assert part.weights is not None
        assert part.ids.tolist() == TEXTS.ids[rows].tolist() and part.labels.tolist() == TEXTS.labels[rows].tolist()
        assert part.weights.tolist() == (rows + 1.0).tolist()


@pytest.mark.parametrize(
    ("real", "most", "texts"),
    [(4, 19, 4), (4, 20, 5), (4, 39, 9), (4, 40, 10), (3, 29, 9), (3, 30, 10), (2, 20, 10), (2, 19, 9), (1, 19, 9)],
)
def test_padding_counts_where_it_is_more_than_the_tokens(real: int, most: int, texts: int) -> None:
    """Ten texts of 4 places and so many tokens, of one label: a hand-computed share of them."""
    padded = np.where(np.arange(4) < real, TEXTS.ids, 0).astype(np.int32)
    data = Encoded(padded, np.zeros(10, np.int32))
    assert len(counted(data, most).ids) == texts


def test_more_tokens_are_more_of_the_same_texts() -> None:
    """So that pairs of the deep path are among those of the wide one."""
    few, more = (set(counted(TEXTS, most).ids[:, 0].tolist()) for most in (12, 24))
    assert few < more


class Stages:
    """What a training says that it does."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.steps: list[int] = []

    def stage(self, name: str) -> None:
        self.names.append(name)

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        self.steps.append(steps)

    def step(self, *_: object) -> None: ...

    def end_epoch(self, *_: object) -> None: ...


def test_a_training_says_how_many_it_has_counted_and_learns_from_all(data_folder: Path, tmp_path: Path) -> None:
    stages = Stages()
    few = ("train.epochs=1", "train.counted_tokens=400", "train.twin=true")
    run = open_run(train(request_for(data_folder), tiny_config(*COMPOSED, *few), tmp_path / "run", stages).path)
    texts, counted_texts = run.data["training_examples"], read_metrics(run.path)["fusion"]["counted_texts"]
    assert 400 // run.config.text.sequence_length <= counted_texts < texts
    assert f"Fitting the wide path, on {counted_texts:,} of {texts:,} texts" in stages.names
    assert np.isfinite(load_classifier(run).probabilities(["lovely warm film"])).all()
    assert stages.steps == [-(-texts // run.config.train.batch_size)] * 2  # the model's, and its dense twin's
