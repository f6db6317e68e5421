"""TFLite files, opened: what can be altered in them."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from switch_tf.export.proof.readback import Stored
from switch_tf.export.tflite_file import flatbuffer
from switch_tf.models.text_classifier import TextClassifier


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


def shift_zero_point(surgeon: Any, model: TextClassifier) -> None:
    del model
    for subgraph in surgeon.model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                tensor.quantization.zeroPoint = np.ones_like(tensor.quantization.scale, np.int64)
