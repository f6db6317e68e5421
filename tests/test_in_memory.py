"""Whatever a caller holds in memory gives the examples that a file would give, or a refusal that names the row."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from switch_tf.data.examples import fingerprint, read_examples, split_validation
from switch_tf.data.in_memory import describe, examples_in_memory, texts_in_memory
from switch_tf.errors import ArgumentError, DataError

TEXTS, LABELS = ["a fine film", "schön, na\u0085ive", ""], ["pos", "neg", "pos"]
COLUMNS = {"text": TEXTS, "label": LABELS}


class Stream:
    """A table of no library that is known, which offers Arrow's C stream alone, in several batches."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.concat_tables([self.table[:1], self.table[1:]]).__arrow_c_stream__(requested_schema)


class Split:
    """What Hugging Face's splits offer: the names of columns, and a column by its name."""

    def __init__(self, columns: dict[str, list[Any]]):
        self.columns_ = columns
        self.column_names = list(columns)
        self.shape = (3, len(columns))

    def __getitem__(self, name: str) -> list[Any]:
        return self.columns_[name]


def mixed_frame() -> pd.DataFrame:
    """Its index is not from 0 and says 7 twice, its labels are categories, and Arrow cannot take its last column."""
    frame = pd.DataFrame(COLUMNS | {"nonsense": [{1}, [2], object()]}, index=[7, 7, 3])
    return frame.astype({"label": "category"})


@pytest.mark.parametrize(
    "data",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), iter(LABELS)),
        (np.array(TEXTS, object), np.array(LABELS)),
        (np.array([text.encode() for text in TEXTS], object), [np.str_(label) for label in LABELS]),
        (pd.Series(TEXTS, index=[2, 1, 0]), pd.Categorical(LABELS)),
        (pl.Series(TEXTS), pa.array(LABELS)),
        (pd.Index(TEXTS), pa.chunked_array([LABELS[:1], LABELS[1:]])),
        mixed_frame(),
        pd.DataFrame(COLUMNS, dtype=object),
        pl.DataFrame(COLUMNS, schema={"text": pl.String, "label": pl.Categorical}),
        pa.table(COLUMNS),
        pa.table({"label": pa.array(LABELS).dictionary_encode(), "text": pa.array(TEXTS, pa.string_view())}),
        pa.RecordBatchReader.from_batches(pa.table(COLUMNS).schema, pa.table(COLUMNS).to_batches()),
        Stream(pa.table(COLUMNS)),
        Split(COLUMNS),
        COLUMNS,
    ],
    ids=lambda data: describe(data) if not isinstance(data, tuple) else f"({describe(data[0])}, {describe(data[1])})",
)
def test_every_kind_gives_the_same_examples(data: object) -> None:
    examples = examples_in_memory(data)
    assert examples.texts.to_pylist() == TEXTS
    assert examples.labels.to_pylist() == LABELS
    assert examples.places.to_pylist() == [0, 1, 2]
    assert examples.location(2) == f"data ({describe(data)}), position 2"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 5], ["1", "5"]),
        (np.array([1, 5], np.uint8), ["1", "5"]),
        (pd.Series([1, 5], dtype="Int64"), ["1", "5"]),
        (pl.Series([1, 5]), ["1", "5"]),
        ([np.int64(1), np.int8(5)], ["1", "5"]),
    ],
)
def test_integers_are_labels_as_in_files(labels: object, expected: list[str]) -> None:
    assert examples_in_memory((["a", "b"], labels)).labels.to_pylist() == expected


@pytest.mark.parametrize("labels", [[True, False], np.array([True, False]), pd.Series([True, False], dtype="boolean")])
def test_booleans_are_labels_as_in_files(labels: object, tmp_path: Any) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    expected = read_examples(tmp_path / "rows.jsonl").labels.to_pylist()
    assert examples_in_memory((["a", "b"], labels)).labels.to_pylist() == expected


def test_tensors_are_columns_too() -> None:
    import tensorflow as tf

    examples = examples_in_memory((tf.constant(TEXTS), tf.constant([1, 0, 1])))
    assert (examples.texts.to_pylist(), examples.labels.to_pylist()) == (TEXTS, ["1", "0", "1"])
    assert texts_in_memory(tf.constant(TEXTS)) == TEXTS


