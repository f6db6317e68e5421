"""What is inside a TFLite file besides the graph: operators to check, weight to shed, and what the model is about.

Facts travel twice, so that any tool can read them: as named metadata buffers of the model's own schema, and as files in
a zip archive behind the model, where `unzip model.tflite` finds them. Runtimes read neither.
"""

import copy
import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from switch_tf.artifacts import seal
from switch_tf.errors import ExportError
from switch_tf.export.options import Precision
from switch_tf.text.unigram import NEVER

_IDENTIFIER = b"TFL3"  # of the file format
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file
_FIRST_BYTES = 2**20  # room that the builder starts with
_SMALLEST = 1024  # elements of a constant that is worth storing in int8
_LARGEST_INT8 = 127
_FLOAT16 = -65504.0, 65504.0  # lowest and highest
_DEQUANTIZE_VERSION = 2  # the first that takes int8


def unpack(content: bytes) -> Any:
    """A file as objects of the schema, to change and to `pack` again."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: Any, files: Mapping[str, str]) -> bytes:
    """The file, with an archive of `files` behind the model, and the checksum of it all at the end of that."""
    builder = flatbuffers.Builder(_FIRST_BYTES)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    packed = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), text.encode(), zipfile.ZIP_DEFLATED)
        archive.comment = seal.TFLITE + bytes(seal.DIGITS)  # room for the digits, which are of all bytes before
    return seal.sealed(packed.getvalue()[: -seal.DIGITS])


def refuse_foreign_operators(model: Any) -> None:
    """TFLite's builtin operators alone: no custom operator, no TensorFlow one (Flex).

    Raises:
        ExportError: there are others; the message names them.
    """
    foreign = sorted(code.customCode.decode() for code in model.operatorCodes if code.customCode)
    if foreign:
        raise ExportError(
            f"The graph holds operators that are not built into TFLite: {', '.join(foreign)}. "
            "Expected a model of layers that the converter knows."
        )


def operators(model: Any) -> list[str]:
    """The names of the builtin operators, sorted."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    return sorted({names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes})


def store_constants_in_int8(model: Any) -> None:
    """Large constants that the converter leaves in float32, such as the table of positions: int8, made float when run.

    It quantizes what is multiplied or looked up, not what is added. LiteRT makes a constant float once, not each time.
    """
    tensors = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    large = {tensor.buffer for tensor in tensors if _is_large_constant(model, tensor)}
    scales = {number: _to_int8(model.buffers[number]) for number in sorted(large)}
    for subgraph in model.subgraphs:
        restored: dict[int, int] = {}  # by the stored tensor, the one that is float32
        for index, tensor in enumerate(list(subgraph.tensors)):
            if tensor.buffer not in scales:
                continue
            twin = copy.copy(tensor)
            twin.buffer = 0  # the schema's buffer of nothing
            restored[index] = len(subgraph.tensors)
            subgraph.tensors.append(twin)
            tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([scales[tensor.buffer]], np.float32)
            tensor.quantization.zeroPoint = np.array([0], np.int64)
        for operator in subgraph.operators:
            operator.inputs = np.array([restored.get(int(index), int(index)) for index in operator.inputs], np.int32)
        subgraph.operators = [*(_dequantize(model, *each) for each in restored.items()), *subgraph.operators]


def store_number_in_float32(model: Any, number: float, operator: str | None = None) -> None:
    """A number that the converter has rounded to float16, or to the lowest or highest of that: float32, as it was.

    Args:
        operator: the name of those that it goes into; any unless given.
    """
    rounded, dequantize = (
        np.clip(np.float32(number), *_FLOAT16).astype(np.float16).tobytes(),
        _codes(model, "DEQUANTIZE"),
    )
    users = set(range(len(model.operatorCodes))) if operator is None else _codes(model, operator)
    for subgraph in model.subgraphs:
        made = {int(each.outputs[0]): each for each in subgraph.operators if each.opcodeIndex in dequantize}
        taken = {int(index) for each in subgraph.operators if each.opcodeIndex in users for index in each.inputs}
        for index in taken & set(made):
            stored = model.buffers[subgraph.tensors[int(made[index].inputs[0])].buffer].data
            if stored is not None and bytes(stored) == rounded:
                subgraph.tensors[index].buffer = _add_buffer(model, np.array([number], np.float32).view(np.uint8))
                subgraph.operators = [each for each in subgraph.operators if each is not made[index]]


