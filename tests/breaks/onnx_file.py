"""ONNX files, opened: what can be altered in them, and the words of their table."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from conftest import sealed_onnx
from onnx import numpy_helper

from switch_tf.export.proof.readback import Stored
from switch_tf.models.text_classifier import TextClassifier


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


def shuffle_words(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    ids = surgeon.label_encoder()["values_int64s"].ints
    half = len(ids) // 2
    ids[half:] = np.roll(ids[half:], 1).tolist()


def swap_last_words(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    ids = surgeon.label_encoder()["values_int64s"].ints
    ids[-2:] = [ids[-1], ids[-2]]


def swap_last_words_of_the_metadata(surgeon: Any, model: TextClassifier) -> None:
    words = json.loads(surgeon.metadata("vocabulary").value)
    surgeon.metadata("vocabulary").value = json.dumps([*words[:-2], words[-1], words[-2]])


def forget_last_word_of_the_metadata(surgeon: Any, model: TextClassifier) -> None:
    surgeon.metadata("vocabulary").value = json.dumps(json.loads(surgeon.metadata("vocabulary").value)[:-1])


def know_one_more(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    table = surgeon.label_encoder()
    table["keys_strings"].strings.append(b"qqqqqqqq")
    table["values_int64s"].ints.append(2)


def misspell(surgeon: OnnxSurgeon, model: TextClassifier) -> None:
    del model
    words = surgeon.label_encoder()["keys_strings"].strings
    words[-1] = words[-1] + b"x"
