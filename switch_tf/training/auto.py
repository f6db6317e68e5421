"""Settings chosen from the size of the data, each with its reason: what the preset `auto` adds to its fixed ones.

The rules come from eleven sets of 5,000 to 25,000 texts, 2 to 150 classes and 10 to 230 words a text. They are meant to
be good enough to need no second look, not to be the best there is.
"""

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from switch_tf.config import Config, load_config
from switch_tf.data.examples import Examples, label_names, read_examples, words_of
from switch_tf.data.request import DataRequest, read_data
from switch_tf.text.reading import words_of_characters
from switch_tf.text.spec import TextSpec

MANY_CLASSES, SEVERAL_CLASSES = 50, 6
MUCH_TEXT = 4_000_000  # words, padding included: from here on a pass over the data takes a minute
_LARGEST_VOCABULARY, _LONGEST = 40_000, 512
_COUNTED_WORDS = 2_000_000  # different ones, which many more are not told from
_COVERED = 0.995  # of the texts are read whole
_MOST_PIECES, _PIECE = 10_000, 4  # pieces, and letters of one: somewhat fewer than there are on average
_IDEOGRAPHS = "\u2e80"  # the first of them: Chinese, Japanese and Korean stand behind
_STEP = 16  # sequence lengths are multiples of it
_VALIDATION, _MOST_VALIDATION, _ENOUGH = 0.1, 0.3, 100  # shares of the texts, and texts to choose by
_FEW_TEXTS = 3_000  # of two classes
_FEWEST_STEPS, _MOST_EPOCHS = 500, 60

_WORDS = TextSpec()


class DataSize(NamedTuple):
    """What the rules look at.

    Attributes:
        texts: how many there are, validation included.
        classes: different labels.
        length: words of a text that 99.5 % of the texts do not exceed.
        words: different words, two millions of them at most.
        tokenizer: `text.tokenizer`; unless it is "words" the length is in pieces, as far as it can be told beforehand.
    """

    texts: int
    classes: int
    length: int
    words: int
    tokenizer: str = "words"


class Choice(NamedTuple):
    """A setting, its value and why."""

    key: str
    value: Any
    why: str


def auto_config(
    request: DataRequest, file: Path | None = None, assignments: Sequence[str] = ()
) -> tuple[Config, list[Choice]]:
    """The settings for a data set, and the choices behind them that `file` and `assignments` left standing.

    Raises:
        ConfigError: a setting does not exist or does not fit.
        DataError: the data cannot be used.
    """
    asked = load_config("auto", file, assignments)  # before long data is read
    choices = choose(measure(read_data(request), asked.text))
    config = load_config("auto", file, assignments, tables_of(choices))
    return config, [choice for choice in choices if value_of(config, choice.key) == choice.value]


def examples_of(in_memory: Mapping[str, Examples], data: Any, text_column: str, label_column: str) -> Examples:
    """The labelled texts, whether the caller holds them or names them."""
    if "data" in in_memory:
        return in_memory["data"]
    return read_examples(str(data), text_column=text_column, label_column=label_column)


