"""The gate every export passes: the trained model, the texts it is asked, its answers, and the verdict.

An artifact passes when all of this holds; `switch_tf.export.proof.bounds` has the figures:

- it answers the run's held-out sample, adversarial texts and all words of the vocabulary as the trained model does, in
  every batch size, signature and runtime;
- its front-ends give every word of the vocabulary its id, alone and between others;
- every expert that any word or pair of words reaches has been visited by those texts;
- every weight and table of the run is found in it when it is read back;
- its labels stand in the right order wherever a user may read them, and its reject threshold as the run has it;
- a smaller one (quantized, or with fewer words) keeps its accuracy on labelled texts.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from switch_tf.config import Dispatch
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.proof import bounds
from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.export.proof.coverage import texts_that_visit, vocabulary_texts
from switch_tf.export.proof.parity import BATCH_SIZES, Comparison, compare, first, with_accuracy, with_rounding
from switch_tf.export.proof.readback import Expected, read_back
from switch_tf.export.proof.reference import Reference, ask_reference, join, on_the_cpu, reference_ids
from switch_tf.export.proof.runner import Runner
from switch_tf.runs.folder import Run
from switch_tf.runs.held_out import read_held_out
from switch_tf.runs.measured import read_measured
from switch_tf.text.byte_codes import kept_bytes
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.text.spelling import hard_texts, spellings

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

_SHOWN = 8  # problems in a message
GATE_TEXTS = 256  # adversarial ones, beside the run's held-out sample: seconds for every export


class _Question(NamedTuple):
    """Texts, and what the trained model says of them."""

    texts: list[bytes]
    reference: Reference


class _Written(NamedTuple):
    """What is stored in an artifact: what of it is wrong, how many arrays of the run were looked for, and seconds."""

    problems: list[str]
    arrays: int
    seconds: float


class Proof:
    """The trained model's answers to a set of texts, asked once and compared with any number of artifacts."""

    def __init__(
        self,
        run: Run,
        texts: int = GATE_TEXTS,
        seed: int = 0,
        held_out: Sequence[str] | None = None,
        measured_on: str | Examples | None = None,
        words: int | None = None,
        dispatch: Dispatch | None = None,
        max_loss: float | None = None,
    ):
        """`held_out` replaces the sample of held-out texts that the run carries.

        `measured_on` is where the labelled data is that a smaller artifact is measured on; see `read_measured`.
        `words` is the size of the vocabulary that artifacts have, if it is not all of the run's; `dispatch` how tokens
        reach experts in them, if it is not as in the run; `max_loss` how many points of accuracy they may lose, if not
        `bounds.max_loss`.
        """
        from switch_tf.models.text_classifier import load_classifier

        with on_the_cpu():
            self.model: TextClassifier = load_classifier(run, words)
        self.exported = self.model  # what artifacts are made of
        if dispatch not in (None, run.config.model.dispatch):
            self.exported = load_exported(run, words, dispatch)
        self._vocabulary = vocabulary_texts(run.config.text, self.model.vocabulary)
        valid = list(read_held_out(run) if held_out is None else held_out)
        spelt = spellings(run.config.text, run.vocabulary)
        valid += adversarial_texts(run.config.text, spelt, texts, seed)
        valid += hard_texts(run.config.text, run.vocabulary)
        self.texts = [*(text.encode() for text in valid), *self._vocabulary.together]
        self.invalid_texts = invalid_utf8_texts(spelt, max(1, texts // 16), seed)
        self.complete = len(self.model.vocabulary) == len(run.vocabulary)
        self._questions: dict[tuple[bool, bool], _Question] = {}
        self._ids: dict[bool, np.ndarray] = {}
        self._run, self._measured_on, self._max_loss = run, measured_on, max_loss

    @property
    def words(self) -> list[bytes]:
        """Texts of every word of the vocabulary, alone and between others, that front-ends are asked the ids of."""
        return self._vocabulary.alone + self._vocabulary.together

    def check(self, runner: Runner) -> Comparison:
        """How the artifact compared. What is wrong when it is read back is said without asking it.

        Raises:
            ParityError: it is out of bounds, or fails.
            ExportError: it cannot be asked for another reason.
            DataError: it is quantized, and the labelled data to measure it on is not there.
        """
        with refusing_failures(runner.path):
            written = self._read(runner)
            refuse(runner.path, written.problems)
            comparison = self._ask(runner, written)
        refuse(runner.path, comparison.problems)
        return comparison

    def compare(self, runner: Runner) -> Comparison:
        """The same without a verdict.

        Raises:
            ModelError: the artifact fails.
            ExportError, DataError: as above.
        """
        return self._ask(runner, self._read(runner))

    def _ask(self, runner: Runner, written: _Written) -> Comparison:
        started = time.perf_counter()
        question = self._question(runner)
        comparison = compare(runner, question.reference, question.texts)
        comparison = self._compare_words(runner, comparison)
        comparison = replace(
            comparison,
            problems=comparison.problems + written.problems,
            arrays=written.arrays,
            experts_unvisited=question.reference.unvisited,
        )
        if runner.precision != "float32" or not self.complete:
            comparison = self._measure(runner, comparison)
        return replace(comparison, seconds=round(time.perf_counter() - started + written.seconds, 2))

    def _question(self, runner: Runner) -> _Question:
        """What artifacts of this kind are asked; made once."""
        kind = (runner.admits_invalid_utf8, runner.door == "bytes")
        if kind not in self._questions:
            texts = self.texts + self.invalid_texts if runner.admits_invalid_utf8 else list(self.texts)
            reference = ask_reference(self.model, self._kept(texts, runner))
            with on_the_cpu():
                more = texts_that_visit(self.model, reference.visited)
            if more:
                reference = join(reference, ask_reference(self.model, self._kept(more, runner)))
            self._questions[kind] = _Question(texts + more, reference)
        return self._questions[kind]

    def _kept(self, texts: Sequence[bytes], runner: Runner) -> list[bytes]:
        """What an artifact reads of the texts."""
        return [kept_bytes(self.model.spec, text) for text in texts] if runner.door == "bytes" else list(texts)

    def _compare_words(self, runner: Runner, comparison: Comparison) -> Comparison:
        """The comparison with the ids of all words besides."""
        texts = self.words
        received = runner.tokenize(texts)
        if not received:
            return comparison
        cut = runner.door == "bytes"
        if cut not in self._ids:
            self._ids[cut] = reference_ids(self.model, self._kept(texts, runner))
        expected = self._ids[cut]
        right = np.all([_rows_equal(ids, expected) for ids in received], axis=0)  # [texts]
        problems = list(comparison.problems)
        if not right.all():
            problems.append(first(~right, texts, "other ids of words of the vocabulary"))
        words = len(self._vocabulary.alone)
        return replace(comparison, problems=problems, words=words, words_equal=int(right[:words].sum()))

    def _read(self, runner: Runner) -> _Written:
        """How what is stored in the artifact compares."""
        from switch_tf.text.front_ends import arrays_of_any_batch

        started = time.perf_counter()
        parts = runner.parts()
        held = frozenset[str]().union(*(part.holds for part in parts))
        tables = self.model.numeric_text.stored_arrays() if "bytes" in held else {}
        packed = arrays_of_any_batch(self.model.numeric_text) if "packed bytes" in held else {}
        words = {word: number for number, word in enumerate(self.model.vocabulary, FIRST_WORD_ID)}
        threshold = None if self.model.rejection is None else self.model.rejection.threshold
        expected = Expected(self.model.stored_arrays(), self.model.folded_arrays(), tables, words, threshold, packed)
        arrays = ("weights" in held) * len(expected.weights) + len(tables) + len(packed) + ("words" in held)
        problems = read_back(parts, expected) + self._other_labels(runner)
        return _Written(problems, arrays, time.perf_counter() - started)

    def _other_labels(self, runner: Runner) -> list[str]:
        """Where the labels are not those of the run, in their order, or the threshold or the reject label is not."""
        labels, rejection = self.model.label_list, self.model.rejection
        threshold = None if rejection is None else rejection.as_dict()
        return [
            f"{place} says the labels are {said}: expected {labels}"
            for place, said in runner.named_labels().items()
            if said != labels
        ] + [
            f"{place} says of the reject threshold {said}: expected {threshold}"
            for place, said in runner.named_rejections().items()
            if said != threshold
        ]

    def _measure(self, runner: Runner, comparison: Comparison) -> Comparison:
        """The comparison with what a smaller artifact has lost on labelled texts besides."""
        texts = self._examples.texts.to_pylist()
        (answers, *_) = runner.answer([text.encode() for text in texts], BATCH_SIZES[:1])
        max_loss = bounds.max_loss(self.complete) if self._max_loss is None else self._max_loss
        accuracy = self._accuracy(answers.probabilities)
        comparison = with_accuracy(comparison, accuracy, self.accuracy, max_loss / 100)
        if runner.precision == "float32":
            return comparison
        return with_rounding(comparison, answers.probabilities, self._probabilities, self.model.rejection)

    @cached_property
    def _examples(self) -> Examples:
        """The run's whole test split, or else its validation split."""
        return read_measured(self._run, self._measured_on)

    @cached_property
    def _probabilities(self) -> np.ndarray:
        """The trained model's on those, with the words that artifacts have: float32 [texts, classes]."""
        with on_the_cpu():
            return self.model.probabilities(self._examples.texts.to_pylist())

    @cached_property
    def accuracy(self) -> float:
        """The trained model's own, with all its words, on the run's whole test split, or else its validation split."""
        if self.complete:
            return self._accuracy(self._probabilities)
        from switch_tf.models.text_classifier import load_classifier

        with on_the_cpu():
            return self._accuracy(load_classifier(self._run).probabilities(self._examples.texts.to_pylist()))

    def _accuracy(self, probabilities: np.ndarray) -> float:
        expected = encode_labels(self._examples, self.model.labels)  # [n]
        return float(np.mean(probabilities.argmax(axis=1) == expected))


@contextmanager
def refusing_failures(path: str) -> Iterator[None]:
    """An artifact that cannot be opened, or fails when it is asked, does not answer as the trained model does.

    Raises:
        ParityError: instead of ModelError.
    """
    try:
        yield
    except ModelError as error:
        raise ParityError(f"{path} does not answer as the trained model does, and was not kept: {error}") from error


def refuse(path: str, problems: Sequence[str]) -> None:
    """
    Raises:
        ParityError: there are problems with the artifact that messages call `path`; the first ones are told.
    """
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        if more := len(problems[_SHOWN:]):
            shown += f"; and {more} more"
        raise ParityError(f"{path} does not answer as the trained model does, and was not kept: {shown}.")


def load_exported(run: Run, words: int | None = None, dispatch: Dispatch | None = None) -> "TextClassifier":
    """The trained model as an artifact has it: with that many words, and tokens brought to experts in that way."""
    from switch_tf.models.text_classifier import load_classifier

    model = dataclasses.replace(run.config.model, dispatch=dispatch or run.config.model.dispatch)
    config = dataclasses.replace(run.config, model=model)
    return load_classifier(dataclasses.replace(run, config=config), words)


def _rows_equal(received: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """bool [texts]; all False where the shapes differ."""
    if received.shape != expected.shape:
        return np.zeros(len(expected), bool)
    return np.all(received == expected, axis=1)
