"""Sums of the rows of each segment as ONNX nodes: of each text, or of each text's tokens of an expert.

ONNX has two operators that add up by index. ONNX Runtime spreads ScatterND over threads that overwrite each other's
sums, and takes ScatterElements one element at a time. So rows go into blocks of eight of one segment each, by a
ScatterND whose indices are all different, blocks are summed by ReduceSum, and an eighth is left to ScatterElements.
"""

from __future__ import annotations

from typing import NamedTuple

from onnx import TensorProto, helper

from switch_tf.export.onnx_file.graph import Graph

BLOCK = 8
NARROW = 4


class Segments(NamedTuple):
    """Names of the values that say which rows are of which segment, int64; a segment's rows stand side by side."""

    of_row: str  # [rows], rising
    sizes: str  # [segments]
    segments: str  # [1], how many
    position: str  # [rows], 0 for a segment's first row
    slot: str  # [rows, 1], all different: where a row goes among blocks
    of_block: str  # [blocks]
    slots: str  # [1], BLOCK * blocks


def find_segments(graph: Graph, of_row: str, count: str) -> Segments:
    """The segments of rows: int64 [rows], rising, and int64 [1]."""
    block = graph.scalar(BLOCK)
    ones = graph.op("Expand", graph.ints(1), graph.op("Shape", of_row))  # [rows]
    sizes = graph.op("ScatterElements", zeros(graph, count, of=TensorProto.INT64), of_row, ones, reduction="add")
    blocks = graph.op("Div", graph.op("Add", sizes, graph.scalar(BLOCK - 1)), block)  # [segments]
    first_row = graph.op("CumSum", sizes, graph.scalar(0), exclusive=1)  # [segments]
    first_block = graph.op("CumSum", blocks, graph.scalar(0), exclusive=1)  # [segments]
    row = graph.op("Range", graph.scalar(0), graph.op("Size", of_row), graph.scalar(1))  # [rows]
    position = graph.op("Sub", row, graph.op("Gather", first_row, of_row))
    start = graph.op("Gather", graph.op("Mul", first_block, block), of_row)
    slot = graph.op("Add", start, position)
    number = graph.op("ReduceSum", blocks, graph.ints(0))  # [1]
    of_block = graph.op(
        "ScatterElements",
        zeros(graph, number, of=TensorProto.INT64),
        graph.op("Div", slot, block),
        of_row,
        reduction="max",
    )
    slots = graph.op("Mul", number, block)
    return Segments(of_row, sizes, count, position, graph.op("Unsqueeze", slot, graph.ints(1)), of_block, slots)


def sum_segments(graph: Graph, rows: str, segments: Segments, width: int) -> str:
    """The sum of the rows of each segment: float32 [rows, width] -> float32 [segments, width]."""
    spread = graph.op("ScatterND", zeros(graph, segments.slots, width), segments.slot, rows)  # [slots, width]
    blocks = graph.op("Reshape", spread, graph.ints(-1, BLOCK, width))
    sums = graph.op("ReduceSum", blocks, graph.ints(1), keepdims=0)  # [blocks, width]
    return sum_narrow(graph, sums, segments.of_block, segments.segments, width)


def sum_narrow(graph: Graph, rows: str, of_row: str, segments: str, width: int) -> str:
    """The same without blocks, which do not pay up to `NARROW` columns: [rows], [1] say what is of which segment."""
    places = graph.op("Expand", graph.op("Unsqueeze", of_row, graph.ints(1)), graph.op("Shape", rows))
    return graph.op("ScatterElements", zeros(graph, segments, width), places, rows, axis=0, reduction="add")


def zeros(graph: Graph, rows: str, *width: int, of: int = TensorProto.FLOAT) -> str:
    """As many rows as int64 [1] says, of 0."""
    shape = graph.op("Concat", rows, graph.ints(*width), axis=0) if width else rows
    return graph.op("ConstantOfShape", shape, value=helper.make_tensor("value", of, [1], [0]))
