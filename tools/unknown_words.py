"""What the letters of unknown words tell the wide path alone, before anything is rounded.

    python tools/unknown_words.py DATA/banking77 DATA/trec

A set is a folder with train.tsv.xz and test.tsv.xz in it (label, text). The wide path is fitted as trainings fit it, on
words, pairs of words and runs of 3 to 5 letters, by the settings of `auto`. Then the test texts are answered, as they
are and with typos, twice: every unknown word as the one unknown word; and each unknown word as what its known runs of
letters weigh, like a known word that has no weight of its own (Bojanowski et al. 2017), which is what
`text.unknown_words` = "letters" computes in integers (`switch_tf.models.letters`).
"""

import itertools
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import scipy.sparse

from switch_tf.config import WideConfig
from switch_tf.data.examples import Examples, encode_labels, label_names, words_of
from switch_tf.data.request import DataRequest, read_data, read_test
from switch_tf.text.front_ends import choose_vocabulary
from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY_ID
from switch_tf.training.auto import auto_config
from switch_tf.training.wide_features import count_classes, count_features, weigh_features
from switch_tf.training.wide_fit import WideFit, fit_wide

LENGTHS = (3, 4, 5)  # of runs, as `switch_tf.text.ngrams.word_grams` has them
_SHORTEST = 4  # letters of a word that gets typos


class Letters(NamedTuple):
    """The runs of letters that two words of the vocabulary have at least, numbered in the order of the alphabet."""

    numbers: dict[str, int]

    @classmethod
    def of(cls, vocabulary: Sequence[str]) -> "Letters":
        seen: dict[str, int] = {}
        for word in vocabulary:
            for run in runs(word):
                seen[run] = seen.get(run, 0) + 1
        return cls({run: number for number, run in enumerate(sorted(run for run in seen if seen[run] > 1))})

    def matrix(self, words: Sequence[str], first: int = 0) -> scipy.sparse.csr_matrix:
        """Which runs each word has: float32 [first + words, runs] of ones, no runs for the first rows."""
        found = [[self.numbers[run] for run in runs(word) if run in self.numbers] for word in words]
        ends = np.cumsum([0, *[0] * first, *map(len, found)])
        columns = np.array(list(itertools.chain.from_iterable(found)), np.int32)
        return scipy.sparse.csr_matrix(
            (np.ones(len(columns), np.float32), columns, ends), (len(ends) - 1, len(self.numbers))
        )


def runs(word: str) -> set[str]:
    """Runs of 3 to 5 characters of a word with < before it and > behind, itself not among them.

    >>> sorted(runs("cat"))
    ['<ca', '<cat', 'at>', 'cat', 'cat>']
    """
    framed = f"<{word}>"
    found = {framed[start : start + size] for size in LENGTHS for start in range(len(framed) - size + 1)}
    return found - {framed}


def misspell(text: str, share: float, draw: np.random.Generator) -> str:
    """Each longer word by chance with two letters traded, or one left out, doubled or another."""
    return " ".join(
        _typo(word, draw) if len(word) >= _SHORTEST and draw.random() < share else word for word in text.split()
    )


def _typo(word: str, draw: np.random.Generator) -> str:
    place = int(draw.integers(len(word) - 1))
    before, this, behind, rest = word[:place], word[place], word[place + 1], word[place + 2 :]
    other = str(draw.choice(list(string.ascii_lowercase)))
    kinds = (behind + this, behind, this + this + behind, other + behind)
    return before + kinds[int(draw.integers(len(kinds)))] + rest


class Reader:
    """Texts as ids: those of the vocabulary, and further ones for unknown words, as they come."""

    def __init__(self, vocabulary: Sequence[str], length: int):
        self._numbers = {word: number for number, word in enumerate(vocabulary, FIRST_WORD_ID)}
        self.known, self._length = len(vocabulary) + FIRST_WORD_ID, length

    @property
    def unknown(self) -> list[str]:
        """The words of the further ids."""
        return list(self._numbers)[self.known - FIRST_WORD_ID :]

    def ids(self, texts: Sequence[str]) -> np.ndarray:
        """int32 [texts, length], padded with 0."""
        ids = np.zeros([len(texts), self._length], np.int32)
        for row, text in zip(ids, texts, strict=True):
            words = [word.decode() for word in words_of(text)][: self._length]
            row[: len(words)] = [self._numbers.setdefault(word, len(self._numbers) + FIRST_WORD_ID) for word in words]
        return ids

    def as_unknown(self, ids: np.ndarray) -> np.ndarray:
        """The further ids as the one of unknown words."""
        return np.where(ids < self.known, ids, np.int32(OUT_OF_VOCABULARY_ID))


