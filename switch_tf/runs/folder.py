"""A run folder: everything one training left behind, readable by a person and loadable without pickle.

    config.toml           every setting; a training with this file trains the same again
    weights.safetensors   the best epoch's weights, float32
    vocabulary.txt        one word a line; line i (from 0) has id i + 2
    labels.json           class names, in the order of the probabilities
    data.json             the folder's format, and what it was trained on: names, columns, sizes, fingerprints
    metrics.json          figures on validation and test data
    history.csv           one row of figures per epoch
    history.png           the same, drawn
    held_out.parquet      some held-out texts, which exports are checked on
    summary.md            the run on a page

While training goes on, the folder has the name RUN.unfinished and holds a checkpoint; it is renamed when all is there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switch_tf import files
from switch_tf.config import Config, config_from_dict, config_to_dict
from switch_tf.errors import ConfigError, RunError
from switch_tf.settings import read_toml

CONFIG = "config.toml"
WEIGHTS = "weights.safetensors"
VOCABULARY = "vocabulary.txt"
LABELS = "labels.json"
DATA = "data.json"
METRICS = "metrics.json"
FORMAT = 2  # of the folder; 1 had no number, and wrote text.byte_length down where nobody had asked for it

UNFINISHED = ".unfinished"
RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """A finished run, without its weights; `switch_tf.models.text_classifier.load_classifier` reads those."""

    path: Path
    config: Config
    labels: list[str]
    vocabulary: list[str]
    data: dict[str, Any]


def unfinished(path: Path) -> Path:
    """The name that the run folder `path` has while it is trained.

    Raises:
        RunError: no run can be called `path`.
    """
    if path.name in ("", ".."):
        raise RunError(f"{path} is no name for a new folder. Expected one such as runs/reviews.")
    if path.name.endswith(UNFINISHED):
        raise RunError(f"{path} ends in {UNFINISHED}, which marks a training in progress. Leave that ending out.")
    return path.with_name(path.name + UNFINISHED)


def is_run(path: Path) -> bool:
    """Whether the folder looks like a finished run."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file() and not path.name.endswith(UNFINISHED)


def open_run(path: Path) -> Run:
    """A finished run.

    Raises:
        RunError: there is none, it is unfinished, or a file of it is missing or damaged.
    """
    if not path.is_dir():
        raise RunError(f"There is no run folder {path}. Expected what a training wrote.")
    if path.name.endswith(UNFINISHED):
        finished = path.name.removesuffix(UNFINISHED)
        raise RunError(f"{path} is unfinished. Resume the training of {path.with_name(finished)}.", argument="resume")
    if not is_run(path):
        raise RunError(f"{path} is not a run folder: it lacks {CONFIG} or {WEIGHTS}. Expected what `train` wrote.")
    try:
        config = config_from_dict(read_toml(path / CONFIG), where=str(path / CONFIG))
    except ConfigError as error:
        raise RunError(f"{error} Restore the file, or train again.") from error
    data = files.read_json(path / DATA)
    if not isinstance(data, dict):
        raise RunError(f"{path / DATA} does not hold a JSON object. Restore it, or train again.")
    if data.get("format", 1) not in range(1, FORMAT + 1):
        received = f"{path} has the format {data['format']!r}"
        raise RunError(
            f"{received}. Expected at most {FORMAT}: open it with the release that wrote it, or a newer one."
        )
    return Run(path, config, _read_labels(path), read_vocabulary(path / VOCABULARY), data)


def newest_run(runs: Path = RUNS, unfinished: bool = False) -> Path:
    """The run folder under `runs` that was written last.

    Raises:
        RunError: there is none.
    """
    kind = "unfinished run" if unfinished else "run"
    found = list(runs.glob(f"*{UNFINISHED}")) if unfinished else [p for p in runs.glob("*") if is_run(p)]
    if not found:
        raise RunError(f"There is no {kind} under {runs.resolve()}. Name a folder, or train one.")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def fresh_name(data: str, runs: Path = RUNS) -> Path:
    """A folder name for a run on `data` that nothing has yet: runs/reviews, runs/reviews-2, ..."""
    name = Path(data).name.split(".")[0] or "run"
    if name in ("train", "training", "data") and Path(data).absolute().parent.name:
        name = Path(data).absolute().parent.name
    return free_name(runs / name)


def free_name(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that neither a run nor an unfinished one has."""
    number, candidate = 1, path
    while candidate.exists() or candidate.with_name(candidate.name + UNFINISHED).exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def write_settings(
    folder: Path, config: Config, labels: list[str], vocabulary: list[str], data: dict[str, Any]
) -> None:
    """The files that are known before training starts."""
    import tomli_w

    files.write_text(folder / VOCABULARY, "".join(f"{word}\n" for word in vocabulary))
    files.write_json(folder / LABELS, labels)
    files.write_json(folder / DATA, {"format": FORMAT, **data})
    files.write_text(folder / CONFIG, tomli_w.dumps(config_to_dict(config)))


def read_vocabulary(path: Path) -> list[str]:
    """The words of a vocabulary file, split at line feeds alone: U+0085 and its like occur in words.

    Raises:
        RunError: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore the file, or train again.") from error
    return text.removesuffix("\n").split("\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """What training measured, of the run folder `path`: figures by split, and of the training itself.

    Raises:
        RunError: the file is missing or damaged.
    """
    metrics: dict[str, Any] = files.read_json(path / METRICS)
    return metrics


def _read_labels(path: Path) -> list[str]:
    labels = files.read_json(path / LABELS)
    expected = "at least two different class names"
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels) or len(set(labels)) < 2:
        raise RunError(f"{path / LABELS} does not hold a list of {expected}. Restore it, or train again.")
    if len(set(labels)) < len(labels) or any("\ud800" <= c <= "\udfff" for label in labels for c in label):
        raise RunError(f"{path / LABELS} has a name twice, or one that is not UTF-8. Restore it, or train again.")
    return labels
