"""The gate of fine-tuned classifiers: what artifacts are asked, and who asks them.

What takes ids is asked rows of them, written as digits: those of the run's held-out texts, and made-up ones of every
length, one id over and over among them, which overflows an expert. What takes texts is asked the held-out ones and
hostile ones, and where it takes bytes, the ids of every piece and sentinel besides. What is compared, and within which
bounds, is what `switch_tf.export.proof.parity` has for all artifacts.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple, cast

import numpy as np
import tensorflow as tf

from switch_tf.artifacts.base import Answers, ask_in_batches
from switch_tf.artifacts.fine_tuned_export import FineTunedArtifact
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.errors import ModelError
from switch_tf.export.fine_tuned.corpus import behind_a_sentinel, sentinel_texts, token_texts
from switch_tf.export.fine_tuned.stored import other_tables
from switch_tf.export.options import Door, Precision
from switch_tf.export.proof import bounds
from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.export.proof.gate import refuse
from switch_tf.export.proof.parity import Comparison, compare, first, with_accuracy, with_rounding
from switch_tf.export.proof.reference import Reference, find_visited, near_ties, on_the_cpu
from switch_tf.export.proof.runner import in_batches, named, precision_of
from switch_tf.models.encoder_classifier import FineTunedClassifier
from switch_tf.runs.fine_tuned import FineTunedRun
from switch_tf.runs.held_out import read_held_out
from switch_tf.runs.measured import read_measured
from switch_tf.runs.rejection import label_indexes, label_list
from switch_tf.text.spec import TextSpec
from switch_tf.text.spelling import hard_texts

BATCH_SIZES = (16, 5, 1)
_ASKED = 16  # at a time, of the reference
_WORDS = 500  # that made-up texts are made of, beside what is hostile
_FEW = 24  # texts with sentinels that are answered
_READ = 256  # texts with sentinels whose ids are compared, at least


class _Question(NamedTuple):
    """What artifacts are asked, and what the trained model says of it."""

    texts: list[bytes]
    reference: Reference


class _Measured(NamedTuple):
    """Labelled texts as artifacts are asked them, their labels, int32 [n], and the trained model's probabilities."""

    texts: list[bytes]
    labels: np.ndarray
    expected: np.ndarray


class FineTunedRunner:
    """Asks an artifact for rows of ids, or for bytes or texts where it takes them and `door` says so."""

    def __init__(self, artifact: FineTunedArtifact, path: str, door: Door | None = None):
        self._artifact, self.door = artifact, cast(Door, door or artifact.door)
        self.path, self.size = path, artifact.size
        self.precision: Precision = precision_of({"precision": artifact.precision}, path)
        self._names = label_list(artifact.labels, artifact.rejection)

    def answer(self, texts: Sequence[bytes], batch_sizes: Sequence[int]) -> list[Answers]:
        """The answers to all rows of ids or texts, once for each batch size.

        Raises:
            ModelError: the runtime fails on them.
        """
        ask = self._ask_ids if self.door == "ids" else self._ask_texts
        return in_batches(ask, texts, batch_sizes, self._artifact.batch)

    def tokenize(self, texts: Sequence[bytes]) -> np.ndarray:
        """Ids alone, int32 [texts, length].

        Raises:
            ModelError: the runtime fails on them.
        """
        empty = np.zeros([0, self._artifact.length], np.int32)
        ask = partial(self._artifact.ask_ids, self.door)
        return ask_in_batches(ask, texts, self._artifact.batch, b"", empty)

    def _ask_texts(self, texts: list[bytes]) -> Answers:
        probabilities, label = self._artifact.ask(self.door, texts)
        labels = label.tolist() if self.door == "text" else named(self._names, label)
        return Answers(self._artifact.ask_ids(self.door, texts), probabilities, labels)

    def _ask_ids(self, texts: list[bytes]) -> Answers:
        ids = np.stack([_read(text, self._artifact.length) for text in texts])
        probabilities, label = self._artifact.ask("ids", list(ids))
        return Answers(ids, probabilities, named(self._names, label))


