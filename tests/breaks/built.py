"""Breaks that are built in: wrong settings, wrong code of the front-end and the layers, wrong weights."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from breaks.targets import Build, Target, read_folder
from switch_tf.export.formats import FORMATS
from switch_tf.export.onnx_file import text_graph
from switch_tf.export.proof.gate import load_exported
from switch_tf.export.saved_model import build as saved_model_build
from switch_tf.layers.switch_ffn import SwitchFFN
from switch_tf.text import code_points, letter_runs, packed_bytes, spelt_words, unigram
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.piece_tables import build_graph_tables
from switch_tf.text.pieces import NumericPieces
from switch_tf.text.spelt_words import NumericSpelling
from switch_tf.text.unicode_words import NumericWords


def settings(table: str, **changes: Any) -> Callable[[Any], Any]:
    """The run with other settings."""

    def change(run: Any) -> Any:
        settings = dataclasses.replace(getattr(run.config, table), **changes)
        return dataclasses.replace(run, config=dataclasses.replace(run.config, **{table: settings}))

    return change


@contextmanager
def _code(run: Any, where: Any, name: str, new: Any) -> Iterator[Any]:
    with patch.object(where, name, new):
        yield run


def with_code(where: Any, name: str, new: Any) -> Callable[[Any], Any]:
    """The run, while a function or constant is another."""
    return lambda run: _code(run, where, name, new)


def capacity(by: int) -> Callable[[Any], Any]:
    right = SwitchFFN.capacity

    def wrong(self: SwitchFFN, length: int, training: bool) -> int:
        return max(1, min(length, right(self, length, training) + by))

    return with_code(SwitchFFN, "capacity", wrong)


def ignore_last_byte(self: NumericText, rows: tf.Tensor) -> tf.Tensor:
    return _read_bytes(self, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def pack_without_last_byte(text: NumericText, rows: tf.Tensor) -> tf.Tensor:
    return _read_packed(text, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def ignore_last_byte_of_pieces(self: NumericPieces, rows: tf.Tensor) -> tf.Tensor:
    return _read_pieces(self, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def join_what_stands_apart(table: Any) -> Any:
    """The last of what stands apart is a letter."""
    tables = _build_tables(table)
    return dataclasses.replace(tables, last_apart=tables.last_apart - 1)


def with_characters(name: str, character: str, value: int) -> Callable[[Any], Any]:
    """One character, while an artifact is made, has another outcome (`becomes`) or kind (`kinds`)."""

    def build(table: Any) -> Any:
        changed = getattr(table.characters, name).copy()
        changed[ord(character)] = value
        wrong = copy.copy(table)
        wrong.characters = dataclasses.replace(table.characters, **{name: changed})
        return _build_tables(wrong)

    return with_code(code_points, "build_graph_tables", build)


def marks_as_letters(table: Any) -> Any:
    tables = _build_tables(table)
    return dataclasses.replace(tables, marks=np.zeros_like(tables.marks))


def ignore_last_byte_of_words(self: NumericWords, rows: tf.Tensor) -> tf.Tensor:
    return _read_words(self, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def prefer_the_last_to_begin(ends: Any, best: tf.Tensor) -> tf.Tensor:
    """Of equal sums, that of the shortest last piece."""
    sums = unigram._sums(ends, best)
    return tf.argmax(sums, axis=1, output_type=tf.int32) + 1  # the first of them


def relax_once(ends: Any, cut: tf.Tensor) -> tf.Tensor:
    """At most two pieces between cuts have the highest sum."""
    first = tf.where(cut, np.float32(0.0), unigram.NEVER)
    once = tf.where(cut, np.float32(0.0), unigram._highest(unigram._sums(ends, first)))
    return tf.where(cut, np.float32(0.0), unigram._highest(unigram._sums(ends, once)))


def keep_marks_at_the_end(normal: tf.Tensor) -> Any:
    """A mark that a text ends in is read."""
    marked, length = _marked(normal)
    written = tf.reduce_max(tf.cast(tf.equal(normal, 1), tf.int32), axis=1, keepdims=True)  # U+2581 itself
    places = np.arange(marked.shape[1], dtype=np.int32)
    return tf.where(tf.equal(places, length), written, marked), length + written


def spell_without_last_byte(text: NumericSpelling, rows: tf.Tensor) -> tf.Tensor:
    return _read_spelling(text, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def spell_all_words(ids: tf.Tensor, number: tf.Tensor, length: int) -> tf.Tensor:
    """Known ones as well."""
    return tf.cast(tf.logical_and(ids > 0, number < length), tf.int32)


def spell_behind_the_last(ids: tf.Tensor, number: tf.Tensor, length: int) -> tf.Tensor:
    """One word more than are read."""
    return _is_spelt(ids, number, length + 1)


def runs_without_the_longest(around: Any) -> Any:
    names = _names_around(around)
    return tf.concat([names[:, :2], -1 - names[:, 2:]], axis=1)  # no run's name is negative


def runs_of_letters_alone(around: Any) -> Any:
    """None with the beginning or the end of a word."""
    letters = tf.stack([(around[0] > 0) & (around[last] > 0) for last in (2, 3, 4)])  # [3, ...]
    return tf.where(letters, _names_around(around), -1)


_read_spelling = spelt_words.packed_spelling
_is_spelt = spelt_words.is_spelt
_names_around = letter_runs.names_around
_build_tables = build_graph_tables
_marked = unigram._marked
_read_packed = packed_bytes.packed_ids
_read_bytes = NumericText.__call__
_read_pieces = NumericPieces.__call__
_read_words = NumericWords.__call__


def fails_on_long_texts(self: NumericText, rows: tf.Tensor) -> tf.Tensor:
    """A row that is not there is gathered for texts that fill all bytes."""
    full = tf.cast(rows[:, -1] > 0, tf.int32)  # [batch]
    return _read_bytes(self, rows) + tf.gather(tf.constant([[0]]), full)


def pack_no_long_texts(text: NumericText, rows: tf.Tensor) -> tf.Tensor:
    """The same, packed."""
    full = tf.cast(tf.cast(rows[:, -1], tf.bool), tf.int32)  # [batch]
    return _read_packed(text, rows) + tf.gather(tf.constant([[0]]), full)


def dirty_last_row(rows: tf.Tensor, take: tf.Tensor) -> tf.Tensor:
    """Tokens without a slot get what is not zero, nor the same everywhere, which the norm behind would take away."""
    dirt = tf.range(rows.shape[-1], dtype=rows.dtype)[tf.newaxis]
    return tf.gather(tf.concat([rows, dirt], axis=0), take)


_replace_each = text_graph._replace_each


def keep_nul(graph: Any, line: str, characters: str, new: str) -> str:
    return _replace_each(graph, line, characters.replace("\0", ""), new)


def epsilon(model: Any) -> None:
    model.classifier.deep.norm.epsilon = 1e-3


def temperature(model: Any) -> None:
    router = model.classifier.deep.blocks[0].feed_forward.router_kernel
    router.assign(router * 1.001)


def roll_positions(model: Any) -> None:
    positions = model.classifier.deep.positions
    positions.assign(tf.roll(positions, 1, axis=0))


def spoil_nothing(model: Any) -> None:
    del model


def block_epsilon(model: Any) -> None:
    model.classifier.deep.blocks[0].feed_forward_norm.epsilon = 1e-3


def scale(model: Any) -> None:
    model.classifier.scales.assign(model.classifier.scales * [1.0, 1.001])


def same(run: Any) -> Any:
    return run


def trade(name: str) -> Callable[[Any], Any]:
    """The last two of a list trade places."""

    def change(run: Any) -> Any:
        *others, first, second = getattr(run, name)
        return dataclasses.replace(run, **{name: [*others, second, first]})

    return change


def experts(change: Callable[[list[int]], list[int]]) -> Callable[[Any], Any]:
    """A pruned run with another map of its experts."""
    return lambda run: settings("model", expert_map=[change(each) for each in run.config.model.expert_map])(run)


def build(run: Any, target: Target, broken: Build, place: Path) -> Any:
    """The content of the wrong artifact; of a folder, which is made in `place`, that of every file by name."""
    made = broken.wrong(run)
    with made if isinstance(made, AbstractContextManager) else nullcontext(made) as wrong:
        model = load_exported(wrong)
        broken.spoil(model)
        if target.format == "saved_model":
            saved_model_build._save(model, place)
            return read_folder(place)
        return FORMATS[target.format].build(wrong, model, target.options())  # type: ignore[attr-defined]
