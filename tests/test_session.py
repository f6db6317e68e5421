"""What a run folder holds is true, what was refused left nothing, and what was cut off goes on."""

import errno
import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import Quiet, ask, tiny_config, write_tsv

from switch_tf import files
from switch_tf.data.examples import fingerprint, read_examples
from switch_tf.data.request import DataRequest
from switch_tf.errors import DataError, RunError
from switch_tf.locks import locked
from switch_tf.measuring.scores import evaluate
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import SETTINGS, open_run, write_manifest
from switch_tf.runs.measured import read_measured
from switch_tf.text.front_ends import reading_front_end
from switch_tf.text.plain_spelling import PlainSpelling
from switch_tf.text.spec import TextSpec
from switch_tf.training import session as module
from switch_tf.training.encoding import choose_vocabulary, encode_validation, with_unknown
from switch_tf.training.session import prepare, read_unfinished, train
from switch_tf.training.steps import Encoded

CONTENTS = [
    "config.toml",
    "data.json",
    "held_out.parquet",
    "history.csv",
    "history.png",
    "labels.json",
    "manifest.json",
    "metrics.json",
    "summary.md",
    "vocabulary.txt",
    "weights.safetensors",
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(data_folder: Path, test: bool = True) -> DataRequest:
    return DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv") if test else None)


class Never(Quiet):
    """Training must not begin."""

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        raise AssertionError("training began")


class TestRunFolder:
    def test_it_holds_what_it_promises_and_nothing_else(self, trained_run: Path) -> None:
        assert names(trained_run) == CONTENTS
        assert names(trained_run.parent) == [trained_run.name]

    def test_its_data_is_described(self, trained_run: Path, data_folder: Path) -> None:
        data = json.loads((trained_run / "data.json").read_text())
        assert len(data.pop("fingerprint")) == len(data.pop("test_fingerprint")) == 64
        told = data.pop("survey")
        assert told["examples"] == {"training": 108, "validation": 12, "test": 40}
        assert told["labels"] == {"bad": 60, "good": 60} or sum(told["labels"].values()) == 120
        assert data == {
            "format": 3,
            "embedded": [],
            "data": str(data_folder / "made.tsv"),
            "test": str(data_folder / "made-test.tsv"),
            "text_column": "text",
            "label_column": "label",
            "no_header": False,
            "skip_bad": False,
            "training_examples": 108,
            "validation_examples": 12,
            "test_examples": 40,
        }

    def test_its_settings_are_the_ones_it_was_trained_with(self, trained_run: Path) -> None:
        settings = tomllib.loads((trained_run / "config.toml").read_text())
        assert (settings["model"]["num_experts"], settings["train"]["epochs"]) == (2, 3)
        assert open_run(trained_run).config == tiny_config()

    def test_its_metrics_are_what_evaluating_it_gives(self, trained_run: Path, data_folder: Path) -> None:
        metrics = json.loads((trained_run / "metrics.json").read_text())
        classifier = load_classifier(open_run(trained_run))
        assert metrics["test"] == evaluate(classifier, read_examples(data_folder / "made-test.tsv"))
        validation = prepare(made(data_folder), tiny_config()).validation
        assert metrics["validation"] == evaluate(classifier, validation)
        assert (metrics["validation"]["n"], metrics["test"]["n"]) == (12, 40)
        weights, _ = files.read_tensors(trained_run / "weights.safetensors")
        assert metrics["training"]["parameters"] == sum(array.size for array in weights.values())
        assert set(metrics["versions"]) == {"switch-tf", "tensorflow", "tf-keras", "numpy", "python"}

    def test_the_best_epoch_is_the_one_that_was_kept(self, trained_run: Path) -> None:
        metrics = json.loads((trained_run / "metrics.json").read_text())
        rows = [line.split(",") for line in (trained_run / "history.csv").read_text().splitlines()]
        history = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        best = history[metrics["training"]["best_epoch"] - 1]
        assert float(best["validation_accuracy"]) == pytest.approx(metrics["validation"]["accuracy"])
        assert float(best["validation_loss"]) == pytest.approx(metrics["validation"]["log_loss"], rel=1e-4)
        assert max(float(row["validation_accuracy"]) for row in history) == float(best["validation_accuracy"])

    def test_its_held_out_texts_are_of_the_test_set_with_their_labels(
        self, trained_run: Path, data_folder: Path
    ) -> None:
        table = pq.read_table(trained_run / "held_out.parquet").to_pydict()
        rows = [line.split("\t") for line in (data_folder / "made-test.tsv").read_text("utf-8").split("\n")[1:-1]]
        assert list(zip(table["text"], table["label"], strict=True)) == [(text, label) for text, label in rows]


class TestWhatARunIsMeasuredOn:
    def test_it_is_its_whole_test_set_wherever_that_is_now(
        self, trained_run: Path, data_folder: Path, tmp_path: Path
    ) -> None:
        run, test = open_run(trained_run), read_examples(data_folder / "made-test.tsv")
        assert read_measured(run).texts.to_pylist() == test.texts.to_pylist()
        moved = shutil.copy(data_folder / "made-test.tsv", tmp_path / "moved.tsv")
        assert read_measured(run, str(moved)).labels.to_pylist() == test.labels.to_pylist()

    def test_without_a_test_set_it_is_the_validation_split(self, trained_run: Path, data_folder: Path) -> None:
        run = open_run(trained_run)
        run.data.update(test=None, test_fingerprint=None)
        expected = prepare(made(data_folder, test=False), run.config).validation
        assert read_measured(run).texts.to_pylist() == expected.texts.to_pylist()

    def test_an_embedded_set_brings_its_own(self, trained_run: Path) -> None:
        run, test = open_run(trained_run), read_examples("reviews", split="test")
        run.data.update(data="reviews", embedded=["data"], test=None, test_fingerprint=fingerprint(test))
        assert len(read_measured(run)) == len(test)

    def test_other_or_missing_data_is_refused(self, trained_run: Path, data_folder: Path) -> None:
        run = open_run(trained_run)
        with pytest.raises(DataError, match=r"made\.tsv is not what .* was measured on\. Say where that is"):
            read_measured(run, str(data_folder / "made.tsv"))
        run.data["test"] = "gone.tsv"
        with pytest.raises(DataError, match=r"measured on gone\.tsv, which cannot be read: There is no gone\.tsv"):
            read_measured(run)
        del run.data["test_fingerprint"]
        with pytest.raises(RunError, match="does not say 'test_fingerprint'"):
            read_measured(run)


class TestRefusals:
    def test_a_test_label_that_training_lacks_is_refused_before_training(
        self, data_folder: Path, tmp_path: Path
    ) -> None:
        test = write_tsv(tmp_path / "b.tsv", [("a film", "good"), ("another", "so-so")])
        request = DataRequest(str(data_folder / "made.tsv"), str(test))
        with pytest.raises(
            DataError, match=r"b\.tsv, line 3: received the label 'so-so'\. Expected one of 'bad', 'good'"
        ):
            train(request, tiny_config(), tmp_path / "run", Never())
        assert names(tmp_path) == ["b.tsv"]

    @pytest.mark.parametrize(
        ("request_", "problem"),
        [
            (DataRequest("none.tsv"), "There is no none.tsv"),
            (DataRequest("MADE", test="none.tsv"), "There is no none.tsv"),
            (DataRequest("MADE", text_column="words"), "there is no column 'words'"),
        ],
    )
    def test_data_that_cannot_be_used_leaves_nothing(
        self, request_: DataRequest, problem: str, data_folder: Path, tmp_path: Path
    ) -> None:
        data = request_.data.replace("MADE", str(data_folder / "made.tsv"))
        request = DataRequest(data, request_.test, request_.text_column)
        with pytest.raises(DataError, match=problem):
            train(request, tiny_config(), tmp_path / "run", Never())
        assert names(tmp_path) == []

    @pytest.mark.parametrize(
        ("there", "resume", "problem"),
        [
            ("run", False, r"run already exists\. Name another folder, or remove it first\."),
            ("run", True, r"run is finished: there is nothing to resume\. Name another folder"),
            ("run.unfinished", False, r"holds an unfinished training\. Resume it, or remove it first\."),
            ("other", True, r"There is nothing to resume: no folder .*run\.unfinished\. Train from the start\."),
        ],
    )
    def test_a_folder_in_the_way_or_missing_is_refused_before_reading(
        self, there: str, resume: bool, problem: str, tmp_path: Path
    ) -> None:
        (tmp_path / there).mkdir()
        with pytest.raises(RunError, match=problem):
            train(DataRequest("none.tsv"), tiny_config(), tmp_path / "run", Never(), resume=resume)
        assert (names(tmp_path), names(tmp_path / there)) == ([there], [])

    @pytest.mark.parametrize("output", [".", "/", "..", "a.unfinished"])
    def test_a_name_that_no_run_can_have_is_refused(
        self, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for resume in (False, True):
            with pytest.raises(RunError, match=r"is no name for a new folder|Leave that ending out"):
                train(DataRequest("none.tsv"), tiny_config(), Path(output), Never(), resume)
        with pytest.raises(RunError, match=r"is no name for a new folder|Leave that ending out"):
            read_unfinished(Path(output))

    def test_a_full_disk_at_the_start_leaves_nothing(
        self, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_at(monkeypatch, "config.toml")
        with pytest.raises(RunError, match=r"config\.toml cannot be written: No space left on device"):
            train(made(data_folder), tiny_config(), tmp_path / "run", Never())
        assert names(tmp_path) == []


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when the file `name` is written."""
    original: Callable[[Path, bytes], None] = files.write_bytes

    def full(*_: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_bytes(path: Path, content: bytes) -> None:
        with monkeypatch.context() as patch:
            if path.name == name:
                patch.setattr(os, "fsync", full)
            original(path, content)

    monkeypatch.setattr(files, "write_bytes", write_bytes)


@pytest.fixture(scope="module")
def cut_off(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training whose disk was full when all epochs were done and metrics were to be written."""
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as monkeypatch:
        fail_at(monkeypatch, "metrics.json")
        with pytest.raises(RunError, match=r"metrics\.json cannot be written: No space left on device"):
            train(made(data_folder), tiny_config(), folder / "run", Quiet())
    assert names(folder) == ["run.unfinished"]
    return folder / "run.unfinished"


class TestOneAtATime:
    @pytest.mark.parametrize("resume", [False, True])
    def test_a_second_training_into_a_folder_is_refused(self, resume: bool, data_folder: Path, tmp_path: Path) -> None:
        output = tmp_path / "run"
        (tmp_path / "run.unfinished").mkdir()
        with locked(output, "trained"):
            with pytest.raises(RunError, match=rf"run is being trained by process {os.getpid()} on .*, since .* Wait"):
                train(made(data_folder), tiny_config(), output, Never(), resume=resume)
            answer = ask("train", data_folder / "made.tsv", "--output", output)
            assert answer.code == 1
            assert f"Error: {output} is being trained by process {os.getpid()}" in answer.err
        assert names(tmp_path) == ["run.unfinished"]

    def test_settings_that_changed_behind_an_unfinished_training_are_refused(
        self, data_folder: Path, tmp_path: Path
    ) -> None:
        class Interrupted(Quiet):
            def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(made(data_folder), tiny_config(), tmp_path / "run", Interrupted())
        path = tmp_path / "run.unfinished" / "vocabulary.txt"
        path.write_bytes(path.read_bytes()[:-2] + b"?\n")
        with pytest.raises(RunError, match=r"changed by hand: vocabulary\.txt is not as it was written"):
            train(made(data_folder), tiny_config(), tmp_path / "run", Never(), resume=True)


class TestResuming:
    @pytest.fixture
    def output(self, cut_off: Path, tmp_path: Path) -> Path:
        shutil.copytree(cut_off, tmp_path / "run.unfinished")
        return tmp_path / "run"

    def test_a_training_cut_off_at_its_end_trains_nothing_again(
        self, output: Path, data_folder: Path, trained_run: Path
    ) -> None:
        request, config, found = read_unfinished(output)
        assert (request, config, found) == (made(data_folder).resolved(), tiny_config(), output)
        run = train(request, config, output, Never(), resume=True)
        assert (run.path, names(output), names(output.parent)) == (output, CONTENTS, ["run"])
        for name in ("weights.safetensors", "held_out.parquet", "vocabulary.txt", "data.json"):
            assert (output / name).read_bytes() == (trained_run / name).read_bytes(), name
        ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (output, trained_run))
        assert (ours["test"], ours["validation"]) == (theirs["test"], theirs["validation"])
        epochs = [float(row.split(",")[-2]) for row in (output / "history.csv").read_text().splitlines()[1:]]
        assert ours["training"]["seconds"] >= round(sum(epochs), 1)

    def test_how_the_settings_were_found_is_not_forgotten(self, output: Path) -> None:
        folder = output.with_name("run.unfinished")
        data = json.loads((folder / "data.json").read_text())
        (folder / "data.json").write_text(json.dumps(data | {"autotune": {"trials": 3}}))
        write_manifest(folder, SETTINGS)
        description = {key: data[key] for key in ("fingerprint", "test_fingerprint")}
        module._check_same(folder, tiny_config(), description)
        assert description["autotune"] == {"trials": 3}

    def test_a_name_taken_in_the_meantime_costs_nothing(
        self, output: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measure = module._measure

        def meanwhile(*arguments: Any) -> Any:
            metrics = measure(*arguments)
            output.mkdir()
            return metrics

        monkeypatch.setattr(module, "_measure", meanwhile)
        with pytest.raises(RunError, match="run already exists"):
            train(made(data_folder), tiny_config(), output, Never(), resume=True)
        monkeypatch.undo()
        assert "checkpoint.safetensors" in names(output.with_name("run.unfinished"))
        output.rmdir()
        train(made(data_folder), tiny_config(), output, Never(), resume=True)
        assert names(output) == CONTENTS

    def test_other_settings_are_refused(self, output: Path, data_folder: Path) -> None:
        with pytest.raises(RunError, match=r"was started with other settings\. Resume without settings"):
            train(made(data_folder), tiny_config("train.epochs=4"), output, Never(), resume=True)

    @pytest.mark.parametrize(("changed", "key"), [("made.tsv", "fingerprint"), ("made-test.tsv", "test_fingerprint")])
    def test_other_data_is_refused_even_of_the_same_size(
        self, changed: str, key: str, output: Path, data_folder: Path, tmp_path: Path
    ) -> None:
        for name in ("made.tsv", "made-test.tsv"):
            content = (data_folder / name).read_text("utf-8")
            (tmp_path / name).write_text(content.replace("film", "movie", 1) if name == changed else content, "utf-8")
        with pytest.raises(DataError, match=rf"was started on other data: {key} differs\. Restore the data"):
            train(made(tmp_path), tiny_config(), output, Never(), resume=True)

    def test_a_damaged_checkpoint_is_refused(self, output: Path, data_folder: Path) -> None:
        path = output.with_name("run.unfinished") / "checkpoint.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be read as safetensors"):
            train(made(data_folder), tiny_config(), output, Never(), resume=True)

    @pytest.mark.parametrize(
        ("name", "content"), [("data.json", "[]"), ("data.json", "{}"), ("data.json", "{"), ("config.toml", "[")]
    )
    def test_a_damaged_description_is_refused(self, name: str, content: str, output: Path) -> None:
        (output.with_name("run.unfinished") / name).write_text(content)
        with pytest.raises(RunError, match=r"cannot be resumed: .* Remove it and train again|cannot be read as JSON"):
            read_unfinished(output)

    def test_the_newest_unfinished_training_is_found(
        self, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "runs").mkdir()
        output.with_name("run.unfinished").rename(tmp_path / "runs" / "run.unfinished")
        monkeypatch.chdir(tmp_path)
        assert read_unfinished(None)[2] == Path("runs/run")

    def test_words_that_contradict_it_are_a_usage_error(self, output: Path, data_folder: Path) -> None:
        answer = ask("train", data_folder / "made.tsv", "--resume", "--output", output, "--epochs", "9")
        assert answer.code == 2
        assert "was started with other data or settings than epochs, data say." in answer.err
        assert "Resume with the same words, or with --output alone." in answer.err


def test_words_that_no_training_text_has_are_unknown_on_validation() -> None:
    training = Encoded(np.array([[5, 7, 0], [9, 0, 0]], np.int32), np.array([0, 1], np.int32))
    validation = Encoded(np.array([[7, 8, 9], [1, 5, 0]], np.int32), np.array([1, 0], np.int32))
    unseen = with_unknown(validation, training)
    assert unseen.ids.tolist() == [[7, 1, 9], [1, 5, 0]] and unseen.ids.dtype == np.int32
    assert unseen.labels is validation.labels
    assert validation.ids.tolist() == [[7, 8, 9], [1, 5, 0]]


def test_a_word_that_no_training_text_has_is_spelt_on_validation(tmp_path: Path) -> None:
    spec = TextSpec(sequence_length=3, byte_length=16, unknown_words="letters")
    front_end = reading_front_end(spec, ["film", "fine"])
    assert isinstance(front_end, PlainSpelling)
    examples = read_examples(write_tsv(tmp_path / "a.tsv", [("fine film", "a"), ("film of", "b")]))
    training = Encoded(np.array([[2, 2, 0]], np.int32), np.array([0], np.int32))  # of "film film"
    as_read, unseen = encode_validation(examples, ["a", "b"], front_end, training)
    assert (as_read.ids.tolist(), unseen.ids.tolist()) == ([[3, 2, 0], [2, 1, 0]], [[1, 2, 0], [2, 1, 0]])
    assert as_read.letters is not None and unseen.letters is not None
    assert as_read.letters.tolist() == front_end.letters([b"fine film", b"film of"]).tolist()
    assert unseen.letters.tolist() == PlainSpelling(spec, ["film"]).letters([b"fine film", b"film of"]).tolist()
    assert as_read.letters[0].max() == 0 < unseen.letters[0].max()


def test_a_wide_path_knows_the_words_of_validation_and_of_no_test_text(tmp_path: Path) -> None:
    rows = [(f"word{i} common", "ab"[i % 2]) for i in range(40)]
    data = write_tsv(tmp_path / "data.tsv", rows)
    test = write_tsv(tmp_path / "test.tsv", [("testword common", "a"), ("testword", "b")])
    plain = tiny_config("train.validation_share=0.5")
    prepared = prepare(DataRequest(str(data), str(test)), plain)
    wide = tiny_config("train.validation_share=0.5", "wide.enabled=true")
    assert len(choose_vocabulary(plain, prepared)) == 21
    assert len(choose_vocabulary(wide, prepared)) == 41 and "testword" not in choose_vocabulary(wide, prepared)