class FineTunedProof:
    """The trained model's answers, to hold artifacts against.

    Args:
        run: the folder.
        model: its model.
        made_up: rows of ids to make up, and hostile texts.
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
        self._made_up, self._seed = made_up, seed
        self._held_out = list(read_held_out(run) if held_out is None else held_out)
        self._words = sorted({word for text in self._held_out for word in text.split()})[:_WORDS] or ["a"]
        self._questions: dict[Door, _Question] = {}
        self._measured: dict[Door, _Measured] = {}

    def check(self, artifact: FineTunedArtifact, path: str, max_loss: float | None = None) -> list[Comparison]:
        """How an artifact compared, for each of what it takes.

        Raises:
            ParityError: it is out of bounds.
            ModelError: it fails.
            DataError: it is quantized, and the labelled data to measure it on is not there.
            ExportError: it takes bytes, and the run's tokenizer cannot stand in a graph.
        """
        compared = self.compare(artifact, path, max_loss)
        refuse(path, [problem for each in compared for problem in each.problems])
        return compared

    def compare(self, artifact: FineTunedArtifact, path: str, max_loss: float | None = None) -> list[Comparison]:
        """The same without a verdict; `max_loss` is how many points of accuracy a quantized one may lose."""
        problems, arrays = self._other_facts(artifact), 0
        if artifact.length != self._model.length:
            raise ModelError("; ".join(problems))
        if artifact.door == "bytes":
            others, arrays = other_tables(artifact.path, self._model.numeric_text)
            problems += others
        compared, *rest = [self.ask(artifact, path, cast(Door, door), max_loss) for door in artifact.doors]
        return [replace(compared, problems=compared.problems + problems, arrays=arrays), *rest]

    def ask(self, artifact: FineTunedArtifact, path: str, door: Door, max_loss: float | None = None) -> Comparison:
        """How the answers to what goes in by a door compared, by the first one also what a smaller artifact lost."""
        started = time.perf_counter()
        runner, kind = FineTunedRunner(artifact, path, door), _kind(artifact, door)
        question = self.question(kind)
        compared = compare(runner, question.reference, question.texts)
        if door == "bytes":
            compared = self._compare_tokens(runner, compared)
        if runner.precision != "float32" and door == artifact.doors[0]:
            compared = self._measure(runner, kind, compared, max_loss)
        seconds = round(time.perf_counter() - started, 2)
        return replace(compared, experts_unvisited=question.reference.unvisited, seconds=seconds)

    def _other_facts(self, artifact: FineTunedArtifact) -> list[str]:
        """What the folder says otherwise than the run."""
        model = self._model
        facts = [
            ("labels and threshold", (artifact.labels, artifact.rejection), (model.labels, model.rejection)),
            ("ids of a text", artifact.length, model.length),
        ]
        return [f"it says of {name} {said}: expected {expected}" for name, said, expected in facts if said != expected]

    def asks(self, artifact: FineTunedArtifact) -> int:
        """How many rows of ids, or texts, its first input is asked."""
        return len(self.question(_kind(artifact, cast(Door, artifact.door))).texts)

    def ask_model(self, inputs: Door, precision: Precision) -> None:
        """Ask the trained model what artifacts of such inputs and weights will be: before any is built, which could
        change it.

        Raises:
            DataError: the labelled data to measure quantized ones on is not there.
            ExportError: they take bytes, and the run's tokenizer cannot stand in a graph.
        """
        for kind in {"ids", inputs}:
            self.question(kind)
        if precision != "float32":
            self.measured(inputs)

    def question(self, kind: Door) -> _Question:
        """What artifacts are asked that take rows of ids, the bytes of texts, or whole texts; made once each."""
        if kind not in self._questions:
            texts, ids = {"ids": self._rows, "bytes": self._bytes, "text": self._texts}[kind]()
            with on_the_cpu():
                self._questions[kind] = _Question(texts, ask_reference(self._model, ids))
        return self._questions[kind]

    def _rows(self) -> tuple[list[bytes], np.ndarray]:
        """Rows of ids as digits, and as they are."""
        made_up = made_up_ids(self._model, self._made_up, self._seed)
        ids = np.concatenate([made_up, self._model.tokenize(self._held_out)])  # [texts, length]
        return [_write(row) for row in ids], ids

    def _texts(self) -> tuple[list[bytes], np.ndarray]:
        """Texts that are read as a whole, and their ids."""
        hostile = adversarial_texts(TextSpec(), self._words, self._made_up, self._seed)
        texts = [
            text.encode() for text in (*self._held_out, *self._with_sentinels(_FEW, TextSpec().num_bytes), *hostile)
        ]
        return texts, self._model.tokenize(texts)

    def _bytes(self) -> tuple[list[bytes], np.ndarray]:
        """Texts of which the first bytes are read, and their ids."""
        spec = self._model.numeric_text.spec
        hostile = adversarial_texts(spec, self._words, self._made_up, self._seed)
        valid = [text.encode() for text in (*self._held_out, *self._with_sentinels(_FEW, spec.num_bytes), *hostile)]
        texts = valid + invalid_utf8_texts(self._words, max(1, self._made_up // 16), self._seed)
        return texts, self._model.tokenize_bytes(texts)

    def _with_sentinels(self, count: int, num_bytes: int) -> list[str]:
        return sentinel_texts(len(self._model.pieces.sentinels), self._words, num_bytes, count, self._seed)

    def _compare_tokens(self, runner: FineTunedRunner, compared: Comparison) -> Comparison:
        """The comparison with the ids of all pieces and sentinels besides, and of texts at the limits of how these are
        read."""
        texts, expected, alone = self._tokens
        right = (runner.tokenize(texts) == expected).all(axis=1)  # [texts]
        problems = list(compared.problems)
        if not right.all():
            problems.append(first(~right, texts, "other ids of pieces, sentinels and texts at the limits of these"))
        return replace(compared, problems=problems, words=alone, words_equal=int(right[:alone].sum()))

    @cached_property
    def _tokens(self) -> tuple[list[bytes], np.ndarray, int]:
        """Texts, their ids, and how many of them are the pieces and sentinels alone, which stand first."""
        front_end = self._model.numeric_text
        asked = token_texts(front_end)
        limits = hard_texts(front_end.spec, front_end.vocabulary)
        limits += behind_a_sentinel(limits, front_end.spec.num_bytes)
        limits += self._with_sentinels(max(_READ, self._made_up), front_end.spec.num_bytes)
        texts = [*asked.alone, *asked.together, *(text.encode() for text in limits)]
        return texts, self._model.tokenize_bytes(texts), len(asked.alone)

    def _measure(self, runner: FineTunedRunner, kind: Door, compared: Comparison, max_loss: float | None) -> Comparison:
        """The comparison with what a smaller artifact has lost on labelled texts besides."""
        texts, right, expected = self.measured(kind)
        (answers,) = runner.answer(texts, BATCH_SIZES[:1])
        allowed = bounds.max_loss(complete=True) if max_loss is None else max_loss
        accuracy, own = (float(np.mean(each.argmax(axis=1) == right)) for each in (answers.probabilities, expected))
        compared = with_accuracy(compared, accuracy, own, allowed / 100)
        return with_rounding(compared, answers.probabilities, expected, self._model.rejection)

    def measured(self, kind: Door) -> _Measured:
        """The run's whole test split, or else its validation split, as it is asked; made once for each kind."""
        if kind not in self._measured:
            examples = read_measured(self._run, self._measured_on)
            texts = [str(text).encode() for text in examples.texts.to_pylist()]
            ids = self._model.tokenize_bytes(texts) if kind == "bytes" else self._model.tokenize(texts)
            asked = [_write(row) for row in ids] if kind == "ids" else texts
            with on_the_cpu():
                expected = self._model.probabilities_of_ids(ids)
            self._measured[kind] = _Measured(asked, encode_labels(examples, self._model.labels), expected)
        return self._measured[kind]


def _kind(artifact: FineTunedArtifact, door: Door) -> Door:
    """Of the question: where bytes go in, strings are read as bytes are."""
    return "bytes" if door == "text" and artifact.byte_length is not None else door


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
