"""The gate every export passes: the trained model, the texts it is asked, its answers, and the verdict."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from switch_tf.config import Dispatch
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.errors import ParityError
from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.export.proof.parity import (
    BATCH_SIZES,
    Comparison,
    Reference,
    Runner,
    ask_reference,
    compare,
    with_accuracy,
)
from switch_tf.runs.folder import Run
from switch_tf.runs.held_out import read_held_out
from switch_tf.runs.measured import read_measured
from switch_tf.text.byte_codes import kept_bytes

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

GATE_TEXTS = 256  # adversarial ones, beside the run's held-out sample: seconds for every export


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
    ):
        """`held_out` replaces the sample of held-out texts that the run carries.

        `measured_on` is where the labelled data is that a quantized artifact is measured on; see `read_measured`.
        `words` is the size of the vocabulary that artifacts have, if it is not all of the run's; `dispatch` how tokens
        reach experts in them, if it is not as in the run.
        """
        from switch_tf.models.text_classifier import load_classifier

        self.model: TextClassifier = load_classifier(run, words)
        self.exported = self.model  # what artifacts are made of
        if dispatch is not None and dispatch != run.config.model.dispatch:
            self.exported = load_exported(run, words, dispatch)
        valid = list(read_held_out(run) if held_out is None else held_out)
        valid += adversarial_texts(run.config.text, run.vocabulary, texts, seed)
        self.texts = [text.encode() for text in valid]
        self.invalid_texts = invalid_utf8_texts(run.vocabulary, max(1, texts // 16), seed)
        self._reference: dict[tuple[bool, bool], Reference] = {}
        self._run, self._measured_on = run, measured_on

    def check(self, runner: Runner) -> Comparison:
        """How the artifact compared.

        Raises:
            ParityError: it is out of bounds.
            DataError: it is quantized, and the labelled data to measure it on is not there.
        """
        comparison = self.compare(runner)
        if not comparison.ok:
            problems = "; ".join(comparison.problems)
            raise ParityError(f"{runner.path} does not answer as the trained model does, and was not kept: {problems}.")
        return comparison

    def compare(self, runner: Runner) -> Comparison:
        """The same without a verdict."""
        texts = self.texts + self.invalid_texts if runner.admits_invalid_utf8 else self.texts
        kind = (runner.admits_invalid_utf8, runner.door == "bytes")
        if kind not in self._reference:
            read = [kept_bytes(self.model.spec, text) for text in texts] if runner.door == "bytes" else texts
            self._reference[kind] = ask_reference(self.model, read)
        comparison = compare(runner, self._reference[kind], texts)
        if runner.precision == "float32":
            return comparison
        (answers,) = runner.answer([text.encode() for text in self._examples.texts.to_pylist()], BATCH_SIZES[:1])
        return with_accuracy(comparison, self._accuracy(answers.probabilities), self.accuracy)

    @cached_property
    def _examples(self) -> Examples:
        """The run's whole test split, or else its validation split."""
        return read_measured(self._run, self._measured_on)

    @cached_property
    def accuracy(self) -> float:
        """The trained model's own on the run's whole test split, or else its validation split."""
        return self._accuracy(self.model.probabilities(self._examples.texts.to_pylist()))

    def _accuracy(self, probabilities: np.ndarray) -> float:
        expected = encode_labels(self._examples, self.model.labels)  # [n]
        return float(np.mean(probabilities.argmax(axis=1) == expected))


def load_exported(run: Run, words: int | None = None, dispatch: Dispatch | None = None) -> "TextClassifier":
    """The trained model as an artifact has it: with that many words, and tokens brought to experts in that way."""
    from switch_tf.models.text_classifier import load_classifier

    model = dataclasses.replace(run.config.model, dispatch=dispatch or run.config.model.dispatch)
    config = dataclasses.replace(run.config, model=model)
    return load_classifier(dataclasses.replace(run, config=config), words)
