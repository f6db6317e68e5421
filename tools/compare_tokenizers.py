"""Counts the texts whose ids differ: a tokenizer's library, its definition in Python, and its graph in every runtime.

    python tools/compare_tokenizers.py TEXTS... --set text.tokenizer=unigram [--set ...] [--made-up N] [--time]

The library is sentencepiece, tensorflow-text or tokenizers, by `text.tokenizer_rules`, and has to be installed.

TEXTS are files of a text a line, plain, or .gz or .xz; pieces are learnt from every second line of the first 40,000,
or taken from `text.vocabulary_file`. Texts that are made up mix those words, rules of normalisation and characters of
all scripts; a quarter of all has bytes put in that are not UTF-8, which the library is not asked. With --time each
runtime is asked texts of over 0.9 N bytes one by one, in CPU time, beside the library.
"""

import argparse
import gzip
import hashlib
import lzma
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.config import load_config
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.text.byte_codes import pack
from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.front_ends import choose_vocabulary, string_front_end
from switch_tf.text.normalization import digests
from switch_tf.text.plain import plain_subwords
from switch_tf.text.sentencepiece_file import NORMAL, read_model
from switch_tf.text.spec import OUT_OF_VOCABULARY, TextSpec
from switch_tf.text.unigram_files import own_model

