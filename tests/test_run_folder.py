"""A run folder opens as it was written, or is refused with the file to blame; new runs never take an old one's name."""

import dataclasses
import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from conftest import NEL_WORD, ask, tiny_config

from switch_tf import files
from switch_tf.config import Config, dense_twin, load_config
from switch_tf.errors import DataError, RunError
from switch_tf.models import fused
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
        ('"good"', "are no list of class names"),
        ('["good"]', "are fewer than two class names"),
        ('["good", 1]', "are no list of class names"),
        ('["good", ["bad"]]', "are no list of class names"),
        ('["good", "good"]', "have a name twice"),
        ('["a", "b", "a"]', "have a name twice"),
        (r'["a", "b\ud800"]', r"have the name 'b\\ud800', which is not UTF-8"),
        (r'["a", "b\nc"]', r"have the name 'b\\nc', which is empty or holds a control character"),
        (r'["a", "\u0000"]', "which is empty or holds a control character"),
        ('["a", " "]', "which is empty or holds a control character"),
    ],
)
def test_damaged_labels_are_refused(content: str, problem: str, unchecked_run: Path) -> None:
    (unchecked_run / "labels.json").write_text(content)
    with pytest.raises(RunError, match=problem) as refused:
        open_run(unchecked_run)
    assert str(unchecked_run / "labels.json") in str(refused.value)
    assert ", or train again." in str(refused.value)


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
def test_damaged_settings_are_refused(damage: Callable[[str], str], problem: str, unchecked_run: Path) -> None:
    path = unchecked_run / "config.toml"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=problem) as refused:
        open_run(unchecked_run)
    assert str(path) in str(refused.value)
    assert "Restore the file, or train again." in str(refused.value)


@pytest.mark.parametrize("content", ["", "[]", None])
def test_damaged_data_is_refused(content: str | None, unchecked_run: Path) -> None:
    (unchecked_run / "data.json").unlink() if content is None else (unchecked_run / "data.json").write_text(content)
    with pytest.raises(RunError, match=r"data\.json .* Restore it, or train again\."):
        open_run(unchecked_run)


@pytest.mark.parametrize("content", [b"\xff\n", None])
def test_a_vocabulary_that_cannot_be_read_is_refused(content: bytes | None, unchecked_run: Path) -> None:
    path = unchecked_run / "vocabulary.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RunError, match=r"vocabulary\.txt cannot be read: .* Restore the file, or train again\."):
        open_run(unchecked_run)


def test_a_vocabulary_that_repeats_a_word_is_refused(unchecked_run: Path) -> None:
    path = unchecked_run / "vocabulary.txt"
    words = read_vocabulary(path)
    path.write_text("".join(f"{word}\n" for word in [*words[:-1], words[0]]))
    with pytest.raises(RunError, match=r"vocabulary\.txt is damaged: .* more than once.* Restore the file"):
        load_classifier(open_run(unchecked_run))


def test_a_vocabulary_of_another_length_is_refused(unchecked_run: Path) -> None:
    path = unchecked_run / "vocabulary.txt"
    path.write_text("".join(f"{word}\n" for word in read_vocabulary(path)[:-1]))
    with pytest.raises(
        RunError, match=r"weights\.safetensors does not fit its settings: weight '.*' has shape \(50, 8\)"
    ):
        load_classifier(open_run(unchecked_run))


def never_read(path: Path) -> NoReturn:
    raise AssertionError(f"{path} is read before its header is compared with the settings")


class TestWeights:
    def test_of_another_shape_are_refused(self, unchecked_run: Path) -> None:
        path = unchecked_run / "config.toml"
        path.write_text(path.read_text().replace("d_ff = 16", "d_ff = 24"))
        with pytest.raises(RunError, match=r"weights\.safetensors does not fit its settings: weight '.*' has shape"):
            load_classifier(open_run(unchecked_run))

    def test_that_are_missing_are_named(self, unchecked_run: Path) -> None:
        weights, _ = files.read_tensors(unchecked_run / "weights.safetensors")
        name = sorted(weights)[3]
        files.write_tensors(
            unchecked_run / "weights.safetensors", {key: a for key, a in weights.items() if key != name}
        )
        with pytest.raises(RunError, match=rf"weight '{name}' has shape none \(missing\)"):
            load_classifier(open_run(unchecked_run))

    @pytest.mark.parametrize("left", [0, 7, 300, -1])
    def test_that_are_truncated_are_refused(self, left: int, unchecked_run: Path) -> None:
        path = unchecked_run / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(RunError, match=r"weights\.safetensors cannot be read as safetensors"):
            load_classifier(open_run(unchecked_run))

    def test_are_float32(self, trained_run: Path) -> None:
        weights, _ = files.read_tensors(trained_run / "weights.safetensors")
        assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
        assert all(np.isfinite(array).all() for array in weights.values())


