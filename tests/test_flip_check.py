"""The check that damage is noticed must itself notice damage that is not."""

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import flip_check

from switch_tf import files
from switch_tf.artifacts.opening import load_predictor


def test_every_flip_in_a_checked_run_is_refused_or_changes_nothing(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["flip_check.py", str(trained_run), "--flips", "12", "--seed", "1"])
    with pytest.raises(SystemExit) as stopped:
        flip_check.main()
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert said.endswith("12 damages, 0 of them silent or a traceback\n")
    assert "refused" in said


def test_a_flip_that_no_checksum_tells_is_silent(unchecked_run: Path) -> None:
    weights_file = unchecked_run / "weights.safetensors"
    tensors, _ = files.read_tensors(weights_file)
    weights_file.write_bytes(save(tensors))  # without the checksum that we give every such file
    models = {"run": unchecked_run}
    answers = {"run": load_predictor(unchecked_run).probabilities(flip_check.TEXTS)}
    whole = (unchecked_run / "weights.safetensors").read_bytes()
    weights = np.frombuffer(whole[-400:], np.float32)
    byte = len(whole) - 400 + 4 * int(np.argmax(np.abs(weights))) + 3  # sign and exponent of the largest
    outcome, detail = flip_check.outcome_of(models, answers, flip_check.Damage("run", "weights.safetensors", byte, 7))
    assert outcome == "silent" and "became" in detail
    assert (unchecked_run / "weights.safetensors").read_bytes() == whole


def test_the_same_seed_draws_the_same_damages(trained_run: Path) -> None:
    models = {"run": trained_run}

    def drawn(seed: int) -> list[flip_check.Damage]:
        random = np.random.default_rng(seed)
        return [flip_check.draw(models, random) for _ in range(30)]

    assert drawn(0) == drawn(0) != drawn(1)
    assert {each.bit for each in drawn(0)} > {None, 0}
    assert len({each.file for each in drawn(0)}) > 5
