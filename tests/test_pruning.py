"""Pruning a run: experts without use cost nothing and go in whole, whatever the router; RUN stays; refusals say why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from conftest import Quiet, ask, copy_run, export_file, tiny_config, write_tsv

import switch_tf
from switch_tf import files
from switch_tf.config import config_to_dict
from switch_tf.data.request import DataRequest
from switch_tf.errors import ArgumentError, DataError, RunError
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.weights import named_weights
from switch_tf.runs.folder import Run, open_run, read_metrics, write_manifest, write_rejection
from switch_tf.runs.measured import read_measured
from switch_tf.runs.rejection import Rejection
from switch_tf.training import pruning
from switch_tf.training.pruning import Pruning, choose_kept, prune
from switch_tf.training.session import train

ROUTERS: dict[str, list[str]] = {
    "top1": ["model.router=top1"],
    "top1 by gate, balanced by a bias": ["model.priority=gate", "model.balance_rate=0.01"],
    "top2": ["model.router=top2"],
    "expert_choice": ["model.router=expert_choice"],
    "xmoe": ["model.router=xmoe"],
    "token": ["model.router=token"],
}
LABELLED = [("lovely film", "good"), ("dull film", "bad"), ("xyz", "unknown")]
DEAD = (1, 3)
OF_AN_EXPERT = 8 * 16 + 16 + 16 * 8 + 8  # parameters, at the width 8 and the hidden width 16


def written_run(trained_run: Path, path: Path, *changes: str, dead: tuple[int, ...] = DEAD, blocks: int = 1) -> Run:
    """`trained_run` with other settings and random weights, of whose five experts some are never chosen.

    What a router sees has nearly the mean 1, and columns of other experts have the mean 0: so a column of negative
    numbers loses. With expert choice it has to lose beyond what float32 can tell from 0.
    """
    path = copy_run(trained_run, path)
    config = tiny_config("model.num_experts=5", f"model.num_blocks={blocks}", *changes)
    (path / "config.toml").write_text(tomli_w.dumps(config_to_dict(config)), encoding="utf-8")
    vocabulary = open_run(trained_run).vocabulary
    model = SwitchClassifier(config, len(vocabulary) + 2, 2)
    model.initialize()
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=v.shape).astype(np.float32) for name, v in named_weights(model).items()}
    for block in range(blocks):
        spoil_router(weights, f"classifier/block_{block}/", config.model, dead)
    weights = finish(weights, config.model)
    for name in weights:
        if name.endswith("routes_0/expert"):
            weights[name] = np.array([0, 2, 4], np.uint8)[np.arange(len(vocabulary) + 2) % 3]
    files.write_tensors(path / "weights.safetensors", weights)
    write_manifest(path)
    return open_run(path)


def spoil_router(weights: dict[str, np.ndarray], block: str, model: Any, dead: tuple[int, ...]) -> None:
    weights[f"{block}feed_forward_norm/gamma"] *= 0.05
    weights[f"{block}feed_forward_norm/beta"][:] = 1.0
    router = weights[f"{block}switch_ffn/router"]
    if model.router == "xmoe":  # two dimensions, of which the first is always the large one
        projection = weights[f"{block}switch_ffn/router_projection"]
        projection -= projection.mean(axis=0)
        projection[:, 0] = 1.0
        router[0] = [0.01 if number not in dead else -1.0 for number in range(5)]
        return
    router -= router.mean(axis=0)
    router[:, list(dead)] = -20.0 if model.router == "expert_choice" else -0.1
    if model.balance_rate:
        router[:, list(dead)] = 5.0  # the best of all, but for the bias
        weights[f"{block}switch_ffn/router_bias"][:] = [-9.0 if number in dead else 0.0 for number in range(5)]


def request_of(data_folder: Path) -> DataRequest:
    return DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))


@pytest.fixture(scope="module")
def run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With top-1."""
    return written_run(trained_run, tmp_path_factory.mktemp("runs") / "made")


