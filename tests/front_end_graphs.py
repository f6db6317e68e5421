"""A front-end's graph, asked in every runtime: rows of bytes to ids."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.text.byte_codes import pack

WIDTH, BATCH = 96, 32
Ask = Callable[[np.ndarray], np.ndarray]


def rows_spec(batch: int | None = None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, WIDTH], tf.uint8, name="bytes")


def in_batches(ask: Ask, texts: list[bytes]) -> np.ndarray:
    rows = pack(texts, WIDTH)
    rows = np.concatenate([rows, np.zeros([-len(rows) % BATCH, WIDTH], np.uint8)])
    return np.concatenate([ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])[: len(texts)]


def also_broken(valid: list[bytes]) -> list[bytes]:
    """Texts as they are, and with bytes put in that are not UTF-8."""
    draw = np.random.default_rng(0)

    def broken(text: bytes) -> bytes:
        place = int(draw.integers(0, min(len(text), WIDTH) + 1))
        return text[:place] + bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8)) + text[place:]

    return [*valid, *map(broken, valid)]


def in_tensorflow(numeric: Any) -> Ask:
    function = tf.function(numeric.__call__, autograph=False).get_concrete_function(rows_spec())
    return lambda rows: function(tf.constant(rows)).numpy()


def under_xla(numeric: Any) -> Ask:
    compiled = tf.function(numeric.__call__, jit_compile=True, autograph=False, input_signature=[rows_spec(BATCH)])
    return lambda rows: compiled(tf.constant(rows)).numpy()


def in_litert(numeric: Any) -> Ask:
    from switch_tf.artifacts.tflite_file import open_interpreter
    from switch_tf.export.tflite_file.conversion import convert_functions

    function = tf.function(lambda bytes: {"ids": numeric(bytes)}, input_signature=[rows_spec()], autograph=False)
    content = convert_functions([], {"tokenize": function})
    ask = open_interpreter(model_content=content).get_signature_runner("tokenize")
    return lambda rows: ask(bytes=rows)["ids"]


def check_litert(numeric: Any, texts: list[bytes], expected: np.ndarray, alone: int) -> None:
    """LiteRT answers in batches, some texts alone, and refuses rows of another width."""
    ask = in_litert(numeric)
    np.testing.assert_array_equal(in_batches(ask, texts), expected)
    with pytest.raises((ValueError, RuntimeError)):
        ask(np.zeros([1, WIDTH + 1], np.uint8))
    one = [ask(pack([text], WIDTH))[0] for text in texts[:alone]]
    np.testing.assert_array_equal(one, expected[:alone])


def in_onnx_runtime(numeric: Any) -> Ask:
    import onnxruntime

    from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx, refuse_invalid

    def tokenize(bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": numeric(bytes)}

    function = tf.function(tokenize, input_signature=[rows_spec()], autograph=False)
    with quiet_tf2onnx() as converter:
        model, _ = converter.from_function(function, input_signature=[rows_spec()], opset=TF2ONNX_OPSET)
    refuse_invalid(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"bytes": rows})[0]
