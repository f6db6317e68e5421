"""Ask a SavedModel as TF Serving would: its signatures, in TensorFlow's C++ loader, in a process of its own.

TF Serving hands a model folder to `tensorflow::LoadSavedModel` and answers requests by session runs. So does
loader_child.py, from a copy of the folder, without TensorFlow for Python and with XLA off. The server itself (HTTP,
gRPC, batching) has no part in it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from switch_tf.errors import ModelError
from switch_tf.export.saved_model import loader_child
from switch_tf.export.saved_model.child_process import started_child

Outputs = Mapping[str, np.ndarray]  # of a signature


class Answered(NamedTuple):
    """An input that an earlier call gives: its number among the calls, and which of its outputs."""

    call: int
    output: str


class Packed(NamedTuple):
    """An input that the child makes of strings, objects [n]: rows of `width` bytes with zeros behind them."""

    texts: np.ndarray
    width: int


class Call(NamedTuple):
    """A signature to run on arrays by input name (strings: objects, `bytes`), so many rows at a time."""

    signature: str
    inputs: Mapping[str, np.ndarray | Answered | Packed]
    batch: int
    what: str = ""  # messages call it; else by the signature


def read_signatures(saved_model: Path, path: str) -> dict[str, Any]:
    """The SignatureDef of every signature that a server can be asked for, by name.

    Raises:
        ModelError: `saved_model`, which messages call `path`, is no SavedModel with the tag "serve".
    """
    try:
        parsed = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} cannot be read as a SavedModel: {error}. Export it again.") from error
    for graph in parsed.meta_graphs:
        if set(graph.meta_info_def.tags) == {"serve"}:
            return {name: each for name, each in graph.signature_def.items() if not name.startswith("__")}
    raise ModelError(f"{path} has no graph with the tag serve. Export it again.")


def run_in_loader(saved_model: Path, path: str, calls: Sequence[Call]) -> list[Outputs]:
    """What each call gives, by output name.

    Raises:
        ModelError: `saved_model`, which messages call `path`, does not load, does not take a call, or fails on it.
        ExportError: this TensorFlow cannot stand in for TF Serving, or has no room or time.
    """
    signatures = read_signatures(saved_model, path)
    arrays: dict[str, np.ndarray] = {}
    described = [_describe(call, signatures, path, arrays) for call in calls]
    request = loader_child.pack(arrays) | {"calls": np.frombuffer(json.dumps(described).encode(), np.uint8)}
    where = "in TensorFlow's C++ loader, as in TF Serving"
    with started_child(loader_child.__file__, where, saved_model, path, request) as child:
        answers = loader_child.unpack(child())
    return [
        {key: answers[f"{number}/{key}"] for key in signatures[call.signature].outputs}
        for number, call in enumerate(calls)
    ]


def strings(values: Sequence[bytes]) -> np.ndarray:
    """Byte strings as an array of objects [n]; one of NumPy's own strings would lose the zeros at their ends."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def as_examples(texts: Sequence[bytes]) -> np.ndarray:
    """Serialized tf.Example with the feature `text`, as the signature `classify` takes them: objects [n]."""

    def example(text: bytes) -> bytes:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        return tf.train.Example(features=tf.train.Features(feature={"text": feature})).SerializeToString()

    return strings([example(text) for text in texts])


def _describe(call: Call, signatures: Mapping[str, Any], path: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The call as JSON for the child; its arrays are put into `arrays`, each once."""
    what = call.what or f"the signature {call.signature}"
    signature = signatures.get(call.signature)
    if signature is None:
        raise ModelError(f"{path} has no signature {call.signature}, but {sorted(signatures)}. Export it again.")
    if set(signature.inputs) != set(call.inputs):
        received = f"{what} gives {call.signature} the inputs {sorted(call.inputs)}"
        raise ModelError(f"{path}: {received}. Expected {sorted(signature.inputs)}.")
    feeds: dict[str, str | list[Any] | dict[str, Any]] = {}
    for name, source in call.inputs.items():
        info = signature.inputs[name]
        if isinstance(source, Answered):
            feeds[info.name] = [source.call, source.output]
            continue
        if isinstance(source, Packed):
            arrays[f"array{id(source.texts)}"] = source.texts
            feeds[info.name] = {"texts": f"array{id(source.texts)}", "width": source.width}
            continue
        taken, shape = tf.dtypes.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape)
        if tf.dtypes.as_dtype(source.dtype) != taken or not shape.is_compatible_with(source.shape):
            received = f"{what} gives {call.signature} {name} as {source.dtype} {list(source.shape)}"
            raise ModelError(f"{path}: {received}. Expected {taken.name} {shape.as_list()}.")
        arrays[f"array{id(source)}"] = source
        feeds[info.name] = f"array{id(source)}"
    fetches = {key: each.name for key, each in signature.outputs.items()}
    return {"what": what, "feeds": feeds, "fetches": fetches, "batch": call.batch}
