"""An ONNX graph of ours, cut where its ids are known: the text front-end before, the classifier behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from switch_tf.errors import ModelError


def parse(source: str | bytes | Path, path: str) -> Any:
    """The model in a file, or in its content, which messages call `path`.

    Raises:
        ModelError: it is none.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_from_string(source if isinstance(source, bytes) else Path(source).read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} cannot be read as an ONNX model of ours: {error}. Export it again.") from error


def with_inner_ids(content: str | bytes, path: str) -> bytes:
    """A copy of a model that also answers the inner value `ids`, int32 [batch, length]; one that takes ids stays."""
    model = parse(content, path)
    if all(entry.name != "ids" for entry in model.graph.input):
        model.graph.output.append(_ids())
    return model.SerializeToString()


def front_end(model: Any) -> bytes:
    """A model that ends where `ids` are known: its text front-end, with nothing that serves other values alone."""
    _keep(model, {"ids"}, set())
    del model.graph.output[:]
    model.graph.output.append(_ids())
    return model.SerializeToString()


def behind_ids(model: Any) -> bytes:
    """A model that begins where `ids` are known, int32 [batch, length], and answers `probabilities`."""
    _keep(model, {"probabilities"}, {"ids"})
    outputs = [type(each).FromString(each.SerializeToString()) for each in model.graph.output]
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(_ids())
    model.graph.output.extend(each for each in outputs if each.name == "probabilities")
    return model.SerializeToString()


def _keep(model: Any, needed: set[str], given: set[str]) -> None:
    """Leave in a graph what makes the `needed` values of the `given` ones and its inputs, alone."""
    nodes = []
    for node in reversed(model.graph.node):  # which stand in the order of their execution
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_inputs(node))
            needed -= given
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    # Copies: the lists that these live in are cleared.
    kept_nodes, kept_constants = (
        [type(each).FromString(each.SerializeToString()) for each in kept] for kept in (nodes, constants)
    )
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(reversed(kept_nodes))
    model.graph.initializer.extend(kept_constants)


def _inputs(node: Any) -> Iterator[str]:
    """What a node takes, and what the graphs inside it take from around them."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _inputs(inner)
        for output in attribute.g.output:  # a branch may hand on what it has from around it
            yield output.name


def _ids() -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT32, [None, None])
