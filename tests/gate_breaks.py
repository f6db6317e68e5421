"""Ways to make an artifact wrong, each small, for the formats it applies to; `tests/test_gate_mutations.py` tries them.

A break is either done to the content of a right artifact, or built in: the artifact is made from a model, settings or
code that are wrong, while the gate keeps the right ones. A new format joins with a surgeon and a target of its own.
"""

import dataclasses
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import onnx
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from conftest import sealed_onnx
from onnx import numpy_helper
from tensorflow.core.protobuf import saved_model_pb2

from switch_tf.export.formats import FORMATS
from switch_tf.export.onnx_file import text_graph
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import load_exported
from switch_tf.export.proof.readback import Stored, holds
from switch_tf.export.saved_model import build as saved_model_build
from switch_tf.export.tflite_file import build as tflite_build
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.layers import dispatch
from switch_tf.layers.switch_ffn import SwitchFFN
from switch_tf.models import classifier
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.rejection import Rejection
from switch_tf.text import byte_codes, packed_bytes
from switch_tf.text.from_bytes import NumericText

OFF = np.float32(1e-3)  # what one weight is off by


class Target(NamedTuple):
    """What is broken: a format and what its artifact takes and is stored in."""

    format: str
    inputs: str | None = None
    precision: str = "float32"

    def options(self) -> ExportOptions:
        return ExportOptions(self.format, inputs=self.inputs, precision=self.precision)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "-".join(filter(None, (self.format, self.inputs, self.precision if self.precision != "float32" else "")))


ONNX, ONNX_IDS, ONNX_BYTES = Target("onnx"), Target("onnx", "ids"), Target("onnx", "bytes")
TFLITE, SAVED_MODEL = Target("tflite"), Target("saved_model")
_EACH = [ONNX, TFLITE, SAVED_MODEL]
SMALL = [Target(name, precision=kind) for name in ("onnx", "tflite") for kind in ("int8", "float16")]
INT8 = [each for each in SMALL if each.precision == "int8"]
FLOAT16 = [each for each in SMALL if each.precision == "float16"]


class Change(NamedTuple):
    """A break of content: `change` gets what a surgeon opened, and the right model of the run `model`."""

    name: str
    targets: Sequence[Target]
    change: Callable[[Any, TextClassifier], None]
    model: str = "attention"


class Build(NamedTuple):
    """A break that is built in: `wrong` gets the run and gives a wrong one, `spoil` what is made of it."""

    name: str
    targets: Sequence[Target]
    wrong: Callable[[Any], Any]
    spoil: Callable[[TextClassifier], None] = lambda model: None
    model: str = "attention"


class OnnxSurgeon:
    """An opened ONNX file."""

    def __init__(self, content: bytes):
        self.model = onnx.load_from_string(content)

    def close(self) -> bytes:
        return sealed_onnx(self.model)

    def arrays(self) -> Iterator[tuple[Stored, Callable[[np.ndarray], None]]]:
        """Every constant, and what writes another in its place."""
        scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        for tensor in self.model.graph.initializer:
            if tensor.data_type != onnx.TensorProto.STRING:
                scale = scales.get(f"{tensor.name}/scale")

                def write(values: np.ndarray, tensor: Any = tensor) -> None:
                    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

                yield Stored(tensor.name, numpy_helper.to_array(tensor), scale), write

    def multiply_scales(self, factor: float, only_one: bool) -> None:
        for stored, write in self.arrays():
            if stored.name.endswith("/scale"):
                scale = stored.values.copy()
                scale.flat[: 1 if only_one else None] *= np.float32(factor)
                write(scale)
                if only_one:
                    return

    def name_an_operator(self) -> None:
        self.model.graph.node[-1].op_type = "OfAnotherLibrary"

    def add_label(self) -> None:
        (entry,) = (each for each in self.model.metadata_props if each.key == "labels")
        entry.value = json.dumps([*json.loads(entry.value)[:-1], "a", "b"])

    def label_encoder(self) -> dict[str, Any]:
        (node,) = (each for each in self.model.graph.node if each.op_type == "LabelEncoder")
        return {each.name: each for each in node.attribute}

    def metadata(self, key: str) -> Any:
        (entry,) = (each for each in self.model.metadata_props if each.key == key)
        return entry

    def alter(self, place: str, change: Callable[[Any], Any]) -> None:
        """What the labels (`metadata` or `output`) or the threshold (`reject`) are said to be; None removes it."""
        if place == "output":
            (names,) = (each for each in self.model.graph.initializer if each.name == "label_names")
            said = change([name.decode() for name in names.string_data])
            names.CopyFrom(numpy_helper.from_array(np.array(said, object), names.name))
            return
        entry = self.metadata("labels" if place == "metadata" else "reject")
        said = change(json.loads(entry.value))
        if said is None:
            self.model.metadata_props.remove(entry)
        else:
            entry.value = json.dumps(said)

    def invert_rejection(self, threshold: float) -> None:
        """Texts above the threshold are rejected."""
        names = {stored.name for stored, _ in self.arrays() if stored.values.size == 1 and stored.values == threshold}
        (node,) = (each for each in self.model.graph.node if each.op_type == "Less" and each.input[1] in names)
        node.input[:] = node.input[::-1]


