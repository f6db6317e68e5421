"""Every way that we know to make an artifact wrong is tried on every format it applies to: each must end with 3.

Nothing of the wrong artifact may be left, and an earlier good one must stand untouched. `pytest -s` shows the table.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Quiet, tiny_config
from gate_breaks import BUILDS, CHANGES, INT8, SAVED_MODEL, SMALL, SURGEONS, Build, Change, Target, build

from switch_tf.data.request import DataRequest
from switch_tf.errors import ParityError
from switch_tf.export.formats import FORMATS
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.runs.folder import open_run
from switch_tf.training.session import train

FEWEST = {"saved_model": 6}  # breaks of a format; its artifacts take some ten seconds each
_OF_FILES = 30
_EARLIER = b"an earlier good artifact"

BREAKS: list[Change | Build] = [*CHANGES, *BUILDS]
CASES = [(each, target) for each in BREAKS for target in each.targets]


def cases(folders: bool) -> list[Any]:
    """Each break with each of its targets; what takes another conversion by TensorFlow is slow."""
    return [
        pytest.param(
            each,
            target,
            id=f"{target}: {each.name}",
            marks=[pytest.mark.slow] if folders or (isinstance(each, Build) and target.format == "tflite") else [],
        )
        for each, target in CASES
        if (target == SAVED_MODEL) == folders
    ]


RIGHT = sorted({target for _, target in CASES} - {SAVED_MODEL}, key=str)


@pytest.fixture(scope="module")
def run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Wide enough that its weights are rounded when a file is; tokens compete for slots."""
    wide = ("model.d_model=32", "model.d_ff=64", "model.num_heads=4", "model.num_experts=4", "train.epochs=2")
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    return open_run(train(request, tiny_config(*wide), tmp_path_factory.mktemp("runs") / "wide", Quiet()).path)


@pytest.fixture(scope="module")
def proof(run: Any) -> Proof:
    return Proof(run, texts=100)


@pytest.fixture(scope="module")
def right(run: Any, proof: Proof) -> dict[Target, bytes]:
    """The content of right artifacts."""
    return {each: FORMATS[each.format].build(run, proof.exported, each.options()) for each in RIGHT}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def codes() -> Iterator[dict[tuple[str, str], int]]:
    """The exit code of each break in each format; shown as a table when all are done."""
    received: dict[tuple[str, str], int] = {}
    yield received
    targets = sorted({target for _, target in received})
    lines = [f"| break | {' | '.join(targets)} |", f"|---{'|---' * len(targets)}|"]
    for name in dict.fromkeys(name for name, _ in received):
        lines.append(f"| {name} | {' | '.join(str(received.get((name, target), '')) for target in targets)} |")
    print("\n" + "\n".join(lines))


@pytest.mark.parametrize("target", RIGHT, ids=str)
def test_what_is_right_passes_when_it_was_opened_and_closed_again(
    run: Any, proof: Proof, right: dict[Target, bytes], target: Target, tmp_path: Path
) -> None:
    path = tmp_path / f"model{FORMATS[target.format].suffix}"  # type: ignore[attr-defined]
    content = SURGEONS[target.format](right[target]).close()
    _, (comparison,) = FORMATS[target.format].export(run, proof, path, target.options(), content)
    assert comparison.ok and comparison.words_equal == comparison.words == (0 if target.inputs == "ids" else 48)
    assert comparison.arrays >= 23
    assert path.read_bytes() == content


@pytest.mark.parametrize(("each", "target"), cases(folders=False))
def test_a_wrong_file_ends_with_3_and_leaves_nothing(
    run: Any,
    proof: Proof,
    right: dict[Target, bytes],
    codes: dict[tuple[str, str], int],
    each: Change | Build,
    target: Target,
    tmp_path: Path,
) -> None:
    format: Any = FORMATS[target.format]
    if isinstance(each, Change):
        surgeon = SURGEONS[target.format](right[target])
        each.change(surgeon, proof.model)
        content = surgeon.close()
        assert content != SURGEONS[target.format](right[target]).close(), "nothing was broken"
    else:
        content = build(run, target, each)
    earlier, fresh = tmp_path / f"earlier{format.suffix}", tmp_path / "export" / f"model{format.suffix}"
    earlier.write_bytes(_EARLIER)
    for path in (earlier, fresh):
        with pytest.raises(ParityError) as raised:
            format.export(run, proof, path, target.options(), content)
    codes[each.name, str(target)] = raised.value.exit_code
    assert raised.value.exit_code == 3
    assert list(tmp_path.rglob("*")) == [earlier] and earlier.read_bytes() == _EARLIER


@pytest.mark.parametrize(("each", "target"), cases(folders=True))
def test_a_wrong_folder_ends_with_3_and_leaves_nothing(
    run: Any, proof: Proof, codes: dict[tuple[str, str], int], each: Build, target: Target, tmp_path: Path
) -> None:
    wrong = copy.copy(proof)
    wrong.exported = build(run, target, each)
    with pytest.raises(ParityError) as raised:
        export_saved_model(run, wrong, tmp_path / "export" / "saved_model")
    codes[each.name, str(target)] = raised.value.exit_code
    assert raised.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_no_format_joins_without_its_breaks() -> None:
    for name, format in FORMATS.items():
        broken = {each.name for each, target in CASES if target.format == name}
        assert len(broken) >= FEWEST.get(name, _OF_FILES), name
        if name != SAVED_MODEL.format:
            inputs = {target.inputs or format.inputs[0] for _, target in CASES if target.format == name}
            assert inputs == set(format.inputs), name
            assert {target.precision for target in (*SMALL, *INT8) if target.format == name} == {"float16", "int8"}


def test_there_are_thirty_different_breaks() -> None:
    assert len({each.name for each, _ in CASES}) == len(BREAKS) >= 30
