"""The examples a classifier learns from: reading them, naming their labels, and splitting off a validation part.

Texts and labels stay in Arrow columns, a quarter of what Python strings take; a text becomes a Python object only in
the batch that is being read. An existing path wins over the name of an embedded set:

>>> examples = read_examples("reviews")
>>> label_names(examples)
['neg', 'pos']
>>> examples.location(0)
'reviews/train.tsv.xz, line 2'
"""

import hashlib
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switch_tf.data import spill
from switch_tf.data.folders import folder_rows, split_folder
from switch_tf.data.key_numbers import KeyNumbers
from switch_tf.data.labels import refuse_look_alikes, respell, spell_booleans, spelled, unlike
from switch_tf.data.opening import ACCEPTED, refusing_damage
from switch_tf.data.rows import LABEL_COLUMN, TEXT_COLUMN, Row, Wanted, refusal
from switch_tf.data.tables import no_rows, place_unit, read_rows, read_table
from switch_tf.errors import DataError

EMBEDDED = ("reviews",)

_COLUMNS = ("places", "texts", "labels")
_CHUNK_ROWS = 10_000
_RELIEVED = 65_536  # texts that are read between two times that what was read leaves memory
_CHUNK_CHARACTERS = 32 * 2**20  # rows may be long: this bounds what waits as Python objects
_PUNCTUATION = string.punctuation.encode()
_FOLDED = bytes(32 if byte == 0 else byte for byte in range(256)).lower()  # bytes.lower() is ASCII only


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled texts in the order of their source."""

    texts: pa.ChunkedArray  # large_string [n]
    labels: pa.ChunkedArray  # string [n]
    source: str  # the path or name they were read from
    places: pa.ChunkedArray  # int64 [n], line or row in `source` from 1; string [n], file inside `source`
    unit: str  # what `places` counts: "line", "row" or "file"
    skipped: int = 0  # rows that could not be used and were left out
    first_skipped: str = ""  # where the first of them stands, and why
    notes: tuple[str, ...] = ()  # what the reader recognised by itself

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`, in that order."""
        if self.texts.nbytes > spill.LIMIT and (np.diff(indices) > 0).all():
            table = spill.take_rising(pa.table({name: getattr(self, name) for name in _COLUMNS}), indices)
            return replace(self, **{name: table[name] for name in _COLUMNS})
        rows = pa.array(indices, type=pa.int64())
        return replace(self, **{name: getattr(self, name).take(rows) for name in _COLUMNS})

    def text_batches(self, size: int) -> Iterator[np.ndarray]:
        """Texts as object arrays of `str`, `size` at a time and the rest last; an array of no texts is not yielded."""
        for start in spill.relieving(range(0, len(self), size), max(1, _RELIEVED // size)):
            yield np.array(self.texts.slice(start, size).to_pylist(), dtype=object)

    def location(self, index: int) -> str:
        """Where an example stands, for messages: "train.tsv, line 12"."""
        place = self.places[index].as_py()
        return f"{self.source}/{place}" if self.unit == "file" else f"{self.source}, {self.unit} {place}"


def join(first: Examples, second: Examples) -> Examples:
    """The examples of both, of one source."""
    columns = {
        name: pa.chunked_array([*getattr(first, name).chunks, *getattr(second, name).chunks]) for name in _COLUMNS
    }
    return replace(first, **columns)


def read_examples(
    data: str | Path,
    *,
    split: str = "train",
    text_column: str = TEXT_COLUMN,
    label_column: str = LABEL_COLUMN,
    no_header: bool = False,
    skip_bad: bool = False,
    embedded: bool | None = None,
) -> Examples:
    """Examples of a file, of a folder of class folders, or of the embedded set `reviews`.

    Args:
        split: a part of the embedded set and of a folder with `train` and `test` in it; a file has one part.
        text_column: the column of the texts, or several with commas between, which are joined by a space.
        label_column: the column of the labels.
        no_header: the first row of the table is data; its columns are "1", "2", ...
        skip_bad: leave out rows that cannot be used, and count them.
        embedded: whether `data` is the name of an embedded set; None where an existing path wins over that.

    Raises:
        DataError: there is no such data, or a row cannot be used; the message names file, line and column.
        ArgumentError: a column is named, and the data has none.
    """
    wanted = Wanted(text_column, label_column, no_header)
    rows, source, unit = _rows_of(str(data), split, wanted, embedded)
    return collect(rows, source, unit, wanted.notes, skip_bad)


class ExampleStream:
    """The same examples, some at a time in their order: iterate over it once.

    Attributes:
        skipped: rows that could not be used and were left out so far.
        first_skipped: where the first of them stands, and why.
    """

    def __init__(
        self,
        data: str | Path,
        *,
        split: str = "train",
        text_column: str = TEXT_COLUMN,
        label_column: str = LABEL_COLUMN,
        no_header: bool = False,
        skip_bad: bool = False,
    ):
        """Arguments and errors are those of `read_examples`; what is wrong with a row comes when it is read."""
        wanted = Wanted(text_column, label_column, no_header)
        self._rows, self._source, self._unit = _rows_of(str(data), split, wanted, None)
        self._skip_bad = skip_bad
        self.skipped, self.first_skipped = 0, ""

    def __iter__(self) -> Iterator[Examples]:
        skipped: list[str] = []
        empty = True
        for chunk in _in_chunks(_usable(self._rows, self._source, self._unit, skipped if self._skip_bad else None)):
            empty = False
            self.skipped, self.first_skipped = len(skipped), skipped[0] if skipped else ""
            columns = _table(chunk, self._unit)
            yield Examples(columns["texts"], columns["labels"], self._source, columns["places"], self._unit)
        self.skipped, self.first_skipped = len(skipped), skipped[0] if skipped else ""
        if empty:
            raise no_rows(self._source)


def _rows_of(data: str, split: str, wanted: Wanted, embedded: bool | None) -> tuple[Iterator[Row], str, str]:
    """(rows, source, unit) of data, whatever kind it is of."""
    path = Path(data)
    if embedded if embedded is not None else is_embedded(data):
        wanted.refuse_columns(f"{data} is an embedded set")
        return _embedded_rows(data, split)
    with refusing_damage(path):
        is_folder, exists = path.is_dir(), path.exists()
    if exists and data in EMBEDDED:
        wanted.notes.append(f"{path.absolute()} is read; the embedded set {data} goes by the same name")
    if is_folder:
        wanted.refuse_columns(f"{path} is a folder")
        folder = split_folder(path, split)
        return folder_rows(folder), str(folder), "file"
    if exists:
        return read_rows(path, wanted), str(path), place_unit(path)
    sets = ", ".join(EMBEDDED)
    raise DataError(f"There is no {data}. Expected {ACCEPTED}, a folder of class folders, or an embedded set: {sets}.")


def is_embedded(data: str) -> bool:
    """Whether a name means an embedded set here, where an existing path wins over it."""
    return data in EMBEDDED and not Path(data).exists()


def label_names(examples: Examples) -> list[str]:
    """The labels that occur, sorted by code point.

    Raises:
        DataError: there are fewer than two, or two that look alike.
    """
    names: list[str] = sorted(examples.labels.unique().to_pylist())
    if len(names) < 2:
        problem = f"has the label {names[0]!r} alone" if names else "has no examples"
        raise DataError(f"{examples.source} {problem}. Expected at least two labels to tell apart.")
    refuse_look_alikes(names, lambda name: examples.location(pc.index(examples.labels, name).as_py()))
    return names


def encode_labels(examples: Examples, labels: Sequence[str]) -> np.ndarray:
    """Each example's position in `labels`, int32 [n]; booleans are known by any of their spellings.

    Raises:
        DataError: an example has a label that is not one of them.
    """
    spelling = respell(examples.labels, labels)
    codes = pc.index_in(spelling.combine_chunks(), value_set=pa.array(labels, type=pa.string()))
    codes = codes.fill_null(-1).to_numpy()
    unknown = np.flatnonzero(codes < 0)
    if unknown.size:
        first = int(unknown[0])
        label = examples.labels[first].as_py()
        alike = unlike(label, labels)
        received = f"received the label {spelled(label)}" + (
            f", which looks like {spelled(alike)} but is another" if alike else ""
        )
        known = ", ".join(repr(label) for label in labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise DataError(f"{examples.location(first)}: {received}. Expected one of {known}. Correct it or train on it.")
    return codes


def as_spelled(examples: Examples, labels: Sequence[str]) -> Examples:
    """The examples with booleans among their labels spelled as in `labels`: runs of earlier releases say "True"."""
    return replace(examples, labels=respell(examples.labels, labels))


def split_validation(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """(training, validation), stratified by label and repeatable, both in the order of `examples`.

    Texts that differ in ASCII case, punctuation or spacing alone read the same to the model: they form a group, and a
    group stays on one side, so that nothing learnt by heart is asked. A label with a single group is trained on; every
    other label has a group on both sides, which makes validation larger than `share` of the groups where that is too
    small. A group whose rows disagree on the label counts as its first row's.

    Raises:
        DataError: no label has two different texts.
    """
    if not 0 < share < 1:
        raise ValueError(f"Received share = {share}. Expected a number between 0 and 1.")
    groups = _group_by_reading(examples)  # [n]
    labels = examples.labels.combine_chunks().dictionary_encode().indices.to_numpy()  # [n]
    _, first_rows = np.unique(groups, return_index=True)  # [groups]
    held_out = _draw(labels[first_rows], share, seed)  # [groups]
    for label in np.setdiff1d(labels, labels[~held_out[groups]]):  # every label is trained on
        held_out[groups[labels == label][0]] = False
    validation = held_out[groups]  # [n]
    if not validation.any():
        problem = "no label has two different texts, one to train on and one to validate with"
        raise DataError(f"{examples.source}: {problem}. Expected several texts for each label.")
    return examples.take(np.flatnonzero(~validation)), examples.take(np.flatnonzero(validation))


def words_of(text: str) -> list[bytes]:
    """The words that the model's text front-end reads unless it is told otherwise.

    >>> words_of("Don't  stop - now!")
    [b'dont', b'stop', b'now']
    """
    return text.encode().translate(_FOLDED, delete=_PUNCTUATION).split()  # bytes.split: bytes 9-13 and 32


def iter_texts(path: Path, text_column: str = TEXT_COLUMN) -> Iterator[str]:
    """Texts of a file one by one; it needs no labels.

    Raises:
        DataError: the file or one of its rows cannot be used.
    """
    for row in read_table(path, Wanted(text_column)):
        yield row.text


def read_texts(data: str, text_column: str = TEXT_COLUMN, split: str = "test") -> Iterator[str]:
    """Texts of a file, or of a split of an embedded set.

    Raises:
        DataError: there is no such data, or a row cannot be used.
        ArgumentError: a column is named, and the data has none.
    """
    if is_embedded(data):
        Wanted(text_column).refuse_columns(f"{data} is an embedded set")
        rows, _, _ = _embedded_rows(data, split)
        yield from (row.text for row in rows)
        return
    yield from iter_texts(Path(data), text_column)


def fingerprint(examples: Examples) -> str:
    """SHA-256 over texts and labels in order, as hexadecimal digits: equal for equal data, wherever it was read."""
    digest = hashlib.sha256()
    for start in spill.relieving(range(0, len(examples), _CHUNK_ROWS), 8):
        for column in (examples.labels, examples.texts):
            for value in column.slice(start, _CHUNK_ROWS).to_pylist():
                encoded = value.encode()
                digest.update(len(encoded).to_bytes(8, "little"))  # so that "ab", "c" is not "a", "bc"
                digest.update(encoded)
    return digest.hexdigest()


def _embedded_rows(name: str, split: str) -> tuple[Iterator[Row], str, str]:
    if name not in EMBEDDED:
        raise DataError(f"There is no embedded set {name!r}. Expected one of {', '.join(EMBEDDED)}.")
    file = resources.files("switch_tf.datasets") / name / f"{split}.tsv.xz"
    if not file.is_file():
        raise DataError(f"The embedded set {name!r} has no split {split!r}. Expected 'train' or 'test'.")
    return _rows_of_resource(file), f"{name}/{file.name}", "line"


def _rows_of_resource(file: Any) -> Iterator[Row]:
    with resources.as_file(file) as path:
        yield from read_rows(path, Wanted(TEXT_COLUMN, LABEL_COLUMN))


def _schema(unit: str) -> pa.Schema:
    return pa.schema(
        [
            ("places", pa.string() if unit == "file" else pa.int64()),
            ("texts", pa.large_string()),
            ("labels", pa.string()),
        ]
    )


def _table(chunk: list[tuple[int | str, str, str]], unit: str) -> pa.Table:
    return pa.table(list(zip(*chunk, strict=True)), schema=_schema(unit))


def collect(rows: Iterable[Row], source: str, unit: str, notes: Sequence[str] = (), skip_bad: bool = False) -> Examples:
    """Arrow columns of rows, built chunk by chunk so that the rows are never all Python objects."""
    skipped: list[str] = []  # the first alone, then nothing but the count
    usable = _usable(rows, source, unit, skipped if skip_bad else None)
    columns = spill.gathered((_table(each, unit) for each in _in_chunks(usable)), _schema(unit))
    if not columns.num_rows:
        raise no_rows(source)
    labels, note = spell_booleans(columns["labels"])
    told = (*dict.fromkeys(notes), *([note] if note else []))
    first = skipped[0] if skipped else ""
    return Examples(columns["texts"], labels, source, columns["places"], unit, len(skipped), first, told)


def _usable(rows: Iterable[Row], source: str, unit: str, skipped: list[str] | None) -> Iterator[Row]:
    """The rows that can be used; the first other one is refused, or all are noted in `skipped`."""
    for row in rows:
        if not row.problem:
            yield row
            continue
        error = DataError(row.problem) if unit == "file" else refusal(source, unit, row)
        if skipped is None:
            raise error
        skipped.append("" if skipped else str(error))


def _in_chunks(rows: Iterable[Row]) -> Iterator[list[tuple[int | str, str, str]]]:
    waiting: list[tuple[int | str, str, str]] = []
    characters = 0
    for row in rows:
        waiting.append((row.place, row.text, row.label))
        characters += len(row.text)
        if len(waiting) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
            yield waiting
            waiting, characters = [], 0
    if waiting:
        yield waiting


def _group_by_reading(examples: Examples) -> np.ndarray:
    """A number for each text, int64 [n]: equal where the model's text front-end reads the same words."""
    keys = KeyNumbers(len(examples))
    for batch in examples.text_batches(_CHUNK_ROWS):
        for text in batch:
            keys.add(b" ".join(words_of(text)))
    return keys.numbers()


def _draw(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which groups are held out, bool [groups], given a label for each: at least one of a label's, if it has two."""
    from sklearn.model_selection import train_test_split  # takes over a second to import

    held_out = np.zeros(labels.size, bool)
    classes, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    classes, splittable = classes[counts >= 2], np.flatnonzero(counts[class_of] >= 2)
    if not classes.size:
        return held_out
    size = int(np.clip(round(share * splittable.size), classes.size, splittable.size - classes.size))
    kept, held = train_test_split(splittable, test_size=size, stratify=labels[splittable], random_state=seed)
    held_out[held] = True
    for label in np.setdiff1d(classes, labels[held]):  # stratifying may round a rare label's part to nothing
        held_out[kept[labels[kept] == label][0]] = True
    return held_out
