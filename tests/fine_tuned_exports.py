"""What stands for an export of a fine-tuned run where its gate is tested."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from switch_tf.runs.rejection import Rejection


@dataclass
class Answering:
    """An artifact that answers as `proof`'s model does, but for what a test changes."""

    ask: Callable[[str, Any], tuple[np.ndarray, np.ndarray]]
    labels: list[str]
    rejection: Rejection | None
    length: int
    ask_ids: Callable[[str, Any], np.ndarray] | None = None
    precision: str = "float32"
    batch: int | None = None
    size: int = 0
    door: str = "ids"
    byte_length: int | None = None

    @property
    def doors(self) -> tuple[str]:
        return (self.door,)
