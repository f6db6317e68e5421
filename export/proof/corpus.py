"""Texts made to break tokenizers: what an export is compared on beside a run's own held-out texts.

>>> texts = adversarial_texts(TextSpec(), ["film", "fine"], count=300, seed=0)
>>> len(texts), texts == adversarial_texts(TextSpec(), ["film", "fine"], count=300, seed=0)
(300, True)
"""

import string
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from switch_tf.text.spec import TextSpec

_SPACES = [" ", "\t", "\n", "\v", "\f", "\r", "\r\n", "  ", "\0", " \t\n "]
_NOT_SPACES = ["\u00a0", "\u0085", "\u2028", "\u3000", "\u200b", "\ufeff", "\x1c", "\x1f", "\x7f"]
_SCRIPTS = "É ß İ \u017f Ω ﬁ 中文 日本語 한국어 עברית العربية हिन्दी Ж ẞ µ \u212a \u212b"
_EMOJI = ["🙂", "👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
_COMBINING = ["e\u0301", "a\u0300\u0316", "n\u0303", "\u0301", "o\u0308\u0304"]
_BLANK = ["", " ", "\n", "\t \r\n", "\0"]
_NOT_UTF8 = [
    b"\xc0\xa0",  # longer forms of a space
    b"\xe0\x82\xa0",
    b"\xf0\x80\x82\xa0",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xe2\x80\xc0",  # a last byte that is none: of U+2040, which is punctuation
    b"\xf0\x9f\x98\xc0",  # of U+1F640, a letter
    b"\xf3\xa0\x80\xe0",  # of U+E0060, which vanishes
    b"\x80",
]
_CUT = "\u2040"  # its bytes are E2 81 80
_WORDS_AT_LIMITS = 2  # known words that are put at each limit
_FIXED = [*_BLANK, "a\0b", string.punctuation, "!" * 300, ". . .", "a - b", "don't", "'", "A", "é", "É"]


def adversarial_texts(spec: TextSpec, vocabulary: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` texts, valid UTF-8, the same for the same arguments.

    A fixed list first (empty, whitespace kinds, punctuation alone, the limits of `spec`), then random mixtures: words
    of the vocabulary in other cases and cut by punctuation, unknown and long words, whitespace and what only looks
    like it, many scripts, emoji, combining marks, control characters.
    """
    random = np.random.default_rng(seed)
    texts = [*_FIXED, *_at_the_limits(spec, vocabulary)][:count]
    makers: list[Callable[[], str]] = [
        lambda: _known_word(random, vocabulary),
        lambda: _known_word(random, vocabulary),
        lambda: _punctuated(random, _known_word(random, vocabulary)),
        lambda: _unknown_word(random),
        lambda: _pick(random, _SCRIPTS.split()) + _pick(random, ["", "a", "."]),
        lambda: _pick(random, _EMOJI),
        lambda: _pick(random, _COMBINING),
        lambda: _pick(random, _NOT_SPACES),
        lambda: _pick(random, string.punctuation) * int(random.integers(1, 9)),
        lambda: chr(int(random.integers(1, 0xD800))),
        lambda: chr(int(random.integers(0x10000, 0x110000))),
    ]
    while len(texts) < count:
        pieces = (
            int(random.geometric(1 / 20))
            if random.random() < 0.9
            else int(random.integers(1, 4 * spec.sequence_length))
        )
        text = "".join(
            makers[int(random.integers(len(makers)))]() + _pick(random, [*_SPACES, " ", " ", ""]) for _ in range(pieces)
        )
        texts.append(text)
    return texts


def invalid_utf8_texts(vocabulary: Sequence[str], count: int, seed: int) -> list[bytes]:
    """`count` byte strings that are not UTF-8, for the runtimes that admit them.

    Each kind of what is not UTF-8 first, between the halves of a word, then random bytes behind words.
    """
    random = np.random.default_rng(seed)
    word = next((each for each in vocabulary if len(each) > 1), vocabulary[0])
    start, end = word[: len(word) // 2].encode(), word[len(word) // 2 :].encode()
    texts = [start + wrong + end for wrong in _NOT_UTF8][:count]
    while len(texts) < count:
        words = [_known_word(random, vocabulary).encode() for _ in range(int(random.integers(1, 12)))]
        position = int(random.integers(len(words)))
        words[position] += bytes(random.integers(0x80, 0x100, size=int(random.integers(1, 5)), dtype=np.uint8))
        text = b" ".join(words)
        if text.decode("utf-8", "replace").encode() != text:
            texts.append(text)
    return texts


def _at_the_limits(spec: TextSpec, vocabulary: Sequence[str]) -> list[str]:
    """Texts of L - 1, L, L + 1 words and of N - 1, N, N + 1 bytes, words of 63 to 129 bytes, and 10,000 characters."""
    word, length = vocabulary[0], spec.sequence_length
    texts = [" ".join([word] * count) for count in (length - 1, length, length + 1, 2 * length)]
    texts += _at_position(vocabulary, length)
    texts += _at_the_last_byte(spec.num_bytes, vocabulary)
    for size in (spec.num_bytes - 1, spec.num_bytes, spec.num_bytes + 1):
        texts += [_of_bytes(f"{word} ", size), _of_bytes("é", size), _of_bytes("x", size), _of_bytes(" ", size)]
    texts += ["x" * size for size in (63, 64, 65, 127, 128, 129)]
    return [*texts, f"{word} " * (10_000 // (len(word) + 1)), "y" * 10_000, "😀" * 2_500]


def _at_position(vocabulary: Sequence[str], length: int) -> Iterator[str]:
    """Known words at L alone, at L + 1 alone, and at both; the words before are short, so that N bytes hold them."""
    for word in vocabulary[:_WORDS_AT_LIMITS]:
        yield " ".join([*["z"] * (length - 1), word])
        yield " ".join([*["z"] * length, word])
        yield " ".join([*["z"] * (length - 1), word, vocabulary[-1]])


def _at_the_last_byte(size: int, vocabulary: Sequence[str]) -> Iterator[str]:
    """Known words that end at byte N - 1, at N, and one behind it, where they are cut.

    Each is the first word of its text, or the second behind one that vanishes, so that L does not hide it. Those that
    end at N - 1 and at N stand at the end of a text, before a space, and before more text.
    """
    for word in vocabulary[:_WORDS_AT_LIMITS]:
        for end in (size - 1, size, size + 1):
            before = end - len(word.encode())
            if before < 0:
                continue
            for filling in (" ", "!"):
                # Punctuation first, then a space: else it would be part of the word where nothing is stripped.
                start = (filling * (before - 1) + " ") if before else ""
                yield from (f"{start}{word}", f"{start}{word} ", f"{start}{word}s x")
    yield " " * (size - 3) + f"x{_CUT}"  # of whose bytes the last is cut off


def _of_bytes(unit: str, size: int) -> str:
    """Repetitions of `unit` that take exactly `size` bytes, filled up with letters."""
    text = unit * (size // len(unit.encode()))
    return text + "z" * (size - len(text.encode()))


def _pick(random: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(random.integers(len(choices)))]


def _known_word(random: np.random.Generator, vocabulary: Sequence[str]) -> str:
    word = _pick(random, vocabulary)
    return _pick(random, [word, word, word.upper(), word.title()])


def _punctuated(random: np.random.Generator, word: str) -> str:
    """The word with a punctuation character somewhere in it, before it or behind it."""
    position = int(random.integers(len(word) + 1))
    return word[:position] + _pick(random, string.punctuation) + word[position:]


def _unknown_word(random: np.random.Generator) -> str:
    size = int(random.integers(1, 12)) if random.random() < 0.9 else int(random.integers(60, 140))
    return "".join(chr(97 + int(letter)) for letter in random.integers(0, 26, size))
