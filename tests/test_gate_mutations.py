"""Every way that we know to make an artifact wrong is tried on every format it applies to: each must end with 3.

Nothing of the wrong artifact may be left, and an earlier good one must stand untouched. `pytest -s` shows the table.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breaks.builds import BUILDS
from breaks.built import build as build_wrong
from breaks.changes import CHANGES, SURGEONS
from breaks.targets import INT8, SAVED_MODEL, SMALL, Build, Change, Target, read_folder
from conftest import Quiet, tiny_config
from sentencepieces import charsmap, vocabulary

from switch_tf.data.request import DataRequest
from switch_tf.errors import ParityError
from switch_tf.export.formats import FORMATS
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model import build
from switch_tf.runs.folder import open_run
from switch_tf.runs.rejection import Rejection
from switch_tf.text.normalization import digests
from switch_tf.text.sentencepiece_file import UNKNOWN, Piece, write_model
from switch_tf.text.unigram_table import piece_of, score_of
from switch_tf.training.pruning import Pruning, prune
from switch_tf.training.session import train

FEWEST = 30  # breaks of a format
_THRESHOLD = float(np.float32(0.65))
_EARLIER = b"an earlier good artifact"

BREAKS: list[Change | Build] = [*CHANGES, *BUILDS]
CASES = [(each, target) for each in BREAKS for target in each.targets]
# What becomes of the place is the same whatever was wrong: one break of each format is tried where nothing stood yet.
FRESH = {target: each.name for each, target in reversed(CASES)}


def cases(folders: bool) -> list[Any]:
    """Each break with each of its targets."""
    return [
        pytest.param(each, target, id=f"{target}: {each.name}")
        for each, target in CASES
        if (target == SAVED_MODEL) == folders
    ]


RIGHT = sorted({target for _, target in CASES} - {SAVED_MODEL}, key=str)


class Right:
    """A trained run, its gate, and right artifacts of it, each made when it is first asked for."""

    def __init__(self, run: Any):
        self.run, self.proof = run, Proof(run, texts=100)
        self._contents: dict[Target, bytes] = {}
        self._folder: dict[str, bytes] = {}

    def content(self, target: Target) -> bytes:
        if target not in self._contents:
            format: Any = FORMATS[target.format]
            self._contents[target] = format.build(self.run, self.proof.exported, target.options())
        return self._contents[target]

    def folder(self, place: Path) -> Path:
        """A copy of a right SavedModel."""
        if not self._folder:
            build._save(self.proof.exported, place / "right")
            self._folder = read_folder(place / "right")
            shutil.rmtree(place / "right")
        return write_folder(self._folder, place / "copy")


def write_folder(content: dict[str, bytes], place: Path) -> Path:
    """The files of a folder."""
    for name, each in content.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(each)
    return place


def _of_unigram(path: Path) -> list[str]:
    """Settings that take pieces from a file, which has some with equal sums, and rules that leave marks as they are."""
    rules = charsmap("nfkc_cf")
    pieces = [Piece("<unk>", 0.0, UNKNOWN), *(Piece(piece_of(each), score_of(each)) for each in vocabulary())]
    path.write_bytes(write_model(pieces, rules, "nfkc_cf"))
    name = digests()[hashlib.sha256(rules).hexdigest()]
    return [
        "text.tokenizer=unigram",
        f"text.normalization={name}",
        f"text.vocabulary_file={path}",
        f"text.vocabulary_size={len(pieces) + 1}",
    ]


@pytest.fixture(scope="module")
def rights(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Right]:
    """Runs that have every kind of weight, large enough to be rounded in a file; tokens compete for slots.

    One has a reject threshold, and the gate's texts lie on both sides of it.
    """
    large = ["model.d_model=32", "model.d_ff=64", "model.num_experts=4", "train.epochs=2", "wide.enabled=true"]
    folder = tmp_path_factory.mktemp("runs")
    shapes = {
        "attention": ["model.num_heads=4"],
        "recipe": ["model.context=mean", "model.character_grams=true", "model.pair_min_count=2"],
        "words": ["model.context=mean", "model.character_grams=true", "model.router=token"],
        "cosines": ["model.context=mean", "model.router=xmoe"],
        "pieces": ["model.context=mean", "text.tokenizer=wordpiece", "text.byte_length=128"],
        "cased": ["model.context=mean", "text.tokenizer=wordpiece", "text.lowercase=none", "text.byte_length=128"],
        "unicode": ["model.context=mean", "text.lowercase=unicode", "text.byte_length=128"],
        "letters": ["model.context=mean", "text.unknown_words=letters", "text.byte_length=128"],
        "unigram": ["model.context=mean", "text.byte_length=128", *_of_unigram(folder / "given.model")],
    }
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    runs = {
        name: open_run(train(request, tiny_config(*large, *shape), folder / name, Quiet()).path)
        for name, shape in shapes.items()
    }
    prune(runs["recipe"], request, Pruning(keep=3), folder / "pruned", Quiet())
    runs["pruned"] = open_run(folder / "pruned")
    runs["recipe"] = dataclasses.replace(runs["recipe"], rejection=Rejection(_THRESHOLD, "unknown"))
    return {name: Right(run) for name, run in runs.items()}


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "recipe", "words", "cosines", "pruned"])
@pytest.mark.parametrize("target", RIGHT, ids=str)
def test_what_is_right_passes_when_it_was_opened_and_closed_again(
    rights: dict[str, Right], target: Target, name: str, tmp_path: Path
) -> None:
    right, format = rights[name], FORMATS[target.format]
    path = tmp_path / f"model{format.suffix}"  # type: ignore[attr-defined]
    content = SURGEONS[target.format](right.content(target)).close()
    _, (comparison,) = format.export(right.run, right.proof, path, target.options(), content)
    assert comparison.ok and comparison.words_equal == comparison.words == 48
    assert comparison.arrays >= 20
    if name == "recipe":
        assert comparison.rejected is not None and 20 < comparison.rejected < comparison.texts - 20
    else:
        assert comparison.rejected is None
    assert path.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize(("each", "target"), cases(folders=False))
def test_a_wrong_file_ends_with_3_and_leaves_nothing(
    rights: dict[str, Right],
    codes: dict[tuple[str, str], int],
    each: Change | Build,
    target: Target,
    tmp_path: Path,
) -> None:
    right, format = rights[each.model], FORMATS[target.format]
    if isinstance(each, Change):
        surgeon = SURGEONS[target.format](right.content(target))
        each.change(surgeon, right.proof.model)
        content = surgeon.close()
        assert content != SURGEONS[target.format](right.content(target)).close(), "nothing was broken"
    else:
        content = build_wrong(right.run, target, each, tmp_path)
    suffix = format.suffix  # type: ignore[attr-defined]
    earlier, fresh = tmp_path / f"earlier{suffix}", tmp_path / "export" / f"model{suffix}"
    earlier.write_bytes(_EARLIER)
    for path in (earlier, fresh) if FRESH[target] == each.name else (earlier,):
        with pytest.raises(ParityError) as raised:
            format.export(right.run, right.proof, path, target.options(), content)
    codes[each.name, str(target)] = raised.value.exit_code
    assert raised.value.exit_code == 3
    assert list(tmp_path.rglob("*")) == [earlier] and earlier.read_bytes() == _EARLIER


@pytest.mark.slow
@pytest.mark.parametrize(("each", "target"), cases(folders=True))
def test_a_wrong_folder_ends_with_3_and_leaves_nothing(
    rights: dict[str, Right],
    codes: dict[tuple[str, str], int],
    each: Change | Build,
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An earlier version stands in the folder, and must go on standing there alone."""
    right = rights[each.model]
    if isinstance(each, Change):
        surgeon = SURGEONS["saved_model"](right.folder(tmp_path))
        each.change(surgeon, right.proof.model)
        content = surgeon.close()
    else:
        content = build_wrong(right.run, target, each, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    monkeypatch.setattr(build, "_save", lambda model, folder: write_folder(content, folder))
    earlier = tmp_path / "export" / "saved_model" / "1" / "saved_model.pb"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(_EARLIER)
    with pytest.raises(ParityError) as raised:
        build.export_saved_model(right.run, right.proof, tmp_path / "export" / "saved_model")
    codes[each.name, str(target)] = raised.value.exit_code
    assert raised.value.exit_code == 3
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [earlier]
    assert earlier.read_bytes() == _EARLIER and len(list(tmp_path.rglob("*"))) == 4


@pytest.mark.slow
def test_a_right_folder_passes_when_it_was_opened_and_closed_again(
    rights: dict[str, Right], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = rights["attention"]
    content = SURGEONS["saved_model"](right.folder(tmp_path)).close()
    monkeypatch.setattr(build, "_save", lambda model, folder: write_folder(content, folder))
    _, comparisons = build.export_saved_model(right.run, right.proof, tmp_path / "saved_model")
    assert all(each.ok and each.words_equal == each.words == 48 for each in comparisons)


def test_no_format_joins_without_its_breaks() -> None:
    for name, format in FORMATS.items():
        broken = {each.name for each, target in CASES if target.format == name}
        assert len(broken) >= FEWEST and any("fails on some texts" in each for each in broken), name
        if name != SAVED_MODEL.format:
            inputs = {target.inputs or format.inputs[0] for _, target in CASES if target.format == name}
            assert inputs == set(format.inputs), name
            assert {target.precision for target in (*SMALL, *INT8) if target.format == name} == {"float16", "int8"}


def test_there_are_thirty_different_breaks() -> None:
    assert len({each.name for each, _ in CASES}) == len(BREAKS) >= 30
