"""What the definitions in Python of both kinds of pieces share: texts to rows of ids."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from switch_tf.text.byte_codes import kept_bytes
from switch_tf.text.spec import OUT_OF_VOCABULARY, PADDING, PADDING_ID, TextSpec


class PlainSubwords(ABC):
    """Bytes to ids by dictionaries.

    Attributes:
        length: ids of a text.
        width: all that stands for it.
    """

    def __init__(self, spec: TextSpec, pieces: Iterable[str]):
        self.length, self.width = spec.sequence_length, spec.ids_length
        self._spec, self._names = spec, [PADDING, OUT_OF_VOCABULARY, *pieces]

    @abstractmethod
    def numbers(self, text: bytes, limit: int | None = None) -> list[int]:
        """The ids of all pieces of a text.

        Args:
            limit: of characters that are read once they are normal, white space included; all unless given.
        """

    def ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, ids_length], of what the inputs read of each text: all that stands for it."""
        return self.read_ids(texts)

    def read_ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """int32 [texts, sequence_length], the ids alone."""
        spec = self._spec
        return self._rows(self.numbers(kept_bytes(spec, text), spec.num_bytes) for text in texts)

    def whole_ids(self, texts: Sequence[bytes]) -> np.ndarray:
        """The same of whole texts, however many bytes they have."""
        return self._rows(map(self.numbers, texts))

    def read(self, text: str) -> list[tuple[str, int]]:
        """All pieces of a whole text, each with its id."""
        return [(self._names[number], number) for number in self.numbers(text.encode())]

    def _rows(self, texts: Iterable[list[int]]) -> np.ndarray:
        rows = [numbers[: self.length] for numbers in texts]
        ids = np.full([len(rows), self.length], PADDING_ID, np.int32)
        for row, numbers in zip(ids, rows, strict=True):
            row[: len(numbers)] = numbers
        return ids
