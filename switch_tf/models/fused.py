"""The wide and the deep path as one classifier: a x wide logits + b x deep logits, pairs of words looked up once.

Rows of pairs are shared. Those that have a vector in the deep path come first, so that a row is the row of both tables.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config
from switch_tf.errors import RunError
from switch_tf.files import read_shapes, read_tensors
from switch_tf.models.classifier import ClassifierOutput, SwitchClassifier
from switch_tf.models.finished import cut_tables, refuse_routes
from switch_tf.models.letters import Runs, letter_tables
from switch_tf.models.weights import EMBEDDINGS, PAIR_EMBEDDINGS, Stored, assign_weights, creating_only, refuse_others
from switch_tf.models.wide import WidePath, WideTables
from switch_tf.text.graph_rows import part

SCALES = "fusion/scales"
_WIDE = "wide/"  # before the names of its arrays
_Kept = TypeVar("_Kept", bound=Stored)


class FusedClassifier(keras.Model):
    """Both paths over token ids; of one interface with `SwitchClassifier`.

    Args:
        deep: an initialized model.
        wide: whose first rows of pairs are those of `deep`.
        scales: a and b.

    Behind the ids of a text the letters of its unknown words may stand, where the wide path knows them.
    """

    def __init__(self, deep: SwitchClassifier, wide: WideTables, scales: np.ndarray):
        super().__init__(name="fused")
        self.settings = deep.settings
        self.deep = deep
        self.wide = WidePath(wide)
        self.scales = self.add_weight("scales", [2], initializer="zeros", trainable=False)
        self.scales.assign(scales)
        self.initialize()

    def initialize(self) -> None:
        """Create every weight, by a first call, of one token."""
        self(tf.zeros([1, 1], tf.int32))

    def call(self, ids: tf.Tensor, training: bool = False) -> ClassifierOutput:
        """int32 [batch, length], or `TextSpec.ids_length`, to logits, and the reports of the deep path.

        training: must be False; the paths are trained apart.
        """
        if training:
            raise ValueError("Received training=True. Expected False: the wide and the deep path are trained apart.")
        ids, letters = self.take_apart(ids)
        rows = self.wide.pair_rows(ids)  # [batch, length + 1]
        wide = self.wide(ids, rows, letters)  # [batch, classes]
        deep = self.deep(ids, pair_rows=rows[:, :-1])
        return ClassifierOutput(self.scales[0] * wide + self.scales[1] * deep.logits, deep.reports)

    def take_apart(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The ids, int32 [batch, length], and the letters behind them, or None where nothing is."""
        length = self.deep.length
        if self.wide.letters is None or int(ids.shape[1]) <= length:
            return ids, None
        return part(ids, 0, length), -part(ids, length, int(ids.shape[1]) - length)

    def router_weights(self) -> list[np.ndarray]:
        """As `SwitchClassifier.router_weights`."""
        return self.deep.router_weights()


def fused_arrays(deep: Mapping[str, np.ndarray], wide: WideTables, scales: np.ndarray) -> dict[str, np.ndarray]:
    """What `build_classifier` needs of a model with both paths, by the names that a run keeps it under.

    Args:
        deep: the weights of a `SwitchClassifier`.
    """
    named = {_WIDE + name: array for name, array in wide.to_arrays().items()}
    return {**deep, **named, SCALES: np.asarray(scales, np.float32)}


def deep_arrays(weights: Mapping[str, _Kept]) -> dict[str, _Kept]:
    """Those of a run's weights that a `SwitchClassifier` has."""
    return {name: array for name, array in weights.items() if not name.startswith(_WIDE) and name != SCALES}


def deep_pairs(weights: Mapping[str, np.ndarray], source: str) -> np.ndarray:
    """The words of the pairs that a deep path has vectors of, in the order of their rows: int32 [pairs, 2].

    Args:
        weights: of a run.
        source: where they come from, for the message.

    Raises:
        RunError: they are damaged.
    """
    if PAIR_EMBEDDINGS not in weights:
        return np.zeros([0, 2], np.int32)
    arrays = {name.removeprefix(_WIDE): array for name, array in weights.items() if name.startswith(_WIDE)}
    pairs = WideTables.from_arrays(arrays, source).index.pairs
    return pairs[: len(weights[PAIR_EMBEDDINGS]) - 1].astype(np.int32)


def build_classifier(
    config: Config,
    weights: Mapping[str, np.ndarray],
    num_ids: int,
    num_classes: int,
    source: str,
    kept_ids: int | None = None,
) -> SwitchClassifier | FusedClassifier:
    """The model of a run's weights: one path, or both if there is a wide one.

    Args:
        num_ids: of the weights.
        source: where the weights come from, for the message.
        kept_ids: how many of them to keep, the first ones; by default all.

    Raises:
        RunError: they do not fit the settings.
    """
    deep = deep_arrays(weights)
    tables = _wide_tables(config, weights, num_ids, num_classes, source)
    if deep.get(EMBEDDINGS, np.zeros(0)).shape[:1] == (num_ids,):  # else `assign_weights` will say so
        num_ids = min(num_ids, kept_ids or num_ids)
        deep, tables = cut_vocabulary(deep, tables, num_ids)
    return _filled(_built(config, deep, num_ids, num_classes, source), deep, tables, weights, source)


def read_classifier(
    config: Config,
    path: Path,
    num_ids: int,
    num_classes: int,
    kept_ids: int,
) -> SwitchClassifier | FusedClassifier:
    """`build_classifier` of the weights in the file `path`, which is not read before its header fits the settings."""
    source, shapes = str(path), read_shapes(path)
    deep_shapes = deep_arrays(shapes) if config.wide.enabled else shapes
    classifier = _built(config, deep_shapes, num_ids, num_classes, source)
    refuse_others(classifier, deep_shapes, source)
    weights, _ = read_tensors(path)
    if kept_ids < num_ids:
        return build_classifier(config, weights, num_ids, num_classes, source, kept_ids)
    tables = _wide_tables(config, weights, num_ids, num_classes, source)
    return _filled(classifier, deep_arrays(weights), tables, weights, source)