def test_its_fingerprint_is_that_of_the_file(data_folder: Any) -> None:
    frame = pd.read_csv(data_folder / "made.tsv", sep="\t")
    assert fingerprint(examples_in_memory(frame)) == fingerprint(read_examples(data_folder / "made.tsv"))


def test_columns_go_by_name() -> None:
    frame = pd.DataFrame({"stars": [1, 5], 0: ["bad", "good"], "text": [None, None]})
    examples = examples_in_memory(frame, text_column="0", label_column="stars")
    assert (examples.texts.to_pylist(), examples.labels.to_pylist()) == (["bad", "good"], ["1", "5"])


def test_rows_that_stand_twice_stay_on_one_side() -> None:
    texts = [f"text {number // 3}" for number in range(60)]
    training, validation = split_validation(examples_in_memory((texts, [n // 3 % 2 for n in range(60)])), 0.3, seed=0)
    assert len(training) + len(validation) == 60
    assert not set(training.texts.to_pylist()) & set(validation.texts.to_pylist())


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]} | columns, index=[8, 9])


WHERE_TEXT, WHERE_LABEL = (f"data (pandas DataFrame), position 1, column '{name}': " for name in ("text", "label"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        # a missing or wrong value, by the position of its row
        (frame(text=["a", None]), WHERE_TEXT + "received NaN, a missing value. Fill it in or leave the row out."),
        (frame(label=["x", None]), WHERE_LABEL + "received NaN, a missing value."),
        (frame(label=[1, None]), WHERE_LABEL + "received NaN, a missing value."),
        (frame(label=pd.array([1, None], "Int64")), WHERE_LABEL + "received NA, a missing value."),
        (frame(text=["a", 3]), WHERE_TEXT + "expected a string, received an integer. Write a text or leave the row"),
        (frame(label=["x", {}]), WHERE_LABEL + "expected a string, an integer or a boolean, received a dict."),
        (frame(label=["x", " "]), WHERE_LABEL + "expected a label, received an empty one."),
        ((["a", "\ud800"], [1, 2]), "texts, position 1: " + "character 1 is half of a surrogate pair"),
        (pl.DataFrame({"text": ["a", None], "label": [1, 2]}), "position 1, column 'text': received None, a"),
        (pl.DataFrame({"text": ["a", "b"], "label": [1, None]}), "position 1, column 'label': received None, a"),
        ((["a", b"\xff"], [1, 2]), "texts, position 1: byte 1 of b'\\xff' is not UTF-8, which was expected. Decode it"),
        ((["a", float("nan")], [1, 2]), "texts, position 1: received NaN, a missing value."),
        ((["a", pd.NaT], [1, 2]), "texts, position 1: received NaT, a missing value."),
        ((["a", ["b"]], [1, 2]), "texts, position 1: expected a string, received an array."),
        ((np.array([1.5, 2.5]), [1, 2]), "texts, position 0: expected a string, received a number."),
        ((["a", "b"], np.array([1.0, 2.0])), "labels, position 0: expected a string, an integer or a boolean, received "
        "the number 1.0. Convert the labels, such as with `astype(int)`."),
        # not one label for each text
        ((["a", "b"], [1]), "data (texts and labels): received 2 texts and 1 labels. Expected one label for each"),
        ({"text": ["a"], "label": []}, "data (dict): received 1 texts and 0 labels."),
        ((["a", "b"], np.eye(2)), "labels: received numpy ndarray of the shape (2, 2). Expected one label for each "
        "text: of one-hot rows, give labels.argmax(axis=1)."),
        (([], []), "data (texts and labels) has no rows. Expected at least one row with a text."),
        (frame()[:0], "data (pandas DataFrame) has no rows."),
        # no columns of that name
        (frame().rename(columns={"label": "stars"}), "data (pandas DataFrame): there is no column 'label'. The columns "
        "are: 'text', 'stars'. Name the right one: label_column."),
        (pd.concat([frame(), frame()], axis=1), "column 'text' stands there more than once."),
        ({"train": frame(), "test": frame()}, "data: received dict, which holds the splits ['train', 'test']. Give one "
        "of them: data['train']."),
        # not data at all
        ((["a"], [1], [0.5]), "data: received a tuple of 3. Expected a pair (texts, labels)."),
        (("a text", "label"), "texts: received a single str. Expected several: give a list."),
        ((frame(), ["x", "y"]), "texts: received pandas DataFrame of the shape (2, 2). Expected one axis: give one"),
        (({"a", "b"}, ["x", "y"]), "texts: received set. Expected a list, or one column of it."),
        ((3, ["x"]), "texts: received int. Expected a list, an array or a Series."),
        ([("a", "x"), ("b", "y")], "data: received list; a pair is a tuple, (texts, labels). Expected a path, a pair"),
        (frame()["text"], "data: received pandas Series, a single column; give labels with texts, as (texts, labels)."),
        (pl.Series(["a"]), "data: received polars Series, a single column;"),
        (np.zeros([2, 2]), "data: received numpy ndarray, a single column;"),
        (pa.chunked_array([["a"]]), "data (pyarrow ChunkedArray) cannot be read as a table:"),
        (None, "data: received NoneType. Expected a path, a pair (texts, labels), or a table (pandas,"),
        (object(), "data: received object. Expected a path"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_its_row(data: object, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        examples_in_memory(data)
    assert problem in str(caught.value)


def test_test_data_is_called_test() -> None:
    with pytest.raises(DataError, match=r"^test labels, position 1: received None, a missing value"):
        examples_in_memory((["a", "b"], ["x", None]), argument="test")
    assert examples_in_memory((["a"], ["x"]), argument="test").location(0) == "test (texts and labels), position 0"


def test_arrow_strings_that_are_not_utf_8_are_refused_by_their_row() -> None:
    damaged = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"]).buffers())
    with pytest.raises(DataError, match=r"\(pyarrow Table\), position 1, column 'text': a string is not UTF-8"):
        examples_in_memory(pa.table({"text": damaged, "label": ["x", "y"]}))


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        pd.Series(["a", "b"], index=[1, 1]),
        pl.Series(["a", "b"]),
        pa.array(["a", "b"]),
        (character for character in "ab"),
    ],
    ids=describe,
)
def test_texts_may_be_any_column(texts: object) -> None:
    assert texts_in_memory(texts) == ["a", "b"]


@pytest.mark.parametrize("empty", [[], np.array([]), pd.Series([], dtype=object), pa.array([], pa.string())])
def test_no_texts_are_no_texts(empty: object) -> None:
    assert texts_in_memory(empty) == []


@pytest.mark.parametrize(
    ("texts", "kind", "problem"),
    [
        ("A film.", ArgumentError, "texts: received a single str. Expected several: give a list."),
        (b"A film.", ArgumentError, "texts: received a single bytes. Expected several: give a list."),
        (frame(), ArgumentError, "texts: received pandas DataFrame of the shape (2, 2). Expected one axis: give one"),
        (pl.DataFrame(COLUMNS), ArgumentError, "texts: received polars DataFrame of the shape (3, 2)."),
        (pa.table(COLUMNS), ArgumentError, "texts: received pyarrow Table of the shape (3, 2)."),
        (Split(COLUMNS), ArgumentError, "of the shape (3, 2)."),
        (np.array("a"), ArgumentError, "texts: received numpy ndarray of the shape ()."),
        ({"a": 1}, ArgumentError, "texts: received dict. Expected a list"),
        (7, ArgumentError, "texts: received int. Expected a list, an array or a Series."),
        (None, ArgumentError, "texts: received NoneType."),
        (["a", None], DataError, "texts, position 1: received None, a missing value."),
        (pd.Series(["a", None], index=[5, 6]), DataError, "texts, position 1: received NaN, a missing value."),
        (["a", 3], DataError, "texts, position 1: expected a string, received an integer."),
        (["a", b"\xff"], DataError, "texts, position 1: byte 1 of b'\\xff' is not UTF-8"),
    ],
)
def test_what_are_no_texts_is_refused(texts: object, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind) as caught:
        texts_in_memory(texts)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame(), "pandas DataFrame"),
        (pl.Series(), "polars Series"),
        (pa.table({}), "pyarrow Table"),
        (([], []), "texts and labels"),
        ({}, "dict"),
    ],
)
def test_it_is_named_by_library_and_type(data: object, words: str) -> None:
    assert describe(data) == words
