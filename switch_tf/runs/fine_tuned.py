"""The folder of a classifier that was fine-tuned from a Hugging Face checkpoint.

    config.json            the checkpoint's settings
    spiece.model           its tokenizer, and tokenizer_config.json where it had one
    weights.safetensors    the best epoch's weights, float32: the encoder's and the head's
    fine_tuning.json       the folder's format, the settings of the fine-tuning, and what it was trained on
    labels.json            class names, in the order of the probabilities
    metrics.json           figures on validation and test data
    history.csv, .png      figures of each epoch
    held_out.parquet       some held-out texts
    manifest.json          size and SHA-256 of what answers depend on

It appears whole, when training ends well.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from switch_tf import checksums, files
from switch_tf.errors import ArgumentError, RunError
from switch_tf.runs.labels import labels_problem

FINE_TUNING, WEIGHTS, LABELS, METRICS = "fine_tuning.json", "weights.safetensors", "labels.json", "metrics.json"
CONFIG, PIECES, TOKENIZER = "config.json", "spiece.model", "tokenizer_config.json"
MANIFEST = "manifest.json"
DESCRIBED = (CONFIG, PIECES, WEIGHTS, FINE_TUNING, LABELS, METRICS)
FORMAT = 1


@dataclass(frozen=True)
class FineTuneSettings:
    """How an encoder becomes a classifier.

    Args:
        length: ids of a text that are read, the end's included; what is longer is cut.
        pooling: "mean" over the real ids, or the "first" one's hidden state.
        epochs: at most; the best on validation is kept.
        batch_size: texts of one step.
        learning_rate: of the encoder, at its peak.
        head_learning_rate: of the classification head.
        frozen_layers: blocks of the encoder, from the first, that stay as they are, and the embeddings with them;
            0 trains everything.
        weight_decay: of matrices, as in AdamW.
        validation_share: of the texts, that epochs are compared on.
        seed: of shuffling, dropout and the head.

    Raises:
        ArgumentError: a value is out of range.
    """

    length: int = 128
    pooling: str = "mean"
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    frozen_layers: int = 0
    weight_decay: float = 0.01
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _INTEGERS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise _refusal(name, value, f"an integer from {least} to {most:,}")
        for name, (low, high) in _NUMBERS.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not low <= value <= high:
                raise _refusal(name, value, f"a number from {low:g} to {high:g}")
        if self.pooling not in ("mean", "first"):
            raise _refusal("pooling", self.pooling, "'mean' or 'first'")


_INTEGERS = {
    "length": (2, 4096),
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "frozen_layers": (0, 512),
    "seed": (0, 2**31 - 1),
}
_NUMBERS = {
    "learning_rate": (0.0, 1.0),
    "head_learning_rate": (1e-9, 1.0),
    "weight_decay": (0.0, 1.0),
    "validation_share": (0.01, 0.5),
}


def _refusal(name: str, value: object, expected: str) -> ArgumentError:
    return ArgumentError(f"Received {name}={value!r}. Expected {expected}: change {name}.", argument=name)


@dataclass(frozen=True)
class FineTunedRun:
    """A finished folder, without its weights.

    Attributes:
        path: of the folder.
        settings: of the fine-tuning.
        labels: class names, in the order of the probabilities.
        data: what it was trained on.
    """

    path: Path
    settings: FineTuneSettings
    labels: list[str]
    data: dict[str, Any]


def is_fine_tuned(path: Path) -> bool:
    """Whether the folder looks like one of these."""
    return (path / FINE_TUNING).is_file() and (path / WEIGHTS).is_file()


def describe_fine_tuning(folder: Path, settings: FineTuneSettings, labels: list[str], data: dict[str, Any]) -> None:
    """Write the files that say how it was trained, and on what."""
    files.write_json(folder / LABELS, labels)
    files.write_json(folder / FINE_TUNING, {"format": FORMAT, "settings": asdict(settings), **data})


def write_manifest(folder: Path) -> None:
    """Write down the size and checksum of all that answers depend on."""
    with files.refusing(folder / MANIFEST):
        described = {name: checksums.describe(folder / name) for name in DESCRIBED}
    files.write_json(folder / MANIFEST, {"files": described})


def open_fine_tuned(path: Path) -> FineTunedRun:
    """A finished folder, each of its files compared with the manifest.

    Raises:
        RunError: a file is missing, damaged or was changed.
    """
    manifest = files.read_json(path / MANIFEST)
    described = manifest.get("files") if isinstance(manifest, dict) else None
    problem = checksums.difference(path, described, required=DESCRIBED)
    if problem:
        raise RunError(f"{path} is damaged or was changed by hand: {problem}. Restore it, or train again.")
    data = files.read_json(path / FINE_TUNING)
    number = data.pop("format", None) if isinstance(data, dict) else None
    if number != FORMAT:
        raise RunError(f"{path} has the format {number!r}. Expected {FORMAT}: open it with the release that wrote it.")
    labels = files.read_json(path / LABELS)
    try:
        settings = FineTuneSettings(**data.pop("settings"))
    except (ArgumentError, TypeError, KeyError) as error:
        raise RunError(f"{path / FINE_TUNING} is damaged: {error} Restore it, or train again.") from error
    problem = labels_problem(labels)
    if problem:
        raise RunError(f"The labels in {path / LABELS} {problem}. Restore the file, or train again.")
    return FineTunedRun(path, settings, labels, data)
