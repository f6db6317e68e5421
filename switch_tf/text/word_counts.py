"""Words counted in bounded memory.

Where there are too many different words to keep, the rarest are forgotten, again and again (Manku and Motwani,
"Approximate frequency counts over data streams", VLDB 2002, section 4.2): a word's count is then too small by what was
forgotten of it, which is less than what the rarest word that stayed had each time. The most frequent ones stay.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

_MOST = 2_000_000  # different words, of some hundred bytes each

Word = TypeVar("Word", bound=Hashable)


class WordCounts(Counter[Word]):
    """A Counter of at most so many words after each `count`.

    >>> counts = WordCounts[str](most=3)
    >>> counts.count(["a", "b", "a", "c"])
    >>> counts.count(["d", "d", "d"])
    >>> dict(counts)
    {'d': 3}
    """

    def __init__(self, most: int = _MOST):
        super().__init__()
        self._most = most

    def count(self, words: Iterable[Word]) -> None:
        """Count words, each as often as it comes."""
        self.update(words)
        if len(self) > self._most:
            self._forget()

    def _forget(self) -> None:
        """Leave the most frequent half; of equal ones, those that were seen first."""
        kept = self.most_common(max(1, self._most // 2))
        self.clear()
        dict.update(self, kept)
