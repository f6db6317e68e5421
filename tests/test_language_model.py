"""The language models of docs/quality.md: nothing looks ahead, FLOPs and figures by hand, no run twice."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import bench_layer
import language_model
import language_plots
from causal_decoder import Decoder, flops_per_token, refuse_routing_that_looks_ahead

from switch_tf.config import ModelConfig
from switch_tf.errors import ConfigError

LENGTH, SYMBOLS = 12, 20


def settings(**changes: Any) -> ModelConfig:
    """Of a decoder whose experts are nearly always full, and whose router is sure of itself."""
    small: dict[str, Any] = {"d_model": 8, "d_ff": 8, "num_heads": 2, "num_blocks": 2, "initializer_scale": 9.0}
    return ModelConfig(**small | {"num_experts": 3, "capacity_factor": 0.8, "eval_capacity_factor": 0.8} | changes)


class TestDecoder:
    @pytest.mark.parametrize(
        "changes",
        [{"num_experts": 0}, {}, {"router": "xmoe"}, {"router": "token"}, {"balance_rate": 0.1}]
        + [{"drop_tokens": False, **each} for each in ({"router": "top2"}, {"priority": "gate"})],
    )
    def test_later_tokens_change_no_earlier_answer_to_the_last_bit(self, changes: dict[str, Any]) -> None:
        keras.utils.set_random_seed(1)
        model = Decoder(settings(**changes), SYMBOLS, LENGTH)
        random = np.random.default_rng(0)
        ids = random.integers(0, SYMBOLS, [4, LENGTH])
        others = random.integers(0, SYMBOLS, [4, LENGTH])
        parted = [np.where(np.arange(LENGTH) < first, ids, others) for first in range(1, LENGTH)]
        answers, reports = model(tf.constant(np.concatenate([ids, *parted])))
        if changes == {}:
            assert all(report.routing.dropped > 50 for report in reports)  # else there are no queues to look at
        before, *after = np.split(answers, LENGTH)
        for first, each in enumerate(after, start=1):
            np.testing.assert_array_equal(each[:, :first], before[:, :first])
            assert np.abs(each[:, first:] - before[:, first:]).max() > 1e-3

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"router": "expert_choice"}, "'expert_choice' is not causal.*model.router = 'top1'[.]$"),
            ({"router": "expert_choice", "drop_tokens": False}, "'expert_choice' is not causal"),
            ({"router": "top2"}, "'top2' is not causal.*model.drop_tokens = false[.]$"),
            ({"priority": "gate"}, "model.priority = 'gate' is not causal.*model.drop_tokens = false[.]$"),
        ],
    )
    def test_routing_that_looks_ahead_is_refused(self, changes: dict[str, Any], told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            Decoder(settings(**changes), SYMBOLS, LENGTH)
        refuse_routing_that_looks_ahead(settings(**changes | {"num_experts": 0}))  # there is nothing to route

    @pytest.mark.parametrize("router", ["top2", "by gate"])
    def test_what_is_refused_does_look_ahead(self, router: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The refusals are no superstition: with them out of the way, a later token takes an earlier one's slot."""
        monkeypatch.setattr("causal_decoder.refuse_routing_that_looks_ahead", lambda settings: None)
        changes = {"router": "top2"} if router == "top2" else {"priority": "gate"}
        keras.utils.set_random_seed(1)
        model = Decoder(settings(**changes), SYMBOLS, LENGTH)
        ids = np.random.default_rng(0).integers(0, SYMBOLS, [8, LENGTH])
        before, _ = model(tf.constant(ids))
        ids[:, -4:] = np.random.default_rng(1).integers(0, SYMBOLS, [8, 4])
        after, _ = model(tf.constant(ids))
        assert np.abs(after[:, :-4] - before[:, :-4]).max() > 1e-3


class TestFlops:
    """d_model 8, d_ff 8, length 12: a block's attention 8 x 64 + 4 x 12 x 8 = 896, one token's expert 4 x 64 = 256."""

    OF_OUTPUT = 2 * 8 * SYMBOLS

    @pytest.mark.parametrize(
        ("changes", "with_empty_slots", "of_tokens"),
        [
            ({"num_experts": 0}, 256, 256),
            ({}, 256 + 48, 256 + 48),  # 3 experts of ceil(0.8 x 12 / 3) = 4 slots, as many as tokens; router 2 x 8 x 3
            ({"capacity_factor": 2.0}, 512 + 48, 256 + 48),
            ({"capacity_factor": 1.1}, 256 * 15 / 12 + 48, 256 + 48),  # 3 x ceil(4.4) slots for 12 tokens
            ({"drop_tokens": False}, 3 * 256 + 48, 256 + 48),
            ({"drop_tokens": False, "router": "top2"}, 3 * 256 + 48, 2 * 256 + 48),
        ],
    )
    def test_by_hand(self, changes: dict[str, Any], with_empty_slots: float, of_tokens: float) -> None:
        model = settings(**changes)
        expected = (2 * (896 + each) + self.OF_OUTPUT for each in (with_empty_slots, of_tokens))
        assert [flops_per_token(model, SYMBOLS, LENGTH, empty) for empty in (True, False)] == list(expected)


def test_windows_are_cut_and_the_last_are_held_out() -> None:
    windows = language_model.windows_of(bytes(range(100)) + b"??", length=4)  # 20 windows of 5, two bytes left over
    assert windows.training.shape == (18, 5) and windows.held_out.tolist() == [
        [90, 91, 92, 93, 94],
        [95, 96, 97, 98, 99],
    ]
    with pytest.raises(click.ClickException, match=r"have 99 bytes\. Expected 100 at least: 20 windows of 4"):
        language_model.windows_of(bytes(99), length=4)


