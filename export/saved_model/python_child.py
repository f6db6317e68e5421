"""Run the signatures of a SavedModel in TensorFlow for Python, in a process that never sees the package that wrote it.

Usage: python -I saved_model_child.py SAVED_MODEL REQUEST.npz RESPONSE.npz

It stands for a user's program: TensorFlow and NumPy, nothing else. REQUEST holds `content` (uint8, all texts in a
row), `lengths` (int64 [n]), `batch_size` and `byte_length`. RESPONSE gets, for each of D = text and bytes: `D/ids`,
`D/probabilities` and `D/labels` (UTF-8 JSON) as that input answers, and `D/ids_probabilities` and `D/ids_label` as the
`ids` signature answers those ids.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(saved_model: str, request: str, response: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["TF_USE_LEGACY_KERAS"] = "0"  # with it, TensorFlow would load tf_keras
    import numpy as np
    import tensorflow as tf

    with np.load(request, allow_pickle=False) as arrays:
        content, lengths, size = arrays["content"].tobytes(), arrays["lengths"], int(arrays["batch_size"])
        byte_length = int(arrays["byte_length"])
    ends = np.cumsum(lengths)
    texts = [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    rows = np.zeros([len(texts), byte_length], np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = np.frombuffer(text[:byte_length], np.uint8)

    names = json.loads(Path(saved_model, "assets", "labels.json").read_text(encoding="utf-8"))
    signatures = tf.saved_model.load(saved_model).signatures
    answers: dict[str, Any] = {}

    def keep(name: str, ids: list[Any], said: list[Any], labels: list[str]) -> None:
        numeric = [signatures["ids"](ids=each) for each in ids]
        answers[f"{name}/ids"] = np.concatenate(ids)
        answers[f"{name}/probabilities"] = np.concatenate([answer["probabilities"] for answer in said])
        answers[f"{name}/labels"] = np.frombuffer(json.dumps(labels).encode(), np.uint8)
        answers[f"{name}/ids_probabilities"] = np.concatenate([answer["probabilities"] for answer in numeric])
        answers[f"{name}/ids_label"] = np.concatenate([answer["label"] for answer in numeric])

    starts = range(0, len(texts), size)
    strings = [tf.constant(texts[start : start + size], tf.string) for start in starts]
    ids = [signatures["tokenize"](text=batch)["ids"] for batch in strings]
    said = [signatures["serving_default"](text=batch) for batch in strings]
    keep("text", ids, said, [label.decode() for answer in said for label in answer["label"].numpy()])

    raw = [tf.constant(rows[start : start + size]) for start in starts]
    ids = [signatures["tokenize_bytes"](bytes=batch)["ids"] for batch in raw]
    said = [signatures["bytes"](bytes=batch) for batch in raw]
    keep("bytes", ids, said, [names[index] for answer in said for index in answer["label"].numpy()])

    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("switch_tf", "tf_keras"))
    if ours:
        raise RuntimeError(f"the process imported {ours}")
    np.savez(response, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
