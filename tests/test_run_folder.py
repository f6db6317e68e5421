"""A run folder opens as it was written, or is refused with the file to blame; new runs never take an old one's name."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import NEL_WORD, tiny_config

from switch_tf import files
from switch_tf.config import Config, dense_twin, load_config
from switch_tf.errors import DataError, RunError
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs import folder as run
from switch_tf.runs.folder import (
    Run,
    free_name,
    fresh_name,
    newest_run,
    open_run,
    read_vocabulary,
    unfinished,
    write_settings,
)
from switch_tf.runs.held_out import read_held_out, write_held_out


def test_a_run_opens_as_it_was_written(trained_run: Path) -> None:
    opened = open_run(trained_run)
    assert (opened.path, opened.config, opened.labels) == (trained_run, tiny_config(), ["bad", "good"])
    assert len(opened.vocabulary) == 48
    assert NEL_WORD in opened.vocabulary
    assert opened.data["training_examples"] == 108
    assert load_config(file=trained_run / "config.toml") == opened.config


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no run folder .*/none\. Expected what a training wrote"):
        open_run(tmp_path / "none")


def test_an_unfinished_run_is_refused(run_copy: Path) -> None:
    folder = run_copy.rename(run_copy.with_name("copy.unfinished"))
    with pytest.raises(RunError, match=r"is unfinished\. Resume the training of .*/copy"):
        open_run(folder)
    assert not run.is_run(folder)


@pytest.mark.parametrize("name", ["config.toml", "weights.safetensors"])
def test_a_folder_of_something_else_is_refused(name: str, run_copy: Path) -> None:
    (run_copy / name).unlink()
    with pytest.raises(RunError, match=r"is not a run folder: it lacks config\.toml or weights\.safetensors"):
        open_run(run_copy)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot be read as JSON"),
        ('"good"', "does not hold a list of at least two different class names"),
        ('["good"]', "does not hold a list of at least two different class names"),
        ('["good", 1]', "does not hold a list of at least two different class names"),
        ('["good", ["bad"]]', "does not hold a list of at least two different class names"),
        ('["good", "good"]', "does not hold a list of at least two different class names"),
        ('["a", "b", "a"]', "has a name twice"),
        (r'["a", "b\ud800"]', "or one that is not UTF-8"),
    ],
)
def test_damaged_labels_are_refused(content: str, problem: str, run_copy: Path) -> None:
    (run_copy / "labels.json").write_text(content)
    with pytest.raises(RunError, match=problem) as refused:
        open_run(run_copy)
    assert str(run_copy / "labels.json") in str(refused.value)
    assert "Restore it, or train again." in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda text: text + "\nleft = 1", r"there is no setting wide\.left"),
        (lambda text: text.replace("num_experts = 2", "num_experts = -2"), r"model\.num_experts: .* \(received -2\)"),
        (lambda text: text + "\n[more]\n", r"there is no table \[more\]"),
        (lambda text: "loose = 1\n" + text, "'loose' stands outside the tables"),
        (lambda text: text.replace("[train]", "[train"), "cannot be read as TOML"),
    ],
)
def test_damaged_settings_are_refused(damage: Callable[[str], str], problem: str, run_copy: Path) -> None:
    path = run_copy / "config.toml"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=problem) as refused:
        open_run(run_copy)
    assert str(path) in str(refused.value)
    assert "Restore the file, or train again." in str(refused.value)


@pytest.mark.parametrize("content", ["", "[]", None])
def test_damaged_data_is_refused(content: str | None, run_copy: Path) -> None:
    (run_copy / "data.json").unlink() if content is None else (run_copy / "data.json").write_text(content)
    with pytest.raises(RunError, match=r"data\.json .* Restore it, or train again\."):
        open_run(run_copy)


@pytest.mark.parametrize("content", [b"\xff\n", None])
def test_a_vocabulary_that_cannot_be_read_is_refused(content: bytes | None, run_copy: Path) -> None:
    path = run_copy / "vocabulary.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RunError, match=r"vocabulary\.txt cannot be read: .* Restore the file, or train again\."):
        open_run(run_copy)


def test_a_vocabulary_that_repeats_a_word_is_refused(run_copy: Path) -> None:
    path = run_copy / "vocabulary.txt"
    words = read_vocabulary(path)
    path.write_text("".join(f"{word}\n" for word in [*words[:-1], words[0]]))
    with pytest.raises(RunError, match=r"vocabulary\.txt is damaged: .* more than once.* Restore the file"):
        load_classifier(open_run(run_copy))


def test_a_vocabulary_of_another_length_is_refused(run_copy: Path) -> None:
    path = run_copy / "vocabulary.txt"
    path.write_text("".join(f"{word}\n" for word in read_vocabulary(path)[:-1]))
    with pytest.raises(
        RunError, match=r"weights\.safetensors does not fit its settings: weight '.*' has shape \(50, 8\)"
    ):
        load_classifier(open_run(run_copy))


class TestWeights:
    def test_of_another_shape_are_refused(self, run_copy: Path) -> None:
        path = run_copy / "config.toml"
        path.write_text(path.read_text().replace("d_ff = 16", "d_ff = 24"))
        with pytest.raises(RunError, match=r"weights\.safetensors does not fit its settings: weight '.*' has shape"):
            load_classifier(open_run(run_copy))

    def test_that_are_missing_are_named(self, run_copy: Path) -> None:
        weights, _ = files.read_tensors(run_copy / "weights.safetensors")
        name = sorted(weights)[3]
        files.write_tensors(run_copy / "weights.safetensors", {key: a for key, a in weights.items() if key != name})
        with pytest.raises(RunError, match=rf"weight '{name}' has shape none \(missing\)"):
            load_classifier(open_run(run_copy))

    @pytest.mark.parametrize("left", [0, 7, 300, -1])
    def test_that_are_truncated_are_refused(self, left: int, run_copy: Path) -> None:
        path = run_copy / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(RunError, match=r"weights\.safetensors cannot be read as safetensors"):
            load_classifier(open_run(run_copy))

    def test_are_float32(self, trained_run: Path) -> None:
        weights, _ = files.read_tensors(trained_run / "weights.safetensors")
        assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
        assert all(np.isfinite(array).all() for array in weights.values())


def test_vocabulary_comes_back_whatever_its_words_hold(tmp_path: Path) -> None:
    words = [NEL_WORD, "\u2028", "a\u2029b", "\x1c", "\ufeff", "\u00a0", "é", "🙂"]
    write_settings(tmp_path, Config(), ["a", "b"], words, {})
    assert read_vocabulary(tmp_path / "vocabulary.txt") == words
    assert len((tmp_path / "vocabulary.txt").read_bytes().split(b"\n")) == len(words) + 1


def test_held_out_texts_come_back_whatever_they_hold(tmp_path: Path) -> None:
    texts = ["", "two\nlines\r\n", "tab\there", NEL_WORD, "\0", '"quoted", text', "🙂" * 1000]
    write_held_out(tmp_path, texts, ["a"] * len(texts))
    assert read_held_out(Run(tmp_path, Config(), ["a", "b"], [], {})) == texts


def test_held_out_texts_that_are_missing_or_damaged_are_refused(run_copy: Path) -> None:
    opened = open_run(run_copy)
    path = run_copy / "held_out.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"held_out\.parquet is damaged or not parquet"):
        read_held_out(opened)
    path.unlink()
    with pytest.raises(DataError, match=r"There is no file .*held_out\.parquet"):
        read_held_out(opened)


class TestNames:
    def make_run(self, folder: Path, time: int) -> Path:
        folder.mkdir(parents=True)
        for name in ("config.toml", "weights.safetensors"):
            (folder / name).touch()
        os.utime(folder, (time, time))
        return folder

    def test_the_newest_run_is_the_one_written_last(self, tmp_path: Path) -> None:
        self.make_run(tmp_path / "b", 2000)
        newest = self.make_run(tmp_path / "a", 3000)
        self.make_run(tmp_path / "c", 1000)
        going = self.make_run(tmp_path / "d.unfinished", 4000)
        (tmp_path / "e").mkdir()
        assert newest_run(tmp_path) == newest
        assert newest_run(tmp_path, unfinished=True) == going

    @pytest.mark.parametrize(("going", "kind"), [(False, "run"), (True, "unfinished run")])
    def test_no_run_is_refused(self, going: bool, kind: str, tmp_path: Path) -> None:
        for runs in (tmp_path, tmp_path / "none"):
            with pytest.raises(RunError, match=rf"There is no {kind} under {runs}\. Name a folder, or train one"):
                newest_run(runs, unfinished=going)

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            ("reviews", "reviews"),
            ("some/where/mails.tsv.xz", "mails"),
            ("some/where/train.csv", "where"),
            ("/train.csv", "train"),
            ("aclImdb/train", "aclImdb"),
            (".", "run"),
            ("..", "run"),
            (".hidden.csv", "run"),
        ],
    )
    def test_a_run_is_named_for_its_data(self, data: str, name: str, tmp_path: Path) -> None:
        assert fresh_name(data, tmp_path) == tmp_path / name

    def test_a_name_is_free_where_no_run_has_it_nor_wants_it(self, tmp_path: Path) -> None:
        assert free_name(tmp_path / "a") == tmp_path / "a"
        (tmp_path / "a").mkdir()
        (tmp_path / "a-2.unfinished").mkdir()
        assert free_name(tmp_path / "a") == tmp_path / "a-3"
        (tmp_path / "b.unfinished").mkdir()
        assert free_name(tmp_path / "b") == tmp_path / "b-2"

    @pytest.mark.parametrize("path", [".", "/", "..", "runs/a.unfinished"])
    def test_a_name_that_no_run_can_have_is_refused(self, path: str) -> None:
        with pytest.raises(RunError, match=r"is no name for a new folder|Leave that ending out"):
            unfinished(Path(path))
        assert unfinished(Path("runs/a")) == Path("runs/a.unfinished")


def test_the_twin_differs_in_its_experts_alone() -> None:
    config = tiny_config()
    assert dataclasses.asdict(dense_twin(config).model) == dataclasses.asdict(config.model) | {"num_experts": 0}
    assert (dense_twin(config).text, dense_twin(config).train) == (config.text, config.train)


def test_pictures_and_tables_of_history_hold_every_epoch(tmp_path: Path, trained_run: Path) -> None:
    lines = (trained_run / "history.csv").read_text().splitlines()
    assert lines[0].split(",")[:3] == ["epoch", "loss", "accuracy"]
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert (trained_run / "history.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((trained_run / "metrics.json").read_text())["training"]["epochs"] == 3
