"""The gate of fine-tuned classifiers: what artifacts are asked, and who asks them.

A question is a row of ids, written as digits: those of the run's held-out texts, and made-up ones of every length, one
id over and over among them, which overflows an expert. What is compared, and within which bounds, is what
`switch_tf.export.proof.parity` has for all artifacts.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import tensorflow as tf

from switch_tf.artifacts.base import Answers
from switch_tf.artifacts.fine_tuned_export import FineTunedArtifact
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof import bounds
from switch_tf.export.proof.corpus import adversarial_texts
from switch_tf.export.proof.gate import refuse
from switch_tf.export.proof.parity import Comparison, compare, with_accuracy, with_rounding
from switch_tf.export.proof.reference import Reference, find_visited, near_ties, on_the_cpu
from switch_tf.export.proof.runner import in_batches, named, precision_of
from switch_tf.models.encoder_classifier import FineTunedClassifier
from switch_tf.runs.fine_tuned import FineTunedRun
from switch_tf.runs.held_out import read_held_out
from switch_tf.runs.measured import read_measured
from switch_tf.runs.rejection import label_indexes, label_list
from switch_tf.text.spec import TextSpec

BATCH_SIZES = (16, 5, 1)
_ASKED = 16  # at a time, of the reference
_WORDS = 500  # that made-up texts are made of, beside what is hostile
_SENTINEL_TEXTS = ["a <extra_id_0> b", "<extra_id_99><extra_id_1>x", "<extra_id_01> <extra_id_100000>", "<extra_id_7"]


class FineTunedRunner:
    """Asks an artifact for rows of ids, or for texts where it takes them and `door` says so."""

    def __init__(self, artifact: FineTunedArtifact, path: str, door: Door = "ids"):
        self._artifact, self.door = artifact, door
        self.path, self.size = path, artifact.size
        self.precision: Precision = precision_of({"precision": artifact.precision}, path)
        self._names = label_list(artifact.labels, artifact.rejection)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all rows of ids or texts, once for each batch size.

        Raises:
            ModelError: the runtime fails on them.
        """
        ask = self._ask_texts if self.door == "text" else self._ask_ids
        return in_batches(ask, texts, batch_sizes, self._artifact.batch)

    def _ask_texts(self, texts: list[bytes]) -> Answers:
        return Answers(*self._artifact.ask_texts(texts))

    def _ask_ids(self, texts: list[bytes]) -> Answers:
        ids = np.stack([_read(text, self._artifact.length) for text in texts])
        probabilities, label = self._artifact.ask(ids)
        return Answers(ids, probabilities, named(self._names, label))


