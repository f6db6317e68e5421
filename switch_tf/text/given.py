"""Texts that callers give: strings, or their UTF-8, and nothing else."""

from collections.abc import Iterable

from switch_tf.errors import DataError


def check_texts(texts: Iterable[object]) -> list[str | bytes]:
    """The texts as a list, if each is a string or bytes; None, NaN and numbers would be read as "None", "nan", "3".

    >>> check_texts(["a film", b"a film"])
    ['a film', b'a film']

    Raises:
        DataError: one is something else, or half of a surrogate pair, or `texts` is one text and not several.
    """
    if isinstance(texts, str | bytes):
        raise DataError(f"Received one {type(texts).__name__}. Expected several texts, such as a list of one.")
    checked: list[str | bytes] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str | bytes):
            problem = f"Received {str(text)[:80]!r} of type {type(text).__name__} as text {number}"
            raise DataError(f'{problem}, counted from 0. Expected a string: leave missing values out, or write "".')
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                problem = f"Character {error.start + 1} of text {number}, counted from 0, is half of a surrogate pair"
                raise DataError(f"{problem}, which UTF-8 cannot hold. Remove it or write the whole pair.") from error
        checked.append(text)
    return checked
