"""Answers beside the columns of a table: the one function that every engine of batch scoring runs, Arrow in and out.

It knows neither files nor processes. Each batch of rows gives as many rows in the same order, with all their columns:

>>> from switch_tf.runs.rejection import Rejection
>>> beside(["id", "label"], ["neg", "pos"], None, all_probabilities=True).names
('predicted_label', 'predicted_score', 'predicted_probability_neg', 'predicted_probability_pos', 'predicted_error')
>>> beside(["id", "text"], ["neg", "pos"], Rejection(0.7, "unknown"), all_probabilities=False).names
('label', 'score', 'rejected', 'error')
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switch_tf.data.answers import ANSWER_KINDS, free_names
from switch_tf.data.arrow_tables import strings
from switch_tf.data.rows import unique_names
from switch_tf.runs.rejection import Rejection, label_indexes, label_list

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor


@dataclass(frozen=True)
class Beside:
    """The columns that answers add to a table.

    Attributes:
        kinds: what each is: "label", "score" (the highest probability), "rejected" (of a model with a threshold),
            "probability" (of the next class) and "error" (why there is no answer).
        names: of the columns; none is one of the table's.
    """

    kinds: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def error(self) -> str:
        """The name of the column with errors."""
        return self.names[-1]

    def schema(self, table: pa.Schema) -> pa.Schema:
        """The columns of `table`, then these."""
        added = zip(self.names, self.kinds, strict=True)
        return pa.schema(
            [*table, *((name, ANSWER_KINDS.get(kind, pa.float32())) for name, kind in added)], metadata=table.metadata
        )


def beside(
    columns: Sequence[str], labels: Sequence[str], rejection: Rejection | None, all_probabilities: bool
) -> Beside:
    """What a model of these classes adds to a table of these columns, whose names are left to it."""
    kinds = ["label", "score", *(["rejected"] if rejection else [])]
    names = [*kinds]
    if all_probabilities:
        kinds += ["probability"] * len(labels)
        names += unique_names([f"probability_{label}" for label in labels])
    kinds, names = [*kinds, "error"], [*names, "error"]
    return Beside(tuple(kinds), free_names(set(columns), names))


def answer_batches(
    batches: Iterable[pa.RecordBatch], model: "Predictor", texts: Sequence[str], added: Beside
) -> Iterator[pa.RecordBatch]:
    """Each batch with its answers behind its columns, in order; `answer_batch` tells the rest."""
    for batch in batches:
        yield answer_batch(batch, model, texts, added)


def answer_batch(batch: pa.RecordBatch, model: "Predictor", texts: Sequence[str], added: Beside) -> pa.RecordBatch:
    """Rows with their answers behind their columns.

    Args:
        batch: all columns; if the one for errors is already there, as the last, rows with an error are not answered.
        model: what answers.
        texts: names of the columns of strings, joined by a space where there are several; null is a text without a
            word.
        added: of `beside`.

    Raises:
        ModelError: the model fails.
    """
    table, errors = batch, pa.nulls(batch.num_rows, pa.string())
    if added.error in batch.schema.names:
        errors = batch[added.error]
        table = batch.drop_columns([added.error])
    usable = pc.is_null(errors)  # [rows]
    asked = joined([table[name].filter(usable) for name in texts])
    probabilities = model.probabilities(asked)  # [usable, classes]
    answers = _columns(probabilities, model, added, usable.to_numpy(zero_copy_only=False))
    return pa.record_batch([*table.columns, *answers, errors], schema=added.schema(table.schema))


def joined(columns: Sequence[Any]) -> list[str]:
    """The texts of one or several columns of strings."""
    lists = [strings(column).to_pylist() for column in columns]
    if len(lists) == 1:
        return [text or "" for text in lists[0]]
    return [" ".join(text for text in row if text) for row in zip(*lists, strict=True)]


def _columns(probabilities: np.ndarray, model: "Predictor", added: Beside, usable: np.ndarray) -> list[pa.Array]:
    """The added columns but for the errors; null where a row was not usable."""
    best = label_indexes(probabilities, model.rejection)  # [usable]
    names = pa.array(label_list(model.labels, model.rejection), pa.string())
    values: dict[str, Any] = {
        "label": names.take(pa.array(best)),
        "score": pa.array(probabilities.max(axis=1, initial=0.0), pa.float32()),
        "rejected": pa.array(best == len(model.labels)),
    }
    classes = iter(probabilities.T)
    columns = [
        values[kind] if kind in values else pa.array(np.ascontiguousarray(next(classes)), pa.float32())
        for kind in added.kinds[:-1]
    ]
    if usable.all():
        return columns
    places = np.where(usable, np.cumsum(usable) - 1, 0)
    rows = pa.array(places, pa.int64(), mask=~usable)  # [rows], null where there is no answer
    return [column.take(rows) for column in columns]
