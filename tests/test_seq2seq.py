"""Whole models: hidden states and logits as transformers computes them in float64, and files that do not fit."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from switch_tf.errors import DataError, ModelError
from switch_tf.models.huggingface import T5Settings
from switch_tf.models.seq2seq import Seq2Seq, check_ids, load_seq2seq

FIXTURES = Path(__file__).parent / "data" / "huggingface"
VARIANTS = ("plain", "tiny_capacity", "untied", "router_bias", "sharded", "bfloat16_bin")
# Of what transformers' own float32 is off its float64.
ALLOWED = 3.0


@cache
def model(name: str) -> Seq2Seq:
    return load_seq2seq(FIXTURES / name)


@cache
def reference(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(FIXTURES / name / "reference.npz"))


@pytest.mark.parametrize("name", VARIANTS)
def test_hidden_states_and_logits_are_those_of_transformers(name: str) -> None:
    expected, loaded = reference(name), model(name)
    ids, real = tf.constant(expected["ids"]), expected["ids"] != 0
    hidden = loaded.encode(ids).numpy()
    assert np.abs(hidden - expected["hidden"])[real].max() <= ALLOWED * expected["hidden_error"]
    logits, reports = loaded(ids, tf.constant(expected["decoder_ids"]))
    assert np.abs(logits.numpy() - expected["logits"]).max() <= ALLOWED * expected["logits_error"]
    sparse = sum(map(loaded.settings.is_sparse_encoder_layer, range(loaded.settings.num_layers)))
    sparse += sum(map(loaded.settings.is_sparse_decoder_layer, range(loaded.settings.num_decoder_layers)))
    assert len(reports) == sparse >= 2


def test_tokens_are_dropped_where_slots_are_few() -> None:
    expected, loaded = reference("tiny_capacity"), model("tiny_capacity")
    _, reports = loaded(tf.constant(expected["ids"]), tf.constant(expected["decoder_ids"]))
    assert sum(float(report.routing.dropped) for report in reports) > 20


@pytest.mark.parametrize("name", ["plain", "tiny_capacity"])
def test_neither_padding_nor_batch_mates_change_a_text(name: str) -> None:
    ids = reference(name)["ids"]
    together = model(name).encode(tf.constant(ids)).numpy()
    padded = model(name).encode(tf.constant(np.pad(ids, [[0, 0], [0, 8]]))).numpy()
    for row, length in enumerate((ids != 0).sum(axis=1)):
        alone = model(name).encode(tf.constant(ids[row : row + 1, :length])).numpy()[0]
        np.testing.assert_allclose(alone, together[row, :length], atol=1e-5)
        np.testing.assert_allclose(padded[row, :length], together[row, :length], atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "untied"])
def test_steps_give_the_logits_of_all_places_at_once(name: str) -> None:
    expected, loaded = reference(name), model(name)
    ids, decoder_ids = tf.constant(expected["ids"]), tf.constant(expected["decoder_ids"])
    longest = decoder_ids.shape[1]
    memory = loaded.decoder.remember(loaded.encode(ids), loaded.mask(ids))
    cache_ = loaded.decoder.empty_cache(tf.constant(ids.shape[0]), longest)
    biases = loaded.decoder.positions.between(longest, longest)
    for place in range(longest):
        logits, cache_ = loaded.step(decoder_ids[:, place], tf.constant(place), cache_, memory, biases)
        assert np.abs(logits.numpy() - expected["logits"][:, place]).max() <= ALLOWED * expected["logits_error"]


def test_padding_of_what_is_written_takes_no_slot_where_it_is_said_to_be_padding() -> None:
    expected, loaded = reference("tiny_capacity"), model("tiny_capacity")
    ids = tf.constant(expected["ids"])
    decoder_ids = np.concatenate([expected["decoder_ids"][:, :3], np.zeros([3, 3], np.int32)], axis=1)
    mask = np.arange(6) < 3
    logits, reports = loaded(ids, tf.constant(decoder_ids), tf.constant(np.tile(mask, [3, 1])))
    short, _ = loaded(ids, tf.constant(decoder_ids[:, :3]))
    np.testing.assert_allclose(logits[:, :3], short, atol=1e-5)
    assert float(tf.reduce_sum(reports[-1].routing.tokens_per_expert)) == 9.0


def test_training_draws_from_its_seed_alone() -> None:
    expected, loaded = reference("plain"), model("plain")
    ids, decoder_ids = tf.constant(expected["ids"]), tf.constant(expected["decoder_ids"])
    answers = [loaded(ids, decoder_ids, training=True, seed=tf.constant([seed, 0]))[0].numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 0.01


class TestFilesThatDoNotFit:
    @staticmethod
    def changed(tmp_path: Path, settings: Any, **arrays: Any) -> Path:
        folder = tmp_path / "plain"
        shutil.copytree(FIXTURES / "plain", folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | settings), encoding="utf-8")
        save_file(load_file(folder / "model.safetensors") | arrays, folder / "model.safetensors")
        return folder

    def test_a_weight_of_another_shape_is_named_before_it_takes_memory(self, tmp_path: Path) -> None:
        folder = self.changed(tmp_path, {"vocab_size": 2**22, "d_model": 2**16})
        with pytest.raises(ModelError, match=r"'seq2seq/tokens/embeddings' has shape \(416, 16\) of float32, expected"):
            load_seq2seq(folder)

    def test_it_says_what_to_do(self, tmp_path: Path) -> None:
        folder = self.changed(tmp_path, {}, **{"encoder.final_layer_norm.weight": np.ones(15, np.float32)})
        with pytest.raises(ModelError, match=r"norm/scale.*Restore both from where the checkpoint came from\.$"):
            load_seq2seq(folder)


class TestIds:
    settings = T5Settings(vocab_size=10)

    def test_padding_at_the_end_is_taken(self) -> None:
        check_ids(np.array([[3, 4, 1], [3, 1, 0], [0, 0, 0]], np.int32), self.settings)
        check_ids(np.zeros([0, 3], np.int32), self.settings)

    @pytest.mark.parametrize(
        ("ids", "problem"),
        [
            (np.array([[3, 1], [0, 3]], np.int32), "Row 1 of the ids has padding before a token"),
            (np.array([[3, 0, 1]], np.int32), "Row 0 of the ids has padding before a token"),
            (np.array([[3, 10]], np.int32), "ids from 3 to 10. Expected 0 to 9"),
            (np.array([[-1, 3]], np.int32), "ids from -1 to 3"),
            (np.array([[3, 1]], np.int64), "ids of int64"),
            (np.array([3, 1], np.int32), r"ids of int32 \[2\]"),
            (np.zeros([2, 0], np.int32), r"ids of int32 \[2, 0\]"),
        ],
    )
    def test_others_are_refused(self, ids: np.ndarray, problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            check_ids(ids, self.settings)
