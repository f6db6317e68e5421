"""The texts of a training as a model reads them: the vocabulary that is chosen for them, ids and label indices."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from switch_tf.config import Config
from switch_tf.data.examples import Examples, encode_labels, join
from switch_tf.data.spill import computed, empty_array, relieving
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID, PADDING_ID, TextSpec
from switch_tf.training.prepared import Prepared

if TYPE_CHECKING:
    from switch_tf.text.from_strings import KerasText
    from switch_tf.text.plain_subwords import PlainSubwords
    from switch_tf.training.steps import Encoded

TEXT_BATCH = 1024
_RELIEVED = 64  # batches of ids that are read between two times that what was read leaves memory
_KEPT = 4  # vocabularies: a search asks for many


def choose_vocabulary(config: Config, prepared: Prepared) -> list[str]:
    """The words or pieces of the training texts; of all but test texts where a wide path learns from all of them.

    While something is chosen on validation, words that occur there alone are unknown: see `with_unknown`. What was
    chosen for the same data and settings before is not learnt again.
    """
    found = prepared.learnt.get(_learnt_by(config))
    if found is not None:
        return found
    from switch_tf.text import front_ends

    learnt = join(prepared.training, prepared.validation) if config.wide.enabled else prepared.training
    vocabulary = front_ends.choose_vocabulary(config.text, learnt.text_batches(TEXT_BATCH))
    keep_vocabulary(config, prepared, vocabulary)
    return vocabulary


def keep_vocabulary(config: Config, prepared: Prepared, vocabulary: list[str]) -> None:
    """Let `choose_vocabulary` find what these settings chose for the data."""
    prepared.learnt[_learnt_by(config)] = vocabulary
    while len(prepared.learnt) > _KEPT:
        del prepared.learnt[next(iter(prepared.learnt))]


def _learnt_by(config: Config) -> tuple[TextSpec, bool]:
    """What a vocabulary follows from beside the texts: how much of a text a model reads is not part of it."""
    return replace(config.text, sequence_length=1, byte_length=None, truncation="prefix"), config.wide.enabled


def encode(examples: Examples, labels: list[str], front_end: "KerasText | PlainSubwords") -> "Encoded":
    """Token ids and label indices of all examples."""
    from switch_tf.training.steps import Encoded

    ids = token_ids(examples.text_batches(TEXT_BATCH), len(examples), front_end)
    return Encoded(ids, encode_labels(examples, labels))


def encode_to_ask(examples: Examples, labels: list[str], front_end: "KerasText | PlainSubwords") -> "Encoded":
    """The same, and the letters of unknown words where a model of the texts tells these by them."""
    from switch_tf.text.plain_spelling import PlainSpelling

    encoded = encode(examples, labels, front_end)
    if not isinstance(front_end, PlainSpelling):
        return encoded
    batches = (front_end.letters([text.encode() for text in texts]) for texts in examples.text_batches(TEXT_BATCH))
    return encoded._replace(letters=np.concatenate(list(batches)))


def encode_validation(
    examples: Examples, labels: list[str], front_end: "KerasText | PlainSubwords", training: "Encoded"
) -> "tuple[Encoded, Encoded]":
    """Validation texts as a model of all words reads them, and as one that knows those of the training texts alone."""
    from switch_tf.text.plain_spelling import PlainSpelling

    as_read = encode_to_ask(examples, labels, front_end)
    unseen = with_unknown(as_read, training)
    if isinstance(front_end, PlainSpelling) and as_read.letters is not None:
        unseen = unseen._replace(letters=front_end.respell(as_read.ids, as_read.letters, unseen.ids))
    return as_read, unseen


def token_ids(batches: Iterable[np.ndarray], count: int, front_end: "KerasText | PlainSubwords") -> np.ndarray:
    """int32 [count, length] of so many texts, given some at a time, each batch an array of str."""
    from switch_tf.text.front_ends import traced

    read = traced(front_end)
    ids, start = empty_array((count, front_end.length), np.int32), 0
    for texts in batches:
        ids[start : start + len(texts)] = read(texts)
        start += len(texts)
    return ids


def with_unknown(validation: "Encoded", training: "Encoded") -> "Encoded":
    """Validation texts in which the words that no training text has are unknown, as they will be in other texts."""
    known = np.zeros(max(_largest(each.ids) for each in (training, validation)) + 1, bool)  # [ids]
    known[PADDING_ID] = True
    for start in relieving(range(0, len(training.ids), TEXT_BATCH), _RELIEVED):
        known[training.ids[start : start + TEXT_BATCH]] = True
    unknown = np.int32(OUT_OF_VOCABULARY_ID)

    def read(some: slice) -> np.ndarray:
        return np.where(known[validation.ids[some]], validation.ids[some], unknown)

    return validation._replace(ids=computed(validation.ids.shape, np.int32, read))


def _largest(ids: np.ndarray) -> int:
    starts = relieving(range(0, len(ids), TEXT_BATCH), _RELIEVED)
    return max((int(ids[start : start + TEXT_BATCH].max(initial=0)) for start in starts), default=0)
