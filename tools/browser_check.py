"""Counts the texts whose ids or probabilities are others in a browser and in Node than those of the trained model.

    npm ci --prefix tests/js --ignore-scripts
    python tools/browser_check.py [--data FILE] [--texts N] [--rules NAME ...] [--write FILE]

For each way to read texts a small model is trained, on the built-in reviews or on the texts and labels of a table, and
made into ONNX that takes bytes and TFLite of one text at a time, as exports are. A headless Chromium then opens
a page of this machine alone, in which onnxruntime-web and LiteRT.js answer, in WebAssembly and, of the latter, XNNPACK;
and Node answers with onnxruntime-node. They are asked at least N texts: the run's own, texts made to break tokenizers,
and bytes that are not UTF-8. Of ONNX the ids are those of the front-end by itself, since a model does not answer them.
Exits with 1 if an id is another, or a probability by more than 1e-5.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import switch_tf
from switch_tf.data.examples import read_examples
from switch_tf.export.formats import FORMATS
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.corpus import adversarial_texts, invalid_utf8_texts
from switch_tf.models.text_classifier import TextClassifier, load_classifier
from switch_tf.runs.folder import open_run
from switch_tf.text.byte_codes import pack

ROOT = Path(__file__).parents[1]
BOUND = 1e-5
BATCH, SEED = 64, 0
TIMEOUT = 900  # seconds
RULES: dict[str, dict[str, Any]] = {
    "words": {},
    'words, `lowercase = "unicode"`': {"lowercase": "unicode"},
    "wordpiece, `bert`": {"tokenizer": "wordpiece"},
    "wordpiece, `bert`, cased": {"tokenizer": "wordpiece", "lowercase": "none"},
    "wordpiece, `hf_bert`": {"tokenizer": "wordpiece", "tokenizer_rules": "hf_bert"},
    "wordpiece, `hf_bert`, cased": {"tokenizer": "wordpiece", "tokenizer_rules": "hf_bert", "lowercase": "none"},
    'unigram, `"exact"`': {"tokenizer": "unigram"},
    'unigram, `"sequential"`': {"tokenizer": "unigram", "unigram_sums": "sequential", "normalization": "nmt_nfkc"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"vocabulary_size": 2000, "sequence_length": 64, "byte_length": 256},
    "model": {"context": "mean", "router": "token"},
    "train": {"epochs": 1, "baseline": False, "seed": SEED},
    "wide": {"enabled": True},
}
MODELS = {
    "model.onnx": ExportOptions("onnx", inputs="bytes"),
    "model.tflite": ExportOptions("tflite", batch=1),
}


class Differing(NamedTuple):
    """Texts whose ids differ, and the largest difference of a probability."""

    ids: int
    probability: float


def read_texts(data: str, model: TextClassifier, count: int) -> list[bytes]:
    """Three parts: of the data, made to break tokenizers, and not UTF-8."""
    part = -(-count // 3)
    own = read_examples(data).texts.to_pylist()
    own = own[:: max(1, len(own) // part)][:part]
    hostile = adversarial_texts(model.spec, model.vocabulary, count - len(own) - part, SEED)
    return [*(text.encode() for text in (*own, *hostile)), *invalid_utf8_texts(model.vocabulary, part, SEED)]


def front_end_alone(model: TextClassifier) -> bytes:
    """An ONNX file of bytes to ids."""
    of_any = tf.TensorSpec([None, model.spec.num_bytes], tf.uint8, name="bytes")
    numeric = model.numeric_text
    traced = tf.function(lambda bytes: {"ids": numeric(bytes)}, input_signature=[of_any], autograph=False)
    with quiet_tf2onnx() as converter:
        made, _ = converter.from_function(traced, input_signature=[of_any], opset=TF2ONNX_OPSET)
    return bytes(made.SerializeToString())


def ask(chromium: str, folder: Path, width: int) -> dict[str, dict[str, list[float]]]:
    """What every runtime answers to the rows of the folder."""
    command = ["node", str(ROOT / "tools" / "browser" / "ask.mjs"), chromium, str(folder), str(width), str(BATCH)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} fails:\n{finished.stderr}")
    answers: dict[str, dict[str, list[float]]] = json.loads(finished.stdout)
    return answers


def compare(chromium: str, model: TextClassifier, texts: Sequence[bytes], folder: Path) -> dict[str, Differing]:
    """How each runtime differs from a model in TensorFlow, which the folder has as model.onnx and model.tflite."""
    (folder / "front-end.onnx").write_bytes(front_end_alone(model))
    rows = pack(texts, model.spec.num_bytes)  # [texts, N]
    (folder / "rows.bin").write_bytes(rows.tobytes())
    ids = model.tokenize_bytes(tf.constant(rows))["ids"].numpy()  # [texts, L]
    expected = model.classify_bytes(tf.constant(rows))["probabilities"].numpy()  # [texts, classes]
    answers = ask(chromium, folder, model.spec.num_bytes)
    return {name: differing(answer, ids, expected) for name, answer in answers.items()}


def differing(answer: Mapping[str, Sequence[float]], ids: np.ndarray, probabilities: np.ndarray) -> Differing:
    """How an answer's rows, one behind the other, differ from ids, int32 [texts, L], and from float32 [texts, classes].

    Raises:
        ValueError: it is of other sizes.
    """
    differ = (np.reshape(answer["ids"], ids.shape) != ids).any(axis=1)  # [texts]
    far = np.abs(np.reshape(answer["probabilities"], probabilities.shape) - probabilities)  # [texts, classes]
    return Differing(int(differ.sum()), float(far.max()))


def check(chromium: str, data: str, text: dict[str, Any], count: int, folder: Path) -> tuple[int, dict[str, Differing]]:
    """How many texts were asked of a model with such settings of its texts, and how each runtime differs from it."""
    switch_tf.train(data, output=folder / "run", config={**SETTINGS, "text": SETTINGS["text"] | text}, verbose=0)
    run = open_run(folder / "run")
    model = load_classifier(run)
    for name, options in MODELS.items():
        format: Any = FORMATS[options.format]
        (folder / name).write_bytes(format.build(run, model, options))
    texts = read_texts(data, model, count)
    return len(texts), compare(chromium, model, texts, folder)


def table(found: dict[str, tuple[int, dict[str, Differing]]]) -> str:
    """As Markdown: for each way to read texts and each runtime, texts whose ids differ and how far probabilities do."""
    names = list(next(iter(found.values()))[1])
    lines = [f"| texts whose ids differ, and the largest difference of a probability | texts | {' | '.join(names)} |"]
    lines.append(f"|---|---|{'---|' * len(names)}")
    for rules, (count, each) in found.items():
        cells = [f"{each[name].ids}, {each[name].probability:.0e}" for name in names]
        lines.append(f"| {rules} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="reviews", metavar="FILE")
    parser.add_argument("--texts", type=int, default=999, metavar="N")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="FILE")
    return parser.parse_args(words)


def main() -> None:
    """Print the table."""
    asked = arguments()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or shutil.which("node") is None:
        sys.exit("Node, and chromium, chromium-browser or google-chrome, have to be on the path.")
    found = {}
    for name in asked.rules:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = check(chromium, asked.data, RULES[name], asked.texts, Path(folder))
        print(table(found).splitlines()[-1], file=sys.stderr)
    print(table(found))
    if asked.write is not None:
        asked.write.write_text(table(found) + "\n", encoding="utf-8")
    every = [each for _, by_runtime in found.values() for each in by_runtime.values()]
    sys.exit(any(each.ids or not each.probability <= BOUND for each in every))  # nor is it no number


if __name__ == "__main__":
    main()
