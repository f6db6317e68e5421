"""What an export leaves, whatever was exported."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from switch_tf.export.proof.parity import Comparison

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an export left.

    Attributes:
        paths: the artifacts.
        comparisons: how each input of each artifact compared with the trained model.
        fit: precision, words and accuracy of a file that was fitted into a number of bytes.
        changed: by split, the share of texts that a bytes input reads otherwise than as a whole; empty without one.
        dropped_words: words of the vocabulary that no text can produce, which a bytes input leaves out.
    """

    paths: list[Path]
    comparisons: list[Comparison]
    fit: dict[str, Any] | None = None
    changed: dict[str, float] = field(default_factory=dict)
    dropped_words: int = 0
