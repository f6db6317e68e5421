"""Run the signatures of a SavedModel in TensorFlow for Python, in a process that never sees the package that wrote it.

Usage: python -I python_child.py SAVED_MODEL REQUEST.npz RESPONSE.npz

It stands for a user's program: TensorFlow and NumPy, nothing else. REQUEST holds `content` (uint8, all texts in a
row), `lengths` (int64 [n]), `batch_size` and `byte_length`; `word_content`, `word_lengths` and `word_batch_size` are
more texts, whose ids alone are asked for. RESPONSE gets, for each of D = text and bytes: `D/ids`, `D/probabilities` and
`D/labels` (UTF-8 JSON) as that input answers, `D/ids_probabilities` and `D/ids_label` as the `ids` signature answers
those ids, and `D/word_ids`. Ends with 3 where the SavedModel is to blame.
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
    import tensorflow  # noqa: F401 - so that what stands in its way is not put down to the SavedModel

    with np.load(request, allow_pickle=False) as arrays:
        texts, words = (
            _split(arrays[f"{name}content"].tobytes(), arrays[f"{name}lengths"].tolist()) for name in ("", "word_")
        )
        size, word_size = int(arrays["batch_size"]), int(arrays["word_batch_size"])
        byte_length = int(arrays["byte_length"])

    try:
        answers = _ask(saved_model, texts, words, size, word_size, byte_length)
    except Exception as error:  # noqa: BLE001 - whatever TensorFlow makes of a SavedModel that is wrong
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(3)
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("switch_tf", "tf_keras"))
    if ours:
        raise RuntimeError(f"the process imported {ours}")
    np.savez(response, **answers)


def _ask(
    saved_model: str, texts: list[bytes], words: list[bytes], size: int, word_size: int, byte_length: int
) -> dict[str, Any]:
    """What goes into RESPONSE."""
    import numpy as np
    import tensorflow as tf

    def pack(batch: list[bytes]) -> Any:
        rows = np.zeros([len(batch), byte_length], np.uint8)
        for row, text in zip(rows, batch, strict=True):
            row[: len(text)] = np.frombuffer(text[:byte_length], np.uint8)
        return tf.constant(rows)

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
    batches = [texts[start : start + size] for start in starts]
    strings = [tf.constant(batch, tf.string) for batch in batches]
    ids = [signatures["tokenize"](text=batch)["ids"] for batch in strings]
    said = [signatures["serving_default"](text=batch) for batch in strings]
    keep("text", ids, said, [label.decode() for answer in said for label in answer["label"].numpy()])

    raw = [pack(batch) for batch in batches]
    ids = [signatures["tokenize_bytes"](bytes=batch)["ids"] for batch in raw]
    said = [signatures["bytes"](bytes=batch) for batch in raw]
    keep("bytes", ids, said, [_named(index, names) for answer in said for index in answer["label"].numpy().tolist()])

    batches = [words[start : start + word_size] for start in range(0, len(words), word_size)]
    text_ids = [signatures["tokenize"](text=tf.constant(batch, tf.string))["ids"] for batch in batches]
    bytes_ids = [signatures["tokenize_bytes"](bytes=pack(batch))["ids"] for batch in batches]
    answers["text/word_ids"], answers["bytes/word_ids"] = np.concatenate(text_ids), np.concatenate(bytes_ids)
    return answers


def _named(index: int, names: list[str]) -> str:
    return names[index] if 0 <= index < len(names) else f"\0{index}"  # as the others name it


def _split(content: bytes, lengths: list[int]) -> list[bytes]:
    texts, end = [], 0
    for length in lengths:
        texts.append(content[end : end + length])
        end += length
    return texts


if __name__ == "__main__":
    main(*sys.argv[1:])
