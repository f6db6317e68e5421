"""Other file systems than the machine's own, by fsspec: s3://, gs://, abfs://, hdfs://, memory:// and the like.

A path is one of these where it holds `://`. fsspec is an extra; what a protocol needs beside it, it names itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from switch_tf.errors import DataError, SwitchTFError


def is_remote(path: str) -> bool:
    """Whether fsspec is to read or write a path.

    >>> is_remote("s3://texts/2024/*.parquet"), is_remote("texts/*.parquet")
    (True, False)
    """
    return "://" in path


@contextmanager
def refusing_failures(path: str) -> Iterator[None]:
    """Turn what file systems raise, each in its own way, into errors of ours that name `path`.

    Raises:
        DataError: something was raised.
    """
    try:
        yield
    except SwitchTFError:
        raise
    except Exception as error:  # the exceptions of clients of file systems share no narrower base
        problem = f"{type(error).__name__}: {error}".rstrip(".")
        raise DataError(f"{path} cannot be used: {problem}. Check the path, and what may be done there.") from error


def file_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path, and the path inside it.

    Raises:
        DataError: fsspec is not installed, or knows no such protocol, or lacks what the protocol needs.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        remedy = "Install it (the extra `remote`: fsspec, and beside it what the protocol needs, such as s3fs)"
        raise DataError(f"{path} is on another file system, whose reader is not installed. {remedy}.") from error
    with refusing_failures(path):
        system, inner = url_to_fs(path)
    return system, str(inner)
