"""Learns unigram pieces from texts with the library sentencepiece, which this alone needs.

Texts are made normal here and counted word by word, so that what the library is given has the size of the language, not
of the texts. Scores are put on the grid on which their sums are exact.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from switch_tf.errors import ConfigError, DataError
from switch_tf.text.normalization import IDENTITY, REPLACEMENT, read_normalization
from switch_tf.text.sentencepiece_file import MARK, NORMAL, UNKNOWN, Piece, read_model, write_model
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.unigram_table import entry, on_the_grid
from switch_tf.text.word_counts import WordCounts

_LEAST = 2  # times that a character was seen
_CHARACTERS = 0.75  # of the room at most
_LONGEST = 16  # characters of a piece: a graph takes as many steps
_LONGEST_WORD = 1000  # characters; what is longer is learnt from in parts
_MOST = 50_000_000  # characters of different words, the most frequent first: what fits into memory while it learns
_THREADS = 16  # of the library, whatever the machine has: sums are made in their order


def learn_unigram(spec: TextSpec, batches: Iterable[np.ndarray]) -> list[str]:
    """At most `spec.vocabulary_size - 2` pieces with their scores, the highest first; the same for the same texts.

    Args:
        batches: texts, string or object [batch] each.

    Raises:
        ConfigError: sentencepiece is not installed.
        DataError: the texts hold no character of which two were seen.
    """
    library = _library()
    words = _count_words(spec, batches)
    room = spec.vocabulary_size - FIRST_WORD_ID
    alphabet = _alphabet(words, room)
    if not alphabet:
        raise DataError("The vocabulary is empty. Expected training texts with at least one character twice.")
    written = io.BytesIO()
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=_lines(words, alphabet),
            input_format="tsv",
            model_writer=written,
            model_type="unigram",
            vocab_size=room + 1,  # <unk>
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            character_coverage=1.0,
            max_sentencepiece_length=_LONGEST,
            max_sentence_length=8 * _LONGEST_WORD,
            num_threads=_THREADS,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"sentencepiece learns no pieces from these texts: {error}. Expected more of them, or another "
            "text.vocabulary_size."
        ) from error
    pieces = [piece for piece in read_model(written.getvalue()).pieces if piece.kind == NORMAL][:room]
    scores = on_the_grid(spec, np.array([piece.score for piece in pieces], np.float64))
    return [entry(piece.text, score) for piece, score in zip(pieces, scores, strict=True)]


def charsmap_of_library(spec: TextSpec) -> bytes:
    """The rules of normalisation that the library has by the name of the settings, as a model file holds them."""
    name = spec.normalization.split("/")[0]
    if name == IDENTITY:
        return b""
    made: bytes = _library().SentencePieceNormalizer(rule_name=name).serialized_model_proto()  # a model without pieces
    return read_model(write_model([Piece("<unk>", 0.0, UNKNOWN)], b"", "") + made).charsmap


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise ConfigError(
            "text.tokenizer = 'unigram' learns its pieces with sentencepiece, which is not installed. Install the "
            "extra `unigram`: pip install 'switch-tf[unigram]'; or set text.vocabulary_file to a SentencePiece model.",
            "settings",
        ) from error
    return sentencepiece


def _count_words(spec: TextSpec, batches: Iterable[np.ndarray]) -> Counter[str]:
    rules = read_normalization(spec.normalization)
    words = WordCounts[str]()  # texts without spaces are words that hardly ever repeat
    for texts in batches:
        for text in texts:
            words.count(rules.apply(text if isinstance(text, bytes) else str(text).encode()).split(" "))
    del words[""]
    return words


def _alphabet(words: Counter[str], room: int) -> list[str]:
    """The most frequent characters; none that the library keeps for itself."""
    counts = Counter[str]()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    kept = [letter for letter, count in counts.most_common() if count >= _LEAST]
    return [letter for letter in kept if letter not in _RESERVED][: max(1, int(_CHARACTERS * room) - 1)]


def _lines(words: Counter[str], alphabet: Iterable[str]) -> Iterator[str]:
    """Words and their counts, of characters that are learnt alone, the most frequent first."""
    known = re.compile(f"[{''.join(map(re.escape, alphabet))}]{{1,{_LONGEST_WORD}}}")
    left = _MOST
    for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        for part in known.findall(word):
            left -= len(part)
            if left < 0:
                return
            yield f"{part}\t{count}"


_RESERVED = frozenset([MARK, "\u2585", REPLACEMENT, "\t", "\n", "\r"])
