"""Searches settings on validation for some minutes, with Optuna, from settings that are a good start.

The first trial is the start itself, so what is found is never worse on validation. Later ones are drawn by a
tree-structured Parzen estimator (Bergstra et al. 2011) from `switch_tf.training.search_space`; one whose loss is above
the median of the others halfway is given up. No text but those for training and validation is touched.
"""

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from switch_tf.config import Config
from switch_tf.errors import RunError
from switch_tf.locks import scratch
from switch_tf.reporting.search import print_search, shown_value, trial_line
from switch_tf.training.auto import LENGTH, lengths_in_pieces, value_of
from switch_tf.training.search_space import Dimension, search_space, with_settings

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from switch_tf.training.prepared import Prepared
    from switch_tf.training.steps import Totals

_QUARTERS = 4  # of a training, at whose ends it is compared with others
_UNCUT, _UNTIL = 2, 4  # quarters before a trial may be given up, and trials
_RANDOM = 6  # trials before the estimator has seen enough
_SMALLER = 0.7  # what sizes are multiplied with until the first guess of a small model fits
_MOST_TRIALS = 10_000
SIZED = ("text.vocabulary_size", "wide.pair_min_count", "model.pair_min_count", "model.d_model")


@dataclass(frozen=True)
class Autotune:
    """What is asked of a search.

    Attributes:
        minutes: of trials, before the training that follows.
        limit: bytes that the exported model may have, as an int8 TFLite file.
        given: keys of settings that stay.
        fits_length: whether `text.sequence_length` is for what texts have in the pieces of another vocabulary, as the
            preset `auto` chooses it.
        interrupted: whether an error is a wish to end the search; if so it is seen to.
    """

    minutes: float
    limit: int | None = None
    given: frozenset[str] = frozenset()
    fits_length: bool = False
    interrupted: Callable[[BaseException], bool] = lambda error: isinstance(error, KeyboardInterrupt)


class Shown(Protocol):
    """Where a search is told of; `switch_tf.training.progress` shows it."""

    console: "Console"

    def stage(self, name: str) -> None: ...

    def search(self, name: str, share: float, figures: str) -> None: ...


class _GivenUp(Exception):
    """A trial ends early; the message says why."""


class _OutOfTime(Exception):
    """The minutes are over."""


