"""Texts in which unigram pieces are read, and texts that reach what samples of them miss."""

from collections.abc import Iterator, Sequence
from itertools import islice

from switch_tf.text.normalization import read_normalization
from switch_tf.text.plain_unigram import PlainUnigram
from switch_tf.text.sentencepiece_file import MARK
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.unigram_table import piece_of

_RULES = 24  # of each kind that are written into texts
_TIES = 20  # texts
_TRIED = 100_000  # pairs of cuts that are looked at for ties
_TIMES = (2, 3, 5, 17, 60)  # that a letter is repeated: sums of the same pieces in another order are equal


class UnigramSpelling:
    """Attributes:
    texts: for each piece one in which it is read if it is in any; one that scores below its own parts is in none.
    whole: ids of the pieces that a text of nothing else is read as.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary.
        """
        self._plain = PlainUnigram(spec, vocabulary)
        self._rules = read_normalization(spec.normalization)
        self._width = spec.num_bytes
        pieces = list(map(piece_of, vocabulary))
        self._letters = [piece for piece in pieces if len(piece) == 1 and piece != MARK]
        self._repeating = [piece[0] for piece in pieces if len(piece) > 1 and piece == piece[0] * len(piece)]
        known = {letter for piece in pieces for letter in piece}
        self._strangers = self._unknown_characters(known)
        found = [self._text_of(piece, number) for number, piece in enumerate(pieces, FIRST_WORD_ID)]
        self.texts = [text for text, _ in found]
        self.whole = [number for number, (_, alone) in enumerate(found, FIRST_WORD_ID) if alone]

    def hard_texts(self) -> list[str]:
        """Repeated letters, equal sums, marks, unknown characters in a row, rules of both kinds, and what grows."""
        first, second = self._strangers
        letters = list(dict.fromkeys([*self._letters[:2], *self._repeating[:_TIES], first]))
        rules = [*_some(list(self._rules.single)), *_some(self._rules.joined)]
        return [
            *(letter * times for letter in letters for times in _TIMES),
            *("".join(letters[:2]) * times for times in _TIMES),
            *islice((f"a{first}{text}" for text in self._ties()), _TIES),
            *(MARK, f"a{MARK}", f"{MARK}a{MARK}b", f"a {MARK} b", f"{MARK}{MARK}a {MARK}"),
            *(first + second, f"{first} {second}", f"a{first}{second}a", f"{first}{second * 3} {first}"),
            *(f"a{rule}{rule}b {rule[0]} {rule}{rule[-1]} {rule[-1]}a" for rule in rules),
            *(written * self._width for written in ("\u00bd", "\ufdfa", "\u1100\u1161\u11a8", "e\u0301\u0301")),
            "".join(letters[:2]) * self._width,
        ]

    def _ties(self) -> Iterator[str]:
        """What two pieces make up that two others do, with an equal sum: every graph has to take the same two."""
        scores = self._plain.table.scores
        starting: dict[str, list[str]] = {}
        for piece in scores:
            for size in range(1, len(piece)):
                starting.setdefault(piece[:size], []).append(piece)
        longer = (
            (piece[:size], piece, second)
            for piece in scores
            for size in range(1, len(piece))
            if piece[:size] in scores
            for second in starting.get(piece[size:], ())
        )
        for first, piece, second in islice(longer, _TRIED):
            rest = second[len(piece) - len(first) :]
            if rest in scores and scores[first] + scores[second] == scores[piece] + scores[rest]:
                yield (first + second).replace(MARK, " ")

    def _text_of(self, piece: str, number: int) -> tuple[str, bool]:
        """A text in which the piece is read, and whether as nothing else."""
        spaced = piece.replace(MARK, " ")
        end = self._strangers[0] if spaced.endswith(" ") else ""
        for text in (spaced.removeprefix(" ") + end, self._strangers[0] + spaced + end):
            numbers = self._plain.numbers(text.encode())
            if number in numbers:
                return text, numbers == [number]
        return text, False

    def _unknown_characters(self, known: set[str]) -> tuple[str, str]:
        """Two that are in no piece and stay as they are."""
        every = (chr(code) for start in (0x2600, 0x100) for code in range(start, 0xD800))
        apart = (
            each
            for each in every
            if each not in known and each not in self._rules.further and self._rules.apply(each.encode()) == each
        )
        return next(apart), next(apart)


def _some(rules: Sequence[str]) -> Iterator[str]:
    """As many as `_RULES`, evenly taken."""
    yield from rules[:: max(1, len(rules) // _RULES)]
