"""Run folders of earlier formats open and answer as they did; a later one's are refused.

`data/run_format_1` was written by the last release before run folders had a format number, from 120 of `conftest`'s
made-up rows with its tiny settings; history.png is left out. Its answers below are what that release printed.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ask, tiny_config

from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.artifacts.opening import load_predictor
from switch_tf.config import config_to_dict, load_config
from switch_tf.errors import RunError
from switch_tf.export.options import ExportOptions
from switch_tf.export.session import export_run
from switch_tf.runs.folder import open_run

RUN_FORMAT_1 = Path(__file__).parent / "data" / "run_format_1"
ANSWERS_FORMAT_1 = {
    "a lovely warm film": 0.9085393,
    "Dull, awful plot!": 0.25617376,
    "": 0.49516872,
    "the cast schön": 0.24089713,
    "witty story witty great the the plot film cast slow cold awful": 0.5377326,
}
TEXTS, GOOD = list(ANSWERS_FORMAT_1), list(ANSWERS_FORMAT_1.values())


@pytest.fixture
def format_1(tmp_path: Path) -> Path:
    """A copy to export from and to change."""
    return Path(shutil.copytree(RUN_FORMAT_1, tmp_path / "old"))


def test_format_1_has_no_number_and_a_byte_length_that_nobody_asked_for() -> None:
    assert "format" not in json.loads((RUN_FORMAT_1 / "data.json").read_text(encoding="utf-8"))
    assert "\nbyte_length = 256\n" in (RUN_FORMAT_1 / "config.toml").read_text(encoding="utf-8")


def test_format_1_opens() -> None:
    run = open_run(RUN_FORMAT_1)
    assert (run.labels, len(run.vocabulary), run.vocabulary[0]) == (["bad", "good"], 48, "cast")
    assert (run.config.text.sequence_length, run.config.text.num_bytes) == (12, 256)
    assert run.config.model == tiny_config().model


def test_format_1_answers_as_it_did() -> None:
    probabilities = load_predictor(RUN_FORMAT_1).probabilities(TEXTS)
    np.testing.assert_allclose(probabilities[:, 1], GOOD, rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_format_1_is_exported(format_1: Path) -> None:
    exported = export_run(open_run(format_1), ExportOptions("onnx"))
    (path,), (comparison,) = exported.paths, exported.comparisons
    assert comparison.ok
    np.testing.assert_allclose(OnnxPredictor(path).probabilities(TEXTS)[:, 1], GOOD, rtol=0, atol=1e-5)


def test_settings_of_format_1_are_settings_still() -> None:
    config = load_config(file=RUN_FORMAT_1 / "config.toml", assignments=["train.epochs=2"])
    assert (config.text.byte_length, config.train.epochs, config.model.num_experts) == (256, 2, 2)


@pytest.mark.parametrize("received", [5, 0, -1, True, "2", 2.5, None])
def test_a_format_of_another_time_is_refused(received: object, format_1: Path) -> None:
    data = json.loads((format_1 / "data.json").read_text(encoding="utf-8"))
    (format_1 / "data.json").write_text(json.dumps({"format": received, **data}), encoding="utf-8")
    with pytest.raises(RunError, match=r"has the format .*Expected at most 4: open it with the release that wrote it"):
        open_run(format_1)


def test_the_command_line_refuses_a_later_format_with_1(format_1: Path) -> None:
    (format_1 / "data.json").write_text('{"format": 5}', encoding="utf-8")
    answer = ask("predict", format_1, "a text")
    assert (answer.code, answer.out) == (1, "")
    assert f"{format_1} has the format 5. Expected at most 4" in " ".join(answer.err.split())


class TestTodays:
    """What is written now."""

    def test_has_its_number_and_no_byte_length(self, trained_run: Path) -> None:
        assert json.loads((trained_run / "data.json").read_text(encoding="utf-8"))["format"] == 3
        assert "byte_length" not in (trained_run / "config.toml").read_text(encoding="utf-8")
        assert "byte_length" not in config_to_dict(open_run(trained_run).config)["text"]

    def test_byte_length_follows_a_sequence_length_that_is_set_behind_it(self, trained_run: Path) -> None:
        config = load_config(file=trained_run / "config.toml", assignments=["text.sequence_length=256"])
        assert (open_run(trained_run).config.text.num_bytes, config.text.num_bytes) == (256, 2048)
