"""What a run was measured on is found again, whatever else has its name by then."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows, write_tsv

from switch_tf.data import examples
from switch_tf.data.examples import Examples, fingerprint
from switch_tf.data.request import DataRequest, read_data, read_test, request_of
from switch_tf.data.rows import LABEL_COLUMN, TEXT_COLUMN, Row, Wanted
from switch_tf.data.tables import read_rows
from switch_tf.errors import DataError
from switch_tf.runs.folder import Run, open_run
from switch_tf.runs.measured import read_measured


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `reviews` of class folders in it."""
    monkeypatch.chdir(tmp_path)
    for label in ("bad", "good"):
        (tmp_path / "reviews" / label).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "reviews" / label / f"{number}.txt").write_text(f"a {label} film {number}")
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded set `reviews`, made small."""
    for split, seed in (("train", 3), ("test", 4)):
        write_tsv(tmp_path / f"{split}.tsv", made_up_rows(8, seed))

    def embedded(name: str, split: str) -> tuple[Iterator[Row], str, str]:
        path = tmp_path / f"{split}.tsv"
        return read_rows(path, Wanted(TEXT_COLUMN, LABEL_COLUMN)), str(path), "line"

    monkeypatch.setattr(examples, "_embedded_rows", embedded)


def finished(run: Path, request: DataRequest, test: Examples | None, data: Examples, **changes: Any) -> Run:
    """A run that says it was trained on these."""
    described = json.loads((run / "data.json").read_text()) | {
        "data": request.data,
        "test": request.test,
        "embedded": None if request.embedded is None else list(request.embedded),
        "fingerprint": fingerprint(data),
        "test_fingerprint": None if test is None else fingerprint(test),
    }
    return Run(run, open_run(run).config, ["bad", "good"], [], described | changes)


@pytest.mark.usefixtures("small", "shadow")
def test_a_run_on_the_embedded_set_reads_no_folder_of_its_name(trained_run: Path, tmp_path: Path) -> None:
    request = DataRequest("reviews", embedded=("data",))
    test, data = read_test(request), read_data(request)
    assert test is not None and test.source == str(tmp_path / "test.tsv")
    run = finished(trained_run, request, test, data)
    assert request_of(run.data) == request
    assert fingerprint(read_measured(run)) == fingerprint(test)
    del run.data["embedded"]  # as earlier releases wrote it
    assert request_of(run.data).embedded is None
    assert fingerprint(read_measured(run)) == fingerprint(test)
    run.data["embedded"] = None
    assert fingerprint(read_measured(run, "reviews")) == fingerprint(test)  # said again, it is known by its content


@pytest.mark.usefixtures("small")
def test_a_run_on_a_folder_reads_no_embedded_set_of_its_name(trained_run: Path, shadow: Path) -> None:
    request = DataRequest("reviews", test="reviews").resolved()
    assert request.embedded == ()
    data = read_data(request)
    assert data.unit == "file" and any("the embedded set reviews goes by the same name" in note for note in data.notes)
    run = finished(trained_run, request, read_test(request), data)
    assert fingerprint(read_measured(run)) == fingerprint(data)
    (shadow / "reviews").rename(shadow / "elsewhere")
    with pytest.raises(DataError, match=r"was measured on reviews, which cannot be read: There is no reviews\."):
        read_measured(run)
    assert fingerprint(read_measured(run, "elsewhere")) == fingerprint(data)


@pytest.mark.usefixtures("shadow")
def test_what_a_request_means_does_not_change_with_the_folder(shadow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = DataRequest("reviews").resolved()
    monkeypatch.chdir(shadow.parent)
    there = DataRequest("reviews").resolved()
    assert (here.means_embedded("data"), there.means_embedded("data")) == (False, True)
    monkeypatch.chdir(shadow)
    assert there.means_embedded("data") and there.resolved() == there and not there.means_embedded("test")
    assert read_data(there).source == "reviews/train.tsv.xz"
