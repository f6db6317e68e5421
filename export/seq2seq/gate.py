"""The gate of generation: an artifact writes, id by id, what the TensorFlow model writes, or it is not kept.

Prompts are made up from a seed: of lengths from one id to the longest, among them one id over and over, which
overflows an expert. The reference decodes step by step, outside any loop of a graph. Where an artifact also gives its
logits, they are within 5e-5 of the largest one.

Two answers may differ and both be right where rounding decides: where the reference's two best logits are closer
together than that bound, or an id of the prompt has two experts within 1e-6 of each other. Such prompts are counted
apart, and at most one in ten may be.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.errors import ParityError
from switch_tf.export.proof.reference import near_ties
from switch_tf.export.seq2seq.runners import Writer
from switch_tf.models.seq2seq import Seq2Seq

PROMPTS = 32
_BATCH = 8
_BOUND = 5e-5  # of logits, times the largest one: 12 + 12 blocks of width 768 are off by 1.7e-5 from rounding alone
_APART = 0.1  # share of prompts


@dataclass(frozen=True)
class GenerationComparison:
    """How an artifact compared.

    Attributes:
        path: of the artifact.
        prompts: that were asked.
        equal: of which every id was the same.
        near_ties: that differ, or may, by rounding alone.
        ids: that were written in all, padding not counted.
        max_abs_diff: of logits, over all ids that were equal so far; None where the artifact gives none.
        bound: what that may be.
        alone_equal: prompts that were asked alone as well, all of them with the same answer.
        seconds: that it took.
        problems: what is wrong, as sentences.
    """

    path: str
    prompts: int
    equal: int
    near_ties: int
    ids: int
    max_abs_diff: float | None
    bound: float
    alone_equal: int
    seconds: float
    problems: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class _Answers(NamedTuple):
    """What the model writes: ids int32 [n, 1 + longest], logits float32 [n, longest, vocab], near bool [n, longest]."""

    ids: np.ndarray
    logits: np.ndarray
    near: np.ndarray


class GenerationProof:
    """The trained model's answers, to hold artifacts against.

    Args:
        model: the reference.
        length: of a prompt, padding included.
        longest: ids that are written at most.
        prompts: how many to ask.
        seed: that they are made up from.
    """

    def __init__(self, model: Seq2Seq, length: int, longest: int, prompts: int = PROMPTS, seed: int = 0):
        self._model = model
        self._longest = longest
        self.prompts = made_up_prompts(model, length, prompts, seed)
        parts = [self._answer(self.prompts[start : start + _BATCH]) for start in range(0, prompts, _BATCH)]
        self._scale = max(1.0, *(float(np.abs(part.logits).max()) for part in parts))
        self._parts = parts

    def check(self, writer: Writer, path: str) -> GenerationComparison:
        """Compare an artifact.

        Raises:
            ParityError: it writes something else.
        """
        compared = self.compare(writer, path)
        if compared.problems:
            raise ParityError(f"{path} does not write what the model writes: {' '.join(compared.problems)}")
        return compared

    def compare(self, writer: Writer, path: str) -> GenerationComparison:
        """The same, with what is wrong in the answer."""
        started = time.perf_counter()
        bound = _BOUND * self._scale
        equal = near = ids = alone = 0
        problems: list[str] = []
        differences: list[float] = []
        for number, part in enumerate(self._parts):
            prompts = self.prompts[number * _BATCH : (number + 1) * _BATCH]
            written, logits = writer.write(prompts)
            same = (written == part.ids).all(axis=1)
            excused = self._is_near(written, part, bound)
            equal += int(same.sum())
            near += int((~same & excused).sum())
            ids += int((part.ids[:, 1:] != self._model.settings.pad_token_id).sum())
            wrong = np.flatnonzero(~same & ~excused)
            if len(wrong):
                problems.append(
                    self._difference(number * _BATCH + int(wrong[0]), written[wrong[0]], part.ids[wrong[0]])
                )
            if logits is not None:
                differences.append(_largest_difference(logits, part, written))
            single, _ = writer.write(prompts[-1:])
            alone += int((single[0] == written[-1]).all())
        if alone < len(self._parts) - near:
            problems.append("A prompt gets another answer alone than among others.")
        if near > _APART * len(self.prompts):
            problems.append(
                f"{near} of {len(self.prompts)} prompts differ where two ids or experts are nearly as good."
            )
        largest = max(differences) if differences else None
        if largest is not None and not largest <= bound:
            problems.append(f"Logits are off by {largest:.1e}, expected at most {bound:.1e}.")
        seconds = time.perf_counter() - started
        return GenerationComparison(
            path, len(self.prompts), equal, near, ids, largest, bound, alone, round(seconds, 3), problems
        )

    def _difference(self, number: int, written: np.ndarray, expected: np.ndarray) -> str:
        place = int((written != expected).argmax())
        return f"For prompt {number}, id {place} is {written[place]}, expected {expected[place]}."

    def _is_near(self, written: np.ndarray, part: _Answers, bound: float) -> np.ndarray:
        """Whether rounding may decide at the first id that differs, or before: bool [batch]."""
        first = (written != part.ids)[:, 1:].argmax(axis=1)  # [batch]
        best = np.partition(part.logits, -2, axis=-1)[..., -2:]  # [batch, longest, 2]
        close = (best[..., 1] - best[..., 0]) <= 2 * bound
        up_to = np.arange(self._longest) <= first[:, np.newaxis]
        return (((close & (np.arange(self._longest) == first[:, np.newaxis])) | part.near) & up_to).any(axis=1)

    def _answer(self, prompts: np.ndarray) -> _Answers:
        model, longest = self._model, self._longest
        hidden, reports = model.encoder(model.tokens(prompts), model.mask(tf.constant(prompts)))
        near = near_ties(reports, len(prompts))
        memory = model.decoder.remember(hidden, model.mask(tf.constant(prompts)))
        biases = model.decoder.positions.between(longest, longest)
        cache = model.decoder.empty_cache(tf.constant(len(prompts)), longest)
        step = tf.function(lambda ids, place, cache: model.step(ids, place, cache, memory, biases), autograph=False)
        last = np.full(len(prompts), model.settings.decoder_start_token_id, np.int32)
        written, logits, done = [last], [], np.zeros(len(prompts), bool)
        for place in range(longest):
            answer, cache = step(tf.constant(last), tf.constant(place), cache)
            logits.append(answer.numpy())
            last = np.where(done, model.settings.pad_token_id, logits[-1].argmax(axis=-1)).astype(np.int32)
            done |= last == model.settings.eos_token_id
            written.append(last)
        return _Answers(np.stack(written, axis=1), np.stack(logits, axis=1), np.tile(near[:, np.newaxis], [1, longest]))


def made_up_prompts(model: Seq2Seq, length: int, count: int, seed: int) -> np.ndarray:
    """int32 [count, length]: of varied lengths, each with the end's id last; one id over and over among them."""
    settings = model.settings
    random = np.random.default_rng(seed)
    special = {settings.pad_token_id, settings.eos_token_id}
    usual = np.array([each for each in range(settings.vocab_size) if each not in special] or [settings.eos_token_id])
    prompts = np.full([count, length], settings.pad_token_id, np.int32)
    for number in range(count):
        size = (1, length, length, max(1, length // 2))[number] if number < 4 else int(random.integers(1, length + 1))
        chosen = random.choice(usual, 1 if number == 2 else size)
        prompts[number, : size - 1] = chosen[: size - 1] if number != 2 else chosen[0]
        prompts[number, size - 1] = settings.eos_token_id
    return prompts


def _largest_difference(logits: np.ndarray, part: _Answers, written: np.ndarray) -> float:
    """Of logits, at all places before which both wrote the same; an expert that rounding may choose is left out."""
    agreed = np.cumprod(written == part.ids, axis=1)[:, :-1].astype(bool)  # [batch, longest]
    off = np.abs(logits - part.logits).max(axis=-1)  # [batch, longest]
    return float(np.where(agreed & ~part.near, off, 0.0).max()) if np.isfinite(off).all() else float("inf")
