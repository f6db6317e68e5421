"""Requests that TF Serving sends itself while it loads a version, so that no user waits for a first one.

They stand in `assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog, one for each signature and
batch size. The server refuses a version whose records fail, so every export replays them before it is kept.

Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from switch_tf.errors import ModelError
from switch_tf.export.saved_model.loader import Call, as_examples, read_signatures, strings
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text.byte_codes import pack
from switch_tf.text.spelling import token_names

WARMUP = "assets.extra/tf_serving_warmup_requests"
LARGEST_BATCH = 64  # texts that the server answers together, unless told otherwise
CLASSIFY = "tensorflow/serving/classify"  # what a strict server asks of a signature before it uses it for Classify


def batch_sizes(largest: int) -> list[int]:
    """What the server is warmed up with.

    >>> batch_sizes(64), batch_sizes(4)
    ([1, 8, 64], [1, 4])
    """
    return sorted({1, min(8, largest), largest})


def write_warmup(saved_model: Path, model: TextClassifier, largest: int = LARGEST_BATCH) -> None:
    """Put the records into the folder of a SavedModel, in batches of at most `largest`."""
    file = saved_model / WARMUP
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in warmup_records(model, largest):
            writer.write(record)


def warmup_records(model: TextClassifier, largest: int = LARGEST_BATCH) -> Iterator[bytes]:
    """Serialized PredictionLog: every signature in every batch size, `classify` by Classify and the rest by Predict.

    The text is words of the vocabulary, which the model holds anyway: nothing of the data goes along.
    """
    text = " ".join(token_names(model.spec, model.vocabulary)[: model.spec.sequence_length]).encode()
    for size in batch_sizes(largest):
        text_batch = strings([text] * size)  # [size]
        bytes_batch = pack([text] * size, model.spec.num_bytes)
        ids_batch = model.tokenize(tf.constant([text] * size))["ids"].numpy()
        yield _predict("serving_default", "text", text_batch)
        yield _predict("ids", "ids", ids_batch)
        yield _predict("bytes", "bytes", bytes_batch)
        yield _predict("tokenize", "text", text_batch)
        yield _predict("tokenize_bytes", "bytes", bytes_batch)
        log = prediction_log_pb2.PredictionLog()
        log.classify_log.request.model_spec.signature_name = "classify"
        for example in as_examples([text] * size):
            log.classify_log.request.input.example_list.examples.add().ParseFromString(example)
        yield log.SerializeToString()


def read_warmup(saved_model: Path, path: str) -> list[Call]:
    """The records as the session runs that TF Serving makes of them; none if there is no file.

    Raises:
        ModelError: the file of the model that messages call `path` is damaged, or holds what the server would refuse.
    """
    file = saved_model / WARMUP
    if not file.is_file():
        return []
    try:
        records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (tf.errors.OpError, DecodeError) as error:
        raise ModelError(f"{path}: the warm-up records cannot be read: {error}. Export it again.") from error
    signatures = read_signatures(saved_model, path)
    return [_as_call(log, f"warm-up record {number}", signatures, path) for number, log in enumerate(logs, 1)]


def _predict(signature: str, name: str, batch: np.ndarray) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(batch))
    return log.SerializeToString()


def _as_call(log: Any, what: str, signatures: dict[str, Any], path: str) -> Call:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    elif kind == "classify_log":
        request = log.classify_log.request
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        inputs = {"inputs": strings(examples)}
    else:
        raise ModelError(f"{path}: {what} is a {kind}. Expected a predict_log or a classify_log.")
    signature = request.model_spec.signature_name or "serving_default"
    if kind == "classify_log" and signature in signatures and signatures[signature].method_name != CLASSIFY:
        method = signatures[signature].method_name
        raise ModelError(f"{path}: {what} asks {signature} to classify, whose method is {method}, not {CLASSIFY}.")
    rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    return Call(signature, inputs, max(rows, 1), what)
