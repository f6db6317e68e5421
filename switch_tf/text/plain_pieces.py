"""Turns texts into the ids of WordPiece pieces in Python alone: the definition that every graph is held against.

Each word of a text (see `switch_tf.text.characters`) is read from its start, at each place the longest piece that the
vocabulary has; behind a word's first piece only those count that are written with ##. A word that cannot be read so to
its end, or is over `LONGEST_WORD`, is one unknown piece. Ids are numbered as those of words are: 0 is padding, 1 is
unknown, and `vocabulary[i]` has id i + 2.

>>> spec = TextSpec(tokenizer="wordpiece", sequence_length=8)
>>> pieces = PlainPieces(spec, ["film", "un", "##watch", "##able", "!"])
>>> pieces.read("Unwatchable film!")
[('un', 3), ('##watch', 4), ('##able', 5), ('film', 2), ('!', 6)]
>>> pieces.ids([b"A film"])
array([[1, 2, 0, 0, 0, 0, 0, 0]], dtype=int32)

Source: the tokenizer of Devlin et al. 2018 (arXiv 1810.04805), whose pieces are those of Wu et al. 2016 (1609.08144).
"""

from collections.abc import Mapping, Sequence

from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY_ID, TextSpec
from switch_tf.text.unicode_characters import characters_of
from switch_tf.text.vocabulary import check_vocabulary

CONTINUES = "##"  # before a piece that stands behind another of its word
_REMEMBERED = 200_000  # words


class PieceTable:
    """The pieces that some text can be read as; others keep their ids, which go unused.

    Where tokens are words, each is a piece that begins one, and none stands behind it.

    Attributes:
        characters: the rule that says what a word is.
        first: ids of the pieces that begin a word.
        further: ids of the pieces behind these, written without ##.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        check_vocabulary(spec, vocabulary)
        self.characters = characters_of(spec)
        self.first: dict[str, int] = {}
        self.further: dict[str, int] = {}
        for number, piece in enumerate(vocabulary, FIRST_WORD_ID):
            rest = piece.removeprefix(CONTINUES)
            behind = rest != piece
            if self.characters.is_word(rest, behind):
                (self.further if behind else self.first)[self.characters.unwritten(rest)] = number
        self._starts = [each for each in self.first if len(each) == 1 and self.characters.is_word(each, behind=True)]

    def __len__(self) -> int:
        return len(self.first) + len(self.further)

    def reads(self, piece: str) -> bool:
        """Whether some text is read as the piece, as the vocabulary writes it."""
        rest = piece.removeprefix(CONTINUES)
        behind = rest != piece
        found = self.further if behind else self.first
        return self.characters.is_word(rest, behind) and self.characters.unwritten(rest) in found

    def text_of(self, piece: str) -> str:
        """A text that is read as the piece, behind one character if it is written with ##; the piece if none is."""
        rest = piece.removeprefix(CONTINUES)
        if rest == piece or not self.reads(piece):
            return rest
        return next((start + rest for start in self._starts if self._begins_alone(start + rest)), rest)

    def _begins_alone(self, word: str) -> bool:
        """Whether no piece but its first character begins the word."""
        return not any(word[:end] in self.first for end in range(2, len(word) + 1))


class PlainPieces(PlainSubwords):
    """Bytes to ids by dictionaries.

    Attributes:
        length: ids of a text.
        table: the pieces.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        """
        Raises:
            DataError: no front-end takes the vocabulary; see `check_vocabulary`.
        """
        super().__init__(spec, vocabulary)
        self.table = PieceTable(spec, vocabulary)
        self._longest = max(map(len, (*self.table.first, *self.table.further)), default=0)
        self._read: dict[str, tuple[int, ...]] = {}

    def numbers(self, text: bytes, limit: int | None = None) -> list[int]:
        return [number for word in self.table.characters.words(text, limit) for number in self.of_word(word)]

    def of_word(self, word: str) -> tuple[int, ...]:
        """The ids of a word's pieces."""
        found = self._read.get(word)
        if found is None:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            found = self._read[word] = self._split(word)
        return found

    def _split(self, word: str) -> tuple[int, ...]:
        if self.table.characters.is_too_long(word):
            return (OUT_OF_VOCABULARY_ID,)
        ids: list[int] = []
        start = 0
        while start < len(word):
            size, number = self._match(self.table.further if start else self.table.first, word, start)
            if not size:
                return (OUT_OF_VOCABULARY_ID,)
            ids.append(number)
            start += size
        return tuple(ids)

    def _match(self, pieces: Mapping[str, int], word: str, start: int) -> tuple[int, int]:
        """Length and id of the longest piece at a place; a length of 0 where there is none."""
        for size in range(min(self._longest, len(word) - start), 0, -1):
            number = pieces.get(word[start : start + size])
            if number is not None:
                return size, number
        return 0, OUT_OF_VOCABULARY_ID