class TestManifest:
    def test_a_run_is_checked(self, trained_run: Path) -> None:
        assert open_run(trained_run).checked
        described = json.loads((trained_run / "manifest.json").read_text())["files"]
        assert sorted(described) == [
            "config.toml",
            "data.json",
            "held_out.parquet",
            "labels.json",
            "metrics.json",
            "vocabulary.txt",
            "weights.safetensors",
        ]
        content = (trained_run / "weights.safetensors").read_bytes()
        assert described["weights.safetensors"] == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    @pytest.mark.parametrize("name", run.DESCRIBED)
    def test_one_flipped_bit_in_any_file_is_refused(self, name: str, run_copy: Path) -> None:
        content = bytearray((run_copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run_copy / name).write_bytes(content)
        with pytest.raises(RunError, match=rf"is damaged or was changed by hand: {name} is not as it was written: its"):
            open_run(run_copy)

    def test_labels_edited_by_hand_are_refused(self, run_copy: Path) -> None:
        (run_copy / "labels.json").write_text('["good", "bad"]')
        with pytest.raises(RunError, match=r"changed by hand: labels\.json has 15 bytes where its manifest says \d+\."):
            open_run(run_copy)

    def test_a_file_that_is_missing_is_refused(self, run_copy: Path) -> None:
        (run_copy / "vocabulary.txt").unlink()
        with pytest.raises(RunError, match=r"vocabulary\.txt is missing\. Restore it, or train again\."):
            open_run(run_copy)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {}}', '{"files": {"labels.json": 1}}'])
    def test_a_damaged_manifest_is_refused(self, content: str, run_copy: Path) -> None:
        (run_copy / "manifest.json").write_text(content)
        with pytest.raises(RunError, match=r"manifest\.json cannot be read as JSON|its manifest does not describe"):
            open_run(run_copy)

    def test_a_lost_manifest_is_refused(self, run_copy: Path) -> None:
        (run_copy / "manifest.json").unlink()
        with pytest.raises(RunError, match=r"has lost its manifest\.json, which tells whether it is whole"):
            open_run(run_copy)

    @pytest.mark.parametrize("format", [1, 2])
    def test_a_folder_of_a_format_without_one_opens_and_is_not_checked(self, format: int, unchecked_run: Path) -> None:
        data = json.loads((unchecked_run / "data.json").read_text())
        kept = {key: value for key, value in data.items() if key != "format"} | ({"format": 2} if format == 2 else {})
        (unchecked_run / "data.json").write_text(json.dumps(kept))
        assert not open_run(unchecked_run).checked
        answer = ask("predict", unchecked_run, "lovely film")
        assert answer.code == 0
        assert "is not checked: it carries no checksum" in answer.err


class TestHostileSettings:
    """Small weights beside large settings are refused before a weight is created."""

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            (
                "d_ff = 16",
                "d_ff = 65536",
                r"w_in' has shape \(2, 8, 16\) of .*, expected \(2, 8, 65536\) of float32",
            ),
            ("d_model = 8", "d_model = 8192", r"has shape \(12, 8\) of .*, expected \(12, 8192\) of float32"),
            (
                "num_experts = 2",
                "num_experts = 4096",
                r"router' has shape \(8, 2\) of .*, expected \(8, 4096\) of float32",
            ),
            (
                "num_blocks = 1",
                "num_blocks = 256",
                r"block_1/.*' has shape none \(missing\), expected \(8,\) of float32",
            ),
            ("sequence_length = 12", "sequence_length = 8192", r"expected \(8192, 8\) of float32"),
        ],
    )
    def test_in_little_memory(
        self, old: str, new: str, problem: str, unchecked_run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the header of the weights alone: they are not read."""
        monkeypatch.setattr(fused, "read_tensors", never_read)
        path = unchecked_run / "config.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(
            RunError, match=rf"does not fit its settings: weight '.*{problem}\. Restore the folder whole"
        ):
            load_classifier(open_run(unchecked_run))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB

    def test_weights_of_another_type_are_refused(self, unchecked_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused, "read_tensors", never_read)
        path = unchecked_run / "weights.safetensors"
        weights, _ = files.read_tensors(path)
        files.write_tensors(path, {name: array.astype(np.float64) for name, array in weights.items()})
        with pytest.raises(RunError, match=r"has shape \(12, 8\) of float64, expected \(12, 8\) of float32"):
            load_classifier(open_run(unchecked_run))

    def test_a_weight_too_many_is_refused(self, unchecked_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused, "read_tensors", never_read)
        path = unchecked_run / "weights.safetensors"
        weights, _ = files.read_tensors(path)
        files.write_tensors(path, weights | {"more": np.zeros(2, np.float32)})
        with pytest.raises(RunError, match=r"weight 'more' has shape \(2,\), expected no such weight"):
            load_classifier(open_run(unchecked_run))


def test_weights_that_are_no_numbers_give_no_answer(unchecked_run: Path) -> None:
    path = unchecked_run / "weights.safetensors"
    weights, _ = files.read_tensors(path)
    files.write_tensors(path, weights | {"positions": np.full_like(weights["positions"], np.nan)})
    answer = ask("predict", unchecked_run, "lovely film", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert "answers with probabilities that are no numbers" in answer.err


def test_vocabulary_comes_back_whatever_its_words_hold(tmp_path: Path) -> None:
    words = [NEL_WORD, "\u2028", "a\u2029b", "\x1c", "\ufeff", "\u00a0", "é", "🙂"]
    write_settings(tmp_path, Config(), ["a", "b"], words, {})
    assert read_vocabulary(tmp_path / "vocabulary.txt") == words
    assert len((tmp_path / "vocabulary.txt").read_bytes().split(b"\n")) == len(words) + 1


def test_settings_that_are_half_written_again_are_not_called_damaged(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    opened = open_run(run_copy)
    run.write_manifest(run_copy, run.SETTINGS)
    monkeypatch.setattr(run, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        write_settings(run_copy, tiny_config("train.reject=0.5"), opened.labels, opened.vocabulary, opened.data)
    assert run.check_manifest(run_copy, run.SETTINGS) is False


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
