"""How far a training has come: what its checkpoint tells beside the weights and the optimizer's state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switch_tf.training.steps import Totals


@dataclass(frozen=True)
class Reached:
    """A place in a training, between two steps.

    Attributes:
        history: a row of figures for each epoch that is over.
        totals: sums over the steps of the epoch in progress, which begin behind those; none between epochs.
        seconds: that those steps took.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0

    def to_metadata(self) -> dict[str, str]:
        """Strings, as a file of tensors has them; floating point numbers come back to the bit."""
        kept = {"history": json.dumps(self.history)}
        if self.totals.steps:
            kept["epoch"] = json.dumps({"totals": self.totals.to_dict(), "seconds": self.seconds})
        return kept

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Reached":
        """
        Raises:
            KeyError, TypeError, ValueError: these are not what `to_metadata` gave.
        """
        history = json.loads(metadata["history"])
        if "epoch" not in metadata:
            return cls(history)
        epoch = json.loads(metadata["epoch"])
        return cls(history, Totals.from_dict(epoch["totals"]), float(epoch["seconds"]))