@pytest.fixture(scope="module")
def pruned(run: Run, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What pruning `run` of its dead experts told, and the folder."""
    output = tmp_path_factory.mktemp("runs") / "pruned"
    return prune(run, request_of(data_folder), Pruning(), output, Quiet()), output


def check_nothing_lost(report: dict[str, Any], output: Path) -> None:
    assert report["max_abs_diff"] <= 1e-6
    before, after = report["before"], report["pruned"]
    (layer,) = report["layers"]
    dropped = len(layer["dropped"])
    assert set(DEAD) <= set(layer["dropped"]) and (layer["before"], layer["after"]) == (5, 5 - dropped)
    assert after["accuracy"] == before["accuracy"] and after["log_loss"] == pytest.approx(before["log_loss"], abs=1e-6)
    assert before["parameters"] - after["parameters"] == dropped * OF_AN_EXPERT
    assert before["bytes"] - after["bytes"] == 4 * dropped * OF_AN_EXPERT
    assert (output / "weights.safetensors").stat().st_size == after["bytes"]


@pytest.mark.slow
def test_two_dead_experts_cost_no_answer_and_their_bytes(pruned: tuple[dict[str, Any], Path]) -> None:
    report, output = pruned
    check_nothing_lost(report, output)
    assert open_run(output).config.model.expert_map == [[0, -1, 1, -1, 2]]
    assert report["pruned"]["dropped_share"] == report["before"]["dropped_share"]
    assert report["layers"][0]["use"][1] == report["layers"][0]["use"][3] == 0.0
    assert sum(report["layers"][0]["use"]) == pytest.approx(1.0, abs=1e-5)
    assert report["slots"] == 3  # ceil(1.25 x 12 / 5), as of five experts; of three it would be 5


@pytest.mark.slow
@pytest.mark.parametrize("router", ROUTERS)
def test_so_it_is_with_every_router(router: str, trained_run: Path, data_folder: Path, tmp_path: Path) -> None:
    run = written_run(trained_run, tmp_path / "run", *ROUTERS[router])
    report = prune(run, request_of(data_folder), Pruning(), tmp_path / "pruned", Quiet())
    check_nothing_lost(report, tmp_path / "pruned")
    pruned = open_run(tmp_path / "pruned")
    _, comparison = export_file("onnx", pruned, Proof(pruned, texts=20), tmp_path / "model.onnx")
    assert comparison.ok and comparison.max_abs_diff <= 1e-6


@pytest.mark.slow
def test_it_passes_the_gate_in_other_formats_too(pruned: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    opened = open_run(pruned[1])
    proof = Proof(opened, texts=20)
    _, comparison = export_file("tflite", opened, proof, tmp_path / "model.tflite")
    assert comparison.ok and comparison.experts_unvisited == []
    _, comparisons = export_saved_model(opened, proof, tmp_path / "saved_model")
    assert all(each.ok for each in comparisons)


@pytest.mark.slow
def test_the_run_stays_as_it_is_and_the_pruned_one_is_a_run(
    run: Run, pruned: tuple[dict[str, Any], Path], data_folder: Path
) -> None:
    report, output = pruned
    assert open_run(run.path).config == run.config
    opened = open_run(output)
    assert opened.vocabulary == run.vocabulary and opened.labels == run.labels
    metrics = read_metrics(output)
    assert metrics["pruning"]["before"] == report["before"]
    assert metrics["test"]["accuracy"] == report["pruned"]["accuracy"]
    assert metrics["training"]["parameters"] == report["pruned"]["parameters"]
    assert len(read_measured(opened)) == 40
    assert opened.data["pruned"]["from"] == str(run.path)
    assert opened.data["pruned"]["trained_on"] == run.data
    summary = (output / "summary.md").read_text(encoding="utf-8")
    assert str(run.path) in summary and ", 3 of 5 experts, " in summary
    texts = ["a lovely film", "a dull film", ""]
    before, after = switch_tf.load(run.path).predict_proba(texts), switch_tf.load(output).predict_proba(texts)
    np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_a_pruned_run_may_be_pruned_again(
    pruned: tuple[dict[str, Any], Path], data_folder: Path, tmp_path: Path
) -> None:
    report = prune(open_run(pruned[1]), request_of(data_folder), Pruning(keep=1), tmp_path / "one", Quiet())
    (layer,) = report["layers"]
    kept = int(np.argmax(layer["use"]))
    expected = [[0 if number == (0, 2, 4)[kept] else -1 for number in range(5)]]
    assert (layer["before"], layer["after"]) == (3, 1)
    assert open_run(tmp_path / "one").config.model.expert_map == expected
    assert report["before"]["parameters"] - report["pruned"]["parameters"] == 2 * OF_AN_EXPERT
    with pytest.raises(RunError, match=r"nothing to prune in .* 100\.00%"):
        prune(open_run(tmp_path / "one"), request_of(data_folder), Pruning(), tmp_path / "none", Quiet())


@pytest.mark.slow
def test_layers_lose_as_many_as_each_can_spare(trained_run: Path, data_folder: Path, tmp_path: Path) -> None:
    run = written_run(trained_run, tmp_path / "run", blocks=2)
    weights, _ = files.read_tensors(run.path / "weights.safetensors")
    router = weights["classifier/block_1/switch_ffn/router"]
    router[:, 1] = [9, -9, 9, -9, 9, -9, 9, -9]  # no longer dead
    files.write_tensors(run.path / "weights.safetensors", weights)
    write_manifest(run.path)
    report = prune(open_run(run.path), request_of(data_folder), Pruning(), tmp_path / "pruned", Quiet())
    first, second = report["layers"]
    assert first["dropped"] == [1, 3] and 3 in second["dropped"] and 1 not in second["dropped"]
    assert report["max_abs_diff"] <= 1e-6
    maps = open_run(tmp_path / "pruned").config.model.expert_map
    assert maps is not None and maps[0] == [0, -1, 1, -1, 2] and maps[1][3] == -1 and maps[1][1] >= 0


@pytest.mark.parametrize(
    ("use", "wanted", "least", "expected"),
    [
        ([5, 0, 3, 0], Pruning(), 1, [0, 2]),
        ([5, 0, 3, 0], Pruning(keep=3), 1, [0, 1, 2]),  # of equals the first
        ([5, 0, 3, 2], Pruning(threshold=0.2), 1, [0, 2]),  # 2 of 10 is no more than a fifth
        ([5, 0, 0, 0], Pruning(threshold=0.9), 2, [0, 1]),  # never below what the router needs
        ([0, 0], Pruning(), 1, [0]),
        ([1, 9], Pruning(keep=1), 1, [1]),
    ],
)
def test_who_is_kept(use: list[float], wanted: Pruning, least: int, expected: list[int]) -> None:
    assert choose_kept(np.array(use, float), wanted, least) == expected


@pytest.mark.parametrize(
    ("values", "said", "argument"),
    [
        ({"keep": 0}, "keep=0. Expected 1 expert", "keep"),
        ({"threshold": 1.0}, "threshold=1.0. Expected a share", "threshold"),
        ({"threshold": float("nan")}, "threshold=nan. Expected a share", "threshold"),
        ({"epochs": -1}, "epochs=-1. Expected 0", "epochs"),
        ({"keep": 2, "threshold": 0.1}, "keep and threshold. Expected one", "threshold"),
    ],
)
def test_what_means_nothing_is_refused(values: dict[str, Any], said: str, argument: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        Pruning(**values)
    assert caught.value.argument == argument


def test_what_a_router_cannot_do_is_refused(trained_run: Path, data_folder: Path, tmp_path: Path, run: Run) -> None:
    request = request_of(data_folder)
    top2 = written_run(trained_run, tmp_path / "top2", "model.router=top2")
    with pytest.raises(ArgumentError, match=r"keep=1. Expected 2 to 5, with router = 'top2'"):
        prune(top2, request, Pruning(keep=1), tmp_path / "new", Quiet())
    with pytest.raises(ArgumentError, match=r"keep=6. Expected 1 to 5, with router = 'top1'"):
        prune(run, request, Pruning(keep=6), tmp_path / "new", Quiet())
    choosing = written_run(trained_run, tmp_path / "choosing", "model.router=expert_choice")
    with pytest.raises(ArgumentError, match="experts choose their own tokens: drop them") as caught:
        prune(choosing, request, Pruning(keep=2, merge=True), tmp_path / "new", Quiet())
    assert caught.value.argument == "merge"
    dense = written_run(trained_run, tmp_path / "dense", dead=())
    settings = (dense.path / "config.toml").read_text(encoding="utf-8").replace("num_experts = 5", "num_experts = 0")
    (dense.path / "config.toml").write_text(settings, encoding="utf-8")
    write_manifest(dense.path)
    with pytest.raises(RunError, match=r"has no experts \(model.num_experts = 0\)"):
        prune(open_run(dense.path), request, Pruning(), tmp_path / "new", Quiet())
    settings = settings.replace("num_experts = 0", "num_experts = 5").replace("switch_every = 1", "switch_every = 2")
    (dense.path / "config.toml").write_text(settings, encoding="utf-8")
    write_manifest(dense.path)
    with pytest.raises(RunError, match=r"has no experts \(model.switch_every = 2, of 1 blocks\)"):
        prune(open_run(dense.path), request, Pruning(), tmp_path / "new", Quiet())
    assert not (tmp_path / "new").exists()


def test_a_folder_in_the_way_and_other_labels_are_refused(run: Run, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError, match="already exists"):
        prune(run, request_of(data_folder), Pruning(), tmp_path / "taken", Quiet())
    other = write_tsv(tmp_path / "other.tsv", [("a film", "good"), ("a film", "ugly")] * 4)
    with pytest.raises(DataError, match="'ugly'"):
        prune(run, DataRequest(str(other)), Pruning(), tmp_path / "new", Quiet())


@pytest.mark.slow
def test_what_is_cut_off_leaves_nothing(
    run: Run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "write_summary", stop)
    with pytest.raises(KeyboardInterrupt):
        prune(run, request_of(data_folder), Pruning(), tmp_path / "new", Quiet())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("router", "merge"), [("top1", True), ("token", False), ("xmoe", False)])
def test_it_goes_on_learning_with_both_paths(router: str, merge: bool, data_folder: Path, tmp_path: Path) -> None:
    composed = ("model.context=mean", "model.character_grams=true", "model.pair_min_count=2", "wide.enabled=true")
    of_router = (f"model.router={router}", f"text.unknown_words={'letters' if merge else 'alike'}")
    config = tiny_config("model.num_experts=4", "train.epochs=1", *of_router, *composed)
    run = train(request_of(data_folder), config, tmp_path / "run", Quiet())
    progress = Quiet()
    report = prune(run, request_of(data_folder), Pruning(2, merge=merge, epochs=2), tmp_path / "new", progress)
    assert progress.epochs == [1, 2] and np.isfinite(report["fine_tuned"]["log_loss"])
    before, _ = files.read_tensors(run.path / "weights.safetensors")
    after, _ = files.read_tensors(tmp_path / "new" / "weights.safetensors")
    assert before.keys() == after.keys() and not (tmp_path / "new" / "learning").exists()
    unchanged = {name for name in before if np.array_equal(before[name], after[name])}
    assert {name for name in before if name.startswith(("wide/", "fusion/"))} <= unchanged
    assert "classifier/head/kernel" not in unchanged and after["classifier/block_0/switch_ffn/w_in"].shape[0] == 2
    spelt, alike = switch_tf.load(tmp_path / "new").predict_proba(["awful numbers", "awful zzz"])
    assert (np.abs(spelt - alike).max() > 1e-4) == merge  # without letters "numbers" and "zzz" are one word


@pytest.mark.slow
def test_a_reject_threshold_stays(trained_run: Path, tmp_path: Path) -> None:
    run = written_run(trained_run, tmp_path / "run")
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    (run.path / "data.json").write_text(json.dumps(data | {"format": 4}), encoding="utf-8")
    write_rejection(run.path, Rejection(0.5625, "unknown"), {})
    write_manifest(run.path)
    rows = write_tsv(
        tmp_path / "rows.tsv", [(f"{word} {number}", label) for number in range(9) for word, label in LABELLED]
    )
    prune(open_run(run.path), DataRequest(str(rows)), Pruning(keep=2), tmp_path / "new", Quiet())
    opened = open_run(tmp_path / "new")
    assert opened.rejection == Rejection(0.5625, "unknown")
    assert read_metrics(opened.path)["validation"]["rejection"]["label"] == "unknown"
    with pytest.raises(DataError, match="'unknown'"):
        prune(open_run(run.path), DataRequest(str(rows)), Pruning(keep=2, epochs=1), tmp_path / "no", Quiet())


@pytest.mark.slow
def test_the_command_and_the_call_do_it(run: Run, data_folder: Path, tmp_path: Path) -> None:
    copied = copy_run(run.path, tmp_path / "run")
    words = ("prune", copied, "--data", data_folder / "made.tsv", "--keep", 2)
    answer = ask(*words, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report["run"] == str(tmp_path / "run-pruned") and report["measured_on"]["texts"] == 120
    shown = ask(*words, "--merge", "--output", tmp_path / "merged")
    assert shown.code == 0 and "Block 0: 5 experts, 2 stay" in shown.out and "into" in shown.out
    table = {"text": [f"{word} {i}" for i in range(9) for word in ("dull", "warm")], "label": ["bad", "good"] * 9}
    classifier = switch_tf.load(copied).prune(table, output=tmp_path / "called", keep=1, verbose=0)
    assert classifier.path == tmp_path / "called"
    assert open_run(classifier.path).data["in_memory"] == ["data"]


def test_words_that_do_not_fit_end_with_2(run: Run, data_folder: Path) -> None:
    answer = ask("prune", run.path, "--data", data_folder / "made.tsv", "--keep", 9)
    assert answer.code == 2 and "Expected 1 to 5" in answer.err and "--keep" in answer.err