Ask = Callable[[np.ndarray], np.ndarray]
PADDING_PIECE = "[PAD]"
BATCH, SEED, LEARNT, TIMED, ROUNDS = 64, 0, 40_000, 40, 5
BLOCKS = [(0x01, 0x250), (0x300, 0x370), (0x370, 0x700), (0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2800)]
BLOCKS += [(0x3000, 0x3400), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x1D400, 0x1D800)]
BLOCKS += [(0x1F300, 0x1FA00), (0x01, 0xD800), (0xE000, 0x110000)]
SPECIAL = ["\u1100\u1161\u11a8", "\uac00\u11a8", "e\u0301\u0301", "\ufdfa", "\u00bd", "\u2581", "\ufffd", "\uff21"]
SPECIAL += ["\uff8a\uff9f", "\u0301"]
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u200b", ""]


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file that are not empty."""
    open_text: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with open_text(path, "rt", encoding="utf-8") as stream:
        yield from (line.rstrip("\n") for line in stream if line.strip())


def made_up(words: Sequence[str], count: int) -> Iterator[str]:
    """Mixtures of words in other cases, parts of them, special characters and any others."""
    draw = np.random.default_rng(SEED)

    def pick(choices: Sequence[Any]) -> Any:
        return choices[int(draw.integers(len(choices)))]

    def part() -> str:
        kind, word = draw.random(), str(pick(words))
        if kind < 0.4:
            return str(pick([word, word.upper(), word.title()]))
        if kind < 0.55:
            return word + str(pick(words)) * int(draw.integers(1, 4))
        if kind < 0.65:
            return word[: len(word) // 2] + str(pick([*SPECIAL, "!", "x"])) + word[len(word) // 2 :]
        if kind < 0.75:
            return str(pick("!?.,;:'\"-_()[]{}@#$%^&*+=~`<>/\\|aeos")) * int(draw.integers(1, 40))
        if kind < 0.85:
            return str(pick(SPECIAL)) * int(draw.integers(1, 4))
        return "".join(chr(int(draw.integers(*pick(BLOCKS)))) for _ in range(int(draw.integers(1, 6))))

    for _ in range(count):
        yield "".join(part() + str(pick(SPACES)) for _ in range(int(draw.integers(1, 40))))


def broken(text: bytes, draw: np.random.Generator) -> bytes:
    """With one to three bytes put in from 0x80 on."""
    place = int(draw.integers(0, min(len(text), 400) + 1))
    return text[:place] + bytes(draw.integers(0x80, 256, int(draw.integers(1, 4)), dtype=np.uint8)) + text[place:]


def runtimes(numeric: Any, spec: TextSpec) -> dict[str, Ask]:
    """The graph as each runtime answers it: uint8 [batch, N] to int32 [batch, L]."""
    import onnxruntime

    from switch_tf.artifacts.tflite_file import open_interpreter

    of_any = tf.TensorSpec([None, spec.num_bytes], tf.uint8, name="bytes")
    traced = tf.function(lambda bytes: {"ids": numeric(bytes)}, input_signature=[of_any], autograph=False)
    concrete = traced.get_concrete_function()
    of_batch = tf.TensorSpec([BATCH, spec.num_bytes], tf.uint8)
    compiled = tf.function(numeric.__call__, jit_compile=True, autograph=False, input_signature=[of_batch])
    litert = open_interpreter(model_content=convert_functions([], {"tokenize": traced}))
    signature = litert.get_signature_runner("tokenize")
    with quiet_tf2onnx() as converter:
        model, _ = converter.from_function(traced, input_signature=[of_any], opset=TF2ONNX_OPSET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {
        "TensorFlow": lambda rows: concrete(tf.constant(rows))["ids"].numpy(),
        "XLA": lambda rows: compiled(tf.constant(rows)).numpy(),
        "LiteRT": lambda rows: signature(bytes=rows)["ids"],
        "ONNX Runtime": lambda rows: session.run(None, {"bytes": rows})[0],
    }


def library(spec: TextSpec, vocabulary: list[str]) -> Callable[[str], list[int]] | None:
    """What the rules are named after, with the same pieces, numbered as we number them; None where there is none."""
    if spec.tokenizer == "words":
        return None
    return {"bert": fast_bert, "hf_bert": hugging_face, "sentencepiece": sentencepieces}[spec.tokenizer_rules](
        spec, vocabulary
    )


def fast_bert(spec: TextSpec, vocabulary: list[str]) -> Callable[[str], list[int]]:
    """tensorflow_text.FastBertTokenizer, which needs tensorflow-text."""
    import tensorflow_text

    lowercase, _ = spec.folding
    tokenizer = tensorflow_text.FastBertTokenizer(
        [PADDING_PIECE, OUT_OF_VOCABULARY, *vocabulary],
        support_detokenization=False,
        lower_case_nfd_strip_accents=lowercase,
    )
    return lambda text: tokenizer.tokenize([text]).flat_values.numpy().tolist()


def hugging_face(spec: TextSpec, vocabulary: list[str]) -> Callable[[str], list[int]]:
    """The BERT of tokenizers, which needs tokenizers."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    lowercase, strip_accents = spec.folding
    names = [PADDING_PIECE, OUT_OF_VOCABULARY, *vocabulary]
    numbers = {piece: number for number, piece in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=OUT_OF_VOCABULARY, max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda text: list(tokenizer.encode(text).ids)


def sentencepieces(spec: TextSpec, vocabulary: list[str]) -> Callable[[str], list[int]] | None:
    """SentencePiece; None where the run keeps no model of it."""
    model = own_model(spec, vocabulary)
    if model is None:
        return None
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert sum(piece.kind == NORMAL for piece in read_model(model).pieces) == len(vocabulary)
    assert not read_model(model).charsmap or hashlib.sha256(read_model(model).charsmap).hexdigest() in digests()
    return lambda text: [number + 1 for number in processor.encode(text)]


def count_differing(spec: TextSpec, vocabulary: list[str], texts: list[bytes], valid: int) -> dict[str, str]:
    """For each way to the ids, how many texts of how many differ from the definition in Python."""
    plain, found = plain_subwords(spec, vocabulary), {}
    reference = library(spec, vocabulary)
    if reference is not None:
        wrong = sum(plain.numbers(text) != reference(text.decode()) for text in texts[:valid])
        found["library, whole texts"] = f"{wrong:,} of {valid:,}"
    expected = plain.ids(texts)
    rows = pack(texts, spec.num_bytes)
    rows = np.concatenate([rows, np.zeros([-len(rows) % BATCH, spec.num_bytes], np.uint8)])
    for name, ask in runtimes(string_front_end(spec, vocabulary).of_bytes, spec).items():
        received = np.concatenate([ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])
        wrong = int((received[: len(texts)] != expected).any(axis=1).sum())
        found[name] = f"{wrong:,} of {len(texts):,}"
        print(f"  {name}: {found[name]}", file=sys.stderr)
    return found


def times(spec: TextSpec, vocabulary: list[str], texts: list[bytes]) -> dict[str, float]:
    """Microseconds of CPU time for a long text by itself, the median of several rounds."""
    long = [text[: spec.num_bytes] for text in texts if len(text) > 0.9 * spec.num_bytes][:TIMED]
    rows = [pack([text], spec.num_bytes) for text in long]
    asked: dict[str, list[Callable[[], Any]]] = {}
    for name, ask in runtimes(string_front_end(spec, vocabulary).of_bytes, spec).items():
        if name != "XLA":  # of a whole batch
            asked[name] = [partial(ask, row) for row in rows]
    reference = library(spec, vocabulary)
    if reference is not None:
        asked["library"] = [partial(reference, text.decode("utf-8", "ignore")) for text in long]
    rounds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, calls in asked.items():
            started = time.process_time()
            for call in calls:
                call()
            rounds[name].append((time.process_time() - started) / len(calls) * 1e6)
    return {name: float(np.median(each[1:])) for name, each in rounds.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="TEXTS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--made-up", type=int, default=20_000, metavar="N")
    parser.add_argument("--time", action="store_true")
    asked = parser.parse_args()
    spec = load_config(assignments=asked.settings).text
    lines = list(dict.fromkeys(line for path in asked.files for line in read_lines(path)))
    vocabulary = choose_vocabulary(spec, [np.array(lines[:LEARNT:2], object)])
    words = sorted({word for line in lines[:20_000] for word in line.split()})
    every = [*lines, *made_up(words, asked.made_up)]
    valid = [text.replace("\0", " ").encode("utf-8", "ignore") for text in every]
    draw = np.random.default_rng(SEED)
    texts = [*valid, *(broken(text, draw) for text in valid[::3])]
    print(f"{len(vocabulary):,} pieces, N = {spec.num_bytes}, L = {spec.sequence_length}: texts that differ")
    for name, differing in count_differing(spec, vocabulary, texts, len(valid)).items():
        print(f"| {name} | {differing} |")
    if asked.time:
        for name, taken in times(spec, vocabulary, valid).items():
            print(f"| {name} | {taken:.0f} us |")


if __name__ == "__main__":
    main()