class FineTunedProof:
    """The trained model's answers to rows of ids, to hold artifacts against.

    Args:
        run: the folder.
        model: its model.
        made_up: rows of ids to make up.
        seed: for making them.
        held_out: texts instead of the sample that the run carries.
        measured_on: where the labelled data is that smaller artifacts are measured on; see `read_measured`.
    """

    def __init__(
        self,
        run: FineTunedRun,
        model: FineTunedClassifier,
        made_up: int,
        seed: int = 0,
        held_out: Sequence[str] | None = None,
        measured_on: str | Examples | None = None,
    ):
        self._run, self._model, self._measured_on = run, model, measured_on
        own = list(read_held_out(run) if held_out is None else held_out)
        ids = np.concatenate([made_up_ids(model, made_up, seed), model.tokenize(own)])  # [texts, length]
        self.questions = [_write(row) for row in ids]
        words = sorted({word for text in own for word in text.split()})[:_WORDS] or ["a"]
        self.texts = own + _SENTINEL_TEXTS + adversarial_texts(TextSpec(), words, made_up, seed)
        with on_the_cpu():
            self._reference = ask_reference(model, ids)

    @cached_property
    def _text_reference(self) -> Reference:
        with on_the_cpu():
            return ask_reference(self._model, self._model.tokenize(self.texts))

    def check(self, artifact: FineTunedArtifact, path: str, max_loss: float | None = None) -> list[Comparison]:
        """How an artifact compared: with ids, and with texts where it takes them.

        Raises:
            ParityError: it is out of bounds.
            ModelError: it fails.
            DataError: it is quantized, and the labelled data to measure it on is not there.
        """
        compared = self.compare(artifact, path, max_loss)
        refuse(path, [problem for each in compared for problem in each.problems])
        return compared

    def compare(self, artifact: FineTunedArtifact, path: str, max_loss: float | None = None) -> list[Comparison]:
        """The same without a verdict; `max_loss` is how many points of accuracy a quantized one may lose."""
        started = time.perf_counter()
        runner = FineTunedRunner(artifact, path)
        compared = compare(runner, self._reference, self.questions)
        problems = compared.problems + self._other_facts(artifact)
        compared = replace(compared, problems=problems, experts_unvisited=self._reference.unvisited)
        if runner.precision != "float32":
            compared = self._measure(runner, compared, max_loss)
        all_of_it = [replace(compared, seconds=round(time.perf_counter() - started, 2))]
        if artifact.door == "text":
            started = time.perf_counter()
            texts = [text.encode() for text in self.texts]
            compared = compare(FineTunedRunner(artifact, path, "text"), self._text_reference, texts)
            all_of_it.append(replace(compared, seconds=round(time.perf_counter() - started, 2)))
        return all_of_it

    def _other_facts(self, artifact: FineTunedArtifact) -> list[str]:
        """What the folder says otherwise than the run."""
        model = self._model
        facts = [
            ("labels and threshold", (artifact.labels, artifact.rejection), (model.labels, model.rejection)),
            ("ids of a text", artifact.length, model.length),
        ]
        return [f"it says of {name} {said}: expected {expected}" for name, said, expected in facts if said != expected]

    def _measure(self, runner: FineTunedRunner, compared: Comparison, max_loss: float | None) -> Comparison:
        """The comparison with what a smaller artifact has lost on labelled texts besides."""
        questions = [_write(row) for row in self._measured_ids]
        (answers,) = runner.answer(questions, BATCH_SIZES[:1])
        allowed = bounds.max_loss(complete=True) if max_loss is None else max_loss
        answered = (answers.probabilities, self._own)
        accuracy, own = (float(np.mean(each.argmax(axis=1) == self._expected)) for each in answered)
        compared = with_accuracy(compared, accuracy, own, allowed / 100)
        return with_rounding(compared, answers.probabilities, self._own, self._model.rejection)

    @cached_property
    def _examples(self) -> Examples:
        """The run's whole test split, or else its validation split."""
        return read_measured(self._run, self._measured_on)

    @cached_property
    def _expected(self) -> np.ndarray:
        return encode_labels(self._examples, self._model.labels)  # [n]

    @cached_property
    def _measured_ids(self) -> np.ndarray:
        return self._model.tokenize([str(text) for text in self._examples.texts.to_pylist()])

    @cached_property
    def _own(self) -> np.ndarray:
        with on_the_cpu():
            return self._model.probabilities_of_ids(self._measured_ids)


def ask_reference(model: FineTunedClassifier, ids: np.ndarray) -> Reference:
    """The trained model's own answers to int32 [texts, length]."""
    ties, visits = [], []
    report = tf.function(lambda rows: model.model(rows), autograph=False).get_concrete_function(
        tf.TensorSpec([None, model.length], tf.int32)
    )
    for start in range(0, len(ids), _ASKED):
        rows = ids[start : start + _ASKED]
        reports = report(tf.constant(rows)).reports
        ties.append(near_ties(reports, len(rows)))
        experts = [model.model.settings.num_experts] * len(reports)
        visits.append([each.any(axis=0) for each in find_visited(reports, experts)])
    probabilities = model.probabilities_of_ids(ids)
    names = label_list(model.labels, model.rejection)
    labels = [names[index] for index in label_indexes(probabilities, model.rejection)]
    visited = [np.any(layer, axis=0) for layer in zip(*visits, strict=True)]
    answers = Answers(ids, probabilities, labels)
    return Reference(answers, np.concatenate(ties), visited, model.labels, model.rejection)


def made_up_ids(model: FineTunedClassifier, count: int, seed: int) -> np.ndarray:
    """int32 [count, length]: rows of every length, the end's id last; every eighth has one id over and over."""
    settings, length = model.model.settings, model.length
    random = np.random.default_rng(seed)
    special = (settings.pad_token_id, settings.eos_token_id)
    usual = np.setdiff1d(np.arange(settings.vocab_size), special)
    made_up = np.full([count, length], settings.pad_token_id, np.int32)
    for row, size in enumerate(np.linspace(1, length, count).astype(int)):
        drawn = random.choice(usual, size - 1)
        made_up[row, : size - 1] = drawn[:1] if row % 8 == 7 and size > 1 else drawn
        made_up[row, size - 1] = settings.eos_token_id
    return made_up


def _write(ids: np.ndarray) -> bytes:
    return " ".join(map(str, ids.tolist())).encode()


def _read(text: bytes, length: int) -> np.ndarray:
    """A row of ids; zeros for what fills up a batch."""
    return np.array([int(each) for each in text.split()] or [0] * length, np.int32)
