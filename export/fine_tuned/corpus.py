"""Texts that artifacts of fine-tuned runs are asked, beside held-out ones: with sentinels, and with every piece.

>>> texts = sentinel_texts(2, ["film"], num_bytes=64, count=40, seed=0)
>>> "a <extra_id_0> b" in texts, "<extra_id_2>" in texts, len(texts)
(True, True, 40)
"""

from collections.abc import Sequence

import numpy as np

from switch_tf.export.proof.coverage import VocabularyTexts, vocabulary_texts
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces
from switch_tf.text.sentencepiece_file import MARK
from switch_tf.text.sentencepiece_model import SENTINEL

_JOINERS = ["", "", " ", "  ", MARK, "\0", "\u0338", "\ufffd", "☃", ">", "<"]
_LOOKALIKES = [
    SENTINEL,
    "<extra_id_7",
    "<extra_id_>",
    "<extra_id_00>",
    "<extra_id_01>",
    "<extra_id_-1>",
    "<extra_id_1 >",
    "<EXTRA_ID_0>",
    "<extra_id_100000>",
    "<extra_id_\u0663>",  # an Arabic three
    "\uff1cextra_id_0\uff1e",  # which NFKC makes the ASCII spelling of
    "<pad>",
    "</s>",
    "<unk>",
]


def sentinel_texts(sentinels: int, words: Sequence[str], num_bytes: int, count: int, seed: int) -> list[str]:
    """`count` texts with sentinels, and with what only looks like one, beside each other and everything else.

    Args:
        sentinels: how many there are.
        words: to stand between.
        num_bytes: at which texts are cut.
        count: of texts.
        seed: for making up what is behind a fixed list.
    """
    last = f"{SENTINEL}{sentinels - 1}>"
    first, none = f"{SENTINEL}0>", f"{SENTINEL}{sentinels}>"
    texts = [
        first,
        f"a {first} b",
        f"a{first}b",
        none,
        last,
        f"{last}{first}x",
        f"a {MARK}{first}{MARK} b",
        *_LOOKALIKES,
    ]
    texts += [f"<{first}>", f"{SENTINEL}{first}>", f"{first}\u0338", f"☃{first}☃ ☃{none}", f"{first} " * num_bytes]
    texts += [" " * (num_bytes - size) + first for size in range(len(first) - 1, len(first) + 2)]
    texts += [
        "½" * (num_bytes // 2 - len(first)) + f"{first}a",
        f"{first}{MARK}",
        f" {first}  {MARK} {MARK}{first} {MARK}",
    ]
    random = np.random.default_rng(seed)
    while len(texts) < count:
        parts = [_part(random, sentinels, words) for _ in range(int(random.geometric(1 / 8)))]
        texts.append("".join(f"{each}{_JOINERS[int(random.integers(len(_JOINERS)))]}" for each in parts))
    return texts[:count]


def _part(random: np.random.Generator, sentinels: int, words: Sequence[str]) -> str:
    kind = random.random()
    if kind < 0.4:
        return f"{SENTINEL}{random.integers(sentinels + 2)}>"
    choices = words if kind < 0.9 else _LOOKALIKES
    return choices[int(random.integers(len(choices)))]


def behind_a_sentinel(texts: Sequence[str], num_bytes: int) -> list[str]:
    """The texts with a sentinel before each, and so much before that, that sums which went on would be rounded.

    >>> behind_a_sentinel(["film"], 24)
    ['☃☃☃<extra_id_0>film']
    """
    return ["☃" * (num_bytes // 8) + f"{SENTINEL}0>{text}" for text in texts]


def token_texts(front_end: NumericSentencePieces) -> VocabularyTexts:
    """Each piece and each sentinel alone, and each between others."""
    pieces = vocabulary_texts(front_end.spec, front_end.vocabulary)
    sentinels = [f"{SENTINEL}{number}>".encode() for number in range(front_end.sentinels)]
    most = max(1, front_end.spec.sequence_length // 3)
    together = [b"a".join(sentinels[start : start + most]) for start in range(0, len(sentinels), most)]
    return VocabularyTexts(pieces.alone + sentinels, pieces.together + together)
