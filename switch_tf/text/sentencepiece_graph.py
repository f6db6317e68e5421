"""A SentencePiece model inside a TensorFlow graph, by the operators of tensorflow-text: texts to ids.

Those operators are no part of TensorFlow: whoever loads such a graph imports `tensorflow_text` before. TF Serving's own
builds have them linked in.
"""

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from switch_tf.errors import ExportError

if TYPE_CHECKING:
    from switch_tf.text.sentencepiece_model import SentencePieces

_MARK = "\x01"


def tensorflow_text() -> Any:
    """The package, which brings the operators along.

    Raises:
        ExportError: it is not installed, or does not fit the installed TensorFlow.
    """
    try:
        import tensorflow_text
    except (ImportError, tf.errors.NotFoundError) as error:
        remedy = "Install the extra `text` (tensorflow-text): pip install 'switch-tf[text]'"
        raise ExportError(
            f"tensorflow-text, which reads texts in a graph, cannot be used: {error}. {remedy}."
        ) from error
    return tensorflow_text


class GraphTokenizer(tf.Module):
    """`SentencePieces.encode` of a batch of texts, cut and filled up to `length` ids."""

    def __init__(self, pieces: "SentencePieces", length: int, padding: int):
        """
        Raises:
            ExportError: tensorflow-text cannot be used.
        """
        super().__init__()
        self._pieces = tensorflow_text().SentencepieceTokenizer(pieces.content)
        self._length, self._padding, self._end = length, padding, pieces.end_id
        self._last = pieces.size - 1  # the id of <extra_id_0>
        numbers = "|".join(map(str, range(len(pieces.sentinels))))
        self._sentinel = f"<extra_id_(?:{numbers})>" if numbers else "[^\\s\\S]"

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """str [batch] to int32 [batch, length]; a longer text keeps its first ids and the end's."""
        parts = self._split(texts)  # [batch, (parts)]
        flat = parts.flat_values
        is_sentinel = tf.strings.regex_full_match(flat, self._sentinel)  # [all parts]
        ids = self._pieces.tokenize(tf.where(is_sentinel, "", flat))  # [all parts, (ids)]
        number = tf.strings.to_number(
            tf.where(is_sentinel, tf.strings.regex_replace(flat, "[^0-9]", ""), "0"), tf.int32
        )
        alone = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(self._last - number, is_sentinel), tf.cast(is_sentinel, tf.int64)
        )
        every = tf.concat([ids, alone], axis=1)  # of each part, one of the two is empty
        rows = parts.with_flat_values(every).merge_dims(1, 2)[:, : self._length - 1]  # [batch, (ids)]
        end = tf.fill([rows.nrows(), 1], self._end)
        whole = tf.concat([rows, tf.cast(end, tf.int32)], axis=1)
        return whole.to_tensor(self._padding, shape=[None, self._length])

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """str [batch] to what stands before, in and behind each sentinel: [batch, (parts)].

        What is split at must not stand in a text, so the character that it begins with is escaped meanwhile.
        """
        spaced = tf.strings.regex_replace(texts, r"\x00", " ")  # NUL is white space
        escaped = tf.strings.regex_replace(spaced, _MARK, f"{_MARK}a")
        marked = tf.strings.regex_replace(escaped, f"({self._sentinel})", f"{_MARK}b\\1{_MARK}b")
        parts = tf.strings.split(marked, f"{_MARK}b")
        return parts.with_flat_values(tf.strings.regex_replace(parts.flat_values, f"{_MARK}a", _MARK))