def require_optuna() -> None:
    """
    Raises:
        RunError: Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        remedy = "Install the extra `autotune` (optuna): pip install 'switch-tf[autotune]'"
        raise RunError(f"Optuna, which searches settings, is not installed. {remedy}.", "autotune") from error


class Search:
    """A search on prepared data.

    Args:
        start: the settings it begins with.
        folder: for the trainings of trials.
        clock: seconds, from anywhere.
    """

    def __init__(
        self,
        wanted: Autotune,
        start: Config,
        prepared: "Prepared",
        shown: Shown,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ):
        from switch_tf.training.trials import Reader

        self.wanted, self.start, self.shown = wanted, start, shown
        self.space = search_space(start, wanted.given, wanted.limit is not None)
        self.by = start.train.select_by
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self._prepared, self._folder, self._clock = prepared, folder, clock
        self._reader: Reader = Reader(prepared)
        self._began = clock()

    def run(self) -> tuple[Config, dict[str, Any]]:
        """The best settings and the record of the search, for JSON.

        Raises:
            RunError: no trial ended, or none fits the limit.
        """
        ended = "time"
        study = _new_study(self.start.train.seed)
        try:
            self._try_start(study)
            while self._may_begin():
                self._try_next(study)
        except _OutOfTime:
            pass
        except BaseException as error:
            if self.best is None or not self.wanted.interrupted(error):
                raise
            ended = "interruption"
        seconds = self._clock() - self._began
        if self.best is None:
            self._refuse()
        assert self.best is not None
        settings = self.best["settings"]
        record = {
            "minutes": self.wanted.minutes,
            "max_size": self.wanted.limit,
            "seconds": round(seconds, 1),
            "ended_by": ended,
            "by": self.by,
            "best": self.best["trial"],
            "trials": self.rows,
        }
        return with_settings(self.start, settings), record

    def _try_start(self, study: "optuna.Study") -> None:
        """The settings as they are, and with a limit those that are likely to fit it."""
        self._record(study, {})
        if self.wanted.limit is not None and self.best is None:
            smaller = self._smaller()
            if smaller:
                self._record(study, smaller)

    def _try_next(self, study: "optuna.Study") -> None:
        trial = study.ask({each.key: _distribution(each) for each in self.space})
        changes = {each.key: each.rounded(trial.params[each.key]) for each in self.space}
        self._record(study, changes, trial)

    def _record(self, study: "optuna.Study", changes: dict[str, Any], trial: "optuna.Trial | None" = None) -> None:
        """Try the settings with changes, remember what came out, and tell the study."""
        import optuna

        number, began = len(self.rows), self._clock()
        changes = changes | self._lengths(changes)
        row: dict[str, Any] = {"trial": number, "settings": changes}
        marks: dict[int, float] = {}
        try:
            row |= self._figures(number, with_settings(self.start, changes), trial, marks)
        except _GivenUp as reason:
            row["ended"] = str(reason)
        except _failures() as error:  # settings to keep away from
            if number == 0 and isinstance(error, RunError):
                raise
            if number == 0:
                problem = f"The memory does not suffice to train with batches of {self.start.train.batch_size} texts"
                raise RunError(f"{problem}. Train with a smaller train.batch_size.") from error
            row["ended"] = f"failed: {error}".split(". ")[0].split("\n")[0]
        row["seconds"] = round(self._clock() - began, 1)
        self.rows.append(row)
        value = self._value(row)
        if "ended" not in row and (self.best is None or value < self._value(self.best)):
            row["improved"] = number > 0
            self.best = row
        self.shown.stage(trial_line(row, self.by))
        if trial is not None:
            failed = "ended" in row
            study.tell(trial, None if failed else value, optuna.trial.TrialState.PRUNED if failed else None)
        elif "ended" not in row:
            study.add_trial(self._as_trial(row, value, marks))
        gc.collect()  # a training leaves graphs behind, in circles

    def _figures(
        self, number: int, config: Config, trial: "optuna.Trial | None", marks: dict[int, float]
    ) -> dict[str, Any]:
        """What a trial gives: accuracy, macro_f1 and log_loss on validation, and its bytes if these count."""
        from switch_tf.training.trials import Trial

        tried = Trial(config, self._prepared, self._reader(config), self._folder)
        limit = self.wanted.limit
        if limit is not None and tried.least_size() > limit:
            raise _GivenUp(f"over {tried.least_size():,} bytes")
        watch = _Watch(self, number, trial, marks)
        watch.tick()
        alone = tried.wide()
        figures = tried.validate(alone, watch.with_wide(alone, self._prepared))
        row = {name: figures[name] for name in ("accuracy", "macro_f1", "log_loss")}
        if alone is not None:
            row["inverse_regularization"] = alone.settings.inverse_regularization
        if limit is not None and (self.best is None or self._value(row) < self._value(self.best)):
            row["bytes"] = tried.size()  # built for what would be the best alone: it takes as long as an export
            if row["bytes"] > limit:
                raise _GivenUp(f"{row['bytes']:,} bytes")
        return row

    def _value(self, row: dict[str, Any]) -> float:
        """What is made small."""
        if "ended" in row:
            return math.inf
        return float(row["log_loss"] if self.by == "log_loss" else 1.0 - row[self.by])

    def _may_begin(self) -> bool:
        """Whether a trial that takes as long as most can still end."""
        took = [row["seconds"] for row in self.rows if "ended" not in row] or [row["seconds"] for row in self.rows]
        return bool(self.space) and len(self.rows) < _MOST_TRIALS and self.left > median(took)

    @property
    def left(self) -> float:
        """Seconds of the search that are left."""
        return 60 * self.wanted.minutes - (self._clock() - self._began)

    def _as_trial(self, row: dict[str, Any], value: float, marks: dict[int, float]) -> "optuna.trial.FrozenTrial":
        """A trial that was not drawn, as the study needs it: with a value in each dimension."""
        import optuna

        params = {}
        for each in self.space:
            own = value_of(self.start, each.key)
            own = row.get(each.key.partition(".")[2], each.low) if own is None else own
            params[each.key] = each.rounded(row["settings"].get(each.key, own))
        distributions = {each.key: _distribution(each) for each in self.space}
        return optuna.trial.create_trial(
            params=params, distributions=distributions, value=value, intermediate_values=marks
        )

    def _lengths(self, changes: dict[str, Any]) -> dict[str, Any]:
        """What else changes with the size of a vocabulary of pieces: the fewer there are, the more a text has."""
        follows = self.wanted.fits_length and self.start.text.tokenizer != "words" and LENGTH not in self.wanted.given
        if not follows or "text.vocabulary_size" not in changes:
            return {}
        return lengths_in_pieces(with_settings(self.start, changes), self._prepared, self.wanted.given)

    def _smaller(self) -> dict[str, Any]:
        """Settings with fewer words, pairs and columns, the first of a row of them that may fit; none if none does."""
        from switch_tf.training.trials import Trial

        sized = {each.key: each for each in self.space if each.key in SIZED}
        for step in range(1, 12):
            changes = {}
            for key, each in sized.items():
                own = value_of(self.start, key)
                more = own / _SMALLER**step if "count" in key else own * _SMALLER**step
                changes[key] = each.rounded(more)
            config = with_settings(self.start, changes | self._lengths(changes))
            tried = Trial(config, self._prepared, self._reader(config), self._folder)
            # What the bound leaves out, operators and the words themselves, is about as much again.
            if 2 * tried.least_size() < (self.wanted.limit or 0):
                break
        return changes if sized else {}

    def _refuse(self) -> None:
        """
        Raises:
            RunError: always.
        """
        limit, tried = self.wanted.limit, len(self.rows)
        if limit is None or not tried:
            problem = f"No trial ended within {self.wanted.minutes:g} minutes"
            raise RunError(f"{problem}. Allow more of them, or train without a search.", "autotune")
        sizes = ", ".join(f"{row['ended']}" for row in self.rows if "bytes" in row.get("ended", ""))
        problem = f"None of {tried} trials fits in {limit:,} bytes as an int8 TFLite file (they have {sizes or 'none'})"
        raise RunError(f"{problem}. Allow more bytes or minutes.", "max_size")


class _Watch:
    """The progress of one trial: shows it, and ends it when it is hopeless or the time is over."""

    def __init__(self, search: Search, number: int, trial: "optuna.Trial | None", marks: dict[int, float]):
        self._search, self._number, self._trial, self._marks = search, number, trial, marks
        self._epochs, self._epoch, self._beside = 1, 0, 0.0

    def with_wide(self, alone: Any, prepared: "Prepared") -> "_Watch":
        """Count the loss of a wide path that has been fitted already."""
        if alone is not None:
            from switch_tf.data.examples import encode_labels
            from switch_tf.measuring.fusion import cross_entropy_of, temperature

            expected = encode_labels(prepared.validation, prepared.labels)
            cooled = alone.logits / temperature(alone.logits, expected)
            self._beside = cross_entropy_of(cooled, expected)
        self.tick()
        return self

    def tick(self) -> None:
        """Show how far the search is.

        Raises:
            _OutOfTime: it is over.
        """
        search = self._search
        if search.left <= 0:
            raise _OutOfTime
        epoch = f", epoch {self._epoch}/{self._epochs}" if self._epoch else ""
        best = "" if search.best is None else f"  best {shown_value(search.best, search.by)}"
        whole = 60 * search.wanted.minutes
        share = 1.0 - search.left / whole
        minutes, seconds = divmod(int(search.left), 60)
        search.shown.search(f"trial {self._number}{epoch}", share, f"{minutes}:{seconds:02} left{best}")

    def stage(self, name: str) -> None:
        """As `loop.Progress`; a trial has no stages."""

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        self._epoch, self._epochs = epoch, epochs
        self.tick()

    def step(self, totals: "Totals", seconds: float) -> None:
        self.tick()

    def end_epoch(self, row: dict[str, Any], is_best: bool) -> None:
        """Compare with other trials at the end of each quarter.

        Raises:
            _GivenUp: most were better there.
        """
        quarter = _QUARTERS * self._epoch // self._epochs
        if quarter in self._marks or not quarter:
            return
        self._marks[quarter] = self._beside + row["validation_loss"]
        if self._trial is None:
            return
        self._trial.report(self._marks[quarter], quarter)
        if quarter < _QUARTERS and self._trial.should_prune():
            raise _GivenUp(f"given up after {self._epoch} of {self._epochs} epochs")


def _failures() -> tuple[type[Exception], ...]:
    """How a training fails by its settings: its loss is no number any more, or the memory does not suffice."""
    import tensorflow as tf

    return RunError, MemoryError, tf.errors.ResourceExhaustedError


def _new_study(seed: int) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM, seed=seed)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNTIL, n_warmup_steps=_UNCUT)
    return optuna.create_study(sampler=sampler, pruner=pruner)


def _distribution(dimension: Dimension) -> "optuna.distributions.BaseDistribution":
    import optuna

    low, high = dimension.low, dimension.high
    if isinstance(low, int):
        return optuna.distributions.IntDistribution(low, int(high), log=dimension.log, step=dimension.step)
    return optuna.distributions.FloatDistribution(low, high, log=dimension.log)


def tuner(wanted: Autotune, shown: Shown) -> Callable[["Prepared", Config], tuple[Config, dict[str, Any]]]:
    """What `switch_tf.training.session.train` calls between reading the data and training: a search, told of."""

    def tune(prepared: "Prepared", config: Config) -> tuple[Config, dict[str, Any]]:
        minutes = f"{wanted.minutes:g} minute" + ("s" if wanted.minutes != 1 else "")
        shown.stage(f"Searching settings on validation for {minutes}; Ctrl-C ends the search and trains with the best")
        with scratch() as folder:
            found, record = Search(wanted, config, prepared, shown, folder / "trial").run()
        print_search(shown.console, record)
        return found, record

    return tune
