# ruff: noqa: RUF001 - characters of many scripts
"""What tests of unigram pieces share: a vocabulary, texts, and the library sentencepiece as their reference."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf.text.normalization import IDENTITY
from switch_tf.text.sentencepiece_file import NORMAL, UNKNOWN, Piece, read_model, write_model
from switch_tf.text.spec import Normalization, TextSpec
from switch_tf.text.unigram_table import entry, piece_of, score_of

MODEL = Path(__file__).parent / "data" / "huggingface" / "spiece.model"  # 300 pieces of English, rules nmt_nfkc
OTHERS = [
    "\u2581中文",
    "文",
    "각",
    "한국",
    "é",
    "ー",
    "\u2581über",
    "ß",
    "\u2581½",
    "⁄",
    "☃☃",
    "ооо",
    "о",
    "ло",
    "\ufffd",
    "\u2581ⅷ",
]
TEXTS = [
    "",
    " ",
    "A fine film, it really is!",
    "looooooooool hahahahaha oooooo",
    "Ｆｕｌｌ　ｗｉｄｔｈ ½ ⅷ ﬁne ﷺ",
    "e\u0301e\u0301\u0301 \u0301a \u1100\u1161\u11a8\u11a8 가\u11a8 ｶﾞ ﾊﾟ",
    "中文中文 한국어 각 ооооло лоооо ÜBER über straße STRASSE",
    "☃☃☃ ☃ \u2581a\u2581 \u2581 \u2581\u2581b \u2581",
    "tab\tline\nfeed\r\n\u00a0\u3000\u200b\u2028x\x01y\x7f",
    "\ufffd \ufeff a\ufffdb",
    "🙂👩‍👩‍👧‍👦🇩🇪",
]


@cache
def vocabulary(exact: bool = True, others: bool = True) -> list[str]:
    """Pieces of English and some others, with scores on the grid or as the model has them."""
    pieces = [piece for piece in read_model(MODEL.read_bytes()).pieces if piece.kind == NORMAL]
    pieces += [Piece(text, np.float32(-8.0 - 0.37 * number)) for number, text in enumerate(OTHERS) if others]
    return [entry(text, np.round(score * 256) / 256 if exact else score) for text, score, _ in pieces]


def make_spec(**changes: Any) -> TextSpec:
    fields = {"tokenizer": "unigram", "vocabulary_size": 400, "sequence_length": 32, "byte_length": 96}
    return TextSpec(**{**fields, **changes})


@cache
def charsmap(rule: str) -> bytes:
    """The rules of the library that is installed."""
    import sentencepiece

    if rule == IDENTITY:
        return b""
    made = sentencepiece.SentencePieceNormalizer(rule_name=rule).serialized_model_proto()  # a model without pieces
    return read_model(write_model([Piece("<unk>", 0.0, UNKNOWN)], b"", "") + made).charsmap


def library(entries: list[str], rule: Normalization) -> Any:
    """The library with these pieces; its ids are ours less 1."""
    import sentencepiece

    pieces = [Piece("<unk>", 0.0, UNKNOWN), *(Piece(piece_of(each), score_of(each)) for each in entries)]
    return sentencepiece.SentencePieceProcessor(model_proto=write_model(pieces, charsmap(rule), rule))


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Mixtures of words, of characters that rules are for, and of any others."""
    draw = np.random.default_rng(seed)
    words = [
        *["the", "film", "was", "a", "quiet", "surprise", "and", "I", "can't", "recommend", "it", "enough"],
        *" ".join(TEXTS).split(),
    ]
    blocks = [(0x01, 0x250), (0x300, 0x370), (0x1100, 0x1200), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4)]
    blocks += [(0xF900, 0xFFFF), (0x1D400, 0x1D800), (0x1F300, 0x1F600), (0x01, 0xD800), (0xE000, 0x110000)]

    def part() -> str:
        kind = draw.random()
        if kind < 0.6:
            word = str(draw.choice(words))
            return str(draw.choice([word, word.upper(), word * 3]))
        return "".join(chr(draw.integers(*blocks[draw.integers(len(blocks))])) for _ in range(draw.integers(1, 5)))

    def text() -> str:
        return "".join(part() + str(draw.choice([" ", " ", "", "\t", "\u3000"])) for _ in range(draw.integers(1, 20)))

    return [text() for _ in range(count)]
