"""A search: begins with the start, keeps to its time and its bytes, and says what it found."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import Quiet, ask, tiny_config, write_tsv
from rich.console import Console
from test_composed import COMPOSED

from switch_tf.config import Config
from switch_tf.data.request import DataRequest
from switch_tf.errors import RunError
from switch_tf.export.options import ExportOptions
from switch_tf.export.session import export_run
from switch_tf.reporting.search import chosen_lines, print_search, trial_line
from switch_tf.runs.folder import open_run, read_metrics
from switch_tf.training import autotune
from switch_tf.training.auto import auto_config
from switch_tf.training.autotune import Autotune, Search, _GivenUp, _new_study, _Watch, tuner
from switch_tf.training.prepared import Prepared
from switch_tf.training.search_space import search_space
from switch_tf.training.session import prepare, train

GIVEN = frozenset({"train.epochs", "train.learning_rate"})  # so that trials take little time
TRIAL_SECONDS = 10


class Shown(Quiet):
    """Remembers what a search tells, and may be interrupted."""

    def __init__(self, interrupt: Callable[[str], BaseException | None] = lambda name: None):
        super().__init__()
        self.console = Console(quiet=True)
        self.names: list[str] = []
        self.interrupt = interrupt

    def search(self, name: str, share: float, figures: str) -> None:
        assert 0 <= share <= 1 and "left" in figures and len(name) + len(figures) < 60
        self.names.append(name)
        error = self.interrupt(name)
        if error is not None:
            raise error


def settings(*changes: str) -> Config:
    """Small ones, with more words and wider vectors than the made-up texts need."""
    more = ("text.vocabulary_size=400", "model.d_model=64")
    fixed = ("train.select_by=log_loss", "train.epochs=2", "train.validation_share=0.5")
    return tiny_config(*COMPOSED, *more, *fixed, *changes)


@pytest.fixture(scope="module")
def prepared(data_folder: Path) -> Prepared:
    """The made-up texts, half of them to validate on; no test texts."""
    return prepare(DataRequest(str(data_folder / "made.tsv")), settings())


def search_of(prepared: Prepared, folder: Path, wanted: Autotune, shown: Shown | None = None) -> Search:
    """A search whose clock goes on ten seconds a trial."""
    search: list[Search] = []
    clock = lambda: float(TRIAL_SECONDS * len(search[0].rows)) if search else 0.0  # noqa: E731
    search.append(Search(wanted, settings(), prepared, shown or Shown(), folder / "trial", clock))
    return search[0]


@pytest.fixture(scope="module")
def searched(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, Any], Shown]:
    """A search of four trials."""
    shown = Shown()
    wanted = Autotune(4 * TRIAL_SECONDS / 60, given=GIVEN)
    return *search_of(prepared, tmp_path_factory.mktemp("search"), wanted, shown).run(), shown


class TestSearch:
    def test_it_begins_with_the_start_and_ends_no_worse(self, searched: tuple[Config, dict[str, Any], Shown]) -> None:
        config, record, shown = searched
        trials = record["trials"]
        assert [row["trial"] for row in trials] == [0, 1, 2, 3]
        assert trials[0]["settings"] == {} and all(row["settings"] for row in trials[1:])
        ended = [row["log_loss"] for row in trials if "ended" not in row]
        assert trials[record["best"]]["log_loss"] == min(ended) <= trials[0]["log_loss"]
        assert (record["by"], record["ended_by"], record["max_size"]) == ("log_loss", "time", None)
        assert shown.stages == [trial_line(row, "log_loss") for row in trials]
        assert config.train.epochs == 2 and config.train.learning_rate == 0.01
        assert json.loads(json.dumps(record)) == record

    def test_a_training_with_what_was_found_has_the_figures_of_the_trial(
        self, searched: tuple[Config, dict[str, Any], Shown], data_folder: Path, tmp_path: Path
    ) -> None:
        config, record, _ = searched
        run = train(DataRequest(str(data_folder / "made.tsv")), config, tmp_path / "run", Quiet())
        best, figures = record["trials"][record["best"]], read_metrics(run.path)["validation"]
        for name in ("log_loss", "accuracy", "macro_f1"):
            assert figures[name] == pytest.approx(best[name], rel=1e-9)

    def test_the_same_seed_finds_the_same(
        self, searched: tuple[Config, dict[str, Any], Shown], prepared: Prepared, tmp_path: Path
    ) -> None:
        again, _ = search_of(prepared, tmp_path, Autotune(2 * TRIAL_SECONDS / 60, given=GIVEN)).run()
        del again
        search = search_of(prepared, tmp_path, Autotune(2 * TRIAL_SECONDS / 60, given=GIVEN))
        _, record = search.run()
        assert record["trials"] == searched[1]["trials"][:2]

    def test_ctrl_c_ends_the_search_and_keeps_the_best(self, prepared: Prepared, tmp_path: Path) -> None:
        shown = Shown(lambda name: KeyboardInterrupt() if name.startswith("trial 1") else None)
        config, record = search_of(prepared, tmp_path, Autotune(1, given=GIVEN), shown).run()
        assert (record["ended_by"], record["best"], len(record["trials"])) == ("interruption", 0, 1)
        assert config == settings()

    def test_what_is_no_wish_to_end_the_search_ends_all(self, prepared: Prepared, tmp_path: Path) -> None:
        shown = Shown(lambda name: KeyboardInterrupt() if name.startswith("trial 1") else None)
        wanted = Autotune(1, given=GIVEN, interrupted=lambda error: False)
        with pytest.raises(KeyboardInterrupt):
            search_of(prepared, tmp_path, wanted, shown).run()
        early = Shown(lambda name: KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):  # there is nothing to go on with
            search_of(prepared, tmp_path, Autotune(1, given=GIVEN), early).run()

    def test_no_trial_ends_in_no_time(self, prepared: Prepared, tmp_path: Path) -> None:
        search = Search(Autotune(0.001), settings(), prepared, Shown(), tmp_path, iter(range(0, 10_000, 5)).__next__)
        with pytest.raises(RunError, match=r"^No trial ended within 0\.001 minutes\. Allow more of them"):
            search.run()

    def test_a_trial_that_cannot_end_is_not_begun(self, prepared: Prepared, tmp_path: Path) -> None:
        search = search_of(prepared, tmp_path, Autotune(1))
        search.rows = [{"seconds": 20.0}, {"seconds": 21.0}, {"seconds": 500.0}, {"seconds": 3.0, "ended": "early"}]
        assert search.left == 20 and not search._may_begin()
        search.rows[1]["seconds"] = 19.0
        search.rows[0]["seconds"] = 19.5
        assert search._may_begin()


class TestSize:
    def test_what_is_found_fits_as_an_export_is_built(
        self, prepared: Prepared, data_folder: Path, tmp_path: Path
    ) -> None:
        first = search_of(prepared, tmp_path, Autotune(TRIAL_SECONDS / 60, limit=10**9, given=GIVEN)).run()[1]
        whole = first["trials"][0]["bytes"]
        wanted = Autotune(4 * TRIAL_SECONDS / 60, limit=whole - 1, given=GIVEN)
        config, record = search_of(prepared, tmp_path, wanted).run()
        assert record["trials"][0]["ended"] == f"{whole:,} bytes"
        best = record["trials"][record["best"]]
        assert best["bytes"] < whole
        run = train(DataRequest(str(data_folder / "made.tsv")), config, tmp_path / "run", Quiet())
        options = ExportOptions("tflite", precision="int8", max_loss=100.0)
        (path,) = export_run(open_run(run.path), options).paths
        # The file says what accuracy it may lose, which the search has not been told.
        assert path.stat().st_size - best["bytes"] in range(0, 200)

    def test_bytes_that_nothing_fits_are_refused(self, prepared: Prepared, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"^None of 2 trials fits in 100 bytes.*they have over [\d,]+ bytes.*Allow"):
            search_of(prepared, tmp_path, Autotune(TRIAL_SECONDS / 60, limit=100)).run()


class TestHopelessTrials:
    def test_one_that_is_worse_than_most_halfway_is_given_up(self, prepared: Prepared, tmp_path: Path) -> None:
        search = search_of(prepared, tmp_path, Autotune(1))
        study = _new_study(0)
        for _ in range(5):
            other = study.ask()
            for quarter in (1, 2, 3, 4):
                other.report(0.5, quarter)
            study.tell(other, 0.5)
        good, bad = (_Watch(search, number, study.ask(), {}) for number in (5, 6))
        for watch, loss in ((good, 0.4), (bad, 0.6)):
            watch.start_epoch(1, 4, 10)
            watch.end_epoch({"validation_loss": loss}, True)  # too early to tell
            watch.start_epoch(2, 4, 10)
        good.end_epoch({"validation_loss": 0.4}, True)
        with pytest.raises(_GivenUp, match=r"^given up after 2 of 4 epochs$"):
            bad.end_epoch({"validation_loss": 0.6}, True)

    def test_the_start_is_never_given_up(self, prepared: Prepared, tmp_path: Path) -> None:
        marks: dict[int, float] = {}
        watch = _Watch(search_of(prepared, tmp_path, Autotune(1)), 0, None, marks)
        for epoch in (1, 2, 3):
            watch.start_epoch(epoch, 3, 10)
            watch.end_epoch({"validation_loss": 9.0}, True)
        assert marks == {1: 9.0, 2: 9.0, 4: 9.0}


FIGURES = {"log_loss": 0.53124, "accuracy": 0.81239, "macro_f1": 0.8, "seconds": 12.4}


@pytest.mark.parametrize(
    ("row", "by", "line"),
    [
        ({"trial": 0, "settings": {}}, "log_loss", "trial   0  log loss 0.5312  accuracy 0.8124  12 s  the start"),
        (
            {"trial": 7, "settings": {"a": 1}, "improved": True, "bytes": 1234567},
            "macro_f1",
            "trial   7  macro-F1 0.8000  accuracy 0.8124  1,234,567 bytes  12 s  best so far",
        ),
        ({"trial": 12, "settings": {"a": 1}, "bytes": 90}, "accuracy", "trial  12  accuracy 0.8124  90 bytes  12 s"),
        (
            {"trial": 3, "settings": {"a": 1}, "ended": "given up after 12 of 24 epochs"},
            "log_loss",
            "trial   3  given up after 12 of 24 epochs  12 s",
        ),
    ],
)
def test_a_trial_is_a_line_that_fits_a_terminal(row: dict[str, Any], by: str, line: str) -> None:
    assert trial_line(FIGURES | row, by) == line
    assert len(line) < 80


class TestReport:
    RECORD: dict[str, Any] = {  # noqa: RUF012
        "minutes": 1,
        "max_size": 5000,
        "seconds": 58.2,
        "ended_by": "interruption",
        "by": "log_loss",
        "best": 1,
        "trials": [
            FIGURES | {"trial": 0, "settings": {}, "bytes": 4000},
            FIGURES | {"trial": 1, "settings": {"train.epochs": 4, "model.d_model": 48}, "log_loss": 0.5},
            {"trial": 2, "settings": {"train.epochs": 2}, "ended": "given up after 1 of 2 epochs", "seconds": 3.0},
        ],
    }

    def test_the_best_come_first_and_the_changes_have_a_reason(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_search(Console(width=80), self.RECORD)
        out = capsys.readouterr().out
        assert "The best of 3 trials in 58 s, then interrupted, 1 of them ended early" in out
        rows = [line for line in out.splitlines() if "│" in line]
        assert [row.split("│")[1].strip() for row in rows] == ["1", "0"]
        assert "  model.d_model = 48: trial 1, log loss 0.5000 against 0.5312 at first\n" in out
        assert max(map(len, out.splitlines())) <= 120

    def test_where_nothing_is_better_it_says_so(self) -> None:
        assert chosen_lines(self.RECORD | {"best": 0}) == [
            "No trial was better than the settings it began with: they stay."
        ]

    def test_a_start_that_did_not_fit_is_no_measure(self) -> None:
        trials = [{"trial": 0, "settings": {}, "ended": "9,000 bytes", "seconds": 1.0}, *self.RECORD["trials"][1:]]
        line = "  train.epochs = 4: trial 1, log loss 0.5000; the first one did not fit"
        assert line in chosen_lines(self.RECORD | {"trials": trials})


def test_optuna_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    answer = ask("train", "reviews", "--autotune", "1")
    assert answer.code == 1 and answer.out == ""
    assert "Optuna, which searches settings, is not installed. Install the extra `autotune` (optuna)" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-size", "1M"], "Received --max-size without --autotune MINUTES. Expected both."),
        (["--autotune", "1", "--resume"], "A search is over when training begins: leave it out."),
        (["--autotune", "0"], "0.0 is not in the range x>0"),
        (["--autotune", "1", "--max-size", "1X"], "Received the size '1X'."),
    ],
)
def test_words_that_do_not_fit_together(words: list[str], message: str, data_folder: Path) -> None:
    answer = ask("train", data_folder / "made.tsv", *words)
    assert answer.code == 2 and answer.out == ""
    assert message in " ".join(answer.err.split())


def test_the_command_searches_trains_and_keeps_the_record(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Search, "_may_begin", lambda self: len(self.rows) < 2)
    words = [word for each in (*COMPOSED, "model.d_model=8", "train.epochs=1") for word in ("--set", each)]
    run = tmp_path / "run"
    answer = ask("train", data_folder / "made.tsv", "--output", run, *words, "--autotune", "5", "--json")
    assert answer.code == 0, answer.err
    (line,) = answer.out.splitlines()
    told, record = json.loads(line), open_run(run).data["autotune"]
    assert told["autotune"] == record and len(record["trials"]) == 2
    assert all("model.d_model" not in row["settings"] for row in record["trials"])
    assert open_run(run).config.model.d_model == 8
    assert "Searching settings on validation for 5 minutes; Ctrl-C ends the search" in answer.err
    assert "The best of 2 trials" in answer.err and "trial   0" in answer.err
    assert told["validation"]["log_loss"] == pytest.approx(record["trials"][record["best"]]["log_loss"], rel=1e-9)


def test_fewer_pieces_have_a_length_of_their_own(tmp_path: Path) -> None:
    counts = ((17, "p"), (18, "n"), (19, "p"), (20, "n"))
    data = write_tsv(tmp_path / "few.tsv", [(" ".join(["abcdefgh"] * count), label) for count, label in counts])
    found = auto_config(DataRequest(str(data)), None, ["text.tokenizer=wordpiece"])
    prepared = found.prepared
    assert found.config.text.sequence_length == 32 and prepared is not None

    def lengths(wanted: Autotune, **changes: int) -> dict[str, Any]:
        search = Search(wanted, found.config, prepared, Shown(), tmp_path)
        return search._lengths({f"text.{key}": value for key, value in changes.items()})

    follows = Autotune(1, fits_length=True)
    # Of 22 pieces 16 are letters, and six are what the eight letters of the word become: two pieces are left of it.
    assert lengths(follows, vocabulary_size=24) == {"text.sequence_length": 48}
    assert lengths(follows, vocabulary_size=100) == {}
    assert lengths(follows, byte_length=300) == {}
    assert lengths(replace(follows, given=frozenset({"text.sequence_length"})), vocabulary_size=24) == {}
    assert lengths(Autotune(1), vocabulary_size=24) == {}


def test_a_tuner_hands_over_what_was_found(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "_may_begin", lambda self: False)
    shown = Shown()
    config, record = tuner(Autotune(1.0, given=GIVEN), shown)(replace(prepared, test=None), settings())
    assert config == settings() and record["best"] == 0
    assert shown.stages[0].startswith("Searching settings on validation for 1 minute; ")


def test_a_start_is_a_trial_of_the_study(prepared: Prepared, tmp_path: Path) -> None:
    search = search_of(prepared, tmp_path, Autotune(1))
    row = FIGURES | {"settings": {}, "inverse_regularization": 10.0}
    told = search._as_trial(row, 0.5, {1: 0.7})
    assert told.state == optuna.trial.TrialState.COMPLETE and told.intermediate_values == {1: 0.7}
    assert set(told.params) == {each.key for each in search_space(settings())}
    assert (told.params["wide.inverse_regularization"], told.params["train.epochs"]) == (10.0, 2)


def test_signals_other_than_ctrl_c_do_not_end_a_search_alone() -> None:
    from switch_tf.cli.process import Stopped, ends_search

    assert ends_search(KeyboardInterrupt()) and ends_search(Stopped(signal.SIGINT))
    assert not ends_search(Stopped(signal.SIGTERM)) and not ends_search(ValueError())
    assert autotune.Autotune(1).interrupted(KeyboardInterrupt())