@pytest.mark.parametrize("experts", ["", "1,", "0,2", "two", "-1", "1;2"])
def test_numbers_of_experts_are_whole(experts: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected whole numbers from 1"):
        language_model.numbers_of(experts)


def run(last: float, parameters: int = 1000, flops: int = 300, dropped: float = 0.0) -> dict[str, Any]:
    curve = [[100, 3.0], [200, (3.0 + last) / 2], [300, last]]
    figures = {"parameters": parameters, "flops": flops, "flops_of_tokens": flops - 10, "curve": curve}
    return figures | {"dropped_share": dropped, "cpu_seconds": 1.0}


FIGURES: dict[str, Any] = {
    "experiment": {"tokens_per_step": 64},
    "runs": {
        "1/0": run(2.0),
        "8/0": run(1.5, 5000, 400, 0.02),
        "1/1": run(2.2),
        "8/1": run(1.4, 5000, 400, 0.04),
        "16/0": run(2.5, 9000, 500),
    },
    "milliseconds": {"1": [10.0, 20.0, 10.0], "8": [15.0, 26.0, 14.0]},
}


def test_the_table_by_hand() -> None:
    """Seed 0: 3, 2.25, 1.5 against 2 is there at 200 + 100 / 3; seed 1: 3, 2.2, 1.4 against 2.2 at 200."""
    assert language_plots.table(FIGURES).splitlines()[2:] == [
        "| dense | 1,000 | 290, 300 | 2.100 ±.100 | - | - | - | 1.00 |",
        "| 8 | 5,000 | 390, 400 | 1.450 ±.050 | 0.650 ±.150 | 72 % | 3.0 % | 1.40 |",
        "| 16 | 9,000 | 490, 500 | 2.500 | -0.500 | never | 0.0 % | not run |",
    ]


def test_the_picture_is_small_svg_without_background_and_the_same_again(tmp_path: Path) -> None:
    path = language_plots.draw(FIGURES, tmp_path)
    first = path.read_bytes()
    assert path.name == "quality-language-model.svg" and len(first) < 100_000
    words = {
        "".join(each.itertext()).strip() for each in ElementTree.fromstring(first).iter() if each.tag.endswith("text")
    }
    assert {"dense", "8 experts", "16 experts", "steps", "processor time, s"} <= words
    assert language_plots.draw(FIGURES, tmp_path).read_bytes() == first


class TestCommand:
    @pytest.fixture(autouse=True)
    def _threads_are_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bench_layer, "one_thread", lambda: None)  # TensorFlow has started with more

    def ask(self, folder: Path, *words: str) -> Any:
        text, page = folder / "text.txt", folder / "page.md"
        text.write_text("\n".join(f"line {number} says no more than that" for number in range(20)))
        page.write_text("<!-- table: language model -->\n<!-- end of table -->\n")
        fixed = [str(text), "--quick", "--results", str(folder / "figures.json"), "--write", str(page)]
        return CliRunner().invoke(language_model.main, [*fixed, *words])

    @pytest.mark.slow
    def test_runs_are_made_once_kept_and_told(self, tmp_path: Path) -> None:
        answered = self.ask(tmp_path, "--experts", "1,2", "--seeds", "1")
        assert answered.exit_code == 0, answered.output
        lines = [line for line in answered.stderr.splitlines() if line.startswith("E=")]
        assert [line.split()[:4] for line in lines] == [[f"E={n}", "seed=0", "step", "6/6,"] for n in (1, 2)]
        assert all(len(line) <= 80 for line in lines)
        assert (tmp_path / "page.md").read_text().count("| dense |") == 1
        assert (tmp_path / "quality-language-model.svg").exists()
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert [len(figures["runs"][key]["curve"]) for key in ("1/0", "2/0")] == [2, 2]
        assert figures["experiment"]["text"]["bytes"] == len((tmp_path / "text.txt").read_text())

        figures["runs"]["1/0"]["curve"][-1][1] = 0.125  # would be gone if the run were made again
        (tmp_path / "figures.json").write_text(json.dumps(figures))
        again = self.ask(tmp_path, "--experts", "1,2", "--seeds", "1")
        assert again.exit_code == 0 and "E=" not in again.stderr and "| 0.125 |" in again.stdout

        other = self.ask(tmp_path, "--experts", "1", "--set", "train.learning_rate=0.1")
        assert other.exit_code == 1 and "holds an experiment with other settings. Name another file" in other.output

    def test_results_that_are_no_results_are_refused(self, tmp_path: Path) -> None:
        for content in ("{", "[]", '{"runs": {}}'):
            (tmp_path / "figures.json").write_text(content)
            answered = self.ask(tmp_path)
            assert answered.exit_code == 1 and "holds no results of this program" in answered.output
            assert (tmp_path / "figures.json").read_text() == content

    def test_routing_that_looks_ahead_is_an_error_of_the_user(self, tmp_path: Path) -> None:
        answered = self.ask(tmp_path, "--set", "model.router=expert_choice")
        assert answered.exit_code == 1 and "is not causal" in answered.output
        assert not (tmp_path / "figures.json").exists()

    def test_help_fits_a_terminal(self) -> None:
        answered = CliRunner().invoke(language_model.main, ["--help"])
        assert all(len(line) <= 80 for line in answered.output.splitlines())
        assert "1 is the dense model" in answered.output
