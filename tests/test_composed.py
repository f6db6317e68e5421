"""Composed embeddings in training and folded after it are one function; a step moves only what its batch has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
import tf_keras as keras
from conftest import Quiet, tiny_config

from switch_tf import files
from switch_tf.config import Config
from switch_tf.errors import ConfigError, RunError
from switch_tf.models.weights import EMBEDDINGS, PAIR_EMBEDDINGS
from switch_tf.training import loop
from switch_tf.training.composed import ComposedTrainer
from switch_tf.training.reached import Reached
from switch_tf.training.sampling import Sample, sample
from switch_tf.training.steps import Encoded

NUM_IDS, LENGTH = 20, 12
COMPOSED = (
    "model.context=mean",
    "model.character_grams=true",
    "model.pair_min_count=2",
    "model.pair_dropout=0.0",
    "wide.enabled=true",
    "model.capacity_factor=2.0",
    "model.eval_capacity_factor=2.0",
)


def settings(*changes: str) -> Config:
    config: Config = tiny_config(*COMPOSED, *changes)
    return config


def encoded(count: int, seed: int = 0) -> Encoded:
    """Ids whose first says the label; some texts are short."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).astype(np.int32)
    ids = random.integers(4, NUM_IDS, [count, LENGTH]).astype(np.int32)
    ids[:, 0] = labels + 2
    ids[:5, 4:] = 0
    return Encoded(ids, labels)


def grams() -> scipy.sparse.csr_matrix:
    """Seven grams, each word but the first four with some of them."""
    links = np.random.default_rng(2).random([NUM_IDS, 7]) < 0.4
    links[:4] = False
    return scipy.sparse.csr_matrix(links.astype(np.float32))


def trainer(*changes: str) -> ComposedTrainer:
    config = settings(*changes)
    keras.utils.set_random_seed(config.train.seed)
    return ComposedTrainer(config, encoded(40).ids, NUM_IDS, 2, total_steps=8, grams=grams())


def fitted(folder: Path, *changes: str) -> dict[str, np.ndarray]:
    folder.mkdir(exist_ok=True)
    config = settings("model.token_dropout=0.3", *changes)
    loop.fit(encoded(40), encoded(16, seed=1), NUM_IDS, 2, config, folder, Quiet(), grams())
    return files.read_tensors(folder / loop.CHECKPOINT)[0] | files.read_tensors(folder / "weights.safetensors")[0]


def drawn(made: ComposedTrainer, data: Encoded, rows: list[int]) -> Sample:
    pairs = made.known.rows(data.ids)
    batch = sample(data, pairs, made.num_pairs, made.grams, np.array(rows), len(rows), (0.0, 0.0), [0, 0, 0])
    return Sample(*(tf.constant(array) for array in batch))


def test_training_sees_what_the_folded_model_answers() -> None:
    made, data = trainer("model.dropout=0.0", "model.expert_dropout=0.0", "model.router_jitter=0.0"), encoded(16)
    for number in range(3):
        made.train_on(data, np.arange(8), 0, number)
    made.config = settings("train.learning_rate=1e-30", "train.table_learning_rate=1e-30", "train.label_smoothing=0.0")
    still = trainer("model.dropout=0.0", "model.expert_dropout=0.0", "model.router_jitter=0.0")
    for new, old in zip(still._state(), made._state(), strict=True):
        new.assign(old)
    loss, accuracy, _ = still.evaluate(data)
    result = still.train_on(data, np.arange(16), 0, 3)  # the loss is that before the step
    assert float(result.loss) == pytest.approx(loss, rel=1e-4)
    assert float(result.correct) / 16 == accuracy
    assert float(result.tokens) == np.sum(data.ids > 0)


def test_folded_tables_by_hand() -> None:
    made = trainer()
    words, of_grams, pairs = (table.numpy() for table in made.tables)
    weights = made.weights()
    links = grams().toarray()
    word = int(np.flatnonzero(links.sum(axis=1) == 3)[0])
    expected = words[word] + sum(of_grams[g] for g in np.flatnonzero(links[word])) / np.sqrt(3)
    np.testing.assert_allclose(weights[EMBEDDINGS][word], expected, rtol=1e-5)
    np.testing.assert_array_equal(weights[EMBEDDINGS][2], words[2])  # a word without grams
    np.testing.assert_array_equal(weights[PAIR_EMBEDDINGS][:-1], pairs)
    assert not weights[PAIR_EMBEDDINGS][-1].any()


