"""Settings chosen from the size of the data, each with its reason: what the preset `auto` adds to its fixed ones.

The rules come from eleven sets of 5,000 to 25,000 texts, 2 to 150 classes and 10 to 230 words a text. They are meant to
be good enough to need no second look, not to be the best there is.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from switch_tf.config import Config, asked_for, load_config
from switch_tf.data.examples import Examples, label_names, words_of
from switch_tf.data.request import DataRequest, read_data
from switch_tf.text.reading import words_of_characters
from switch_tf.text.spec import TextSpec
from switch_tf.timing import timed
from switch_tf.training.encoding import choose_vocabulary, keep_vocabulary
from switch_tf.training.piece_lengths import piece_lengths
from switch_tf.training.prepared import NOTHING, Prepared, prepare_examples

MANY_CLASSES, SEVERAL_CLASSES = 50, 6
MUCH_TEXT = 4_000_000  # words, padding included: from here on a pass over the data takes a minute
_LARGEST_VOCABULARY, _LONGEST = 40_000, 512
_COUNTED_WORDS = 2_000_000  # different ones, which many more are not told from
_COVERED = 0.995  # of the texts are read whole
_MOST_PIECES = 10_000
_STEP = 16  # sequence lengths are multiples of it
_BYTES_STEP, _MOST_BYTES = 256, 32  # byte lengths are multiples of the one, and at most so many times the length
LENGTH, BYTES = "text.sequence_length", "text.byte_length"
_VALIDATION, _MOST_VALIDATION, _ENOUGH = 0.1, 0.3, 100  # shares of the texts, and texts to choose by
_FEW_TEXTS = 3_000  # of two classes
_FEWEST_STEPS, _MOST_EPOCHS = 500, 60

_WORDS = TextSpec()


class DataSize(NamedTuple):
    """What the rules look at.

    Attributes:
        texts: how many there are, validation included.
        classes: different labels.
        length: tokens of a text that 99.5 % of the texts do not exceed.
        words: different words, two millions of them at most.
        tokenizer: `text.tokenizer`.
        bytes: that 99.5 % of the texts have these tokens in; 0 where that is not looked at.
    """

    texts: int
    classes: int
    length: int
    words: int
    tokenizer: str = "words"
    bytes: int = 0


class Choice(NamedTuple):
    """A setting, its value and why."""

    key: str
    value: Any
    why: str


class Settled(NamedTuple):
    """All settings of a training.

    Attributes:
        config: the settings.
        choices: those among them that were chosen from the data, not asked for.
        prepared: the data, where it had to be prepared for that: a training with these settings can take it.
    """

    config: Config
    choices: list[Choice]
    prepared: Prepared | None


def auto_config(
    request: DataRequest,
    file: Path | None = None,
    assignments: Sequence[str] = (),
    kept: tuple[Config, list[str]] | None = None,
) -> Settled:
    """The settings for a data set, where `file` and `assignments` say some of them; see `settle`.

    Raises:
        ConfigError: a setting does not exist or does not fit.
        DataError: the data cannot be used.
    """

    def with_choices(chosen: Mapping[str, Mapping[str, Any]]) -> Config:
        return load_config("auto", file, assignments, chosen)

    with_choices({})  # before what is asked for is looked at: its messages say what is wrong
    return settle(request, with_choices, asked_for(file, None, assignments), kept=kept)


def settle(
    request: DataRequest,
    with_choices: Callable[[Mapping[str, Mapping[str, Any]]], Config],
    given: frozenset[str],
    in_memory: Mapping[str, Examples] = NOTHING,
    kept: tuple[Config, list[str]] | None = None,
) -> Settled:
    """The settings for a data set. Of pieces of words the vocabulary is learnt, which says how long texts are.

    Args:
        with_choices: the settings as they are with tables of choices, which are tables of settings.
        given: keys of settings that are asked for, which no choice changes.
        in_memory: as for `switch_tf.training.session.train`.
        kept: settings and a vocabulary that was chosen by them for this data, which is not learnt again.

    Raises:
        ConfigError: a setting does not fit.
        DataError: the data cannot be used.
    """
    asked = with_choices({})  # before long data is read
    examples = in_memory["data"] if "data" in in_memory else read_data(request)
    size, prepared = measure(examples, asked.text), None
    if asked.text.tokenizer != "words" and LENGTH in given:
        size = size._replace(length=asked.text.sequence_length)
    elif asked.text.tokenizer != "words":
        config = with_choices(tables_of(choose(size)))  # what the length decides, no vocabulary depends on
        with timed(f"Splitting {request.data}"):
            prepared = prepare_examples(request, config.train, {**in_memory, "data": examples})
        del examples  # which takes as much memory again
        if kept is not None:
            keep_vocabulary(kept[0], prepared, kept[1])
        size = _in_pieces(size, config, prepared)
    choices = choose(size)
    return Settled(with_choices(tables_of(choices)), [each for each in choices if each.key not in given], prepared)


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
    """One look at every text, in words.

    Args:
        text: whose tokenizer and rules say what a word is, of which its tokens may be pieces.

    Raises:
        DataError: there are fewer than two labels.
    """
    lengths = array("i")
    words: set[bytes] | set[str] = set()
    characters = None if text.by_bytes else words_of_characters(text)
    for texts in examples.text_batches(1024):
        for each in texts:
            read: list[Any] = words_of(each) if characters is None else characters(each)
            lengths.append(len(read))
            if len(words) < _COUNTED_WORDS:
                words.update(read)
    length = int(np.quantile(lengths, _COVERED))
    return DataSize(len(examples), len(label_names(examples)), length, len(words), text.tokenizer)


def lengths_in_pieces(config: Config, prepared: Prepared, given: frozenset[str] = frozenset()) -> dict[str, int]:
    """The length that fits the vocabulary of these settings, and the bytes (0: the usual ones), where they are others.

    Args:
        given: as for `settle`.
    """
    size = DataSize(len(prepared.training), len(prepared.labels), 0, 0, config.text.tokenizer)
    asked = config if BYTES in given else replace(config, text=replace(config.text, byte_length=None))
    size = _in_pieces(size, asked, prepared)
    length = _rounded(size.length)
    lengths = {LENGTH: length, BYTES: _byte_length(size, length) or 0}
    return {key: value for key, value in lengths.items() if key not in given and value != (value_of(config, key) or 0)}


def _in_pieces(size: DataSize, config: Config, prepared: Prepared) -> DataSize:
    """The size as it is in pieces of the vocabulary that these settings choose."""
    with timed("Choosing the vocabulary"):
        vocabulary = choose_vocabulary(config, prepared)
    with timed("Counting pieces"):
        counted = piece_lengths(prepared.training, config.text, vocabulary)
    length = int(np.quantile(counted.pieces, _COVERED))
    size_of_most = np.quantile(counted.sizes_of(_rounded(length)), _COVERED)
    return size._replace(length=length, bytes=int(np.ceil(size_of_most)))


def _rounded(length: int) -> int:
    return min(_LONGEST, -(-max(length, 1) // _STEP) * _STEP)


def choose(size: DataSize) -> list[Choice]:
    """The rules."""
    length = _rounded(size.length)
    tokens = "words" if size.tokenizer == "words" else "pieces"
    much = size.texts * length > MUCH_TEXT
    several, many = size.classes >= SEVERAL_CLASSES, size.classes >= MANY_CLASSES
    classes, texts = f"{size.classes} classes", f"{size.texts:,} texts of up to {length} {tokens}"
    share = 0.3 if several else 0.5
    wide_pairs = 4 if much else 2 if many else 1
    left_out = f"with {classes} " + ("a text names its class in few words" if several else "much is learnt by heart")
    return [
        _vocabulary(size),
        Choice(
            LENGTH,
            length,
            f"99.5 % of the texts have at most {size.length} {tokens}; never over {_LONGEST}, for the time it takes",
        ),
        *_bytes(size, length),
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


def _bytes(size: DataSize, length: int) -> list[Choice]:
    wanted = _byte_length(size, length)
    if wanted is None:
        return []
    why = f"99.5 % of the texts have {length} pieces, or all of theirs, in at most {size.bytes:,} bytes"
    return [Choice(BYTES, wanted, f"{why}; never over {_MOST_BYTES} for each piece")]


def _byte_length(size: DataSize, length: int) -> int | None:
    """What `text.byte_length` has to be for so many tokens; None where it is enough unset."""
    wanted = min(_MOST_BYTES * length, -(-size.bytes // _BYTES_STEP) * _BYTES_STEP)
    return wanted if wanted > TextSpec(sequence_length=length).num_bytes else None


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
