"""SavedModel folders, opened: what can be altered in them, and the words of their table."""

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from breaks.targets import read_folder
from switch_tf.export.proof.readback import Stored
from switch_tf.models.text_classifier import TextClassifier


class SavedModelSurgeon:
    """An opened SavedModel folder; what is closed replaces what stands there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.parsed = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        (self.graph,) = self.parsed.meta_graphs
        reader = tf.train.load_checkpoint(str(self._checkpoint))
        self.variables = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        self.removed: list[str] = []

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "variables" / "variables"

    def close(self) -> dict[str, bytes]:
        """Every file of the folder, by name."""
        (self.folder / "saved_model.pb").write_bytes(self.parsed.SerializeToString())
        names = sorted(self.variables)
        tf.raw_ops.SaveV2(
            prefix=str(self._checkpoint),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.convert_to_tensor(self.variables[name]) for name in names],
        )
        for name in self.removed:
            (self.folder / name).unlink()
        return read_folder(self.folder)

    def constants(self) -> Iterator[Any]:
        """Every node that is a constant, of the graph and of its functions."""
        library = self.graph.graph_def.library.function
        for node in itertools.chain(self.graph.graph_def.node, *(each.node_def for each in library)):
            if node.op == "Const":
                yield node

    def arrays(self) -> Iterator[tuple[Stored, Callable[[np.ndarray], None]]]:
        """Every variable and every constant, and what writes another in its place."""
        for name, values in self.variables.items():
            if isinstance(values, np.ndarray) and values.dtype != object:
                yield Stored(name, values), partial(self.variables.__setitem__, name)
        for node in self.constants():
            tensor = node.attr["value"].tensor
            if tensor.dtype != tf.string.as_datatype_enum:

                def write(values: np.ndarray, tensor: Any = tensor) -> None:
                    tensor.CopyFrom(tf.make_tensor_proto(values))

                yield Stored(node.name, tf.make_ndarray(tensor)), write

    def table(self) -> tuple[Any, Any]:
        """The constants with the words and with their ids, as tensors that can be changed."""
        tensors = [node.attr["value"].tensor for node in self.constants()]
        words = max((each for each in tensors if each.string_val), key=lambda each: len(each.string_val))
        shape = words.tensor_shape
        (ids,) = (
            each
            for each in tensors
            if each.dtype == tf.int64.as_datatype_enum
            and each.tensor_shape == shape
            and np.array_equal(np.sort(tf.make_ndarray(each)), np.arange(2, 2 + shape.dim[0].size))
        )
        return words, ids

    def name_an_operator(self) -> None:
        for function in self.graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "Softmax":
                    node.op = "OfAnotherLibrary"

    def add_label(self) -> None:
        path = self.folder / "assets" / "labels.json"
        path.write_text(json.dumps([*json.loads(path.read_text())[:-1], "a", "b"]))

    def alter(self, place: str, change: Callable[[Any], Any]) -> None:
        """What a file of the assets says (`assets` are the labels), or the labels in the graphs; None removes it."""
        if place != "graphs":
            path = self.folder / "assets" / ("labels.json" if place == "assets" else place)
            said = change(json.loads(path.read_text()))
            if said is None:
                path.unlink()
            else:
                path.write_text(json.dumps(said))
            return
        labels = json.loads((self.folder / "assets" / "labels.json").read_text())
        wanted = [label.encode() for label in labels]
        found = [node.attr["value"].tensor for node in self.constants()]
        for tensor in (each for each in found if list(each.string_val) == wanted):
            tensor.string_val[:] = [label.encode() for label in change(labels)]


def graph_table(alter: Callable[[list[bytes], np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """The table of the string front-end of a SavedModel is altered: its words, or their ids."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        del model
        words, ids = surgeon.table()
        spelled, numbers = list(words.string_val), tf.make_ndarray(ids).copy()
        alter(spelled, numbers)
        words.string_val[:] = spelled
        ids.CopyFrom(tf.make_tensor_proto(numbers))

    return change


def roll_half(words: list[bytes], ids: np.ndarray) -> None:
    del words
    half = len(ids) // 2
    ids[half:] = np.roll(ids[half:], 1)


def swap_last(words: list[bytes], ids: np.ndarray) -> None:
    del words
    ids[-2:] = ids[-2:][::-1].copy()


def misspell_last(words: list[bytes], ids: np.ndarray) -> None:
    del ids
    words[-1] += b"x"


def forget_last(words: list[bytes], ids: np.ndarray) -> None:
    """A word that no text holds takes the place of one that some may."""
    del ids
    words[-1] = b"qqqqqqqq"


def without(name: str) -> Callable[[Any, TextClassifier], None]:
    """A file of the folder is missing."""
    return lambda surgeon, model: surgeon.removed.append(name)


def rename_class(surgeon: Any, model: TextClassifier) -> None:
    path = surgeon.folder / "assets" / "labels.json"
    path.write_text(json.dumps([*model.labels[:-1], f"{model.labels[-1]} "]))