def finish(model: Any, precision: Precision, threshold: float | None) -> None:
    """What is done to every converted classifier: odd operators are refused, what can be smaller or go is or does.

    Args:
        precision: of its weights.
        threshold: that it rejects texts below, or None.

    Raises:
        ExportError: as `refuse_foreign_operators`.
    """
    refuse_foreign_operators(model)
    if precision == "float16":
        store_number_in_float32(model, float(NEVER))
    if threshold is not None and precision == "float16":
        store_number_in_float32(model, threshold, "LESS")
    if precision == "int8":
        store_constants_in_int8(model)
    shed(model)


def shed(model: Any) -> None:
    """Remove what no runtime reads: names of inner tensors, empty records, and a buffer of its own for every value."""
    for subgraph in model.subgraphs:
        outside = {*subgraph.inputs.tolist(), *subgraph.outputs.tolist()}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in outside:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            if model.buffers[tensor.buffer].data is None:
                tensor.buffer = 0
    owners = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors] + list(model.metadata or [])
    used = sorted({0, *(owner.buffer for owner in owners)})
    places = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for owner in owners:
        owner.buffer = places[owner.buffer]


def describe(model: Any, description: str, facts: Mapping[str, str]) -> None:
    """Set the description, and facts as metadata."""
    model.description = description
    for name, fact in facts.items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, _add_buffer(model, np.frombuffer(fact.encode(), np.uint8))
        model.metadata = [*(model.metadata or []), entry]


def read_facts(content: bytes) -> dict[str, str]:
    """The metadata buffers of a file that are text.

    Raises:
        ValueError: it is no TFLite file.
    """
    if content[4:8] != _IDENTIFIER:
        raise ValueError("it does not begin as a TFLite file does")
    try:
        return dict(_facts(schema.Model.GetRootAs(content, 0)))
    except (struct.error, TypeError, IndexError, AttributeError) as error:  # offsets that lead outside
        raise ValueError(f"it is damaged ({error})") from error


def _facts(model: schema.Model) -> Iterator[tuple[str, str]]:
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        data = model.Buffers(entry.Buffer()).DataAsNumpy()
        try:
            yield entry.Name().decode(), bytes(data).decode() if isinstance(data, np.ndarray) else ""
        except UnicodeDecodeError:  # the converter's own, which is binary
            continue


def _is_large_constant(model: Any, tensor: Any) -> bool:
    held = model.buffers[tensor.buffer].data
    return tensor.type == schema.TensorType.FLOAT32 and held is not None and len(held) >= 4 * _SMALLEST


def _to_int8(buffer: Any) -> float:
    """Round a buffer of float32; the scale."""
    values = np.frombuffer(bytes(buffer.data), np.float32)
    scale = float(np.max(np.abs(values))) / _LARGEST_INT8 or 1.0
    buffer.data = np.round(values / scale).astype(np.int8).view(np.uint8)
    return scale


def _dequantize(model: Any, stored: int, restored: int) -> Any:
    """The operator that makes one tensor of a subgraph from another."""
    kind = schema.BuiltinOperator.DEQUANTIZE
    known = [number for number, code in enumerate(model.operatorCodes) if code.builtinCode == kind]
    if not known:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = _DEQUANTIZE_VERSION
        known = [len(model.operatorCodes)]
        model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = known[0]
    operator.inputs, operator.outputs = np.array([stored], np.int32), np.array([restored], np.int32)
    return operator


def _codes(model: Any, name: str) -> set[int]:
    """The places of a builtin operator among the model's operator codes."""
    kind = getattr(schema.BuiltinOperator, name)
    return {place for place, code in enumerate(model.operatorCodes) if code.builtinCode == kind}


def _add_buffer(model: Any, data: np.ndarray) -> int:
    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1
