"""Artifacts that write texts, each run by its own runtime: ids in, ids out."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from switch_tf.artifacts.tflite_file import open_interpreter
from switch_tf.export.seq2seq.graphs import SIGNATURE, TFLITE_FILE
from switch_tf.export.seq2seq.onnx_files import DECODER, DECODER_WITH_PAST, ENCODER, MERGED
from switch_tf.models.huggingface import T5Settings


class Writer(Protocol):
    """Something that writes."""

    def write(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """int32 [batch, length] to int32 [batch, 1 + max_new_tokens], and the logits of every id where they can be had.

        Logits are float32 [batch, max_new_tokens, vocab_size].
        """
        ...


class SavedModelWriter:
    """TensorFlow, from a SavedModel's signature."""

    def __init__(self, folder: Path):
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(folder))
        self._signature = self._loaded.signatures[SIGNATURE]

    def write(self, ids: np.ndarray) -> tuple[np.ndarray, None]:
        import tensorflow as tf

        return self._signature(ids=tf.constant(ids))["output_ids"].numpy(), None


class TFLiteWriter:
    """LiteRT, one text at a time."""

    def __init__(self, folder: Path):
        self._interpreter = open_interpreter(model_path=str(folder / TFLITE_FILE), num_threads=1)
        self._signature = self._interpreter.get_signature_runner(SIGNATURE)

    def write(self, ids: np.ndarray) -> tuple[np.ndarray, None]:
        return np.concatenate([self._signature(ids=row[np.newaxis])["output_ids"] for row in ids]), None


class OnnxWriter:
    """ONNX Runtime, with the loop that optimum runs around the files.

    Args:
        merged: ask the one decoder that chooses its branch, rather than the two.
    """

    def __init__(self, folder: Path, settings: T5Settings, longest: int, merged: bool = False):
        import onnxruntime

        self._settings = settings
        self._longest = longest
        self._merged = merged
        self._sessions = {
            name: onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
            for name in (ENCODER, *((MERGED,) if merged else (DECODER, DECODER_WITH_PAST)))
        }

    def write(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        settings = self._settings
        text = ids.astype(np.int64)
        mask = (text != settings.pad_token_id).astype(np.int64)
        hidden = self._run(ENCODER, input_ids=text, attention_mask=mask)["last_hidden_state"]
        last = np.full([len(ids), 1], settings.decoder_start_token_id, np.int64)
        given: dict[str, Any] = {"encoder_attention_mask": mask, "encoder_hidden_states": hidden}
        written, logits = [last], []
        done = np.zeros([len(ids), 1], bool)
        for place in range(self._longest):
            answer = self._step(place > 0, input_ids=last, **given)
            logits.append(answer.pop("logits"))
            last = np.where(done, settings.pad_token_id, logits[-1].argmax(axis=-1))
            done |= last == settings.eos_token_id
            written.append(last)
            given |= {key.replace("present", "past_key_values"): value for key, value in answer.items()}
        return np.concatenate(written, axis=1).astype(np.int32), np.concatenate(logits, axis=1)

    def _step(self, later: bool, **given: Any) -> dict[str, np.ndarray]:
        if not self._merged:
            return self._run(DECODER_WITH_PAST if later else DECODER, **given)
        if not later:  # what this branch does not look at has to be there all the same
            nothing = np.zeros([len(given["input_ids"]), self._settings.num_heads, 1, 1], np.float32)
            names = [each.name for each in self._sessions[MERGED].get_inputs()]
            given |= {name: nothing for name in names if name.startswith("past_key_values")}
        return self._run(MERGED, use_cache_branch=np.array([later]), **given)

    def _run(self, name: str, **given: Any) -> dict[str, np.ndarray]:
        session = self._sessions[name]
        inputs = {each.name for each in session.get_inputs()}
        outputs = [each.name for each in session.get_outputs()]
        taken = {key: value for key, value in given.items() if key in inputs}
        return dict(zip(outputs, session.run(outputs, taken), strict=True))
