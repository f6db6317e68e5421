"""What a SavedModel stores, read from its files without running it: its checkpoint, and the constants of its graphs."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from switch_tf.errors import ModelError
from switch_tf.export.proof.readback import Part, Stored

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # how a checkpoint calls what variables hold
_FILL_TABLE = "LookupTableImportV2"


def read_text_parts(folder: Path, path: str) -> list[Part]:
    """The weights of the checkpoint, and what the string front-end reads by.

    Raises:
        ModelError: `folder`, which messages call `path`, is no SavedModel.
    """
    graph = _read_graph(folder, path)
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        names = sorted(name for name in reader.get_variable_to_shape_map() if name.endswith(_VALUE))
        weights = [Stored(name.removesuffix(_VALUE), np.asarray(reader.get_tensor(name))) for name in names]
    except (ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{path} cannot be read as a checkpoint: {error}. Export it again.") from error
    return [
        Part("the checkpoint", frozenset({"weights"}), weights),
        *_front_end_parts(graph),
        *_threshold_parts(graph, ("serving_default", "ids", "classify")),
    ]


def _front_end_parts(graph: Any) -> list[Part]:
    """The table of words that strings are looked up in; without one, they are read by the tables of the bytes input."""
    words = _words(graph)
    if words:
        return [Part("the graph", frozenset({"words"}), words=words)]
    return [
        Part(f"the signature {name}", frozenset({"bytes"}), list(_constants(graph, name)))
        for name in ("serving_default", "tokenize", "classify")
    ]


def read_bytes_parts(folder: Path, path: str) -> list[Part]:
    """The constants of the signatures that take bytes.

    Raises:
        ModelError: as above.
    """
    graph = _read_graph(folder, path)
    return [
        Part(f"the signature {name}", frozenset({"bytes"}), list(_constants(graph, name)))
        for name in ("bytes", "tokenize_bytes")
    ] + _threshold_parts(graph, ("bytes",))


def _threshold_parts(graph: Any, signatures: Iterable[str]) -> list[Part]:
    """The constants of signatures that answer by the reject threshold."""
    return [
        Part(f"the signature {name}", frozenset({"threshold"}), list(_constants(graph, name))) for name in signatures
    ]


def graph_labels(folder: Path, path: str, classes: int) -> list[list[str]]:
    """What the signatures that name classes hold so many names of.

    Raises:
        ModelError: as above.
    """
    graph = _read_graph(folder, path)
    return [
        [name.decode("utf-8", "replace") for name in stored.values]
        for signature in ("serving_default", "classify")
        for stored in _constants(graph, signature)
        if stored.values.dtype == object and stored.values.shape == (classes,)
    ]


def _read_graph(folder: Path, path: str) -> Any:
    """The MetaGraphDef that is served."""
    try:
        parsed = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        return next(each for each in parsed.meta_graphs if set(each.meta_info_def.tags) == {"serve"})
    except (OSError, DecodeError, StopIteration) as error:
        raise ModelError(f"{path} cannot be read as a SavedModel: {error}. Export it again.") from error


def _constants(graph: Any, signature: str) -> Iterator[Stored]:
    """The constants of all functions that the outputs of a signature are made by."""
    nodes = {node.name: node for node in graph.graph_def.node}
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    outputs = graph.signature_def[signature].outputs.values() if signature in graph.signature_def else ()
    waiting = [nodes[name] for each in outputs if (name := each.name.split(":")[0]) in nodes]
    called: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.op == "Const":
            yield Stored(node.name, tf.make_ndarray(node.attr["value"].tensor))
        for name in {each.func.name for each in node.attr.values() if each.HasField("func")} - called:
            called.add(name)
            waiting += functions[name].node_def


def _words(graph: Any) -> dict[str, int]:
    """What the table is filled with, wherever a function does so: words and ids are constants that go into it."""
    nodes = {node.name: node for node in graph.graph_def.node}
    filling = {
        each.signature.name
        for each in graph.graph_def.library.function
        if any(node.op == _FILL_TABLE for node in each.node_def)
    }
    words: dict[str, int] = {}
    for node in nodes.values():
        if node.attr["f"].func.name in filling:
            sources = [nodes[name.split(":")[0]] for name in node.input if name.split(":")[0] in nodes]
            arrays = [tf.make_ndarray(each.attr["value"].tensor) for each in sources if each.op == "Const"]
            for keys in (each for each in arrays if each.dtype == object):
                for ids in (each for each in arrays if each.dtype == np.int64 and each.shape == keys.shape):
                    words |= {
                        key.decode("utf-8", "replace"): int(number) for key, number in zip(keys, ids, strict=True)
                    }
    return words
