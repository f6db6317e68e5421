"""Which words each expert takes: exact where the router looks at the word alone, since its routes are tables then."""

from typing import Any, NamedTuple

import numpy as np

from switch_tf.errors import ArgumentError, RunError
from switch_tf.files import read_tensors
from switch_tf.models.finished import tables_of
from switch_tf.runs.folder import WEIGHTS, Run
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.text.spelling import token_names

_UNKNOWN_ID = FIRST_WORD_ID - 1


class ExpertWords(NamedTuple):
    """What one expert takes.

    Attributes:
        block: the number of the block whose expert it is, from 0.
        expert: its number, from 0.
        words: of the vocabulary, the most frequent first.
        gates: float32 [words], what the expert's answer to each word is multiplied by.
        unknown: whether it also takes every word that is not in the vocabulary.
    """

    block: int
    expert: int
    words: list[str]
    gates: np.ndarray
    unknown: bool

    def surest(self) -> list[str]:
        """The words in the order of their gates, the highest first."""
        return [self.words[place] for place in np.argsort(-self.gates, kind="stable")]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        gates = [round(float(gate), 6) for gate in self.gates]
        return self._asdict() | {"gates": gates}


def words_of_experts(run: Run, block: int | None = None, expert: int | None = None) -> list[ExpertWords]:
    """The words of every expert, by block and number; each word of the vocabulary once in a block.

    A word always goes to its expert, whatever stands around it; it is left out only where the expert has no slot left
    in a text.

    Args:
        block, expert: list those of this number alone.

    Raises:
        RunError: the run's router looks at the context, so that no word has one expert; or its tables are damaged.
        ArgumentError: there is no such block or expert.
    """
    router = run.config.model.router
    if router != "token" or not run.config.model.num_experts:
        what = f"router of words: model.router = {router!r}" if run.config.model.num_experts else "experts"
        raise RunError(f"{run.path} has no {what}. Expected a run trained with model.router = 'token', and experts.")
    source = run.path / WEIGHTS
    tables = tables_of(read_tensors(source)[0])
    experts = run.config.model.num_experts
    for each in tables.values():
        rows = len(run.vocabulary) + FIRST_WORD_ID
        if each.expert.shape != (rows,) or each.gate.shape != (rows,) or each.expert.max(initial=0) >= experts:
            unfit = f"{source} has tables of routes that do not fit {rows} ids and {experts} experts"
            raise RunError(f"{unfit}. Restore it, or train again.")
    _refuse_unknown("block", block, list(tables))
    _refuse_unknown("expert", expert, range(experts))
    names = token_names(run.config.text, run.vocabulary)
    return [
        _words_of(names, number, which, each.expert == which, each.gate)
        for number, each in tables.items()
        for which in range(experts)
        if block in (None, number) and expert in (None, which)
    ]


def _words_of(vocabulary: list[str], block: int, expert: int, taken: np.ndarray, gate: np.ndarray) -> ExpertWords:
    places = np.flatnonzero(taken[FIRST_WORD_ID:])  # words stand in the order of their frequency
    words = [vocabulary[place] for place in places]
    return ExpertWords(block, expert, words, gate[FIRST_WORD_ID:][places], bool(taken[_UNKNOWN_ID]))


def _refuse_unknown(name: str, received: int | None, known: "list[int] | range") -> None:
    if received is not None and received not in known:
        expected = ", ".join(map(str, known))
        raise ArgumentError(f"There is no {name} {received}. Expected one of: {expected}.", argument=name)