def _built(config: Config, deep: Mapping[str, Stored], num_ids: int, num_classes: int, source: str) -> SwitchClassifier:
    """The deep path, none of whose weights has another shape than in `deep`; its weights are yet to come."""
    pairs = deep.get(PAIR_EMBEDDINGS)
    num_pairs = max(pairs.shape[0] - 1, 0) if pairs is not None and pairs.shape else 0
    with creating_only(deep, source):
        classifier = SwitchClassifier(config, num_ids, num_classes, num_pairs=num_pairs, finished=True)
        classifier.initialize()
    return classifier


def _filled(
    classifier: SwitchClassifier,
    deep: Mapping[str, np.ndarray],
    tables: WideTables | None,
    weights: Mapping[str, np.ndarray],
    source: str,
) -> SwitchClassifier | FusedClassifier:
    num_pairs = max(len(deep.get(PAIR_EMBEDDINGS, [])) - 1, 0)
    if num_pairs > (0 if tables is None else tables.index.num_pairs):
        raise RunError(f"{source} has {num_pairs} vectors of pairs that it cannot find. Restore it, or train again.")
    refuse_routes(deep, classifier.settings, source)
    assign_weights(classifier, deep, source)
    return classifier if tables is None else FusedClassifier(classifier, tables, weights[SCALES])


def _wide_tables(
    config: Config, weights: Mapping[str, np.ndarray], num_ids: int, num_classes: int, source: str
) -> WideTables | None:
    if not config.wide.enabled:
        return None
    spells = config.text.spells
    arrays = {name.removeprefix(_WIDE): array for name, array in weights.items() if name.startswith(_WIDE)}
    tables = WideTables.from_arrays(arrays, source)
    if spells != (tables.letters is not None):
        raise RunError(
            f"{source} does not fit its settings: text.unknown_words = {'letters' if spells else 'alike'!r} needs runs "
            f"of letters{'' if spells else ' to be left out'}. Restore the folder whole, or train again."
        )
    received = len(tables.words), len(tables.bias), weights.get(SCALES, np.zeros(0)).shape
    expected = num_ids, num_classes, (2,)
    if received != expected:
        raise RunError(
            f"{source} does not fit its settings: the wide path's ids, classes and shape of scales are {received}, "
            f"expected {expected}. Restore the folder whole, or train again."
        )
    return tables


def cut_vocabulary(
    deep: dict[str, np.ndarray], wide: WideTables | None, num_ids: int
) -> tuple[dict[str, np.ndarray], WideTables | None]:
    """Both paths' weights without the ids from `num_ids` on, and without the pairs that have one of them."""
    if len(deep.get(EMBEDDINGS, [])) > num_ids:
        deep = cut_tables(deep, num_ids) | {EMBEDDINGS: deep[EMBEDDINGS][:num_ids]}
    if wide is None or len(wide.words) <= num_ids:
        return deep, wide
    if PAIR_EMBEDDINGS in deep:
        table = deep[PAIR_EMBEDDINGS]
        kept = (wide.index.pairs[: len(table) - 1] < num_ids).all(axis=1)
        deep = deep | {PAIR_EMBEDDINGS: table[np.append(kept, True)]}
    return deep, wide.keep_ids(num_ids)


def with_exact_sums(wide: WideTables, length: int, runs: Runs | None = None) -> WideTables:
    """The same wide path, its tables rounded to grids on which float32 sums are exact, in any order.

    Runtimes add up in orders of their own, which even depend on the size of the batch: a long text's logit was off by
    4e-6 between batches, and its probability by more than the 1e-6 that an export may be off. A column's grid is a
    power of two of which 2^23 to 2^24 steps reach the largest sum that a text can have; a text has up to `length` words
    and `length` + 1 pairs. In a logit that rounds off a few thousandths at most, at 512 words.

    Args:
        runs: of letters, for unknown words; each may then take off the unknown word's row and add another.
    """
    largest = np.maximum(*(np.abs(table).max(axis=0) for table in (wide.words, wide.pairs)))  # [columns + 1]
    rows = (2 if runs is None else 4) * length + 1
    bound = rows * np.maximum(largest.astype(np.float64), np.finfo(np.float32).tiny)
    grid = 2.0 ** (np.ceil(np.log2(bound)) - 23)  # one step finer than 2^24 would do: rounding up stays within
    words, pairs = ((np.round(table / grid) * grid).astype(np.float32) for table in (wide.words, wide.pairs))
    letters = None if runs is None else letter_tables(runs, largest, grid)
    return replace(wide, words=words, pairs=pairs, letters=letters)


def put_first(wide: WideTables, pairs: np.ndarray) -> WideTables:
    """The same wide path with the rows of `pairs`, int32 [some, 2], before all others and in their order.

    Raises:
        ValueError: it does not know one of them.
    """
    count = wide.index.num_pairs
    first = wide.index.find(pairs)[:, 1]  # of a text of two words, the pair of both is the second
    if np.any(first >= count):
        raise ValueError(f"{np.sum(first >= count)} of {len(pairs)} pairs are unknown to the wide path.")
    rest = np.setdiff1d(np.arange(count), first)
    order = np.concatenate([first, rest, [count]])  # [pairs + 1], old row of each new one
    new = np.empty(count + 1, np.int32)
    new[order] = np.arange(count + 1)
    return replace(wide, pairs=wide.pairs[order], index=replace(wide.index, rows=new[wide.index.rows]))
