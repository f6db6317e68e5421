"""What the readers of rows need of the place that they read: a name with its endings, and a stream of bytes."""

from typing import Any, Literal, Protocol


class Source(Protocol):
    """A file, wherever it is: a `pathlib.Path`, or one of another file system. As a string it is its path."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        ...

    @property
    def suffix(self) -> str:
        """The ending of the name with its dot, or ""."""
        ...

    @property
    def suffixes(self) -> list[str]:
        """All endings of the name."""
        ...

    def open(self, mode: Literal["rb"], /) -> Any:
        """A binary stream at its start."""
        ...
