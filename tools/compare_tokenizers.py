"""Counts the texts whose ids differ: a tokenizer's library, its definition in Python, and its graph in every runtime.

\b
    python tools/compare_tokenizers.py TEXTS... --set text.tokenizer=unigram [--set ...] [--made-up N] [--time]
    python tools/compare_tokenizers.py TEXTS... --checkpoint spiece.model [--set ...] [--made-up N] [--time]

TEXTS are files of a text a line (plain, .gz or .xz), of labels and texts (.tsv) or of translated messages (.po). Pieces
are learnt from 20,000 of them, or taken from `text.vocabulary_file`. Texts that are made up mix their words, rules of
normalisation and characters of all scripts; a quarter of all has bytes put in that are not UTF-8, which the library is
not asked. The library is SentencePiece, tensorflow_text, or tokenizers, which has to be installed.

With --checkpoint the tokenizer is a T5 model's own, as fine-tuned runs read it: its settings are text.sequence_length
and text.byte_length alone, and a fifth of the texts has `<extra_id_n>` and its like put in.

Texts are compared part by part, and --results keeps what was found, so that the same command goes on where it stopped.
With --time each runtime is asked texts of over 0.9 N bytes one by one, in CPU time, beside the library, and the size of
the graph's tables is told.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf
from checkpoint_tokenizer import PUT_IN, CheckpointTokenizer
from tokenizer_texts import Text, asked_texts, read_lines, spread_over

from switch_tf.config import load_config
from switch_tf.export.onnx_file.conversion import TF2ONNX_OPSET, quiet_tf2onnx
from switch_tf.export.tflite_file.conversion import convert_functions
from switch_tf.files import write_bytes
from switch_tf.text.byte_codes import pack
from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.code_points import CharacterText
from switch_tf.text.front_ends import choose_vocabulary, string_front_end
from switch_tf.text.normalization import digests
from switch_tf.text.plain import plain_subwords
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.sentencepiece_file import NORMAL, read_model
from switch_tf.text.spec import OUT_OF_VOCABULARY, TextSpec
from switch_tf.text.unigram_files import own_model

Ask = Callable[[np.ndarray], np.ndarray]
Library = Callable[[Sequence[bytes]], list[list[int]]]
Way = Callable[[Sequence[bytes]], np.ndarray]
Plain = PlainSubwords | CheckpointTokenizer
BATCH, PART, LEARNT, TIMED, ROUNDS = 128, 4096, 20_000, 40, 5
LIBRARY = "the library, whole texts that are UTF-8"
_PADDING = "[PAD]"
_SHOWN = 10  # of the texts that differ, kept in the results


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


def library(spec: TextSpec, vocabulary: list[str]) -> Library | None:
    """What the tokenizer's rules are named after, with the same pieces, numbered as we number them.

    None for words, and for rules of another release of SentencePiece.
    """
    if spec.tokenizer == "words":
        return None
    return {"bert": _fast_bert, "hf_bert": _tokenizers, "sentencepiece": _sentencepiece}[spec.tokenizer_rules](
        spec, vocabulary
    )


def _fast_bert(spec: TextSpec, vocabulary: list[str]) -> Library:
    import tensorflow_text

    lowercase, _ = spec.folding
    own = tensorflow_text.FastBertTokenizer(
        [_PADDING, OUT_OF_VOCABULARY, *vocabulary],
        support_detokenization=False,
        lower_case_nfd_strip_accents=lowercase,
    )

    def ids(texts: Sequence[bytes]) -> list[list[int]]:
        found: list[list[int]] = own.tokenize(tf.constant(texts, tf.string, [len(texts)])).merge_dims(1, -1).to_list()
        return found

    return ids


def _tokenizers(spec: TextSpec, vocabulary: list[str]) -> Library:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    lowercase, strip_accents = spec.folding
    numbers = {piece: number for number, piece in enumerate([_PADDING, OUT_OF_VOCABULARY, *vocabulary])}
    own = Tokenizer(models.WordPiece(numbers, unk_token=OUT_OF_VOCABULARY, max_input_chars_per_word=LONGEST_WORD))
    own.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda texts: [each.ids for each in own.encode_batch([text.decode() for text in texts])]


def _sentencepiece(spec: TextSpec, vocabulary: list[str]) -> Library | None:
    model = own_model(spec, vocabulary)
    if model is None:
        return None
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert sum(piece.kind == NORMAL for piece in read_model(model).pieces) == len(vocabulary)
    assert not read_model(model).charsmap or hashlib.sha256(read_model(model).charsmap).hexdigest() in digests()
    return lambda texts: [[number + 1 for number in ids] for ids in processor.encode([text.decode() for text in texts])]


def ids_of(ask: Ask, width: int, texts: Sequence[bytes]) -> np.ndarray:
    """Ids of texts, asked batch by batch: int32 [texts, L]."""
    rows = pack(texts, width)
    rows = np.concatenate([rows, np.zeros([-len(rows) % BATCH, width], np.uint8)])
    return np.concatenate([ask(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])[: len(texts)]


def compare(
    texts: Sequence[Text], plain: Plain, reference: Library | None, ways: dict[str, Way]
) -> dict[str, tuple[int, list[bytes]]]:
    """For each way to the ids, how many texts it was asked, and those that it reads otherwise than the definition."""
    every, found = [text.content for text in texts], {}
    if reference is not None:
        valid = [text.content for text in texts if text.valid]
        given = zip(valid, reference(valid), strict=True)
        found[LIBRARY] = len(valid), [text for text, ids in given if plain.numbers(text) != ids]
    expected = plain.ids(every)  # [texts, L]
    for name, way in ways.items():
        wrong = (way(every) != expected).any(axis=1)  # [texts]
        found[name] = len(every), [every[place] for place in np.flatnonzero(wrong)]
    return found


def compare_all(
    texts: Sequence[Text], record: "Record", plain: Plain, reference: Library | None, ways: dict[str, Way]
) -> None:
    """What the record has not, part by part."""
    while record.compared < len(texts):
        part = texts[record.compared : record.compared + PART]
        record.add(len(part), compare(part, plain, reference, ways))
        wrong = {name: differing for name, (differing, _) in record.differ.items()}
        click.echo(f"{record.compared:,} of {len(texts):,}: {wrong}", err=True)


class Record:
    """What was found so far: how many texts were compared, and for each way how many of how many differ.

    Attributes:
        compared: texts, from the first on.
        differ: of each way, [texts that differ, texts that it was asked].
        shown: of each way, some of those that differ, in hexadecimal digits.
    """

    def __init__(self, path: Path | None, of: str):
        """
        Args:
            path: of the file that keeps it; one that is there goes on.
            of: which comparison it is.

        Raises:
            click.UsageError: the file is of another comparison.
        """
        self._path, self._of = path, of
        kept = json.loads(path.read_text()) if path is not None and path.exists() else {}
        if kept and kept["of"] != of:
            raise click.UsageError(f"{path} is of other settings or texts; give another file, or remove it.")
        self.compared: int = kept.get("compared", 0)
        self.differ: dict[str, list[int]] = kept.get("differ", {})
        self.shown: dict[str, list[str]] = kept.get("shown", {})

    def add(self, count: int, found: dict[str, tuple[int, list[bytes]]]) -> None:
        """What `compare` found in the next `count` texts."""
        self.compared += count
        for name, (asked, wrong) in found.items():
            differing, before = self.differ.get(name, (0, 0))
            self.differ[name] = [differing + len(wrong), before + asked]
            self.shown[name] = [*self.shown.get(name, []), *(text.hex() for text in wrong)][:_SHOWN]
        if self._path is not None:
            kept = {"of": self._of, "compared": self.compared, "differ": self.differ, "shown": self.shown}
            write_bytes(self._path, (json.dumps(kept, indent=1) + "\n").encode())

    def table(self) -> str:
        """A row for each way."""
        rows = [f"| {name} | {wrong:,} of {asked:,} |" for name, (wrong, asked) in self.differ.items()]
        return "\n".join(["| beside the definition | texts that differ |", "|---|---|", *rows])


def times(asked: dict[str, list[Callable[[], Any]]]) -> dict[str, float]:
    """Microseconds of CPU time of a call, the median of several rounds in turns."""
    rounds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, calls in asked.items():
            started = time.process_time()
            for call in calls:
                call()
            rounds[name].append((time.process_time() - started) / len(calls) * 1e6)
    return {name: float(np.median(each[1:])) for name, each in rounds.items()}


def long_texts(
    spec: TextSpec, texts: Sequence[Text], graph: dict[str, Ask], reference: Library | None
) -> dict[str, list[Callable[[], Any]]]:
    """What `times` is to take: each way asked a long text by itself.

    Raises:
        click.UsageError: there are no long texts.
    """
    valid = [text.content[: spec.num_bytes] for text in texts if text.valid]
    long = [text for text in valid if len(text) > 0.9 * spec.num_bytes][:TIMED]
    if not long:
        raise click.UsageError(f"No text has over 0.9 of {spec.num_bytes} bytes. Give longer ones to take times of.")
    rows = [pack([text], spec.num_bytes) for text in long]
    asked: dict[str, list[Callable[[], Any]]] = {
        name: [partial(ask, row) for row in rows]
        for name, ask in graph.items()
        if name != "XLA"  # of a whole batch
    }
    if reference is not None:
        asked["the library"] = [partial(reference, [text.decode("utf-8", "ignore").encode()]) for text in long]
    return asked


def of_pieces(spec: TextSpec, vocabulary: list[str]) -> tuple[Plain, Library | None, CharacterText]:
    """The definition, the library and the graph of pieces of a run."""
    numeric: CharacterText = string_front_end(spec, vocabulary).of_bytes
    return plain_subwords(spec, vocabulary), library(spec, vocabulary), numeric


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="TEXTS...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of `switch-tf train`.")
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="A T5 model's spiece.model.")
@click.option("--made-up", default=20_000, show_default=True, type=click.IntRange(0), help="Texts that are made up.")
@click.option("--at-most", type=click.IntRange(1), help="Texts that are compared; all unless given.")
@click.option("--results", type=click.Path(path_type=Path), help="A file that keeps what was found.")
@click.option("--time", "timed", is_flag=True, help="Take times too.")
def main(
    files: tuple[Path, ...],
    settings: tuple[str, ...],
    checkpoint: Path | None,
    made_up: int,
    at_most: int | None,
    results: Path | None,
    timed: bool,
) -> None:
    spec, own = load_config(assignments=settings).text, None
    lines = list(dict.fromkeys(line for path in files for line in read_lines(path)))
    if checkpoint is not None:
        refuse_others(settings)
        own = CheckpointTokenizer(checkpoint, spec.sequence_length, spec.byte_length)
        spec, vocabulary = own.spec, own.numeric.vocabulary
    elif spec.by_bytes:
        raise click.UsageError("Words of bytes have no definition of characters. Set text.tokenizer or text.lowercase.")
    else:
        vocabulary = choose_vocabulary(spec, [np.array(spread_over(lines, LEARNT), object)])
    texts = asked_texts(lines, made_up, PUT_IN if own else ())
    record = Record(results, digest(spec, vocabulary, texts))
    click.echo(
        f"{len(vocabulary):,} pieces, N = {spec.num_bytes}, L = {spec.sequence_length}, {len(lines):,} texts of files, "
        f"{len(texts):,} in all",
        err=True,
    )
    end, taken = min(len(texts), at_most or len(texts)), dict[str, float]()
    if record.compared < end or timed:
        plain, reference, numeric = (own, own.library(), own.numeric) if own else of_pieces(spec, vocabulary)
        graph = runtimes(numeric, spec)
        ways: dict[str, Way] = {name: partial(ids_of, ask, spec.num_bytes) for name, ask in graph.items()}
        compare_all(texts[:end], record, plain, reference, ways)
        taken = times(long_texts(spec, texts, graph, reference)) if timed else {}
    click.echo(record.table())
    for name, microseconds in taken.items():
        click.echo(f"| {name} | {microseconds:.0f} us |")
    if taken:
        click.echo(f"| the graph's tables | {numeric.table_bytes:,} bytes |")


def refuse_others(settings: Sequence[str]) -> None:
    """
    Raises:
        click.UsageError: a setting is none that a checkpoint's tokenizer leaves open.
    """
    others = {each.partition("=")[0] for each in settings} - {"text.sequence_length", "text.byte_length"}
    if others:
        raise click.UsageError(f"{', '.join(sorted(others))}: the checkpoint's tokenizer has its own. Leave it out.")


def digest(spec: TextSpec, vocabulary: Sequence[str], texts: Sequence[Text]) -> str:
    """Which comparison it is: of the settings, the pieces and the texts."""
    found = hashlib.sha256(json.dumps([spec.as_dict(), list(vocabulary)]).encode())
    for text in texts:
        found.update(len(text.content).to_bytes(4, "big") + text.content)
    return found.hexdigest()


if __name__ == "__main__":
    main()
