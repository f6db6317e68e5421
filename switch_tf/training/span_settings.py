"""The settings of span corruption."""

from dataclasses import dataclass

from switch_tf.errors import ArgumentError


@dataclass(frozen=True)
class SpanSettings:
    """How a checkpoint goes on learning from plain texts.

    Args:
        length: ids of a piece of a text, before spans are cut out; longer texts are several pieces.
        rate: share of the ids that are cut out.
        mean_span: ids of a span, on average.
        epochs: at most; the best on validation is kept. Each cuts out other spans.
        batch_size: pieces of one step.
        learning_rate: at its peak.
        weight_decay: of matrices, as in AdamW.
        validation_share: of the texts, that epochs are compared on.
        seed: of splitting, spans, shuffling and dropout.

    Raises:
        ArgumentError: a value is out of range.
    """

    length: int = 128
    rate: float = 0.15
    mean_span: float = 3.0
    epochs: int = 1
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    validation_share: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            kinds = (int,) if isinstance(getattr(type(self), name), int) else (int, float)
            if type(value) not in kinds or not low <= value <= high:
                what = "an integer" if kinds == (int,) else "a number"
                expected = f"{what} from {low:,} to {high:,}"
                raise ArgumentError(f"Received {name}={value!r}. Expected {expected}: change {name}.", argument=name)


_RANGES: dict[str, tuple[float, float]] = {
    "length": (4, 4096),
    "rate": (0.01, 0.9),
    "mean_span": (1.0, 100.0),
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-9, 1.0),
    "weight_decay": (0.0, 1.0),
    "validation_share": (0.001, 0.5),
    "seed": (0, 2**31 - 1),
}
