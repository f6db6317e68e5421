"""The runs of letters that a vocabulary's words have, as a model looks them up in unknown words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from switch_tf.models.letters import Runs
from switch_tf.text.byte_codes import byte_codes
from switch_tf.text.letter_runs import RunIndex, build_run_index, names_of
from switch_tf.text.ngrams import Grams, named_grams
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.training.wide_fit import GramRows

_FRAMES = b"<>"  # around a word, as `named_grams` writes it


@dataclass(frozen=True, eq=False)
class KnownRuns:
    """Runs in the order in which a vocabulary that is cut keeps them.

    Attributes:
        index: of the runs.
        words: int32 [runs], rising: the second word that has each.
        columns: int [runs], the number of each among the grams of `named_grams`.
    """

    index: RunIndex
    words: np.ndarray
    columns: np.ndarray

    def weighed(self, grams: GramRows) -> Runs:
        """The same with the weights of a fit."""
        return Runs(self.index, self.words, grams.rows[self.columns], grams.rare_idf)


def known_runs(spec: TextSpec, vocabulary: Sequence[str]) -> KnownRuns | None:
    """The runs that two words of a vocabulary have at least; None where unknown words are all alike."""
    if not spec.spells:
        return None
    words = [word.encode() for word in vocabulary]
    grams = named_grams(words, len(words) + FIRST_WORD_ID, FIRST_WORD_ID)
    second = _second_words(grams)
    columns = np.argsort(second, kind="stable")
    letters = grams.letters[columns]  # [runs, 5]
    codes = np.where(letters < 0, -1, byte_codes(spec.standardize)[np.maximum(letters, 0)])
    length = (letters >= 0).sum(axis=1)  # [runs]
    last = np.arange(len(codes)), length - 1
    codes[:, 0] = np.where(letters[:, 0] == _FRAMES[0], 0, codes[:, 0])
    codes[last] = np.where(letters[last] == _FRAMES[1], 0, codes[last])
    return KnownRuns(build_run_index(names_of(codes)), second[columns], columns)


def _second_words(grams: Grams) -> np.ndarray:
    """The second least id of a word that has each gram: int32 [grams]."""
    by_gram = grams.matrix.tocsc()
    by_gram.sort_indices()
    return by_gram.indices[by_gram.indptr[:-1] + 1].astype(np.int32)
