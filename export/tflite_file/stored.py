"""What a TFLite file stores, read from the file itself: the constants of each signature, with their scales."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from switch_tf.artifacts.tflite_file import DAMAGE, read_member
from switch_tf.errors import ModelError
from switch_tf.export.proof.readback import Holds, Part, Stored

_TYPES: dict[int, Any] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}
_HOLDS: Mapping[str, frozenset[Holds]] = {
    "bytes": frozenset({"weights", "bytes", "threshold"}),
    "ids": frozenset({"weights", "threshold"}),
    "tokenize": frozenset({"bytes"}),
}


_PACKED: Mapping[Holds, Holds] = {"bytes": "packed bytes"}


def read_parts(model: Any) -> list[Part]:
    """The constants that the operators of each signature use."""
    parts = []
    for signature in model.signatureDefs:
        name = signature.signatureKey.decode()
        subgraph = model.subgraphs[signature.subgraphIndex]
        holds = frozenset({_PACKED.get(each, each) for each in _HOLDS[name]}) if _any_batch(subgraph) else _HOLDS[name]
        parts.append(Part(f"the signature {name}", holds, list(_stored(model, subgraph)), folded=True))
    return parts


def read_labels_txt(content: bytes, path: str) -> list[str]:
    """The class names in the archive's labels.txt, one a line; none where there is no such file.

    Raises:
        ModelError: it is damaged or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if "labels.txt" not in archive.namelist():
                return []
            said = read_member(archive, "labels.txt", path)
    except DAMAGE as error:
        raise ModelError(f"{path} cannot be read as a TFLite model of ours: {error}. Export it again.") from error
    return said.decode("utf-8", "replace").removesuffix("\n").split("\n")


def _any_batch(subgraph: Any) -> bool:
    """Whether the batch is dynamic; the front-end is the packed one then."""
    signature = subgraph.tensors[int(subgraph.inputs[0])].shapeSignature
    return signature is not None and int(signature[0]) == -1


def _stored(model: Any, subgraph: Any) -> Iterator[Stored]:
    used = {int(index) for operator in subgraph.operators for index in operator.inputs}
    for index in sorted(used - {-1}):  # which stands for an input left out
        tensor = subgraph.tensors[index]
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type not in _TYPES:
            continue
        shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
        values = np.frombuffer(bytes(data), _TYPES[tensor.type]).reshape(shape)
        scale = _scale(tensor, values)
        if scale is not None and np.any(tensor.quantization.zeroPoint):
            values = values - np.int16(np.max(np.abs(tensor.quantization.zeroPoint)))  # which no file of ours has
        yield Stored(str(tensor.name or index), values, scale)


def _scale(tensor: Any, values: np.ndarray) -> np.ndarray | None:
    """The scale of an int8 tensor, as `Stored` has it: one, or one along one axis."""
    if tensor.type != schema.TensorType.INT8 or tensor.quantization is None or tensor.quantization.scale is None:
        return None
    scale = np.asarray(tensor.quantization.scale, np.float32)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[tensor.quantization.quantizedDimension] = scale.size
    return scale.reshape(shape)
