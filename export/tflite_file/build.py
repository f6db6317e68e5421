"""A trained run as ONE TFLite file for LiteRT on phones, in browsers and on small machines: builtin operators only.

Signatures, of which `bytes` is the first and so the default:

    bytes      bytes: uint8 [batch, N]     -> probabilities: float32 [batch, classes], label: int32 [batch]
    ids        ids: int32 [batch, length]  -> the same
    tokenize   bytes: uint8 [batch, N]     -> ids: int32 [batch, length]

`bytes` is UTF-8, cut at N bytes, with zeros behind it: all that a caller has to do in any language. The label is int32,
where other formats have int64, since LiteRT.js loads no model that has an int64 output. The weights are stored once. A
quantized file holds matrices in int8 or float16, as the converter writes them: activations are scaled token by token,
so that no answer depends on the batch. With a reject threshold the label may be the number of classes, for the reject
label.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.artifacts.tflite_file import SIGNATURES, open_interpreter
from switch_tf.export.options import Precision
from switch_tf.export.tflite_file import flatbuffer as tflite_file
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.models.packed import can_pack
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run
from switch_tf.runs.rejection import label_list
from switch_tf.text.front_ends import of_any_batch


def build_tflite(
    run: Run,
    model: TextClassifier,
    batch: int | None = None,
    precision: Precision = "float32",
    max_loss: float | None = None,
) -> bytes:
    """The file in memory; `model` is the trained model of `run`.

    Raises:
        ExportError: an operator is not built into TFLite, or the converter fails.
    """
    names = label_list(run.labels, run.rejection)
    facts = {
        "labels": json.dumps(names, ensure_ascii=False),
        "text": json.dumps(run.config.text.as_dict() | {"words": len(model.vocabulary)}),
        "precision": precision,
        "producer": f"switch-tf {version('switch-tf')}, tensorflow {version('tensorflow')}",
    } | ({} if max_loss is None else {"max_loss": json.dumps(max_loss)})
    beside = {}
    if run.rejection is not None:
        facts["reject"] = beside["reject.json"] = json.dumps(run.rejection.as_dict(), ensure_ascii=False)
    converted = tflite_file.unpack(_convert(model, batch, precision))
    tflite_file.finish(converted, precision, None if run.rejection is None else run.rejection.threshold)
    tflite_file.describe(converted, _description(run, batch), facts)
    lines = "".join(f"{label}\n" for label in names)
    archived = {"labels.json": facts["labels"], "labels.txt": lines, "text.json": facts["text"]}
    return tflite_file.pack(converted, archived | beside)


def _convert(model: TextClassifier, batch: int | None, precision: Precision) -> bytes:
    """The three signatures, as TensorFlow's converter writes them."""
    length, size = model.spec.ids_length, model.spec.num_bytes
    ids, raw = tf.TensorSpec([batch, length], tf.int32, "ids"), tf.TensorSpec([batch, size], tf.uint8, "bytes")
    read, classify = _front_end(model, batch), _classifier(model, batch)
    functions = {
        "bytes": (_with_int32_label(lambda rows: classify(read(rows))), raw),
        "ids": (_with_int32_label(classify), ids),
        "tokenize": (lambda rows: {"ids": read(rows)}, raw),
    }
    signatures = {
        name: tf.function(function, input_signature=[spec], autograph=False)
        for name, (function, spec) in functions.items()
    }
    return convert_functions(model.classifier.variables, signatures, precision)


def _front_end(model: TextClassifier, batch: int | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """Bytes to ids: at the cost of the texts, unless the batch is fixed, which promises that all shapes are."""
    return model.numeric_text if batch is not None else of_any_batch(model.numeric_text)


def _classifier(model: TextClassifier, batch: int | None) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Ids to answers, in the same way where the model's layers allow it."""
    packs = batch is None and can_pack(model.classifier)
    return model.classify_packed if packs else model.classify_ids.python_function


def _with_int32_label(classify: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Callable[..., dict[str, tf.Tensor]]:
    def answer(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        answered = classify(rows)
        return answered | {"label": tf.cast(answered["label"], tf.int32)}

    return answer


def _description(run: Run, batch: int | None) -> str:
    labels = ", ".join(run.labels[:20]) + (", ..." if len(run.labels) > 20 else "")
    takes = f"UTF-8 with zeros behind it, uint8 [{batch or 'batch'}, {run.config.text.num_bytes}]"
    return f"Text classifier from switch-tf. In: {takes}. Out: the probabilities of {labels}."


def describe(content: bytes, model: TextClassifier) -> dict[str, Any]:
    """Signatures and operators of a file, for the manifest."""
    interpreter = open_interpreter(model_content=content)

    def tensors(details: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {
                "type": np.dtype(each["dtype"]).name,
                "shape": ["batch" if size == -1 else int(size) for size in each["shape_signature"]],
            }
            for name, each in details.items()
        }

    runners = {name: interpreter.get_signature_runner(name) for name in SIGNATURES}
    return {
        "signatures": {
            name: {"inputs": tensors(each.get_input_details()), "outputs": tensors(each.get_output_details())}
            for name, each in runners.items()
        },
        "operators": tflite_file.operators(tflite_file.unpack(content)),
        "word_keys": {
            "false_positive_rate": model.numeric_text.false_positive_rate,
            "dropped_words": model.numeric_text.dropped_words,
        },
    }
