"""Which words an expert takes: from the tables of a run, each word once; refused where words have no expert."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ask, copy_run

from switch_tf import files
from switch_tf.errors import ArgumentError, RunError
from switch_tf.measuring.word_experts import ExpertWords, words_of_experts
from switch_tf.runs.folder import open_run, write_manifest

EXPERT, GATE = "classifier/routes_0/expert", "classifier/routes_0/gate"


@pytest.fixture(scope="module")
def words_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose words go by turns to three experts, the rarer the surer; unknown ones to the last."""
    path = copy_run(trained_run, tmp_path_factory.mktemp("runs") / "words")
    settings = (path / "config.toml").read_text(encoding="utf-8")
    settings = settings.replace('router = "top1"', 'router = "token"').replace("num_experts = 2", "num_experts = 4")
    (path / "config.toml").write_text(settings, encoding="utf-8")
    count = len(open_run(trained_run).vocabulary)
    expert = np.concatenate([[0, 2], np.arange(count) % 3]).astype(np.uint8)
    save(path, {EXPERT: expert, GATE: np.linspace(0.25, 0.75, count + 2, dtype=np.float32)})
    return path


def save(path: Path, changes: dict[str, np.ndarray]) -> None:
    tensors, metadata = files.read_tensors(path / "weights.safetensors")
    files.write_tensors(path / "weights.safetensors", tensors | changes, metadata)
    write_manifest(path)


def test_each_expert_has_its_words_by_frequency(words_run: Path) -> None:
    run = open_run(words_run)
    found = words_of_experts(run)
    assert [(each.block, each.expert) for each in found] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert [each.words for each in found] == [*(run.vocabulary[start::3] for start in range(3)), []]
    assert [each.unknown for each in found] == [False, False, True, False]
    assert found[1].surest() == run.vocabulary[1::3][::-1]
    np.testing.assert_array_equal(found[0].gates, np.linspace(0.25, 0.75, len(run.vocabulary) + 2)[2::3].astype("f4"))


def test_one_expert_may_be_asked_for(words_run: Path) -> None:
    run = open_run(words_run)
    (found,) = words_of_experts(run, block=0, expert=2)
    assert found.words == run.vocabulary[2::3]
    for name, number, expected in (("block", 1, "There is no block 1"), ("expert", 4, "one of: 0, 1, 2, 3")):
        with pytest.raises(ArgumentError, match=expected) as caught:
            words_of_experts(run, **{name: number})
        assert caught.value.argument == name


def test_a_router_of_the_context_has_no_words(trained_run: Path) -> None:
    with pytest.raises(RunError, match=r"no router of words: model.router = 'top1'"):
        words_of_experts(open_run(trained_run))


@pytest.mark.parametrize(("name", "rows", "value"), [(EXPERT, -1, 0), (EXPERT, 0, 4), (GATE, -1, 1)])
def test_tables_that_do_not_fit_are_refused(words_run: Path, tmp_path: Path, name: str, rows: int, value: int) -> None:
    """One row too few, or an expert too many."""
    path = copy_run(words_run, tmp_path / "copy")
    count = len(open_run(path).vocabulary) + 2 + rows
    save(path, {name: np.full(count, value, np.uint8 if name == EXPERT else np.float32)})
    with pytest.raises(RunError, match="tables of routes that do not fit"):
        words_of_experts(open_run(path))


def test_the_command_lists_them(words_run: Path) -> None:
    run = open_run(words_run)
    shown = ask("experts", words_run)
    assert (shown.code, shown.err) == (0, "") and "every unknown" in shown.out
    listed = ask("experts", words_run, "--expert", "1")
    assert listed.out == "".join(f"{word}\n" for word in run.vocabulary[1::3])
    told = json.loads(ask("experts", words_run, "--json").out)["experts"]
    assert [each["words"] for each in told] == [each.words for each in words_of_experts(run)]
    assert set(told[0]) == set(ExpertWords._fields)
    refused = ask("experts", words_run, "--expert", "9")
    assert refused.code == 2 and "On the command line: --expert" in refused.err
