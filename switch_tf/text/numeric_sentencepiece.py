"""A checkpoint's own tokenizer as a graph of integers, for every runtime: bytes to the ids of its SentencePiece model.

The ids are those of `switch_tf.text.sentencepiece_model.SentencePieces.encode` of the first N bytes of a text and N
characters at most once they are normal, bit for bit, cut to L with the end's id last. It is `NumericUnigram` with the
scores as they are, and for "a <extra_id_1>b", with characters for their codes and S for the sentinel's:

    normal        a _ S _ b          int32 [batch, N]: behind a sentinel stands white space
    marked        ▁ a 0 S ▁ b 0      int32 [batch, N + 1]: no mark before a sentinel, as none stands behind a text
    best          0 . s . 0 . s .    float32 [batch, N + 2]: sums begin anew behind a sentinel
    ids           ▁a S ▁b end        in the checkpoint's own numbering
"""

import numpy as np
import tensorflow as tf

from switch_tf.errors import DataError, ExportError
from switch_tf.text.double_array import narrow
from switch_tf.text.from_bytes import scatter_rows
from switch_tf.text.graph_rows import gather_rows
from switch_tf.text.normalization import name_of
from switch_tf.text.sentencepiece_file import NORMAL, UNKNOWN, Piece, read_model
from switch_tf.text.sentencepiece_model import SentencePieces
from switch_tf.text.sentinels import with_sentinels
from switch_tf.text.spec import TextSpec
from switch_tf.text.unigram import NumericUnigram
from switch_tf.text.unigram_table import entry

_MARK = 1  # its code
_VOCABULARY = 1_000_000  # pieces at most, as of any vocabulary


class NumericSentencePieces(NumericUnigram):
    """Bytes to ids of a checkpoint.

    Attributes:
        spec: of the text: what the graph reads of it, and how.
        vocabulary: the pieces with their scores, as entries of `UnigramTable`.
        sentinels: how many there are.
    """

    def __init__(self, pieces: SentencePieces, length: int, padding: int, byte_length: int | None = None):
        """
        Args:
            pieces: the tokenizer.
            length: ids of a text, L, the end's included.
            padding: the id behind the end's.
            byte_length: bytes of a text that are read, N; as `TextSpec` has it unless given.

        Raises:
            ExportError: the model asks for what the graph does not do, and what that is.
        """
        model = read_model(pieces.content)
        normal = [(number, piece) for number, piece in enumerate(model.pieces) if piece.kind == NORMAL]
        self.sentinels = len(pieces.sentinels)
        name = name_of(model.charsmap)
        problem = _problem([piece for _, piece in normal], name, model.pieces[0])
        try:
            if problem is not None:
                raise DataError(problem)
            spec = _spec(str(name), length, byte_length)
            self.vocabulary = [entry(piece.text, piece.score) for _, piece in normal]
            super().__init__(spec, self.vocabulary, self.sentinels)
        except DataError as error:
            raise ExportError(
                f"The checkpoint's tokenizer cannot stand in a graph that takes bytes: {error} Choose the inputs ids, "
                "which the tokenizer beside the graph makes.",
                argument="inputs",
            ) from error
        unknown = next(number for number, piece in enumerate(model.pieces) if piece.kind == UNKNOWN)
        numbers = np.array([0, unknown, *(number for number, _ in normal), *pieces.sentinels], np.int32)
        self._ids = narrow(numbers[self._ids])
        self._unknown, self._end, self._padding = unknown, pieces.end_id, padding

    def _classes(self, rows: tf.Tensor) -> tf.Tensor:
        classes = super()._classes(rows)
        if not self.sentinels:
            return classes
        return with_sentinels(classes, rows, self.sentinels, self._tables.first_sentinel)

    def _mark(self, normal: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same with nothing in place of the marks that a sentinel stands behind."""
        text, length = super()._mark(normal)
        width = text.shape[1]
        is_letter = text > _MARK
        before = tf.cumsum(tf.cast(is_letter, tf.int32), axis=1, exclusive=True)  # of letters, at each place
        sentinels = tf.cast(text >= self._tables.sentinel_code, tf.int32)
        of_letters = scatter_rows(tf.where(is_letter, before, width), sentinels, width + 1)  # side by side
        ends = gather_rows(of_letters, before) > 0  # whether a sentinel is the next letter
        return tf.where(tf.logical_and(tf.equal(text, _MARK), ends), 0, text), length

    def _restarts(self, text: tf.Tensor) -> tf.Tensor:
        return tf.pad(text, [[0, 0], [1, 0]]) >= self._tables.sentinel_code

    def _write(self, token: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        last = self.spec.sequence_length - 1
        counted = tf.cast(token, tf.int32)
        rank = tf.cumsum(counted, axis=1, exclusive=True)
        place = tf.where(tf.logical_and(token, rank < last), rank, last)
        row = scatter_rows(place, tf.where(tf.equal(ids, 0), self._unknown, ids), last + 1)  # [batch, L], as below
        end = tf.minimum(tf.reduce_sum(counted, axis=1, keepdims=True), last)  # [batch, 1]
        column = np.arange(last + 1, dtype=np.int32)[np.newaxis]
        return tf.where(column < end, row, tf.where(tf.equal(column, end), self._end, self._padding))


def _spec(name: str, length: int, byte_length: int | None) -> TextSpec:
    """What is read of a text."""
    return TextSpec(
        tokenizer="unigram",
        unigram_sums="sequential",
        normalization=name,  # type: ignore[arg-type]  # one of those that `digests` has
        vocabulary_size=_VOCABULARY,
        sequence_length=length,
        byte_length=byte_length,
    )


def _problem(pieces: list[Piece], rules: str | None, first: Piece) -> str | None:
    """What of a model the graph does not do, beside what `UnigramTable` refuses."""
    if rules is None:
        return "its rules of normalisation are of no release of SentencePiece that is known."
    if first.kind == NORMAL:
        return f"its piece {first.text!r}, which texts are read as, has the id 0. Expected a control symbol there."
    spaced = next((piece.text for piece in pieces if " " in piece.text), None)
    return None if spaced is None else f"its piece {spaced!r} has a space, for which U+2581 is expected."
