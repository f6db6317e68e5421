"""Chooses the words that a model knows, where words are read by Unicode's rules.

>>> spec = TextSpec(lowercase="unicode", vocabulary_size=5)
>>> frequent_words(spec, [np.array(["Éclair, ÉCLAIR", "好好看 éclair"], object)])
['éclair', '好', '看']
"""

from collections.abc import Iterable

import numpy as np

from switch_tf.text.characters import LONGEST_WORD
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.unicode_characters import characters_of
from switch_tf.text.vocabulary import check_vocabulary
from switch_tf.text.word_counts import WordCounts


def frequent_words(spec: TextSpec, batches: Iterable[np.ndarray]) -> list[str]:
    """The most frequent words of `batches` (never of test texts), at most `spec.vocabulary_size - 2`.

    Each batch is an array of texts, string or object [batch]. Words of equal count stand in falling order of their
    bytes, as `switch_tf.text.from_strings.adapt_vocabulary` has them. Words of over `LONGEST_WORD` characters are left
    out, as those with bytes that are not UTF-8: these are always unknown.

    Raises:
        DataError: the texts hold no word.
    """
    characters = characters_of(spec)
    counts = WordCounts[str]()
    for texts in batches:
        for text in texts:
            words = characters.words(text if isinstance(text, bytes) else str(text).encode())
            counts.count(word for word in words if len(word) <= LONGEST_WORD)
    room = spec.vocabulary_size - FIRST_WORD_ID
    vocabulary: list[str] = []
    for word in sorted(counts, key=lambda word: (counts[word], word), reverse=True):
        written = characters.written(word)
        if len(vocabulary) < room and characters.is_word(written):
            vocabulary.append(written)
    check_vocabulary(spec, vocabulary)
    return vocabulary
