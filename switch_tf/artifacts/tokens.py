"""The tokens that a model reads texts as: its own ids, and what they stand for where that is known.

What ids stand for is known of a run, and of an artifact that lies where an export of a run has put it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from switch_tf.artifacts.base import Predictor
from switch_tf.runs.folder import is_run, open_run
from switch_tf.text.spec import OUT_OF_VOCABULARY, PADDING, PADDING_ID
from switch_tf.text.spelling import token_names

_EXPORT = "export"  # the folder of a run's artifacts


class Token(NamedTuple):
    """An id, and the word or piece that it stands for, or None where that is not known."""

    id: int
    token: str | None

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def read_tokens(model: Predictor, path: Path, texts: Sequence[str]) -> Iterator[list[Token]]:
    """The tokens of each text, as the model at `path` reads it: of those that it cuts off, none.

    Raises:
        DataError, ModelError, RunError: the model does not read them.
    """
    names = _names(path)
    for ids in model.tokenize(texts):
        yield [Token(number, names[number] if number < len(names) else None) for number in _without_padding(ids)]


def _without_padding(ids: Any) -> list[int]:
    """The ids alone: letters of unknown words, which may stand behind them, are negative."""
    return [number for number in ids.tolist() if number > PADDING_ID]


def _names(path: Path) -> list[str]:
    """What each id stands for; nothing where no run says so."""
    run = next((each for each in (path, *_above(path)) if is_run(each)), None)
    if run is None:
        return []
    opened = open_run(run)
    return [PADDING, OUT_OF_VOCABULARY, *token_names(opened.config.text, opened.vocabulary)]


def _above(path: Path) -> list[Path]:
    """The folder whose export may have put an artifact, or a version of it, at `path`."""
    return [each.parent for each in path.absolute().parents[:2] if each.name == _EXPORT]
