"""The words a model knows, checked: what no front-end could agree on is refused."""

from collections import Counter
from collections.abc import Sequence

from switch_tf.errors import DataError
from switch_tf.text.spec import FIRST_WORD_ID, OUT_OF_VOCABULARY, PADDING, TextSpec


def check_vocabulary(spec: TextSpec, vocabulary: Sequence[str]) -> None:
    """Refuse a vocabulary that the front-ends could not agree on.

    Words that no text can produce under `spec` ("Hello" when lower-casing) are let through: they keep their ids.

    Raises:
        DataError: no words, more than `spec.vocabulary_size - 2`, a word twice, or one of "" and "[UNK]".
    """
    if len(vocabulary) == 0:
        raise DataError("The vocabulary is empty. Expected training texts with at least one word.")
    room = spec.vocabulary_size - FIRST_WORD_ID
    if len(vocabulary) > room:
        raise DataError(
            f"The vocabulary has {len(vocabulary)} words. Expected at most {room}: text.vocabulary_size = "
            f"{spec.vocabulary_size}, less one id for padding and one for words out of vocabulary."
        )
    for reserved in (PADDING, OUT_OF_VOCABULARY):
        if reserved in vocabulary:
            raise DataError(f"The vocabulary holds {reserved!r}. Leave it out: it has a fixed id.")
    repeated = [word for word, count in Counter(vocabulary).items() if count > 1]
    if repeated:
        raise DataError(f"The vocabulary holds {repeated[0]!r} more than once. Expected every word once.")
