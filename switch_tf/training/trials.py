"""One training of a search: how good settings are on validation, and how large the exported model would be."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf.config import Config
from switch_tf.measuring.fusion import softmax
from switch_tf.measuring.scores import score
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import Run
from switch_tf.text.front_ends import reading_front_end
from switch_tf.text.ngrams import count_codes, neighbours
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.training.counted import counted
from switch_tf.training.encoding import choose_vocabulary, encode, encode_validation
from switch_tf.training.fusing import (
    Joined,
    WideAlone,
    fit_on_validation,
    grams_of,
    join_paths,
    write_paths,
)
from switch_tf.training.known_runs import known_runs
from switch_tf.training.loop import Progress, balanced_weights, fit
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import logits_in_batches

if TYPE_CHECKING:
    from switch_tf.training.prepared import Prepared


class Texts(NamedTuple):
    """The examples as a text specification reads them.

    Attributes:
        unseen: the validation texts as a model reads them that knows the words of the training texts alone.
    """

    vocabulary: list[str]
    training: Encoded
    validation: Encoded
    unseen: Encoded

    @property
    def num_ids(self) -> int:
        """Padding and the id of unknown words included."""
        return len(self.vocabulary) + FIRST_WORD_ID


class Trial:
    """Settings, tried on prepared data.

    Args:
        folder: for what a training writes, made and emptied as needed.
    """

    def __init__(self, config: Config, prepared: "Prepared", texts: Texts, folder: Path):
        self.config, self._labels, self._folder = config, prepared.labels, folder
        training = texts.training
        if config.train.class_weights == "balanced":
            training = training._replace(weights=balanced_weights(training.labels, len(prepared.labels)))
        self._texts = texts._replace(training=training)
        self._known = counted(training, config.train.counted_tokens)
        self._joined: Joined | None = None
        self._run = Run(folder, config, prepared.labels, texts.vocabulary, {})
        self._grams = grams_of(config, texts.vocabulary)
        self._runs = known_runs(config.text, texts.vocabulary)

    def wide(self) -> WideAlone | None:
        """The wide path by itself, if the settings have one."""
        if not self.config.wide.enabled or self._grams is None:
            return None
        texts, classes = self._texts, len(self._labels)
        return fit_on_validation(self.config.wide, self._known, texts.unseen, classes, self._grams, self._runs)

    def validate(self, alone: WideAlone | None, progress: Progress) -> dict[str, Any]:
        """Train, and measure on validation, as a training with these settings will: the figures of `scores.score`.

        Args:
            alone: what `wide` gave.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        texts, known, classes = self._texts, self._known, len(self._labels)
        learnt, config, folder = texts.training, self.config, self._folder
        fit(known, texts.unseen, texts.num_ids, classes, config, folder, progress, self._grams, lessons=learnt)
        if alone is not None:
            self._joined = join_paths(self._run, alone, known, texts.unseen)
            logits = self._joined.logits / self._joined.scales[2]
        else:
            logits = self._logits()
        return score(softmax(logits), texts.validation.labels, self._labels)

    def _logits(self) -> np.ndarray:
        """Of the validation texts, where there is the deep path alone: float64 [n, classes]."""
        model, length = load_classifier(self._run).classifier, self.config.text.sequence_length
        ask = tf.function(lambda ids: model(ids).logits, autograph=False)
        traced = ask.get_concrete_function(tf.TensorSpec([None, length], tf.int32))
        return logits_in_batches(traced, self._texts.unseen.ids)

    def size(self) -> int:
        """Bytes of the int8 TFLite file of what `validate` has trained, built as an export builds it."""
        from switch_tf.export.tflite_file.build import build_tflite

        if self._joined is not None and self._grams is not None:
            write_paths(self._run, self._known, self._texts.validation, self._grams, self._joined, self._runs)
        return len(build_tflite(self._run, load_classifier(self._run), precision="int8"))

    def least_size(self) -> int:
        """Bytes that the int8 file has at least, known before any training: its tables, and the index of its pairs."""
        texts, model, wide = self._texts, self.config.model, self.config.wide
        columns = 1 if len(self._labels) == 2 else len(self._labels)
        size = texts.num_ids * model.d_model
        if wide.enabled:
            ids = np.concatenate([self._known.ids, texts.validation.ids])
            pairs = count_pairs(ids, texts.num_ids, wide.pair_min_count)
            size += (texts.num_ids + pairs) * columns + 4 * pairs * (count_codes(texts.num_ids) + 1)
        if model.pair_min_count:
            size += count_pairs(self._known.ids, texts.num_ids, model.pair_min_count) * model.d_model
        return size


def count_pairs(ids: np.ndarray, num_ids: int, least: int) -> int:
    """How many pairs of neighbours occur `least` times or more in texts, int32 [texts, length]."""
    previous, this = neighbours(ids.astype(np.int64))
    codes = previous * num_ids + this  # [texts, length + 1]
    _, counts = np.unique(codes[codes > 0], return_counts=True)
    return int((counts >= least).sum())


class Reader:
    """Reads the prepared texts as a specification wants them, once for each of the last few."""

    _KEPT = 4

    def __init__(self, prepared: "Prepared"):
        self._prepared = prepared
        self._read: dict[TextSpec, Texts] = {}

    def __call__(self, config: Config) -> Texts:
        """The texts as ids, with the vocabulary that a training would choose."""
        spec = config.text
        if spec not in self._read:
            vocabulary = choose_vocabulary(config, self._prepared)
            front_end = reading_front_end(spec, vocabulary)
            training = encode(self._prepared.training, self._prepared.labels, front_end)
            read = encode_validation(self._prepared.validation, self._prepared.labels, front_end, training)
            texts = Texts(vocabulary, training, *read)
            self._read = dict([*self._read.items(), (spec, texts)][-self._KEPT :])
        return self._read[spec]
