"""A checkpoint's own tokenizer as compare_tokenizers.py asks it: its definition in Python, its graph, and the library.

The library is SentencePiece. It is asked what stands between sentinels, `<extra_id_n>`, which are ids of their own.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from switch_tf.models.huggingface import T5Settings
from switch_tf.models.tokenizer import encode_texts
from switch_tf.text.numeric_sentencepiece import NumericSentencePieces
from switch_tf.text.sentencepiece_model import SENTINELS, SentencePieces

# What texts are given, beside their words: sentinels, what looks like one, and what transformers takes for tokens.
PUT_IN = ["<extra_id_0>", "<extra_id_7>", " <extra_id_99> ", "<extra_id_100>", "<extra_id_07>", "<extra_id_"]
PUT_IN += ["</s>", "<pad>", "<unk>", "\u2581"]
_SENTINEL = re.compile(r"<extra_id_(0|[1-9][0-9]?)>")


class CheckpointTokenizer:
    """The tokenizer of a T5 model, with 100 sentinels.

    Attributes:
        numeric: its graph.
        spec: what the graph reads of a text.
    """

    def __init__(self, path: Path, length: int, byte_length: int | None):
        """
        Args:
            path: of its `spiece.model`.
            length: ids of a text.
            byte_length: bytes of a text that the graph reads; 8 for each id unless given.

        Raises:
            ModelError: it is damaged or of a kind that is not read.
            ExportError: the graph cannot hold it.
        """
        self._settings = T5Settings()
        self._pieces = SentencePieces(path, self._settings.eos_token_id, SENTINELS)
        self.numeric = NumericSentencePieces(self._pieces, length, self._settings.pad_token_id, byte_length)
        self.spec = self.numeric.spec

    def numbers(self, text: bytes) -> list[int]:
        """The ids of a whole text."""
        return self._pieces.encode(text)

    def ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, length], of what the graph reads of each."""
        return encode_texts(self._pieces, texts, self.spec.sequence_length, self._settings, self.spec.num_bytes)

    def library(self) -> Callable[[Sequence[bytes]], list[list[int]]]:
        """The ids of whole texts that are UTF-8, by SentencePiece."""
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_proto=self._pieces.content)

        def ids(text: bytes) -> list[int]:
            first, *others = _SENTINEL.split(text.decode())
            found = processor.encode(first)
            for number, behind in zip(others[::2], others[1::2], strict=True):
                found += [self._pieces.sentinels[int(number)], *processor.encode(behind)]
            return [*found, self._settings.eos_token_id]

        return lambda texts: list(map(ids, texts))
