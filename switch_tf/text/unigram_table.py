"""The pieces of a unigram vocabulary and their scores.

An entry of such a vocabulary is a piece, a tab and its score, as in SentencePiece's own `.vocab` files; U+2581 in a
piece stands for a space. Scores are held as integers, in units of a power of two: what a graph adds up in float32 is
then what integers add up to, or with `unigram_sums` = "sequential" is rounded as the scores themselves would be.

>>> table = UnigramTable(TextSpec(tokenizer="unigram"), ["\\u2581film\\t-2.5", "s\\t-3.25"])
>>> table.ids, table.scores, table.unknown_score, table.bits
({'▁film': 2, 's': 3}, {'▁film': -10, 's': -13}, -53, 2)
"""

from collections.abc import Mapping, Sequence

import numpy as np

from switch_tf.errors import DataError
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.vocabulary import check_vocabulary

GRID = 8  # bits behind the point of a score whose sums are to be exact
LONGEST = 48  # characters of a piece: a graph takes as many steps
_RAW_BITS = 24  # of any float32 from 0.5 on, below 128
_EXACT = 2**24  # integers below are exact in float32
_LOWEST = -100.0
_UNKNOWN_PENALTY = np.float32(10.0)  # an unknown character scores this much less than the worst piece


class UnigramTable:
    """Attributes:
    ids: by piece.
    scores: by piece, in units of 2^-`bits`.
    unknown_score: of a character that is no piece, in the same units.
    bits: see there.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary, or its scores are not those that `spec.unigram_sums` needs.
        """
        check_vocabulary(spec, vocabulary)
        scores = dict(map(_parse, vocabulary))
        if len(scores) != len(vocabulary):
            raise DataError("The vocabulary holds a piece more than once. Expected every piece once.")
        self.ids: Mapping[str, int] = {piece: number for number, piece in enumerate(scores, FIRST_WORD_ID)}
        unknown = min(scores.values()) - _UNKNOWN_PENALTY
        every = np.array([*scores.values(), unknown], np.float64)
        self.bits = _bits_of_sums(spec, every) if spec.unigram_sums == "exact" else _bits_of_scores(every)
        *units, self.unknown_score = (every * 2**self.bits).astype(np.int64).tolist()
        self.scores: Mapping[str, int] = dict(zip(scores, units, strict=True))

    @property
    def longest(self) -> int:
        """Characters of the longest piece."""
        return max(map(len, self.ids))


def entry(piece: str, score: float | np.float32) -> str:
    """What stands for a piece in a vocabulary."""
    return f"{piece}\t{np.float32(score)!s}"


def piece_of(entry: str) -> str:
    """The piece of an entry.

    >>> piece_of("\\u2581film\\t-2.5")
    '▁film'
    """
    return entry.rpartition("\t")[0]


def score_of(entry: str) -> np.float32:
    """The score of an entry.

    Raises:
        ValueError: it is no number.
    """
    return np.float32(float(entry.rpartition("\t")[2]))


def _parse(entry: str) -> tuple[str, np.float32]:
    piece = piece_of(entry)
    try:
        score = score_of(entry)
        piece.encode()
    except ValueError as error:  # what no UTF-8 holds, too
        raise DataError(f"The vocabulary holds {entry!r}. Expected a piece, a tab and its score.") from error
    if not 0 < len(piece) <= LONGEST or not _LOWEST <= score <= 0:  # NaN neither
        raise DataError(
            f"The vocabulary holds the piece {piece!r} with a score of {score}. Expected 1 to {LONGEST} characters and "
            f"a score from {_LOWEST:g} to 0."
        )
    return piece, score


def _bits_of_sums(spec: TextSpec, scores: np.ndarray) -> int:
    """The fewest bits behind the point that hold every score, if sums of so many are exact."""
    bits = next((bits for bits in range(GRID + 1) if not np.any(scores * 2**bits % 1)), None)
    if bits is None:
        raise DataError(
            "The vocabulary has scores that are no multiples of 2^-8, whose sums are not exact. Set "
            "text.unigram_sums = 'sequential'."
        )
    longest = _longest_exact(float(scores.min()), bits)
    if spec.num_bytes >= longest:
        raise DataError(
            f"The sums of {spec.num_bytes} of the vocabulary's scores are not exact. Set text.byte_length to at most "
            f"{longest - 1}, or text.unigram_sums = 'sequential'."
        )
    return bits


def on_the_grid(spec: TextSpec, scores: np.ndarray) -> np.ndarray:
    """The nearest scores whose sums are what `spec.unigram_sums` needs for `spec.num_bytes`: float32 [pieces]."""
    if spec.unigram_sums == "sequential":
        return (np.round(scores * _EXACT) / _EXACT).astype(np.float32)
    lowest = np.floor(scores.min()) - float(_UNKNOWN_PENALTY)
    bits = next(bits for bits in range(GRID, -1, -1) if spec.num_bytes < _longest_exact(lowest, bits) or not bits)
    return (np.round(scores * 2**bits) / 2**bits).astype(np.float32)


def _longest_exact(lowest: float, bits: int) -> int:
    """How many scores can be added up exactly if none is below `lowest`."""
    return int(_EXACT / (-lowest * 2**bits))


def _bits_of_scores(scores: np.ndarray) -> int:
    if np.any(scores * 2**_RAW_BITS % 1):
        raise DataError(f"The vocabulary has a score that is no multiple of 2^-{_RAW_BITS}. Expected larger ones.")
    return _RAW_BITS