def tables_of(choices: Sequence[Choice]) -> dict[str, dict[str, Any]]:
    """The choices as tables of settings."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value, _ in choices:
        table, name = key.split(".")
        tables.setdefault(table, {})[name] = value
    return tables


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    table, name = key.split(".")
    return getattr(getattr(config, table), name)


def measure(examples: Examples, text: TextSpec = _WORDS) -> DataSize:
    """One look at every text.

    Args:
        text: whose tokenizer and rules say what is counted.

    Raises:
        DataError: there are fewer than two labels.
    """
    lengths = array("i")
    words: set[bytes] | set[str] = set()
    characters, words_alone = None if text.by_bytes else words_of_characters(text), text.tokenizer == "words"
    for texts in examples.text_batches(1024):
        for each in texts:
            read: list[Any] = words_of(each) if characters is None else characters(each)
            lengths.append(len(read) if words_alone else sum(map(_pieces, read)))
            if len(words) < _COUNTED_WORDS:
                words.update(read)
    length = int(np.quantile(lengths, _COVERED))
    return DataSize(len(examples), len(label_names(examples)), length, len(words), text.tokenizer)


def _pieces(word: str) -> int:
    """About how many pieces a word is; a letter of a script without spaces is one."""
    alone = sum(letter >= _IDEOGRAPHS for letter in word)
    return alone - (alone - len(word)) // _PIECE


def choose(size: DataSize) -> list[Choice]:
    """The rules."""
    length = min(_LONGEST, -(-max(size.length, 1) // _STEP) * _STEP)
    tokens = "words" if size.tokenizer == "words" else f"pieces of {_PIECE} letters"
    much = size.texts * length > MUCH_TEXT
    several, many = size.classes >= SEVERAL_CLASSES, size.classes >= MANY_CLASSES
    classes, texts = f"{size.classes} classes", f"{size.texts:,} texts of up to {length} words"
    share = 0.3 if several else 0.5
    wide_pairs = 4 if much else 2 if many else 1
    left_out = f"with {classes} " + ("a text names its class in few words" if several else "much is learnt by heart")
    return [
        _vocabulary(size),
        Choice(
            "text.sequence_length",
            length,
            f"99.5 % of the texts have at most {size.length} {tokens}; never over {_LONGEST}, for the time it takes",
        ),
        Choice("model.d_model", 64 if several else 32, f"{classes}: more of them want wider vectors"),
        Choice("model.token_dropout", share, f"{left_out}"),
        Choice("model.pair_dropout", share, "as model.token_dropout"),
        Choice("model.expert_dropout", 0.1 if several else 0.3, "as model.token_dropout"),
        Choice("model.pair_min_count", 5 if much else 2, f"{texts}: rarer pairs teach nothing that lasts"),
        Choice(
            "wide.pair_min_count",
            wide_pairs,
            f"{texts}, {classes}: "
            + ("every pair helps" if wide_pairs == 1 else "rarer pairs cost more than they give"),
        ),
        *_wide(size, classes),
        Choice("train.epochs", *_epochs(size, much)),
        *_validation(size),
    ]


def _vocabulary(size: DataSize) -> Choice:
    if size.tokenizer == "words":
        why = f"{size.words:,} different words; the {_LARGEST_VOCABULARY:,} most frequent ones at most"
        return Choice("text.vocabulary_size", min(_LARGEST_VOCABULARY, size.words + 2), why)
    why = f"{size.words:,} different words are read in at most so many pieces"
    return Choice("text.vocabulary_size", _MOST_PIECES, why)


def _wide(size: DataSize, classes: str) -> list[Choice]:
    """What the wide path makes of rare words, and of counts that are small."""
    several = size.classes >= SEVERAL_CLASSES
    why = "rare words tell little of so many" if several else "that a word is rare may tell its class"
    choices = [Choice("wide.rare_as_unknown", not several, f"{classes}: {why}")]
    if size.classes == 2 and size.texts < _FEW_TEXTS:
        why = f"{classes}, {size.texts:,} texts: which words tell them apart is less certain"
        choices.append(Choice("wide.naive_bayes_power", 0.5, why))
    return choices


def _validation(size: DataSize) -> list[Choice]:
    """A larger share to choose by where the usual one would be too few texts."""
    share = min(_MOST_VALIDATION, round(_ENOUGH / size.texts, 2))
    if share <= _VALIDATION:
        return []
    why = f"{size.texts:,} texts: about {_ENOUGH} are wanted to choose by, of at most {_MOST_VALIDATION:.0%} of them"
    return [Choice("train.validation_share", share, why)]


def _epochs(size: DataSize, much: bool) -> tuple[int, str]:
    """How many, and why."""
    if much:
        return 3, "much text: what is to be learnt is learnt in three passes"
    usual = 12 if size.classes >= MANY_CLASSES else 8 if size.classes >= SEVERAL_CLASSES else 5
    steps = max(1, size.texts // 64)
    if usual * steps < _FEWEST_STEPS:
        return min(_MOST_EPOCHS, -(-_FEWEST_STEPS // steps)), f"little text: about {_FEWEST_STEPS} steps are wanted"
    return usual, f"{size.classes} classes: more of them take longer"
