"""Sums by segment as ONNX nodes are those of NumPy, whatever the segments' sizes, and the same each time."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from switch_tf.export.onnx_file.graph import Graph, info
from switch_tf.export.onnx_file.segments import BLOCK, NARROW, find_segments, sum_narrow, sum_segments


def session(width: int, threads: int = 1) -> onnxruntime.InferenceSession:
    """From rows, their segments and how many segments there are to all that the nodes find."""
    graph = Graph(prefix="test/")
    segments = find_segments(graph, "of_row", "count")
    if width > NARROW:
        sums = sum_segments(graph, "rows", segments, width)
    else:
        sums = sum_narrow(graph, "rows", "of_row", "count", width)
    outputs = [
        info(sums, TensorProto.FLOAT, None, width),
        info(segments.sizes, TensorProto.INT64, None),
        info(segments.position, TensorProto.INT64, None),
        info(segments.slot, TensorProto.INT64, None, 1),
        info(segments.of_block, TensorProto.INT64, None),
    ]
    inputs = [
        info("rows", TensorProto.FLOAT, "n", width),
        info("of_row", TensorProto.INT64, "n"),
        info("count", TensorProto.INT64, 1),
    ]
    written = helper.make_graph(graph.nodes, "sums", inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(written, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feed(sizes: Sequence[int], width: int) -> dict[str, np.ndarray]:
    """Rows of whole numbers, so that no order of adding changes a sum."""
    rows = np.random.default_rng(0).integers(-99, 100, [sum(sizes), width]).astype(np.float32)
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    return {"rows": rows, "of_row": of_row, "count": np.array([len(sizes)])}


def expected(given: dict[str, np.ndarray]) -> np.ndarray:
    sums = np.zeros([given["count"][0], given["rows"].shape[1]], np.float32)
    np.add.at(sums, given["of_row"], given["rows"])
    return sums


def test_where_rows_go() -> None:
    assert BLOCK == 8
    sums, sizes, position, slot, of_block = session(5).run(None, feed([2, 0, 9, 1], 5))
    assert sums.shape == (4, 5) and not sums[1].any()
    assert sizes.tolist() == [2, 0, 9, 1]
    assert position.tolist() == [0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    assert slot[:, 0].tolist() == [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24]
    assert of_block.tolist() == [0, 2, 2, 3]


SESSIONS = {width: session(width) for width in (1, NARROW, NARROW + 1)}


@pytest.mark.parametrize("width", SESSIONS)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_sums_are_those_of_numpy(width: int, sizes: list[int]) -> None:
    texts = feed(sizes, width)
    np.testing.assert_array_equal(SESSIONS[width].run(None, texts)[0], expected(texts))


def test_no_row_at_all() -> None:
    for width, each in SESSIONS.items():
        assert each.run(None, feed([0, 0], width))[0].tolist() == [[0] * width] * 2


def test_threads_sum_alike_each_time() -> None:
    """Where threads raced, 5 of 80 runs of a batch like this differed."""
    many, texts = session(64, threads=8), feed([500, 3, 0, 999] * 16, 64)
    for _ in range(20):
        np.testing.assert_array_equal(many.run(None, texts)[0], expected(texts))