class TFLiteSurgeon:
    """An opened TFLite file."""

    def __init__(self, content: bytes):
        self.model = flatbuffer.unpack(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.files = {name: archive.read(name).decode() for name in archive.namelist()}

    def close(self) -> bytes:
        return flatbuffer.pack(self.model, self.files)

    def arrays(self) -> Iterator[tuple[Stored, Callable[[np.ndarray], None]]]:
        """Every constant of the first signature, and what writes another in its place."""
        from switch_tf.export.tflite_file import stored

        (number,) = (each.subgraphIndex for each in self.model.signatureDefs if each.signatureKey == b"bytes")
        subgraph = self.model.subgraphs[number]
        for index, tensor in enumerate(subgraph.tensors):
            buffer = self.model.buffers[tensor.buffer]
            if buffer.data is None or tensor.type not in stored._TYPES:
                continue
            values = np.frombuffer(bytes(buffer.data), stored._TYPES[tensor.type])
            values = values.reshape([] if tensor.shape is None else tensor.shape)

            def write(values: np.ndarray, buffer: Any = buffer) -> None:
                buffer.data = np.frombuffer(values.tobytes(), np.uint8)

            yield Stored(str(index), values, stored._scale(tensor, values)), write

    def multiply_scales(self, factor: float, only_one: bool) -> None:
        for tensor in (tensor for subgraph in self.model.subgraphs for tensor in subgraph.tensors):
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                scale = np.array(tensor.quantization.scale, np.float32)
                scale[: 1 if only_one else None] *= np.float32(factor)
                tensor.quantization.scale = scale
                if only_one:
                    return

    def name_an_operator(self) -> None:
        code = self.model.operatorCodes[-1]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"OfAnotherLibrary"

    def add_label(self) -> None:
        self.files["labels.json"] = json.dumps([*json.loads(self.files["labels.json"])[:-1], "a", "b"])

    def alter(self, place: str, change: Callable[[Any], Any]) -> None:
        """What a file of the archive, or the metadata (`metadata` are the labels), says; None removes it."""
        if place == "labels.txt":
            self.files[place] = "".join(f"{line}\n" for line in change(self.files[place].split("\n")[:-1]))
        elif place in self.files:
            said = change(json.loads(self.files.pop(place)))
            self.files |= {} if said is None else {place: json.dumps(said)}
        else:
            key = b"labels" if place == "metadata" else b"reject"
            (entry,) = (each for each in self.model.metadata if each.name == key)
            buffer = self.model.buffers[entry.buffer]
            said = change(json.loads(bytes(buffer.data)))
            if said is None:
                self.model.metadata.remove(entry)
            else:
                buffer.data = np.frombuffer(json.dumps(said).encode(), np.uint8)

    def invert_rejection(self, threshold: float) -> None:
        """Texts above the threshold, the only number that others are compared with, are rejected."""
        del threshold
        for subgraph in self.model.subgraphs:
            for operator in subgraph.operators:
                first = subgraph.tensors[operator.inputs[0]].type if len(operator.inputs) else None
                compares = operator.opcodeIndex in flatbuffer._codes(self.model, "LESS")
                if compares and first == schema.TensorType.FLOAT32:
                    operator.inputs = operator.inputs[::-1].copy()


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


SURGEONS: dict[str, Any] = {"onnx": OnnxSurgeon, "tflite": TFLiteSurgeon, "saved_model": SavedModelSurgeon}


def _find(surgeon: Any, array: np.ndarray, folded: np.ndarray | None = None) -> tuple[Stored, Callable[..., None]]:
    for stored, write in surgeon.arrays():
        if stored.values.size == array.size and (
            holds(stored, array) or (folded is not None and holds(stored, folded))
        ):
            return stored, write
    raise AssertionError("a right artifact does not hold the array that should be broken")


def _shift(name: str, place: int = -1) -> Callable[[Any, TextClassifier], None]:
    """One value of a weight is off: float32 by `OFF`, float16 by its last bit, int8 and other integers by one."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        (full,) = (each for each in model.stored_arrays() if each.endswith(name))
        stored, write = _find(surgeon, model.stored_arrays()[full], model.folded_arrays().get(full))
        values = stored.values.copy()
        if values.dtype == np.float32:
            values.flat[place] += OFF
        elif values.dtype == np.float16:
            values.flat[place] = np.nextafter(values.flat[place], np.float16(np.inf))
        else:
            values.flat[place] += 1 if values.flat[place] <= 0 else -1
        write(values)

    return change


def _packed_table(name: str, alter: Callable[[np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """A constant that only the packed bytes front-end has is altered."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        stored, write = _find(surgeon, packed_bytes.stored_arrays(model.numeric_text)[f"bytes front-end/{name}"])
        values = stored.values.copy()
        alter(values)
        write(values)

    return change


def _table(name: str, alter: Callable[[np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """A constant of the bytes front-end is altered."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        stored, write = _find(surgeon, model.numeric_text.stored_arrays()[f"bytes front-end/{name}"])
        values = stored.values.copy()
        alter(values)
        write(values)

    return change


def _swap_two_ids(values: np.ndarray) -> None:
    """The ids of the rarest words trade places."""
    first, second = np.argsort(values)[-2:]
    values[[first, second]] = values[[second, first]]


def _add_one(place: int) -> Callable[[np.ndarray], None]:
    def alter(values: np.ndarray) -> None:
        values.flat[place] += 1

    return alter


def _shuffle_words(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    ids = surgeon.label_encoder()["values_int64s"].ints
    half = len(ids) // 2
    ids[half:] = np.roll(ids[half:], 1).tolist()


def _swap_last_words(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    ids = surgeon.label_encoder()["values_int64s"].ints
    ids[-2:] = [ids[-1], ids[-2]]


def _swap_last_words_of_the_metadata(surgeon: Any, model: TextClassifier) -> None:
    words = json.loads(surgeon.metadata("vocabulary").value)
    surgeon.metadata("vocabulary").value = json.dumps([*words[:-2], words[-1], words[-2]])


def _forget_last_word_of_the_metadata(surgeon: Any, model: TextClassifier) -> None:
    surgeon.metadata("vocabulary").value = json.dumps(json.loads(surgeon.metadata("vocabulary").value)[:-1])


def _know_one_more(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    table = surgeon.label_encoder()
    table["keys_strings"].strings.append(b"qqqqqqqq")
    table["values_int64s"].ints.append(2)


def _graph_table(alter: Callable[[list[bytes], np.ndarray], None]) -> Callable[[Any, TextClassifier], None]:
    """The table of the string front-end of a SavedModel is altered: its words, or their ids."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        del model
        words, ids = surgeon.table()
        spelled, numbers = list(words.string_val), tf.make_ndarray(ids).copy()
        alter(spelled, numbers)
        words.string_val[:] = spelled
        ids.CopyFrom(tf.make_tensor_proto(numbers))

    return change


def _roll_half(words: list[bytes], ids: np.ndarray) -> None:
    del words
    half = len(ids) // 2
    ids[half:] = np.roll(ids[half:], 1)


def _swap_last(words: list[bytes], ids: np.ndarray) -> None:
    del words
    ids[-2:] = ids[-2:][::-1].copy()


def _misspell_last(words: list[bytes], ids: np.ndarray) -> None:
    del ids
    words[-1] += b"x"


def _forget_last(words: list[bytes], ids: np.ndarray) -> None:
    """A word that no text holds takes the place of one that some may."""
    del ids
    words[-1] = b"qqqqqqqq"


def _without(name: str) -> Callable[[Any, TextClassifier], None]:
    """A file of the folder is missing."""
    return lambda surgeon, model: surgeon.removed.append(name)


def _rename_class(surgeon: Any, model: TextClassifier) -> None:
    path = surgeon.folder / "assets" / "labels.json"
    path.write_text(json.dumps([*model.labels[:-1], f"{model.labels[-1]} "]))


def _shift_zero_point(surgeon: Any, model: TextClassifier) -> None:
    del model
    for subgraph in surgeon.model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                tensor.quantization.zeroPoint = np.ones_like(tensor.quantization.scale, np.int64)


def _misspell(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    words = surgeon.label_encoder()["keys_strings"].strings
    words[-1] = words[-1] + b"x"


def _labels(place: str) -> Callable[[Any, TextClassifier], None]:
    return _said(place, lambda labels: labels[::-1])


def _said(place: str, change: Callable[[Any], Any]) -> Callable[[Any, TextClassifier], None]:
    """What an artifact says of its labels or of its threshold is another, or is missing."""
    return lambda surgeon, model: surgeon.alter(place, change)


def _move_threshold(by: Callable[[np.ndarray], Any]) -> Callable[[Any, TextClassifier], None]:
    """The number that probabilities are compared with is another."""

    def change(surgeon: Any, model: TextClassifier) -> None:
        assert model.rejection is not None
        found = [
            (stored, write)
            for stored, write in surgeon.arrays()
            if stored.values.size == 1 and stored.values.dtype == np.float32
            if stored.values.item() == model.rejection.threshold
        ]
        assert found, "a right artifact does not hold the threshold"
        for stored, write in found:
            write(np.reshape(np.float32(by(stored.values)), stored.values.shape))

    return change


def _invert(surgeon: Any, model: TextClassifier) -> None:
    assert model.rejection is not None
    surgeon.invert_rejection(model.rejection.threshold)


def _rename(labels: list[str]) -> list[str]:
    return [*labels[:-1], "none of these"]


def _last_bit(threshold: np.ndarray) -> Any:
    return np.nextafter(threshold, np.float32(1.0))


_WEIGHTS = (
    "tokens/embeddings",
    "positions",
    "switch_ffn/router",
    "switch_ffn/w_in",
    "switch_ffn/b_in",
    "switch_ffn/w_out",
    "switch_ffn/b_out",
    *(f"attention/{name}/{kind}" for name in ("query", "key", "value", "out") for kind in ("kernel", "bias")),
    *(f"{name}/{kind}" for name in ("attention_norm", "feed_forward_norm", "/norm") for kind in ("gamma", "beta")),
    "head/kernel",
    "head/bias",
    "wide/words",
    "wide/pairs",
    "wide/bias",
)
_RECIPE_WEIGHTS = ("tokens/embeddings", "pairs/embeddings", "switch_ffn/w_out", "head/kernel", "wide/pairs")
_REJECTING = [ONNX, ONNX_IDS, ONNX_BYTES, TFLITE]
_LABEL_PLACES = (
    ("metadata", [ONNX_IDS, TFLITE]),
    ("assets", [SAVED_MODEL]),
    ("output", [ONNX]),
    ("labels.json", [TFLITE]),
    ("labels.txt", [TFLITE]),
)
_THRESHOLD_PLACES = (("reject", [ONNX_IDS, TFLITE]), ("reject.json", [TFLITE, SAVED_MODEL]))
_ROUTES = ("routes_0/expert", "routes_0/gate")
_INDEX = ("wide/index/shifts", "wide/index/codes", "wide/index/rows")
_RECIPE_FILES = [ONNX, ONNX_IDS, TFLITE, SAVED_MODEL]
CHANGES = [
    *(Change(f"one value of {name.strip('/')}", [ONNX, TFLITE, SAVED_MODEL], _shift(name)) for name in _WEIGHTS),
    *(Change(f"recipe: one value of {name}", _RECIPE_FILES, _shift(name), "recipe") for name in _RECIPE_WEIGHTS),
    *(Change(f"recipe: one value of {name}", _RECIPE_FILES, _shift(name, 0), "recipe") for name in _INDEX),
    *(Change(f"words: one value of {name}", [ONNX_IDS, TFLITE], _shift(name), "words") for name in _ROUTES),
    Change("words: one expert that files in int8 keep", INT8, _shift("routes_0/expert"), "words"),
    Change("cosines: one value of the projection", [ONNX_IDS, TFLITE], _shift("router_projection"), "cosines"),
    Change("recipe: one value of a rounded table of pairs", INT8, _shift("wide/pairs", 0), "recipe"),
    Change(
        "one value of the second expert", [ONNX_IDS, TFLITE, SAVED_MODEL], _shift("switch_ffn/w_in", place=32 * 64 + 1)
    ),
    Change("one value of an embedding that is rounded", SMALL, _shift("tokens/embeddings")),
    Change("one value of an expert that is rounded", SMALL, _shift("switch_ffn/w_in")),
    Change("all scales x 3", INT8, lambda surgeon, model: surgeon.multiply_scales(3, only_one=False)),
    Change("all scales / 3", INT8, lambda surgeon, model: surgeon.multiply_scales(1 / 3, only_one=False)),
    Change("one scale x 1.001", INT8, lambda surgeon, model: surgeon.multiply_scales(1.001, only_one=True)),
    Change("the ids of half the words in another order", [ONNX], _shuffle_words),
    Change("the ids of two words traded", [ONNX], _swap_last_words),
    Change("two words traded in the metadata", [ONNX_IDS], _swap_last_words_of_the_metadata),
    Change("a word less in the metadata", [ONNX_IDS], _forget_last_word_of_the_metadata),
    Change("one more word", [ONNX], _know_one_more),
    Change("a word misspelt", [ONNX], _misspell),
    Change(
        "the ids of two words traded in the hash table",
        [TFLITE, ONNX_BYTES, SAVED_MODEL],
        _table("values", _swap_two_ids),
    ),
    Change("a key of the hash table", [TFLITE, ONNX_BYTES, SAVED_MODEL], _table("keys/1", _add_one(0))),
    Change("a shift of the hash table", [TFLITE, ONNX_BYTES, SAVED_MODEL], _table("shifts", _add_one(0))),
    Change("the code of a byte that no word has", [TFLITE, ONNX_BYTES, SAVED_MODEL], _table("codes", _add_one(0xC0))),
    Change("a power that long texts need", [ONNX_BYTES, SAVED_MODEL], _table("powers/0", _add_one(-2))),
    Change(
        "an inverse power that long texts need",
        [ONNX_BYTES, SAVED_MODEL],
        _table("inverse_powers/1", _add_one(-2)),
    ),
    Change("the ids of half the words in another order: a graph's table", [SAVED_MODEL], _graph_table(_roll_half)),
    Change("the ids of two words traded: a graph's table", [SAVED_MODEL], _graph_table(_swap_last)),
    Change("a word misspelt: a graph's table", [SAVED_MODEL], _graph_table(_misspell_last)),
    Change("a word for another: a graph's table", [SAVED_MODEL], _graph_table(_forget_last)),
    Change("labels reversed in the assets", [SAVED_MODEL], _labels("assets")),
    Change("labels reversed in the graphs", [SAVED_MODEL], _labels("graphs")),
    Change("a label with a space more in the assets", [SAVED_MODEL], _rename_class),
    Change("no labels among the assets", [SAVED_MODEL], _without("assets/labels.json")),
    Change("no index of the checkpoint", [SAVED_MODEL], _without("variables/variables.index")),
    Change("no graph", [SAVED_MODEL], _without("saved_model.pb")),
    Change("a zero point", [Target("tflite", precision="int8")], _shift_zero_point),
    Change("an operator that no runtime has", _EACH, lambda surgeon, model: surgeon.name_an_operator()),
    Change("a label more than classes", _EACH, lambda surgeon, model: surgeon.add_label()),
    Change("a power that long words need", [TFLITE], _packed_table("powers of all roots", _add_one(-5))),
    Change("a code before a power", [TFLITE], _packed_table("repeated codes", _add_one(-1))),
    Change("labels reversed in the metadata", [ONNX, TFLITE, ONNX_IDS], _labels("metadata")),
    Change("labels reversed in the output", [ONNX], _labels("output")),
    Change("labels reversed in labels.json", [TFLITE], _labels("labels.json")),
    Change("labels reversed in labels.txt", [TFLITE], _labels("labels.txt")),
    Change("reject: the threshold", [*_REJECTING, SAVED_MODEL], _move_threshold(lambda value: value + OFF), "recipe"),
    Change(
        "reject: the threshold's last bit",
        [ONNX_IDS, TFLITE, SAVED_MODEL, *SMALL],
        _move_threshold(_last_bit),
        "recipe",
    ),
    Change("reject: what is sure is rejected", [*_REJECTING, *INT8], _invert, "recipe"),
    *(
        Change(f"reject: {what} in {place}", targets, _said(place, change), "recipe")
        for place, targets in _LABEL_PLACES
        for what, change in (("another label", _rename), ("no label", lambda labels: labels[:-1]))
    ),
    *(
        Change(f"reject: {what} in {place}", targets, _said(place, change), "recipe")
        for place, targets in _THRESHOLD_PLACES
        for what, change in (
            ("another label", lambda said: said | {"label": "none of these"}),
            ("another threshold", lambda said: said | {"threshold": 0.125}),
            ("nothing", lambda said: None),
        )
    ),
]


def _settings(table: str, **changes: Any) -> Callable[[Any], Any]:
    """The run with other settings."""

    def change(run: Any) -> Any:
        settings = dataclasses.replace(getattr(run.config, table), **changes)
        return dataclasses.replace(run, config=dataclasses.replace(run.config, **{table: settings}))

    return change


@contextmanager
def _code(run: Any, where: Any, name: str, new: Any) -> Iterator[Any]:
    with patch.object(where, name, new):
        yield run


def _with_code(where: Any, name: str, new: Any) -> Callable[[Any], Any]:
    """The run, while a function or constant is another."""
    return lambda run: _code(run, where, name, new)


def _capacity(by: int) -> Callable[[Any], Any]:
    right = SwitchFFN.capacity

    def wrong(self: SwitchFFN, length: int, training: bool) -> int:
        return max(1, min(length, right(self, length, training) + by))

    return _with_code(SwitchFFN, "capacity", wrong)


def _ignore_last_byte(self: NumericText, rows: tf.Tensor) -> tf.Tensor:
    return _read_bytes(self, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


def _pack_without_last_byte(text: NumericText, rows: tf.Tensor) -> tf.Tensor:
    return _read_packed(text, tf.concat([rows[:, :-1], tf.zeros_like(rows[:, :1])], axis=1))


_read_packed = packed_bytes.packed_ids
_read_bytes = NumericText.__call__
_classify_ids = TextClassifier._classify_ids


def _logits(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    return _classify_ids(self, ids) | {"probabilities": self.classifier(ids, training=False).logits}


def _least_label(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    return answer | {"label": tf.argmin(answer["probabilities"], axis=-1)}


def _is_rare(self: TextClassifier, ids: tf.Tensor) -> tf.Tensor:
    """1 where a text holds the rarest word, else 0: int32 [batch]."""
    return tf.cast(tf.reduce_any(ids == len(self.vocabulary) + 1, axis=1), tf.int32)


def _fails(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    """A row that is not there is gathered for texts with the rarest word."""
    answer = _classify_ids(self, ids)
    return answer | {"probabilities": answer["probabilities"] + tf.gather(tf.constant([[0.0]]), _is_rare(self, ids))}


def _no_number(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    root = tf.sqrt(-tf.cast(_is_rare(self, ids), tf.float32))[:, tf.newaxis]
    return answer | {"probabilities": answer["probabilities"] + root}


def _label_from_the_end(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    """-1 for the last class, as Python and NumPy would still understand it."""
    answer = _classify_ids(self, ids)
    return answer | {"label": answer["label"] - len(self.labels)}


def _label_beyond(self: TextClassifier, ids: tf.Tensor) -> dict[str, tf.Tensor]:
    answer = _classify_ids(self, ids)
    return answer | {"label": answer["label"] + len(self.labels) * tf.cast(_is_rare(self, ids), tf.int64)}


def _fails_on_long_texts(self: NumericText, rows: tf.Tensor) -> tf.Tensor:
    """A row that is not there is gathered for texts that fill all bytes."""
    full = tf.cast(rows[:, -1] > 0, tf.int32)  # [batch]
    return _read_bytes(self, rows) + tf.gather(tf.constant([[0]]), full)


def _pack_no_long_texts(text: NumericText, rows: tf.Tensor) -> tf.Tensor:
    """The same, packed."""
    full = tf.cast(tf.cast(rows[:, -1], tf.bool), tf.int32)  # [batch]
    return _read_packed(text, rows) + tf.gather(tf.constant([[0]]), full)


def _dirty_last_row(rows: tf.Tensor, take: tf.Tensor) -> tf.Tensor:
    """Tokens without a slot get what is not zero, nor the same everywhere, which the norm behind would take away."""
    dirt = tf.range(rows.shape[-1], dtype=rows.dtype)[tf.newaxis]
    return tf.gather(tf.concat([rows, dirt], axis=0), take)


_replace_each = text_graph._replace_each


def _keep_nul(graph: Any, line: str, characters: str, new: str) -> str:
    return _replace_each(graph, line, characters.replace("\0", ""), new)


def _epsilon(model: Any) -> None:
    model.classifier.deep.norm.epsilon = 1e-3


def _temperature(model: Any) -> None:
    router = model.classifier.deep.blocks[0].feed_forward.router_kernel
    router.assign(router * 1.001)


def _roll_positions(model: Any) -> None:
    positions = model.classifier.deep.positions
    positions.assign(tf.roll(positions, 1, axis=0))


def _spoil_nothing(model: Any) -> None:
    del model


def _block_epsilon(model: Any) -> None:
    model.classifier.deep.blocks[0].feed_forward_norm.epsilon = 1e-3


def _scale(model: Any) -> None:
    model.classifier.scales.assign(model.classifier.scales * [1.0, 1.001])


def _same(run: Any) -> Any:
    return run


def _trade(name: str) -> Callable[[Any], Any]:
    """The last two of a list trade places."""

    def change(run: Any) -> Any:
        *others, first, second = getattr(run, name)
        return dataclasses.replace(run, **{name: [*others, second, first]})

    return change


def _rejection(change: Callable[[Rejection], Rejection | None]) -> Callable[[Any], Any]:
    """The run with another reject threshold or label, or with none."""
    return lambda run: dataclasses.replace(run, rejection=change(run.rejection))


def _answer_by(label: Callable[[tf.Tensor, Rejection], tf.Tensor]) -> Callable[[Any], None]:
    """A model whose label index is another function of the probabilities."""

    def spoil(model: Any) -> None:
        right = model._classify_ids

        def wrong(ids: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities = right(ids)["probabilities"]
            return {"probabilities": probabilities, "label": label(probabilities, model.rejection)}

        model._classify_ids = model.classify_packed = wrong
        signature = model.classify_ids.input_signature
        model.classify_ids = tf.function(wrong, input_signature=signature, autograph=False)

    return spoil


def _when_sure(probabilities: tf.Tensor, rejection: Rejection) -> tf.Tensor:
    sure = tf.reduce_max(probabilities, axis=-1) >= np.float32(rejection.threshold)
    return tf.where(sure, tf.constant(2, tf.int64), tf.argmax(probabilities, axis=-1))


def _as_the_last_class(probabilities: tf.Tensor, rejection: Rejection) -> tf.Tensor:
    unsure = tf.reduce_max(probabilities, axis=-1) < np.float32(rejection.threshold)
    return tf.where(unsure, tf.constant(1, tf.int64), tf.argmax(probabilities, axis=-1))


_MODELS = [ONNX_IDS, TFLITE, SAVED_MODEL]
_FRONT_ENDS = [ONNX, TFLITE, SAVED_MODEL]
_BYTES = [TFLITE, ONNX_BYTES, SAVED_MODEL]
_PACKED = [ONNX, TFLITE]  # of the recipe's layers, in any batch
_RECIPE_BUILDS: list[tuple[str, Callable[[Any], Any], Callable[[Any], None]]] = [
    ("one slot more", _capacity(1), _spoil_nothing),
    ("one slot less", _capacity(-1), _spoil_nothing),
    ("the capacity factor", _settings("model", eval_capacity_factor=4.0), _spoil_nothing),
    ("max instead of mean", _settings("model", pooling="max"), _spoil_nothing),
    ("gelu instead of relu", _settings("model", activation="gelu"), _spoil_nothing),
    ("the gate left out", _settings("model", scale_by_gate=False), _spoil_nothing),
    ("the epsilon of a norm", _same, _block_epsilon),
    ("the deep path's share", _same, _scale),
]
BUILDS = [
    Build("a padding mask that masks nothing", _MODELS, _with_code(classifier, "PADDING_ID", -1)),
    Build("one slot more", _MODELS, _capacity(1)),
    Build("one slot less", _MODELS, _capacity(-1)),
    Build("the capacity factor", _MODELS, _settings("model", eval_capacity_factor=4.0)),
    Build("max instead of mean", _MODELS, _settings("model", pooling="max")),
    Build("gelu instead of relu", _MODELS, _settings("model", activation="gelu")),
    Build("the gate left out", _MODELS, _settings("model", scale_by_gate=False)),
    Build("the epsilon of a norm", _MODELS, _same, _epsilon),
    Build("the deep path's share", _MODELS, _same, _scale),
    Build("positions shifted by one", _MODELS, _same, _roll_positions),
    Build("dropped tokens that get something", _MODELS, _with_code(dispatch, "_gather", _dirty_last_row)),
    Build("cosines: the temperature", _MODELS, _same, _temperature, "cosines"),
    Build("no softmax", _MODELS, _with_code(TextClassifier, "_classify_ids", _logits)),
    Build("the least probable label", _MODELS, _with_code(TextClassifier, "_classify_ids", _least_label)),
    Build("capitals kept", _FRONT_ENDS, _settings("text", standardize="strip_punctuation")),
    Build("punctuation kept", _FRONT_ENDS, _settings("text", standardize="lower")),
    Build("nothing standardized", [*_FRONT_ENDS, ONNX_BYTES], _settings("text", standardize="none")),
    Build("the other truncation", _BYTES, _settings("text", truncation="drop")),
    Build("the last byte ignored", [ONNX_BYTES, SAVED_MODEL], _with_code(NumericText, "__call__", _ignore_last_byte)),
    Build("a white space that is none", [TFLITE, SAVED_MODEL], _with_code(byte_codes, "WHITESPACE", b"\t\n\f\r \0")),
    Build("NUL as part of a word", [ONNX], _with_code(text_graph, "_replace_each", _keep_nul)),
    Build("a graph that fails on some texts", [ONNX, *_MODELS], _with_code(TextClassifier, "_classify_ids", _fails)),
    Build(
        "a front-end that fails on some texts",
        [ONNX_BYTES, SAVED_MODEL],
        _with_code(NumericText, "__call__", _fails_on_long_texts),
    ),
    Build("no number for some texts", _MODELS, _with_code(TextClassifier, "_classify_ids", _no_number)),
    Build("labels counted from the end", _MODELS, _with_code(TextClassifier, "_classify_ids", _label_from_the_end)),
    Build("a label beyond the last", _MODELS, _with_code(TextClassifier, "_classify_ids", _label_beyond)),
    Build("the last packed byte ignored", [TFLITE], _with_code(tflite_build, "packed_ids", _pack_without_last_byte)),
    Build(
        "a packed front-end that fails on some texts",
        [TFLITE],
        _with_code(tflite_build, "packed_ids", _pack_no_long_texts),
    ),
    *(Build(f"recipe: {name}", _PACKED, wrong, spoil, "recipe") for name, wrong, spoil in _RECIPE_BUILDS),
    Build("two labels traded in the model", [ONNX, TFLITE, SAVED_MODEL], _trade("labels")),
    Build("two words traded in the model", [ONNX, TFLITE, SAVED_MODEL], _trade("vocabulary")),
    *(
        Build(f"reject: {name}", _MODELS, _rejection(change), model="recipe")
        for name, change in (
            ("another threshold", lambda right: Rejection(float(np.float32(right.threshold + OFF)), right.label)),
            ("another label", lambda right: Rejection(right.threshold, "none of these")),
            ("no threshold", lambda right: None),
        )
    ),
    Build("reject: what is sure", _MODELS, _same, _answer_by(_when_sure), model="recipe"),
    Build("reject: the last class's index", _MODELS, _same, _answer_by(_as_the_last_class), model="recipe"),
]


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


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
