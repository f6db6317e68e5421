"""What every graph needs on its way to ONNX: tf2onnx without its noise, and a check of what came out."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from switch_tf.errors import ExportError
from switch_tf.export.onnx_file.passes import nodes

TF2ONNX_OPSET = 18  # the newest it writes


@contextmanager
def quiet_tf2onnx() -> Iterator[Any]:
    """The module `tf2onnx.convert`, while TensorFlow does not warn of what is the converter's business.

    It warns of tables that are not exported because they are not in the graph, and how graphs are to be read today.
    """
    os.environ.setdefault("TF2ONNX_LOG_LEVEL", "ERROR")  # read when it is imported
    import tf2onnx

    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield tf2onnx.convert
    finally:
        logger.setLevel(level)


def refuse_invalid(model: onnx.ModelProto | Path, name: str = "The converted graph") -> None:
    """Check a model, or the file of one that may be too large for memory, in full.

    Raises:
        ExportError: it is not valid ONNX, or ONNX Runtime would not answer alike each time: it spreads `ScatterND` over
            threads, which overwrite each other's sums where two go to one place.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name} is not valid ONNX: {error}. Please report it.") from error
    graph = onnx.load(model, load_external_data=False).graph if isinstance(model, Path) else model.graph
    if any(_may_race(node) for node in nodes(graph)):
        raise ExportError(f"{name} sums by ScatterND, which threads do not do alike each time. Please report it.")


def _may_race(node: onnx.NodeProto) -> bool:
    reduction = next((attribute.s for attribute in node.attribute if attribute.name == "reduction"), b"none")
    return node.op_type == "ScatterND" and reduction != b"none"