class Composed(NamedTuple):
    """A fitted wide path that knows what runs of letters weigh.

    Attributes:
        fit: the path.
        letters: the runs.
        idf: float32 [runs].
        weights: float32 [runs, columns], with their scale in them.
        rare_idf: of a word that one training text has.
    """

    fit: WideFit
    letters: Letters
    idf: np.ndarray
    weights: np.ndarray
    rare_idf: float

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """What each unknown word adds to a text, as a row of `WideTables.words`: float32 [words, columns + 1].

        A word without a known run is the unknown word.
        """
        own = self.letters.matrix(words) @ scipy.sparse.diags(self.idf)  # [words, runs]
        norm = np.sqrt(np.asarray(own.power(2).sum(axis=1)))  # [words, 1]
        rows = self.rare_idf * (own @ self.weights) / np.maximum(norm, 1e-6)  # [words, columns]
        rows = np.concatenate([rows, np.full([len(words), 1], self.rare_idf**2)], axis=1)
        return np.where(norm > 0, rows, self.fit.tables.words[OUT_OF_VOCABULARY_ID]).astype(np.float32)

    def logits(self, ids: np.ndarray, reader: Reader) -> np.ndarray:
        """int32 [texts, length] with further ids -> float32 [texts, classes]."""
        tables = self.fit.tables
        words = np.concatenate([tables.words, self.rows(reader.unknown)])
        sums = words[ids].sum(axis=1) + tables.pairs[tables.index.find(reader.as_unknown(ids))].sum(axis=1)
        scores = sums[:, :-1] / np.sqrt(np.maximum(sums[:, -1:], 1e-6))  # [texts, columns]
        return (scores if scores.shape[1] > 1 else scores * [[0, 1]]) + tables.bias  # [texts, classes]


def fit(ids: np.ndarray, labels: np.ndarray, vocabulary: Sequence[str], settings: WideConfig) -> Composed:
    """The wide path of texts, as trainings fit it."""
    classes = int(labels.max()) + 1
    letters = Letters.of(vocabulary)
    grams = letters.matrix(vocabulary, FIRST_WORD_ID)
    fitted = fit_wide(ids, labels, classes, grams, settings)
    words, _, _ = count_features(ids, grams.shape[0], settings.pair_min_count)
    sizes = np.bincount(labels, minlength=classes)
    idf, scale = weigh_features(grams.T @ count_classes(words, labels, classes), sizes, settings.naive_bayes_power)
    rare_idf = float(np.log((1 + len(ids)) / 2) + 1)
    return Composed(fitted, letters, idf, scale[:, np.newaxis] * fitted.weights.grams, rare_idf)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--typos", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of words with one.")
@click.option("--seed", default=0, show_default=True)
def main(folders: tuple[Path, ...], typos: float, seed: int) -> None:
    """Print a table of accuracies."""
    click.echo("| set | unknown words | as unknown | by letters | with typos | as unknown | by letters |")
    click.echo("|---|---|---|---|---|---|---|")
    for folder in folders:
        request = DataRequest(str(folder / "train.tsv.xz"), str(folder / "test.tsv.xz"))
        cells = [folder.name]
        for share in (0.0, typos):
            cells += [f"{each:.3f}" for each in measured(request, share, seed)]
        click.echo(f"| {' | '.join(cells)} |")


def measured(request: DataRequest, typos: float, seed: int) -> tuple[float, float, float]:
    """The share of unknown words among those of the test texts, and the accuracies without and with their letters."""
    config = auto_config(request).config
    training, test = read_data(request), read_test(request)
    assert test is not None
    labels = label_names(training)
    vocabulary = choose_vocabulary(config.text, training.text_batches(1024))
    reader = Reader(vocabulary, config.text.sequence_length)
    ids = reader.as_unknown(reader.ids(texts_of(training)))
    composed = fit(ids, encode_labels(training, labels), vocabulary, config.wide)
    draw = np.random.default_rng(seed)
    ids = reader.ids([misspell(text, typos, draw) if typos else text for text in texts_of(test)])
    expected = encode_labels(test, labels)
    answers = (composed.fit.tables.logits(reader.as_unknown(ids)), composed.logits(ids, reader))
    plain, by_letters = (float((each.argmax(axis=1) == expected).mean()) for each in answers)
    return float((ids >= reader.known).sum() / (ids > 0).sum()), plain, by_letters


def texts_of(examples: Examples) -> list[str]:
    return list(itertools.chain.from_iterable(examples.text_batches(1024)))


if __name__ == "__main__":
    main()