def test_a_step_moves_the_rows_of_its_batch_alone() -> None:
    made, data = trainer(), encoded(40)
    before = [table.numpy() for table in made.tables]
    batch = drawn(made, data, [0, 1])
    made.train_on(data, np.array([0, 1]), 0, 0)
    for table, old, rows in zip(made.tables, before, (batch.word_ids, batch.gram_rows, batch.pair_rows), strict=True):
        moved = np.flatnonzero(np.any(table.numpy() != old, axis=1))
        assert set(moved) <= set(np.asarray(rows))
        assert len(moved) > 0.8 * len(rows) > 0


@pytest.mark.parametrize(
    "change",
    [
        "model.token_dropout=0.5",
        "model.pair_dropout=0.5",
        "model.expert_dropout=0.5",
        "model.dropout=0.5",
        "model.auxiliary_loss_weight=1.0",
        "model.character_grams=false",
        "train.label_smoothing=0.5",
        "train.learning_rate=0.02",
        "train.table_learning_rate=0.02",
        "train.gradient_clip_norm=0.0001",
    ],
)
def test_every_setting_has_its_effect(change: str) -> None:
    def weights(*changes: str) -> dict[str, np.ndarray]:
        made = trainer("model.dropout=0.0", "model.expert_dropout=0.0", *changes)
        for number in range(2):
            made.train_on(encoded(16), np.arange(8), 0, number)
        return made.weights()

    plain, other = weights(), weights(change)
    assert max(float(np.abs(plain[name] - other[name]).max()) for name in plain) > 1e-5


def test_training_repeats_to_the_bit_and_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(tmp_path / "whole")
    again = fitted(tmp_path / "again")
    calls: list[int] = []
    once = ComposedTrainer.train_on

    def cut_off(self: ComposedTrainer, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> Any:
        calls.append(number)
        if len(calls) == 5:  # in the second epoch of three steps
            raise KeyboardInterrupt
        return once(self, data, rows, epoch, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ComposedTrainer, "train_on", cut_off)
        fitted(tmp_path / "cut")
    resumed = fitted(tmp_path / "cut")
    for other in (again, resumed):
        assert whole.keys() == other.keys()
        for name in whole:
            np.testing.assert_array_equal(whole[name], other[name], err_msg=name)


def test_lengths_are_traced_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[int] = []
    step = ComposedTrainer._step

    def counted(self: ComposedTrainer, batch: Any, number: Any) -> Any:
        traced.append(batch.words.shape[1])
        return step(self, batch, number)

    monkeypatch.setattr(ComposedTrainer, "_step", counted)
    made, data = trainer(), encoded(40)
    for number, rows in enumerate(([0, 1], [0, 9], [2, 3], [8, 9], [1, 4])):
        made.train_on(data, np.array(rows), 0, number)
    assert sorted(made._steps) == sorted(traced) == [4, 12]


@pytest.mark.parametrize("damage", ["missing", "shape", "history"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    made, path = trainer(), tmp_path / "checkpoint.safetensors"
    made.save(path, Reached())
    tensors, metadata = files.read_tensors(path)
    if damage == "missing":
        del tensors["variable/3"]
    if damage == "shape":
        tensors["variable/3"] = np.zeros([3, 3, 3], np.float32)
    files.write_tensors(path, tensors, {"history": "["} if damage == "history" else metadata)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors does not fit"):
        made.restore(path)


@pytest.mark.parametrize("change", ["train.jit_compile=true", "train.weight_decay=0.1", "train.mixed_precision=true"])
def test_settings_of_attention_alone_are_refused(change: str) -> None:
    with pytest.raises(ConfigError, match=r"are for model\.context = 'attention'"):
        trainer(change)


def test_tables_of_no_rows_are_variables_with_elements() -> None:
    """Without them processes that train together would crash."""
    made = trainer("model.character_grams=false", "model.pair_min_count=0")
    assert [table.shape[0] for table in made.tables] == [NUM_IDS, 1, 1]
    words, none, nobody = (table.numpy() for table in made.tables)
    made.train_on(encoded(16), np.arange(8), 0, 0)
    assert not np.array_equal(made.tables[0].numpy(), words)
    np.testing.assert_array_equal(made.tables[1], none)
    np.testing.assert_array_equal(made.tables[2], nobody)
    np.testing.assert_array_equal(made.weights()[EMBEDDINGS], made.tables[0])
