"""The folder of a classifier that was fine-tuned from a Hugging Face checkpoint.

    config.json            the checkpoint's settings
    spiece.model           its tokenizer, and tokenizer_config.json where it had one
    weights.safetensors    the best epoch's weights, float32: the encoder's and the head's
    fine_tuning.json       the folder's format, the settings of the fine-tuning, and what it was trained on
    labels.json            class names, in the order of the probabilities
    reject.json            the reject threshold and what it was measured to do, where there is one
    metrics.json           figures on validation and test data
    history.csv, .png      figures of each epoch
    held_out.parquet       some held-out texts
    manifest.json          size and SHA-256 of what answers depend on

While training goes on, the folder has the name RUN.unfinished, and holds a checkpoint and the best weights so far.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from switch_tf import checksums, files
from switch_tf.errors import ArgumentError, RunError
from switch_tf.runs.folder import (
    FINE_TUNING,
    LABELS,
    MANIFEST,
    METRICS,
    REJECT,
    UNFINISHED,
    WEIGHTS,
    check_manifest,
    read_labels,
    read_threshold,
)
from switch_tf.runs.rejection import Rejection

CONFIG, PIECES, TOKENIZER = "config.json", "spiece.model", "tokenizer_config.json"
CHECKPOINT = "checkpoint.safetensors"  # these two while training goes on
BEST = "best.safetensors"  # weights as they were trained: those of the end are calibrated
SETTINGS = (CONFIG, PIECES, FINE_TUNING, LABELS)  # what a manifest describes while training goes on
DESCRIBED = (*SETTINGS, METRICS, WEIGHTS)  # and in the end
FORMAT = 2  # has a reject threshold, which a release of before would pass over; a folder without one is written as 1


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
        calibrate: divide the logits by the temperature that makes probabilities honest on the validation texts.
        reject: the share of right answers, on validation, that a text has to be answered with; None answers all.
        reject_label: what the others are answered; "unknown" unless given.

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
    calibrate: bool = True
    reject: float | None = None
    reject_label: str | None = None

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
        if not isinstance(self.calibrate, bool):
            raise _refusal("calibrate", self.calibrate, "true or false")
        if self.reject is not None and not (type(self.reject) in (int, float) and 0 < self.reject <= 1):
            raise _refusal("reject", self.reject, "a number above 0 and at most 1")
        if not isinstance(self.reject_label, str | None):
            raise _refusal("reject_label", self.reject_label, "a name")
        if self.reject_label is not None and self.reject is None:
            problem = f"Received reject_label={self.reject_label!r} without reject"
            raise ArgumentError(f"{problem}, without which no text gets it. Give both.", "reject_label")


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
        rejection: when it answers by no class, or None.
    """

    path: Path
    settings: FineTuneSettings
    labels: list[str]
    data: dict[str, Any]
    rejection: Rejection | None = None

    @property
    def split(self) -> tuple[float, int]:
        """The share of the texts that validation took, and the seed that it was drawn with."""
        return self.settings.validation_share, self.settings.seed


def is_fine_tuned(path: Path) -> bool:
    """Whether the folder looks like a finished one of these."""
    return all((path / name).is_file() for name in (FINE_TUNING, WEIGHTS)) and not path.name.endswith(UNFINISHED)


def describe_fine_tuning(folder: Path, settings: FineTuneSettings, labels: list[str], data: dict[str, Any]) -> None:
    """Write the files that say how it is trained, and on what; they are known before training starts."""
    files.write_json(folder / LABELS, labels)
    number = FORMAT if settings.reject is not None else FORMAT - 1
    files.write_json(folder / FINE_TUNING, {"format": number, "settings": asdict(settings), **data})
    write_manifest(folder, SETTINGS)


def write_manifest(folder: Path, names: tuple[str, ...] = DESCRIBED) -> None:
    """Write down the size and checksum of files, by default all that answers depend on."""
    if names == DESCRIBED and (folder / REJECT).exists():
        names = (*names, REJECT)
    with files.refusing(folder / MANIFEST):
        described = {name: checksums.describe(folder / name) for name in names}
    files.write_json(folder / MANIFEST, {"files": described})


def open_fine_tuned(path: Path) -> FineTunedRun:
    """A finished folder, each of its files compared with the manifest.

    Raises:
        RunError: a file is missing, damaged or was changed.
    """
    if not check_manifest(path, DESCRIBED):
        raise RunError(f"{path} has lost its {MANIFEST}, which tells whether it is whole. Restore it, or train again.")
    return read_fine_tuning(path)


def read_fine_tuning(path: Path) -> FineTunedRun:
    """What a folder says of its fine-tuning, finished or not.

    Raises:
        RunError: a file is missing or damaged.
    """
    data = files.read_json(path / FINE_TUNING)
    number = data.pop("format", None) if isinstance(data, dict) else None
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise RunError(f"{path} has the format {number!r}. Expected at most {FORMAT}: open it with a newer release.")
    try:
        settings = FineTuneSettings(**data.pop("settings"))
    except (ArgumentError, TypeError, KeyError) as error:
        raise RunError(f"{path / FINE_TUNING} is damaged: {error} Restore it, or train again.") from error
    labels = read_labels(path)
    rejection = read_threshold(path, labels) if (path / REJECT).exists() else None
    if settings.reject is not None and rejection is None and is_fine_tuned(path):
        raise RunError(f"{path} has lost its {REJECT}. Restore it, or train again.")
    return FineTunedRun(path, settings, labels, data, rejection)
